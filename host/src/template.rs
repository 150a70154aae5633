//! The `{{ name }}` templates of spin.toml, rendered with the application's variables. Values never appear in an error:
//! any of them may be a secret.

/// Text with holes that bear the names of variables.
#[derive(Debug, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Variable(String),
}

impl Template {
    /// Reads `text`; says what is wrong with it otherwise.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or_else(|| format!("`{text}`: `{{{{` without `}}}}`"))?;
            if !is_variable_name(name.trim()) {
                return Err(format!("`{text}`: `{}` is not a variable's name", name.trim()));
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Variable(name.trim().to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// Names of the variables that it needs.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable(name) => Some(name.as_str()),
        })
    }

    /// The text with every hole filled; a variable that `value` does not know leaves nothing.
    pub fn render<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> String {
        let piece = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => value(name).unwrap_or_default().to_owned(),
        };
        self.0.iter().map(piece).collect()
    }
}

/// Spin's rule: lower-case words of letters and digits, joined by single underscores, beginning with a letter.
pub fn is_variable_name(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split('_').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let template = Template::parse(text).expect("a template");
        assert_eq!(template.render(|name| (name == "host").then_some("db")), expected);
    }

    #[test]
    fn holes_are_filled_with_and_without_spaces() {
        check("postgres://{{ host }}:{{host}}/x", "postgres://db:db/x");
        check("plain", "plain");
        check("", "");
    }

    #[test]
    fn a_broken_template_is_refused() {
        assert!(Template::parse("{{ host").is_err());
        assert!(Template::parse("{{ Host }}").is_err());
        assert!(Template::parse("{{ a__b }}").is_err());
        assert!(Template::parse("{{}}").is_err());
    }
}
