//! Reading the fields of a document: each is taken once, becomes a type or a problem with its line, and what nobody took is an
//! unknown field.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::yaml::{Node, Value};

/// Something wrong in a file, for a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: PathBuf,
    pub line: usize,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.text)
    }
}

/// The problems found so far in one file.
#[derive(Debug, Default)]
pub struct Problems {
    pub file: PathBuf,
    found: RefCell<Vec<Problem>>,
}

impl Problems {
    pub fn of(file: impl Into<PathBuf>) -> Self {
        Problems { file: file.into(), found: RefCell::default() }
    }

    pub fn push(&self, line: usize, text: impl Into<String>) {
        self.found.borrow_mut().push(Problem { file: self.file.clone(), line, text: text.into() });
    }

    pub fn into_vec(self) -> Vec<Problem> {
        self.found.into_inner()
    }
}

/// The fields of one mapping.
pub struct Fields<'a> {
    pub line: usize,
    path: String,
    rest: Vec<&'a (String, Node)>,
    problems: &'a Problems,
}

impl<'a> Fields<'a> {
    /// `path` is what people call this place: `spec.delivery`. Null is an empty mapping.
    pub fn of(node: &'a Node, path: &str, problems: &'a Problems) -> Self {
        let rest = match &node.value {
            Value::Map(entries) => entries.iter().collect(),
            Value::Null => Vec::new(),
            Value::Scalar(_) | Value::List(_) => {
                problems.push(node.line, format!("`{path}` must be a mapping"));
                Vec::new()
            }
        };
        Fields { line: node.line, path: path.to_owned(), rest, problems }
    }

    /// What people call a field of this mapping.
    pub fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    pub fn problem(&self, line: usize, text: impl Into<String>) {
        self.problems.push(line, text);
    }

    /// The fields that nobody has taken yet.
    pub fn names(&self) -> Vec<String> {
        self.rest.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The line of a field; the mapping's own when it is absent.
    pub fn line_of(&self, field: &str) -> usize {
        self.look(field).map_or(self.line, |node| node.line)
    }

    pub fn is_mapping(&self, field: &str) -> bool {
        self.look(field).is_some_and(|node| matches!(node.value, Value::Map(_)))
    }

    /// Tells that a field is missing, when it is.
    pub fn needs(&self, field: &str) {
        if self.look(field).is_none() {
            self.problem(self.line, format!("`{}` is missing", self.name(field)));
        }
    }

    fn look(&self, field: &str) -> Option<&'a Node> {
        self.rest.iter().find(|(name, _)| name == field).map(|(_, node)| node)
    }

