//! What crosses the door: integers of 64 bits, text and null, and rows of them with names.

use std::rc::Rc;

use crate::problem::Problem;

/// A parameter or a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `BIGINT`: times in milliseconds, counters, flags 0 and 1.
    Integer(i64),
    /// `TEXT`: ids, amounts, JSON.
    Text(String),
    /// Absent.
    Null,
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Integer(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Value::Integer(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Integer(value.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Integer(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.to_owned())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Value::Text(value.clone())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// A type that a column is read as.
pub trait FromValue: Sized {
    /// What it is called in a complaint.
    const EXPECTED: &'static str;
    /// `None` where the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for i64 {
    const EXPECTED: &'static str = "an integer";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(*number),
            Value::Text(_) | Value::Null => None,
        }
    }
}

impl FromValue for u32 {
    const EXPECTED: &'static str = "an integer of 32 bits";
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

impl FromValue for bool {
    const EXPECTED: &'static str = "0 or 1";
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).map(|flag| flag != 0)
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "text";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(_) | Value::Null => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::from_value(other).map(Some),
        }
    }
}

/// One row, read by the names of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    columns: Rc<[String]>,
    values: Vec<Value>,
}

impl Row {
    /// A row of values under names.
    pub fn new(columns: Rc<[String]>, values: Vec<Value>) -> Self {
        Row { columns, values }
    }

    /// The column of a name as a type: `let version: i64 = row.get("version")?`. A missing name or another type is our
    /// mistake and answers 500.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T, Problem> {
        let position = self.columns.iter().position(|name| name == column);
        let value = position.and_then(|position| self.values.get(position));
        let value = value.ok_or_else(|| Problem::internal(format!("the row has no column `{column}`")))?;
        T::from_value(value).ok_or_else(|| Problem::internal(format!("the column `{column}` is not {}", T::EXPECTED)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let names = ["id", "version", "gone"].map(str::to_owned);
        Row::new(names.into(), vec![Value::from("a"), Value::from(7), Value::Null])
    }

    #[test]
    fn columns_are_read_by_name_as_types() {
        assert_eq!(row().get::<String>("id"), Ok("a".to_owned()));
        assert_eq!(row().get::<i64>("version"), Ok(7));
        assert_eq!(row().get::<Option<i64>>("gone"), Ok(None));
        assert_eq!(row().get::<Option<i64>>("version"), Ok(Some(7)));
        assert_eq!(row().get::<bool>("version"), Ok(true));
    }

    #[test]
    fn a_wrong_name_or_type_is_our_mistake() {
        for complaint in [row().get::<i64>("x").err(), row().get::<i64>("id").err(), row().get::<i64>("gone").err()] {
            assert_eq!(complaint.map(|problem| problem.code), Some(crate::Code::Internal));
        }
    }
}
