//! What was measured, as a table for people and as JSON for programs.

use serde_json::{Value, json};

/// Everything that was measured in one run.
#[derive(Debug, Default)]
pub struct Report(Vec<Row>);

#[derive(Debug)]
struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    aim: &'static str,
}

impl Report {
    /// Adds a measurement and shows it at once; `aim` may be empty.
    pub fn add(&mut self, what: &str, value: f64, unit: &'static str, aim: &'static str) {
        println!("{what:<62} {value:>10.2} {unit:<9} {aim}");
        self.0.push(Row { what: what.to_owned(), value, unit, aim });
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        self.0
            .iter()
            .map(|row| json!({ "what": row.what, "value": row.value, "unit": row.unit, "aim": row.aim }))
            .collect()
    }
}
