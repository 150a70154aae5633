//! Percent-encoding of attribute values in HTTP headers: CloudEvents HTTP binding 1.0.2, section 3.1.3.2.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Everything outside of U+0021–U+007E, and of those the space, the double quote and the percent sign.
const HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

pub fn encode(value: &str) -> Cow<'_, str> {
    // Nearly every value stays as it is; looking at all of it without a way out is what a processor does many bytes at a time.
    let plain = |byte| matches!(byte, 0x21..=0x7e) & (byte != b'"') & (byte != b'%');
    if value.bytes().fold(true, |all, byte| all & plain(byte)) {
        return Cow::Borrowed(value);
    }
    utf8_percent_encode(value, HEADER).into()
}

/// Undoes a single layer of double quotes, then every `%XX`. `None` when that is no UTF-8.
pub fn decode(value: &str) -> Option<String> {
    percent_decode_str(&unquote(value)).decode_utf8().ok().map(Cow::into_owned)
}

fn unquote(value: &str) -> Cow<'_, str> {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(value);
    };
    let mut escaped = false;
    let keep = |&c: &char| {
        escaped = c == '\\' && !escaped;
        !escaped
    };
    Cow::Owned(inner.chars().filter(keep).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    // promise: BRIDGE: header values are percent-encoded
    #[test]
    fn header_values_are_percent_encoded_as_the_http_binding_says() {
        assert_eq!(encode("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(decode("Euro%20%E2%82%AC%20%F0%9F%98%80").as_deref(), Some("Euro € 😀"));
    }

    #[test]
    fn a_quoted_header_value_is_unquoted_before_it_is_decoded() {
        assert_eq!(decode(r#""a \"b\" %25""#).as_deref(), Some(r#"a "b" %"#));
    }

    #[test]
    fn what_was_encoded_decodes_to_itself() {
        for text in ["", "plain", "100%", "\"q\"", "a b", "\u{7f}", "tab\tnew\nline", "ÿ\u{0}"] {
            assert!(encode(text).bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
    }
}
