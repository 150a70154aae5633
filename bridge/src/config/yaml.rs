//! YAML text becomes a tree that remembers its lines, with `${NAME}` filled in. Values of the environment are put into scalars
//! after parsing, so that none of them can change the structure of a document.

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// One value of a document, with the line where it begins (from 1).
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub line: usize,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    /// Any scalar as its text; what it means is for the field to say.
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Why a text is no sequence of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub line: usize,
    pub reason: String,
}

type Events<'a> = Box<dyn Iterator<Item = Result<(Event<'a>, Span), ScanError>> + 'a>;

/// Gives the value of a variable of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The documents of a text; empty ones are left out. Every missing variable is told.
pub fn documents(text: &str, environment: Environment) -> Result<Vec<Node>, Vec<Broken>> {
    let mut reader = Reader { events: Box::new(Parser::new_from_str(text)), environment, broken: Vec::new() };
    let documents = reader.documents();
    match documents {
        Err(fatal) => Err(reader.broken.into_iter().chain([fatal]).collect()),
        Ok(_) if !reader.broken.is_empty() => Err(reader.broken),
        Ok(documents) => Ok(documents),
    }
}

struct Reader<'a> {
    events: Events<'a>,
    environment: Environment<'a>,
    broken: Vec<Broken>,
}

impl<'a> Reader<'a> {
    fn documents(&mut self) -> Result<Vec<Node>, Broken> {
        let mut documents = Vec::new();
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                event => documents.push(self.node(event, &span)?),
            }
        }
        documents.retain(|document| document.value != Value::Null);
        Ok(documents)
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Broken> {
        let broken = |error: ScanError| Broken { line: error.marker().line(), reason: error.to_string() };
        self.events.next().transpose().map_err(broken)
    }

    fn must(&mut self) -> Result<(Event<'a>, Span), Broken> {
        self.next()?.ok_or_else(|| Broken { line: 0, reason: "the text ends in the middle of a document".into() })
    }

    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Node, Broken> {
        let line = span.start.line();
        let value = match event {
            Event::Scalar(text, style, _, _) => self.scalar(&text, style, line),
            Event::SequenceStart(..) => self.list()?,
            Event::MappingStart(..) => self.map()?,
            _ => return Err(Broken { line, reason: "aliases are not supported here".into() }),
        };
        Ok(Node { line, value })
    }

    fn list(&mut self) -> Result<Value, Broken> {
        let mut items = Vec::new();
        loop {
            match self.must()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, &span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Value, Broken> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let (event, span) = self.must()?;
            let line = span.start.line();
            let name = match event {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                Event::Scalar(name, ..) => name.into_owned(),
                _ => return Err(Broken { line, reason: "a field's name must be text".into() }),
            };
            if entries.iter().any(|(other, _)| *other == name) {
                self.broken.push(Broken { line, reason: format!("`{name}` stands here twice") });
            }
            let (event, span) = self.must()?;
            let value = self.node(event, &span)?;
            entries.push((name, value));
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, line: usize) -> Value {
        if style == ScalarStyle::Plain && matches!(text, "" | "~" | "null") {
            return Value::Null;
        }
        match fill_in(text, self.environment) {
            Ok(text) => Value::Scalar(text),
            Err(reason) => {
                self.broken.push(Broken { line, reason });
                Value::Null
            }
        }
    }
}

/// `${NAME}` and `${NAME:-default}` (used when the variable is unset or empty). Anything else with a `$` stays as it is.
fn fill_in(text: &str, environment: Environment) -> Result<String, String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, tail) = after.split_once('}').ok_or_else(|| format!("`${{{after}` is not closed"))?;
        let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
        let value = environment(name).filter(|value| default.is_none() || !value.is_empty());
        let value = value.or(default.map(str::to_owned));
        out.push_str(before);
        out.push_str(&value.ok_or_else(|| format!("`${{{name}}}`: the variable {name} is not set"))?);
        rest = tail;
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "KAFKA" => Some("one:9092".into()),
            "EVIL" => Some("x, y: [1]\nz: 2".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn scalar(text: &str) -> Result<String, String> {
        fill_in(text, &environment)
    }

    // promise: BRIDGE: `${NAME}` takes a value from the environment
    #[test]
    fn names_take_their_values_from_the_environment() {
        assert_eq!(scalar("a ${KAFKA} b ${NONE:-c}${EMPTY:-d}$"), Ok("a one:9092 b cd$".into()));
        assert!(scalar("${NONE}").unwrap_err().contains("NONE is not set"));
        assert!(scalar("${KAFKA").unwrap_err().contains("not closed"));
        assert_eq!(scalar("${EMPTY}"), Ok(String::new()));
    }

    #[test]
    fn a_value_never_changes_the_structure() {
        let documents = documents("a: ${EVIL}\n", &environment).unwrap();
        let Value::Map(entries) = &documents[0].value else { panic!("{documents:?}") };
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].1.value, Value::Scalar("x, y: [1]\nz: 2".into()));
    }

    #[test]
    fn nodes_know_their_lines_and_empty_documents_are_left_out() {
        let documents = documents("# nothing\n---\na: 1\nb:\n  - c\n---\n---\nd: ~\n", &environment).unwrap();
        assert_eq!(documents.len(), 2);
        let Value::Map(entries) = &documents[0].value else { panic!("{documents:?}") };
        let Value::List(items) = &entries[1].1.value else { panic!("{documents:?}") };
        assert_eq!((documents[0].line, items[0].line), (3, 5));
    }

    #[test]
    fn all_that_is_broken_is_told_with_its_line() {
        let broken = documents("a: ${ONE}\nb: ${TWO}\nb: 1\n", &environment).unwrap_err();
        assert_eq!(broken.iter().map(|broken| broken.line).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(documents("a: [1\nb: 2", &environment).unwrap_err().len(), 1);
    }
}