    pub fn node(&mut self, field: &str) -> Option<&'a Node> {
        let at = self.rest.iter().position(|(name, _)| name == field)?;
        Some(&self.rest.remove(at).1).filter(|node| node.value != Value::Null)
    }

    pub fn fields(&mut self, field: &str) -> Option<Fields<'a>> {
        let path = self.name(field);
        self.node(field).map(|node| Fields::of(node, &path, self.problems))
    }

    /// The text of a field within a field, which stays to be taken.
    pub fn peek(&self, field: &str, inner: &str) -> Option<&'a str> {
        let (_, node) = self.rest.iter().find(|(name, _)| name == field)?;
        let Value::Map(entries) = &node.value else { return None };
        entries.iter().find_map(|(name, node)| match &node.value {
            Value::Scalar(text) if name == inner => Some(text.as_str()),
            _ => None,
        })
    }

    pub fn list(&mut self, field: &str) -> Vec<&'a Node> {
        let Some(node) = self.node(field) else { return Vec::new() };
        let Value::List(items) = &node.value else {
            self.problem(node.line, format!("`{}` must be a list", self.name(field)));
            return Vec::new();
        };
        items.iter().collect()
    }

    pub fn text(&mut self, field: &str) -> Option<String> {
        let node = self.node(field)?;
        self.scalar(field, node)
    }

    pub fn required(&mut self, field: &str) -> String {
        let text = self.text(field).filter(|text| !text.is_empty());
        text.unwrap_or_else(|| {
            self.problem(self.line, format!("`{}` is missing", self.name(field)));
            String::new()
        })
    }

    pub fn texts(&mut self, field: &str) -> Vec<String> {
        let items = self.list(field);
        items.into_iter().filter_map(|item| self.scalar(field, item)).collect()
    }

    /// `None` when the field is absent: an empty list is not the same.
    pub fn optional_texts(&mut self, field: &str) -> Option<Vec<String>> {
        let is_there = self.rest.iter().any(|(name, node)| name == field && node.value != Value::Null);
        is_there.then(|| self.texts(field))
    }

    /// Every entry of a mapping whose values are text.
    pub fn entries(&mut self) -> Vec<(String, String)> {
        let rest = std::mem::take(&mut self.rest);
        rest.into_iter().filter_map(|(name, node)| Some((name.clone(), self.scalar(name, node)?))).collect()
    }

    /// A number or anything else that is parsed from its text; `what` says what it must be.
    pub fn parsed<T: FromStr>(&mut self, field: &str, what: &str) -> Option<T> {
        self.map(field, |text| text.parse().map_err(|_| format!("must be {what}, and is `{text}`")))
    }

    /// An ISO 8601 duration such as `PT0.3S`.
    pub fn duration(&mut self, field: &str) -> Option<Duration> {
        self.map(field, duration)
    }

    pub fn choice<T: Copy>(&mut self, field: &str, choices: &[(&str, T)]) -> Option<T> {
        self.map(field, |text| {
            let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
            let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            found.ok_or_else(|| format!("must be one of {}, and is `{text}`", names()))
        })
    }

    /// A field that is known and cannot be served here: it is refused by name, and not forgotten in silence.
    pub fn unsupported(&mut self, field: &str, why: &str) {
        if let Some(node) = self.node(field) {
            self.problem(node.line, format!("`{}` is not supported: {why}", self.name(field)));
        }
    }

    /// A field that means nothing here and does no harm.
    pub fn ignored(&mut self, field: &str) {
        self.node(field);
    }

    pub fn map<T>(&mut self, field: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let node = self.node(field)?;
        let text = self.scalar(field, node)?;
        read(&text).map_err(|reason| self.problem(node.line, format!("`{}` {reason}", self.name(field)))).ok()
    }

    /// What was not taken is unknown.
    pub fn finish(self) {
        for (name, node) in &self.rest {
            self.problem(node.line, format!("`{}` is unknown", self.name(name)));
        }
    }

    fn scalar(&self, field: &str, node: &Node) -> Option<String> {
        match &node.value {
            Value::Scalar(text) => Some(text.clone()),
            Value::Null => Some(String::new()),
            Value::List(_) | Value::Map(_) => {
                self.problem(node.line, format!("`{}` must be a single value", self.name(field)));
                None
            }
        }
    }
}

/// Days have 24 hours here.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("must be an ISO 8601 duration such as PT0.3S, and is `{text}`");
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let total = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(total).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    fn read(text: &str, read: impl Fn(&mut Fields)) -> Vec<String> {
        let documents = yaml::documents(text, &|_| None).unwrap();
        let problems = Problems::of("f.yaml");
        let mut fields = Fields::of(&documents[0], "", &problems);
        read(&mut fields);
        fields.finish();
        problems.into_vec().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_not_taken_is_unknown_and_told_with_its_line() {
        assert_eq!(read("a: 1\nb: 2\n", |fields| drop(fields.text("a"))), ["f.yaml:2: `b` is unknown"]);
    }

    #[test]
    fn wrong_types_are_told() {
        let problems = read("a: [1]\nb: x\nc: P\nd: maybe\n", |fields| {
            assert_eq!(fields.text("a"), None);
            assert_eq!(fields.parsed::<u32>("b", "a whole number"), None);
            assert_eq!(fields.duration("c"), None);
            assert_eq!(fields.choice("d", &[("yes", 1), ("no", 2)]), None);
            assert_eq!(fields.required("e"), "");
        });
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems[3].contains("yes, no") && problems[3].starts_with("f.yaml:4:"));
    }

    #[test]
    fn durations_are_iso_8601() {
        assert_eq!(duration("PT0.3S"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("P1DT5M"), Ok(Duration::from_secs(86_700)));
        assert!(duration("-PT1S").is_err() && duration("5").is_err());
    }
}
