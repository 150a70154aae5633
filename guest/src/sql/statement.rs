//! What may be said to both databases. A statement comes in and is passed, or a script comes in and its statements go out.

use super::value::Value;
use crate::problem::Problem;

/// Placeholders are `$1…$n`, numbered in order of first appearance: SQLite binds them by appearance and would swap
/// `$2, $1` without a word. Checked on every call: it is one look at the text.
///
/// A text with a NUL is refused here for everybody: PostgreSQL cannot hold it, SQLite would.
pub fn check(sql: &str, params: &[Value]) -> Result<(), Problem> {
    check_placeholders(sql, params.len())?;
    if params.iter().any(|value| matches!(value, Value::Text(text) if text.contains('\0'))) {
        return Err(Problem::validation("a text holds the character U+0000"));
    }
    Ok(())
}

fn check_placeholders(sql: &str, parameters: usize) -> Result<(), Problem> {
    let mut seen = 0;
    for number in placeholders(sql) {
        match number {
            _ if number == seen + 1 => seen += 1,
            _ if number >= 1 && number <= seen => {}
            _ => return Err(Problem::internal(format!("${number} appears before ${}: {sql}", seen + 1))),
        }
    }
    if seen != parameters {
        return Err(Problem::internal(format!("{parameters} parameters for {seen} placeholders: {sql}")));
    }
    Ok(())
}

/// The numbers of the placeholders in order, not looking into quotes.
fn placeholders(sql: &str) -> impl Iterator<Item = usize> {
    let outside = sql.split('\'').step_by(2);
    outside.flat_map(|part| part.split('$').skip(1)).map(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse().unwrap_or(0)
    })
}

/// The statements of a migration: separated by `;`, without comments (`-- …`) and empty ones.
pub fn split(script: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let mut quoted = false;
    for line in script.lines() {
        for (position, symbol) in line.char_indices() {
            if !quoted && line[position..].starts_with("--") {
                break;
            }
            quoted ^= symbol == '\'';
            let current = statements.last_mut().expect("the list begins with one and only grows");
            match symbol {
                ';' if !quoted => statements.push(String::new()),
                other => current.push(other),
            }
        }
        statements.last_mut().expect("the list begins with one and only grows").push('\n');
    }
    statements.iter().map(|statement| statement.trim().to_owned()).filter(|statement| !statement.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_by_first_appearance() {
        assert!(check_placeholders("SELECT a FROM t WHERE b = $1 AND c = $2 OR b = $1", 2).is_ok());
        assert!(check_placeholders("SELECT 1", 0).is_ok());
        assert!(check_placeholders("SELECT '$9' FROM t WHERE a = $1", 1).is_ok());
    }

    #[test]
    fn a_swapped_missing_or_odd_placeholder_is_told() {
        for (sql, parameters) in [("a = $2 AND b = $1", 2), ("a = $1", 2), ("a = $1", 0), ("a = $", 0), ("a = $0", 1)] {
            assert!(check_placeholders(sql, parameters).is_err(), "{sql}");
        }
    }

    #[test]
    fn more_than_nine_placeholders_count_on() {
        let sql = (1..=12).map(|number| format!("${number}")).collect::<Vec<_>>().join(",");
        assert!(check_placeholders(&sql, 12).is_ok());
    }

    #[test]
    fn a_text_that_postgresql_cannot_hold_is_refused_on_both() {
        let code = |text: &str| check("a = $1", &[text.into()]).map_err(|problem| problem.code);
        assert_eq!(code("a\0"), Err(crate::Code::Validation));
        assert_eq!(code("a\\u0000"), Ok(()));
    }

    #[test]
    fn a_script_is_split_at_semicolons_outside_quotes_and_comments() {
        let script =
            "-- first; still first\nCREATE TABLE a (b TEXT DEFAULT ';--'); -- c\n\nINSERT INTO a\nVALUES ('it''s;');\n";
        assert_eq!(split(script), ["CREATE TABLE a (b TEXT DEFAULT ';--')", "INSERT INTO a\nVALUES ('it''s;')"]);
        assert_eq!(split(" ;; -- nothing\n"), Vec::<String>::new());
    }
}
