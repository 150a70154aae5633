//! Tokens are arrows: each may write to the topic whose file it stands in, and to no other. The folder is read again when it
//! is older than a moment, so that a token is rotated without a restart: two lines are valid meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::HeaderMap;
use subtle::ConstantTimeEq as _;

use super::answer::Refusal;
use crate::token::{bearer, tokens_in};

const FRESH_FOR: Duration = Duration::from_secs(1);

pub(super) struct Tokens {
    folder: Option<PathBuf>,
    read: Mutex<Option<(Instant, Arc<Vec<Arrow>>)>>,
}

/// One token and the topic that it may write to.
struct Arrow {
    topic: String,
    token: String,
}

impl Tokens {
    pub(super) fn in_folder(folder: Option<&Path>) -> Self {
        Tokens { folder: folder.map(Path::to_owned), read: Mutex::default() }
    }

    /// The topic that the bearer may write to: the wanted one, or the only one that its token names.
    pub(super) fn topic(&self, headers: &HeaderMap, wanted: Option<&str>) -> Result<String, Refusal> {
        let bearer = bearer(headers).ok_or(Refusal::Unauthorized("a bearer token is needed"))?;
        let arrows = self.arrows();
        // Every token is compared, each in constant time, so that the answer's time says nothing about them.
        let hits = arrows.iter().filter(|arrow| bool::from(arrow.token.as_bytes().ct_eq(bearer.as_bytes())));
        let topics: Vec<&str> = hits.map(|arrow| arrow.topic.as_str()).collect();
        match (topics.as_slice(), wanted) {
            ([], _) => Err(Refusal::Unauthorized("the token is not known")),
            (topics, Some(wanted)) if topics.contains(&wanted) => Ok(wanted.to_owned()),
            (_, Some(wanted)) => Err(Refusal::Forbidden(format!("the token may not write to the topic {wanted}"))),
            ([topic], None) => Ok((*topic).to_owned()),
            (_, None) => Err(Refusal::Forbidden("the token names several topics; post to /topics/{topic}".into())),
        }
    }

    fn arrows(&self) -> Arc<Vec<Arrow>> {
        let mut read = self.read.lock().expect("no holder panics");
        if let Some((_, arrows)) = read.as_ref().filter(|(at, _)| at.elapsed() < FRESH_FOR) {
            return Arc::clone(arrows);
        }
        let arrows = Arc::new(self.folder.as_deref().map(look).unwrap_or_default());
        *read = Some((Instant::now(), Arc::clone(&arrows)));
        arrows
    }
}

fn look(folder: &Path) -> Vec<Arrow> {
    read(folder).unwrap_or_else(|error| {
        tracing::warn!(folder = %folder.display(), %error, "the push tokens cannot be read; all are refused");
        Vec::new()
    })
}

fn read(folder: &Path) -> std::io::Result<Vec<Arrow>> {
    let mut arrows = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(topic) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // A mounted Secret has folders and links of its own, which begin with dots.
        if topic.starts_with('.') || !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        arrows.extend(tokens_in(&text).map(|token| Arrow { topic: topic.to_owned(), token: token.to_owned() }));
    }
    Ok(arrows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::AUTHORIZATION;

    fn headers(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())])
    }

    // promise: BRIDGE: a token names the topic that it may write
    #[test]
    fn a_token_opens_its_own_topic_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("core"), "old\nnew\n").unwrap();
        std::fs::write(folder.path().join("mailer"), "other,both\n").unwrap();
        std::fs::write(folder.path().join("cron"), "both").unwrap();
        std::fs::write(folder.path().join(".hidden"), "hidden").unwrap();
        let tokens = Tokens::in_folder(Some(folder.path()));
        let check = |authorization: &str, wanted: Option<&str>, expected: Result<&str, u16>| {
            let topic = tokens.topic(&headers(authorization), wanted);
            let topic = topic.map_err(|refusal| refusal.into_response().status().as_u16());
            assert_eq!(topic.as_deref().map_err(|status| *status), expected, "{authorization} for {wanted:?}");
        };
        check("Bearer old", None, Ok("core"));
        check("bearer new", Some("core"), Ok("core"));
        check("Bearer other", Some("core"), Err(403));
        check("Bearer other", Some(".hidden"), Err(403));
        check("Bearer hidden", Some(".hidden"), Err(401));
        check("Bearer both", None, Err(403));
        check("Bearer both", Some("cron"), Ok("cron"));
        check("Bearer ", None, Err(401));
        check("Basic old", None, Err(401));
        check("Bearer unknown", Some("core"), Err(401));
        assert!(tokens.topic(&HeaderMap::new(), None).is_err());
    }

    #[test]
    fn a_folder_that_cannot_be_read_refuses_everybody() {
        for tokens in [Tokens::in_folder(Some(Path::new("/nowhere"))), Tokens::in_folder(None)] {
            assert!(matches!(tokens.topic(&headers("Bearer x"), None), Err(Refusal::Unauthorized(_))));
        }
    }
}
