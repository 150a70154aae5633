//! Which events a source wants: the dialects of a Knative Trigger on context attributes. An event comes in, yes or no comes out.

use event::Event;

use super::fields::{Fields, Problems};
use super::yaml::{Node, Value};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    Exact(Vec<(String, String)>),
    Prefix(Vec<(String, String)>),
    Suffix(Vec<(String, String)>),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
}

impl Filter {
    pub fn accepts(&self, event: &Event) -> bool {
        let each = |pairs: &[(String, String)], test: fn(&str, &str) -> bool| {
            pairs.iter().all(|(name, value)| event.attribute(name).is_some_and(|found| test(found, value)))
        };
        match self {
            Filter::Exact(pairs) => each(pairs, |found, value| found == value),
            Filter::Prefix(pairs) => each(pairs, |found, value| found.starts_with(value)),
            Filter::Suffix(pairs) => each(pairs, |found, value| found.ends_with(value)),
            Filter::All(filters) => filters.iter().all(|filter| filter.accepts(event)),
            Filter::Any(filters) => filters.iter().any(|filter| filter.accepts(event)),
            Filter::Not(filter) => !filter.accepts(event),
        }
    }

    /// Whether there is nothing to look at.
    pub fn accepts_all(&self) -> bool {
        matches!(self, Filter::All(filters) if filters.is_empty())
    }

    /// A list of filters, all of which must accept. No filter accepts everything.
    pub fn read_all(nodes: &[&Node], path: &str, problems: &Problems) -> Filter {
        Filter::All(nodes.iter().filter_map(|node| Filter::read(node, path, problems)).collect())
    }

    fn read(node: &Node, path: &str, problems: &Problems) -> Option<Filter> {
        let entry = match &node.value {
            Value::Map(entries) if entries.len() == 1 => &entries[0],
            _ => {
                problems.push(node.line, format!("each of `{path}` must be a mapping with exactly one dialect"));
                return None;
            }
        };
        let (dialect, inner) = (entry.0.as_str(), &entry.1);
        match dialect {
            "exact" => Some(Filter::Exact(pairs(inner, dialect, problems))),
            "prefix" => Some(Filter::Prefix(pairs(inner, dialect, problems))),
            "suffix" => Some(Filter::Suffix(pairs(inner, dialect, problems))),
            "all" => Some(Filter::All(several(inner, dialect, problems))),
            "any" => Some(Filter::Any(several(inner, dialect, problems))),
            "not" => Filter::read(inner, dialect, problems).map(|filter| Filter::Not(Box::new(filter))),
            other => {
                let known = "exact, prefix, suffix, all, any and not are";
                problems.push(node.line, format!("the filter dialect `{other}` is not supported; {known}"));
                None
            }
        }
    }
}

fn pairs(node: &Node, dialect: &str, problems: &Problems) -> Vec<(String, String)> {
    let pairs = Fields::of(node, dialect, problems).entries();
    if pairs.is_empty() {
        problems.push(node.line, format!("`{dialect}` must name at least one attribute"));
    }
    pairs
}

fn several(node: &Node, dialect: &str, problems: &Problems) -> Vec<Filter> {
    match &node.value {
        Value::List(items) if !items.is_empty() => {
            items.iter().filter_map(|item| Filter::read(item, dialect, problems)).collect()
        }
        _ => {
            problems.push(node.line, format!("`{dialect}` must be a list of filters"));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    fn check(filters: &str, accepted: bool) {
        let documents = yaml::documents(&format!("f: {filters}"), &|_| None).unwrap();
        let problems = Problems::of("f.yaml");
        let nodes = Fields::of(&documents[0], "", &problems).list("f");
        let filter = Filter::read_all(&nodes, "filters", &problems);
        assert_eq!(problems.into_vec(), [], "{filters}");
        let mut event = Event::new("1", "/till/payment", "payment.invoice.paid");
        event.extensions.insert("colour".into(), "red".into());
        assert_eq!(filter.accepts(&event), accepted, "{filters}");
    }

    // promise: BRIDGE: a Source filters by a Trigger's dialects exact, prefix, suffix, all, any, not
    #[test]
    fn the_dialects_of_a_trigger_are_understood() {
        check("[]", true);
        check("[exact: { type: payment.invoice.paid, source: /till/payment }]", true);
        check("[exact: { type: payment.invoice }]", false);
        check("[exact: { subject: '' }]", false);
        check("[prefix: { type: payment. }, suffix: { type: .paid }]", true);
        check("[prefix: { type: payment. }, suffix: { type: .lost }]", false);
        check("[not: { exact: { colour: red } }]", false);
        check("[any: [exact: { colour: blue }, all: [exact: { colour: red }, prefix: { id: '1' }]]]", true);
    }

    #[test]
    fn other_dialects_are_refused_by_name() {
        let documents = yaml::documents("f: [sql: \"a = 'b'\", exact: {}, 7, any: x]", &|_| None).unwrap();
        let problems = Problems::of("f.yaml");
        let nodes = Fields::of(&documents[0], "", &problems).list("f");
        Filter::read_all(&nodes, "filters", &problems);
        let problems = problems.into_vec();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].text.contains("`sql`"));
    }
}
