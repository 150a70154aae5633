//! Values between `spin:postgres` and PostgreSQL's binary format. Booleans, integers, floats, text, bytes, JSON and UUIDs
//! cross as they are; any other type is `unsupported`, with its bytes. Functions keep to `BIGINT` and `TEXT`.

use crate::bindings::spin::postgres::postgres::{Column, DbDataType, DbValue, Error, ParameterValue, Row};
use std::error::Error as StdError;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, private::BytesMut, to_sql_checked};

type Parameter = Box<dyn ToSql + Send + Sync>;

pub fn parameters(values: Vec<ParameterValue>) -> Result<Vec<Parameter>, Error> {
    let numbered = values.into_iter().zip(1..);
    let refused = |number: i32| Error::BadParameter(format!("${number}: this host does not know its type"));
    numbered.map(|(value, number)| parameter(value).ok_or_else(|| refused(number))).collect()
}

fn parameter(value: ParameterValue) -> Option<Parameter> {
    Some(match value {
        ParameterValue::Boolean(value) => Box::new(value),
        ParameterValue::Int8(value) => Box::new(value),
        ParameterValue::Int16(value) => Box::new(value),
        ParameterValue::Int32(value) => Box::new(value),
        ParameterValue::Int64(value) => Box::new(value),
        ParameterValue::Floating32(value) => Box::new(value),
        ParameterValue::Floating64(value) => Box::new(value),
        ParameterValue::Str(value) => Box::new(value),
        ParameterValue::Binary(value) => Box::new(value),
        ParameterValue::Jsonb(value) => Box::new(Json(value)),
        ParameterValue::DbNull => Box::new(Null),
        _ => return None,
    })
}

/// NULL of whatever type the statement wants.
#[derive(Debug)]
struct Null;

impl ToSql for Null {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        Ok(IsNull::Yes)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The text of a JSON value.
#[derive(Debug)]
struct Json(Vec<u8>);

const JSONB_VERSION: u8 = 1;

impl ToSql for Json {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        if *ty == Type::JSONB {
            out.extend_from_slice(&[JSONB_VERSION]);
        }
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::JSON | Type::JSONB)
    }

    to_sql_checked!();
}

pub fn column(column: &tokio_postgres::Column) -> Column {
    let data_type = match *column.type_() {
        Type::BOOL => DbDataType::Boolean,
        Type::CHAR => DbDataType::Int8,
        Type::INT2 => DbDataType::Int16,
        Type::INT4 => DbDataType::Int32,
        Type::INT8 => DbDataType::Int64,
        Type::FLOAT4 => DbDataType::Floating32,
        Type::FLOAT8 => DbDataType::Floating64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => DbDataType::Str,
        Type::BYTEA => DbDataType::Binary,
        Type::UUID => DbDataType::Uuid,
        Type::JSON | Type::JSONB => DbDataType::Jsonb,
        ref other => DbDataType::Other(other.name().to_owned()),
    };
    Column { name: column.name().to_owned(), data_type }
}

pub fn row(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let one = |index| match row.try_get::<_, Option<Value>>(index) {
        Ok(Some(Value(value))) => Ok(value),
        Ok(None) => Ok(DbValue::DbNull),
        Err(error) => Err(Error::ValueConversionFailed(error.to_string())),
    };
    (0..row.len()).map(one).collect()
}

/// A value of any type.
struct Value(DbValue);

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(match *ty {
            Type::BOOL => DbValue::Boolean(bool::from_sql(ty, raw)?),
            Type::CHAR => DbValue::Int8(i8::from_sql(ty, raw)?),
            Type::INT2 => DbValue::Int16(i16::from_sql(ty, raw)?),
            Type::INT4 => DbValue::Int32(i32::from_sql(ty, raw)?),
            Type::INT8 => DbValue::Int64(i64::from_sql(ty, raw)?),
            Type::FLOAT4 => DbValue::Floating32(f32::from_sql(ty, raw)?),
            Type::FLOAT8 => DbValue::Floating64(f64::from_sql(ty, raw)?),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => DbValue::Str(String::from_sql(ty, raw)?),
            Type::BYTEA => DbValue::Binary(raw.to_owned()),
            Type::UUID => DbValue::Uuid(uuid(raw)),
            Type::JSON => DbValue::Jsonb(raw.to_owned()),
            Type::JSONB => DbValue::Jsonb(raw.strip_prefix(&[JSONB_VERSION]).unwrap_or(raw).to_owned()),
            _ => DbValue::Unsupported(raw.to_owned()),
        }))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn uuid(raw: &[u8]) -> String {
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    match hex.len() {
        32 => [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"),
        _ => hex,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_is_not_known_keeps_its_bytes() {
        let Value(value) = Value::from_sql(&Type::TIMESTAMPTZ, &[1, 2]).expect("a value");
        assert!(matches!(value, DbValue::Unsupported(bytes) if bytes == [1, 2]));
    }

    #[test]
    fn a_uuid_is_written_as_usual() {
        assert_eq!(uuid(&[0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }

    #[test]
    fn a_parameter_of_an_unknown_type_is_named_by_its_number() {
        let values = vec![ParameterValue::Int64(1), ParameterValue::Timestamp(1)];
        assert!(matches!(parameters(values), Err(Error::BadParameter(why)) if why.starts_with("$2")));
    }
}
