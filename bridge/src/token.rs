//! A bearer token in a file, which may be replaced at any time: it is read again when it is older than a moment.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::HeaderValue;

const FRESH_FOR: Duration = Duration::from_secs(1);

/// The token that the bridge shows to a sink.
#[derive(Debug)]
pub struct Token {
    file: PathBuf,
    read: RefCell<Option<(Instant, Option<HeaderValue>)>>,
}

impl Token {
    pub fn in_file(file: &Path) -> Self {
        Token { file: file.to_owned(), read: RefCell::default() }
    }

    /// The value of an `Authorization` header; `None` while the file cannot be read or holds no token.
    pub fn bearer(&self) -> Option<HeaderValue> {
        let mut read = self.read.borrow_mut();
        if let Some((_, bearer)) = read.as_ref().filter(|(at, _)| at.elapsed() < FRESH_FOR) {
            return bearer.clone();
        }
        let bearer = self.look();
        *read = Some((Instant::now(), bearer.clone()));
        bearer
    }

    /// While a token is rotated, the file holds two: the first is shown.
    fn look(&self) -> Option<HeaderValue> {
        let text = std::fs::read_to_string(&self.file)
            .inspect_err(|error| tracing::warn!(file = %self.file.display(), %error, "the token cannot be read"))
            .ok()?;
        let token = text.split([',', '\n']).map(str::trim).find(|token| !token.is_empty())?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        bearer.set_sensitive(true);
        Some(bearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_tokens_is_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["new,old\n", "new\nold\n", "\n new , old"] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(Token::in_file(file.path()).bearer().unwrap(), "Bearer new", "{text:?}");
        }
        std::fs::write(file.path(), " \n").unwrap();
        assert_eq!(Token::in_file(file.path()).bearer(), None);
        assert_eq!(Token::in_file(Path::new("/nowhere")).bearer(), None);
    }
}
