//! Who a mail is from and to, and the texts of its headers: what would let a stranger write headers is refused here.

/// An e-mail address in its plain form, `name@example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// An address with a name for people: `Till <till@localhost>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// May be empty.
    pub name: String,
    /// Where it goes to.
    pub address: Address,
}

/// One line of a header: no line end, no control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderText(String);

/// Why a text is no address or header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefusal {
    /// Not `local@domain`.
    #[error("an e-mail address looks like name@example.com")]
    Shape,
    /// A line end or another control character.
    #[error("the text of a mail header is one line without control characters")]
    Control,
    /// Longer than a header may be.
    #[error("the text of a mail header has at most {HEADER_CHARACTERS_MAX} characters")]
    Length,
}

/// RFC 5321, 4.5.3.1: 64 for the local part, 254 for all of it.
const LOCAL_CHARACTERS_MAX: usize = 64;
const ADDRESS_CHARACTERS_MAX: usize = 254;
/// RFC 5322, 2.1.1 allows 998 a line; a subject that long is a mistake.
const HEADER_CHARACTERS_MAX: usize = 500;

impl Address {
    /// Reads `local@domain` with the unquoted characters of RFC 5322; letters beyond ASCII are not taken.
    pub fn parse(text: &str) -> Result<Self, AddressRefusal> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressRefusal::Shape)?;
        let sized = local.len() <= LOCAL_CHARACTERS_MAX && text.len() <= ADDRESS_CHARACTERS_MAX;
        if sized && is_dot_atom(local, b"!#$%&'*+-/=?^_`{|}~") && is_dot_atom(domain, b"-") {
            return Ok(Address(text.to_owned()));
        }
        Err(AddressRefusal::Shape)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In lower case: the form in which suppressions are compared.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// What stands behind the `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit('@').next().unwrap_or_default()
    }
}

fn is_dot_atom(text: &str, also: &[u8]) -> bool {
    let is_atom =
        |atom: &str| !atom.is_empty() && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte));
    text.split('.').all(is_atom)
}

impl Mailbox {
    /// Reads `Name <address>` or an address alone.
    pub fn parse(text: &str) -> Result<Self, AddressRefusal> {
        let Some((name, rest)) = text.split_once('<') else {
            return Ok(Mailbox { name: String::new(), address: Address::parse(text.trim())? });
        };
        let address = rest.trim_end().strip_suffix('>').ok_or(AddressRefusal::Shape)?;
        let name = HeaderText::parse(name.trim())?.0;
        if name.contains(['"', '<', '>', '@', ',', ';', ':', '\\']) {
            return Err(AddressRefusal::Shape);
        }
        Ok(Mailbox { name, address: Address::parse(address)? })
    }
}

impl std::fmt::Display for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name.as_str() {
            "" => f.write_str(self.address.as_str()),
            name => write!(f, "{name} <{}>", self.address.as_str()),
        }
    }
}

impl HeaderText {
    /// Reads one line.
    pub fn parse(text: &str) -> Result<Self, AddressRefusal> {
        // U+2028 and U+2029 end a line for some readers, though they are no control characters.
        if text.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{2029}') {
            return Err(AddressRefusal::Control);
        }
        if text.chars().count() > HEADER_CHARACTERS_MAX {
            return Err(AddressRefusal::Length);
        }
        Ok(HeaderText(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_or_refused_by_its_shape() {
        for text in ["a@b", "first.last+tag@example.com", "o'brien@xn--bcher-kva.example"] {
            assert_eq!(Address::parse(text).expect(text).as_str(), text);
        }
        for text in [
            "",
            "a",
            "@b",
            "a@",
            "a b@c",
            "a@b c",
            "a@b\r\nBcc: x@y",
            "a,b@c",
            "<a@b>",
            "a@b>",
            "a@@b",
            ".a@b",
            "a.@b",
            "a@b..c",
            "ü@b",
            "\"a\"@b",
        ] {
            assert_eq!(Address::parse(text), Err(AddressRefusal::Shape), "{text:?}");
        }
        assert!(Address::parse(&format!("{}@b", "a".repeat(65))).is_err());
    }

    #[test]
    fn a_mailbox_has_a_name_or_none() {
        let check = |text: &str, name: &str, address: &str| {
            let mailbox = Mailbox::parse(text).expect(text);
            assert_eq!((mailbox.name.as_str(), mailbox.address.as_str()), (name, address));
        };
        check("Till <till@localhost>", "Till", "till@localhost");
        check("till@localhost", "", "till@localhost");
        assert!(Mailbox::parse("Till <till@localhost").is_err());
        assert!(Mailbox::parse("a\nBcc: b@c <till@localhost>").is_err());
        assert_eq!(Mailbox::parse("Till <till@localhost>").unwrap().to_string(), "Till <till@localhost>");
    }

    // promise: DOMAIN: mail header injection is refused
    #[test]
    fn a_header_with_a_line_end_is_refused() {
        for text in ["a\r\nBcc: x@y", "a\nb", "a\rb", "a\0b", "a\u{85}b", "a\u{2028}b", "tab\tbed"] {
            assert_eq!(HeaderText::parse(text), Err(AddressRefusal::Control), "{text:?}");
        }
        assert_eq!(HeaderText::parse(&"x".repeat(501)), Err(AddressRefusal::Length));
        assert_eq!(HeaderText::parse("Für dich: 5 €").unwrap().as_str(), "Für dich: 5 €");
    }
}
