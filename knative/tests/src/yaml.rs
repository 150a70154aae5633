//! YAML text becomes JSON values, one a document, by YAML 1.2's core schema.

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::{Map, Number, Value};

type Events<'a> = Box<dyn Iterator<Item = Result<(Event<'a>, Span), ScanError>> + 'a>;

/// The documents of a text; empty ones are left out.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut reader = Reader(Box::new(Parser::new_from_str(text)));
    let mut documents = Vec::new();
    loop {
        match reader.next()? {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            event => documents.push(reader.value(event)?),
        }
    }
    documents.retain(|document| !document.is_null());
    Ok(documents)
}

struct Reader<'a>(Events<'a>);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.0.next() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the text ends in the middle of a document".to_owned()),
        }
    }

    fn value(&mut self, event: Event<'a>) -> Result<Value, String> {
        match event {
            Event::Scalar(text, style, ..) => Ok(scalar(&text, style)),
            Event::SequenceStart(..) => self.list(),
            Event::MappingStart(..) => self.map(),
            _ => Err("aliases are not read here".to_owned()),
        }
    }

    fn list(&mut self) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::Array(items)),
                event => items.push(self.value(event)?),
            }
        }
    }

    fn map(&mut self) -> Result<Value, String> {
        let mut entries = Map::new();
        loop {
            let name = match self.next()? {
                Event::MappingEnd => return Ok(Value::Object(entries)),
                Event::Scalar(name, ..) => name.into_owned(),
                _ => return Err("a field's name must be text".to_owned()),
            };
            let event = self.next()?;
            let value = self.value(event)?;
            if entries.insert(name.clone(), value).is_some() {
                return Err(format!("`{name}` stands twice in one map"));
            }
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let is_number = text.strip_prefix('-').unwrap_or(text).starts_with(|first: char| first.is_ascii_digit());
    let decimal = || text.parse::<f64>().ok().filter(|_| text.contains(['.', 'e'])).and_then(Number::from_f64);
    if is_number { text.parse::<i64>().ok().map(Number::from).or_else(decimal) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_become_values_of_their_types() {
        let text =
            "# only a comment\n---\na: 1\nb: [true, ~, x, \"2\", 1.5, -3]\nc: { d: '' }\n---\n- |\n  two\n  lines\n";
        let read = documents(text).unwrap();
        assert_eq!(read[0], json!({"a": 1, "b": [true, null, "x", "2", 1.5, -3], "c": {"d": ""}}));
        assert_eq!(read[1], json!(["two\nlines\n"]));
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        assert!(documents("a: 1\na: 2\n").unwrap_err().contains("twice"));
        assert!(documents("a: [1\nb: 2").is_err());
    }
}
