//! What the benchmarks found, as a table for people and as JSON for machines.

use serde::Serialize;

/// One figure with its unit, the aim that it is held against, and what it is a ratio of.
#[derive(Debug, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// In the figure's unit; `None` where it is only the measure of another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aim: Option<Aim>,
}

/// The side of a bound on which a figure should lie.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

impl Aim {
    fn is_met(self, value: f64) -> bool {
        match self {
            Aim::AtMost(bound) => value <= bound,
            Aim::AtLeast(bound) => value >= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Aim::AtMost(bound) => format!("≤ {}", digits(bound)),
            Aim::AtLeast(bound) => format!("≥ {}", digits(bound)),
        }
    }
}

/// The middle one of some values, whose order does not matter; NaN of none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Figures in the order in which they were measured.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub figures: Vec<Figure>,
    /// What could not be measured here, and why.
    pub skipped: Vec<String>,
}

impl Report {
    /// Adds a figure and says it at once, because the next one takes a while.
    pub fn add(&mut self, name: &'static str, value: f64, unit: &'static str, aim: Option<Aim>) {
        eprintln!("  {name}: {} {unit}", digits(value));
        self.figures.push(Figure { name, value, unit, aim });
    }

    pub fn print(&self) {
        println!("{:<64} {:>10} {:<13} {:>8}  ", "figure", "measured", "unit", "aim");
        for figure in &self.figures {
            let aim = figure.aim.map(Aim::text).unwrap_or_default();
            let met = figure.aim.map_or("", |aim| if aim.is_met(figure.value) { "met" } else { "MISSED" });
            println!("{:<64} {:>10} {:<13} {:>8}  {met}", figure.name, digits(figure.value), figure.unit, aim);
        }
        for skipped in &self.skipped {
            println!("not measured: {skipped}");
        }
    }
}

/// Three significant digits or so: more would claim what nobody measured.
fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
