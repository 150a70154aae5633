//! Bearer tokens in files, which may be replaced at any time: the one that is shown to a sink, and those that are let in.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq as _;

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
        let token = tokens_in(&text).next()?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        bearer.set_sensitive(true);
        Some(bearer)
    }
}

/// Whether a request shows one of the tokens in `file`. Each is compared in constant time, so that the answer's time says nothing.
pub fn admits(file: &Path, headers: &HeaderMap) -> bool {
    let Some(bearer) = bearer(headers) else { return false };
    let text = std::fs::read_to_string(file)
        .inspect_err(
            |error| tracing::warn!(file = %file.display(), %error, "the tokens cannot be read; all are refused"),
        )
        .unwrap_or_default();
    tokens_in(&text).filter(|token| bool::from(token.as_bytes().ct_eq(bearer.as_bytes()))).count() > 0
}

/// What a file of tokens holds: one, or two while one is rotated, one a line or separated by commas. The first is the newer.
pub fn tokens_in(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(str::trim).filter(|token| !token.is_empty())
}

/// The token that a request shows.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
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

    #[test]
    fn each_token_of_a_file_is_let_in_and_no_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "new, old\n").unwrap();
        let check = |shown: &str| {
            admits(file.path(), &HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(shown).unwrap())]))
        };
        assert!(check("Bearer new") && check("bearer old"));
        for shown in ["Bearer ", "Bearer ,", "Bearer new,", "Bearer new, old", "Basic new", "new"] {
            assert!(!check(shown), "{shown}");
        }
        assert!(!admits(Path::new("/nowhere"), &HeaderMap::from_iter([(AUTHORIZATION, "Bearer x".parse().unwrap())])));
    }
}
