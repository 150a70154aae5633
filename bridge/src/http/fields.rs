//! Header fields of a request as they go over the wire. What is no name, or would break out of its line, never comes in.

use std::fmt;

/// Lines of `name: value`, each with its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(String);

impl Fields {
    /// Room for a usual event, so that it is allocated once.
    pub fn with_room() -> Self {
        Fields(String::with_capacity(768))
    }

    /// Adds a field; leaves out what no field can be.
    pub fn add(&mut self, name: &str, value: &str) {
        self.add_prefixed("", name, value);
    }

    /// As [`Fields::add`], with the two parts of a name.
    pub fn add_prefixed(&mut self, prefix: &str, name: &str, value: &str) {
        // Without a way out of the loop, a processor looks at many bytes of the value at a time.
        let visible = value.bytes().fold(true, |all, byte| all & is_visible(byte));
        if visible && !name.is_empty() && is_token(prefix) && is_token(name) {
            for part in [prefix, name, ": ", value, "\r\n"] {
                self.0.push_str(part);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split_terminator("\r\n").filter_map(|line| line.split_once(": "))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(name, value)| writeln!(out, "{name}: {value}"))
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// What every server takes; the binding of CloudEvents percent-encodes the rest.
fn is_visible(byte: u8) -> bool {
    byte == b'\t' || (b' '..=b'~').contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_lines_and_are_found_again_in_any_case() {
        let mut fields = Fields::default();
        fields.add("prefer", "reply");
        fields.add_prefixed("ce-", "source", "http://h: 1");
        assert_eq!(fields.as_bytes(), b"prefer: reply\r\nce-source: http://h: 1\r\n");
        assert_eq!((fields.get("CE-Source"), fields.get("ce-id")), (Some("http://h: 1"), None));
        assert_eq!(fields.to_string(), "prefer: reply\nce-source: http://h: 1\n");
    }

    #[test]
    fn nothing_breaks_out_of_its_line() {
        let mut fields = Fields::default();
        for (name, value) in [
            ("a", "b\r\nc: d"),
            ("a\r\nb", "c"),
            ("a:", "b"),
            ("", "b"),
            ("a", "\u{e9}"),
            ("a b", "c"),
            ("a", "\u{7f}"),
        ] {
            fields.add(name, value);
        }
        assert_eq!(fields, Fields::default());
    }
}
