//! Reads what bridge and host say on `/metrics` (Prometheus' text format), as far as figures need it.

/// Samples of one scrape.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Sample>);

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Samples {
    /// Lines that are no samples are passed over.
    pub fn parse(text: &str) -> Self {
        Samples(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum of all samples of a metric that have these labels; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has =
            |sample: &Sample, (key, value): &(&str, &str)| sample.labels.iter().any(|(k, v)| k == key && v == value);
        let chosen =
            self.0.iter().filter(|sample| sample.name == name && labels.iter().all(|label| has(sample, label)));
        chosen.map(|sample| sample.value).sum()
    }
}

/// `name{label="value",…} 1.5`; label values here have neither commas nor escapes.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.trim().rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let label = |pair: &str| {
        pair.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim_matches('"').to_owned()))
    };
    Some(Sample {
        name: name.to_owned(),
        labels: labels.split(',').filter_map(label).collect(),
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_their_labels() {
        let text = "# HELP a b\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"1\",y=\"3\"} 4\na_total{x=\"2\"} 5\nup 1\n";
        let samples = Samples::parse(text);
        assert_eq!(samples.sum("a_total", &[("x", "1")]), 7.0);
        assert_eq!(samples.sum("a_total", &[]), 12.0);
        assert_eq!((samples.sum("up", &[]), samples.sum("down", &[])), (1.0, 0.0));
    }
}
