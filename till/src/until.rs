//! Waiting for a condition with a deadline: asks, sleeps a little, asks again.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::Error;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Calls `look` until it finds something, or says what did not come in time. A part of the house that cannot be reached
/// meanwhile is waited for as well: it may just be starting again.
pub async fn until<T, F>(what: impl Display, patience: Duration, mut look: F) -> Result<T, Error>
where
    F: AsyncFnMut() -> Result<Option<T>, Error>,
{
    let deadline = Instant::now() + patience;
    loop {
        let last = match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => String::new(),
            Err(error @ Error::Http { .. }) => format!(" (last answer: {error})"),
            Err(error) => return Err(error),
        };
        if Instant::now() > deadline {
            return Err(Error::Story(format!("{what} did not come within {} s{last}", patience.as_secs_f32())));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_finds_what_comes_later_and_names_what_does_not_come() {
        let mut looks = 0;
        let found = until("a number", Duration::from_secs(5), async || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.await.unwrap(), 3);
        let missed = until("a mail", Duration::ZERO, async || Ok(None::<()>)).await.unwrap_err();
        assert!(missed.to_string().starts_with("a mail did not come within"), "{missed}");
    }
}
