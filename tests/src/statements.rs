//! The SQL of a function, found in its sources: every statement as the database gets it, with the file that it stands in.

use std::collections::BTreeMap;

use crate::project;

/// How PostgreSQL takes turns, which SQLite does by itself.
const POSTGRES_ONLY: &str = "guest/src/sql/postgres.rs";

/// A statement and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    pub file: String,
    pub sql: String,
}

/// The statements of a function and of what every function shares.
pub fn of(function: &str) -> Vec<Statement> {
    let rooms = [format!("functions/{function}/src/"), "guest/src/".to_owned()];
    let mut found: Vec<Statement> = project::sources()
        .into_iter()
        .filter(|(file, _)| rooms.iter().any(|room| file.starts_with(room.as_str())))
        .filter(|(file, _)| file != POSTGRES_ONLY)
        .flat_map(|(file, text)| {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            in_source(code).into_iter().map(move |sql| Statement { file: file.clone(), sql })
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The table that the guest makes for itself before any migration.
pub fn history() -> String {
    let sources = project::sources();
    let (_, text) = sources.iter().find(|(file, _)| file == "guest/src/sql/migrations.rs").expect("the guest migrates");
    let table = literals(text).into_iter().find(|literal| literal.bound_to == Some("HISTORY"));
    table.expect("the guest has a table of migrations").text
}

/// What a source sends to its database. Names in braces stand for the text that is bound to them in the same source, and a
/// condition alone follows the source's first constant query.
fn in_source(code: &str) -> Vec<String> {
    let literals = literals(code);
    let bound: BTreeMap<&str, &str> =
        literals.iter().filter_map(|literal| Some((literal.bound_to?, literal.text.as_str()))).collect();
    let query = literals.iter().find(|literal| is_constant(literal) && literal.text.starts_with("SELECT"));
    let whole = |text: &str| match (query, text.starts_with("WHERE")) {
        (Some(query), true) => format!("{} {text}", query.text),
        _ => text.to_owned(),
    };
    literals
        .iter()
        .map(|literal| expanded(&whole(&literal.text), &bound))
        .filter(|text| is_statement(text) && !text.contains('{'))
        .collect()
}

fn is_constant(literal: &Literal<'_>) -> bool {
    literal.bound_to.is_some_and(|name| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'))
}

fn is_statement(text: &str) -> bool {
    ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM "].iter().any(|verb| text.starts_with(verb))
}

fn expanded(text: &str, bound: &BTreeMap<&str, &str>) -> String {
    bound.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// A string in a source, and the name that it is bound to.
struct Literal<'a> {
    text: String,
    bound_to: Option<&'a str>,
}

fn literals(code: &str) -> Vec<Literal<'_>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(start) = code[at..].find('"').map(|ahead| at + ahead) {
        let (before, inside) = (&code[..start], &code[start + 1..]);
        let in_comment = before.rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with("//"));
        let length = match (in_comment, before.ends_with('\'')) {
            (true, _) => inside.find('\n').unwrap_or(inside.len()),
            (false, true) => 0,
            (false, false) => {
                let end = closing_quote(inside);
                found.push(Literal { text: unescaped(&inside[..end]), bound_to: name_before(before) });
                end
            }
        };
        at = (start + 1 + length + 1).min(code.len());
    }
    found
}

fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    let closing = |(_, letter): &(usize, char)| {
        let closes = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        closes
    };
    text.char_indices().find(closing).map_or(text.len(), |(at, _)| at)
}

/// `let NAME = ` and `const NAME: &str =`, whatever the line breaks.
fn name_before(before: &str) -> Option<&str> {
    let declaration = before.trim_end().strip_suffix('=')?.trim_end();
    let declaration = declaration.strip_suffix(": &str").unwrap_or(declaration);
    let (head, name) = declaration.rsplit_once(' ')?;
    (head.ends_with("let") || head.ends_with("const")).then_some(name)
}

/// A backslash at a line's end takes the break and the next line's indentation away.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| whole + part.trim_start()).replace("\\\"", "\"").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_put_together_from_their_pieces() {
        let code = r#"
            const ROW: &str =
                "SELECT a FROM t";
            // not "SELECT this"
            fn one() { let order = "ORDER BY a"; db.row(&format!("{ROW} WHERE b = $1 {order}")); }
            fn two() { rows("WHERE c = $1"); let said = "\"SELECT\""; rows(&format!("{ROW} {condition}")); }
            fn three() { "UPDATE t \
                          SET a = $1" }
        "#;
        assert_eq!(
            in_source(code),
            [
                "SELECT a FROM t",
                "SELECT a FROM t WHERE b = $1 ORDER BY a",
                "SELECT a FROM t WHERE c = $1",
                "UPDATE t SET a = $1"
            ]
        );
    }

    #[test]
    fn every_function_has_statements() {
        let counts: Vec<usize> = till::data::FUNCTIONS.iter().map(|function| of(function).len()).collect();
        let shared = of("none").len();
        assert!(shared >= 8 && counts.iter().all(|count| *count >= shared + 4), "{shared} shared, {counts:?}");
    }
}
