//! Tells a story line by line, with the time since its beginning. Colours only on a terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A voice with a clock.
#[derive(Debug)]
pub struct Narrator {
    began: Instant,
    colours: bool,
}

impl Narrator {
    /// The clock starts now.
    pub fn begin() -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Narrator { began: Instant::now(), colours }
    }

    /// How long the story is already.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Somebody outside does something.
    pub fn act(&self, line: &str) {
        self.line("▸", "\x1b[1m", line);
    }

    /// The house answers by itself.
    pub fn hear(&self, line: &str) {
        self.line("·", "\x1b[32m", line);
    }

    /// A line without a time.
    pub fn plain(&self, line: &str) {
        println!("{line}");
    }

    fn line(&self, mark: &str, colour: &str, line: &str) {
        let (on, off) = if self.colours { (colour, "\x1b[0m") } else { ("", "") };
        println!("{:>8.3} s  {on}{mark} {line}{off}", self.elapsed().as_secs_f64());
    }
}
