//! Reads TOML into types. What is wrong is told by its line and its kind, never by the text that stands there: it may be a
//! secret.

use serde::de::DeserializeOwned;

pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Vec<String>> {
    toml::from_str(text).map_err(|error| vec![told(&error, text)])
}

/// An error about a place in `text`, in one line.
pub fn told(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let message = without_value(error.message());
    match before {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

/// "invalid type: string "hunter2", expected a boolean" without the value.
fn without_value(message: &str) -> String {
    let parts = message.split_once(": ").and_then(|(kind, rest)| Some((kind, rest.rsplit_once(", expected ")?)));
    match parts {
        Some((kind @ ("invalid type" | "invalid value"), (found, expected))) => {
            let found = found.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("{kind}: {found}, expected {expected}")
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn check(text: &str, expected: &str) {
        let problems = parse::<BTreeMap<String, bool>>(text).expect_err(text);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with(expected), "{problems:?}");
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_not_by_its_value() {
        check("a = true\npassword = \"hunter2, expected \"", "line 2: invalid type: string, expected a boolean");
        check("a = true\n\npassword = hunter2\n", "line 3: ");
        check("password = \"hunter2", "line 1: ");
    }
}
