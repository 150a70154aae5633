//! What a component writes to stdout and stderr goes to the log, line by line, under the component's name.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// Longer lines are cut into pieces of this size.
const LINE_BYTES_MAX: usize = 8 << 10;

/// One of the two streams of one instance.
#[derive(Clone)]
pub struct Output(Arc<Mutex<Lines>>);

struct Lines {
    component: String,
    stream: &'static str,
    unfinished: Vec<u8>,
}

impl Output {
    pub fn new(component: &str, stream: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Lines { component: component.to_owned(), stream, unfinished: Vec::new() })))
    }
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.unfinished.len() >= LINE_BYTES_MAX {
                self.tell();
            }
        }
    }

    fn tell(&mut self) {
        for piece in self.unfinished.trim_ascii_end().chunks(LINE_BYTES_MAX) {
            let line = String::from_utf8_lossy(piece);
            tracing::info!(target: "host::output", component = self.component, stream = self.stream, "{line}");
        }
        self.unfinished.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.tell();
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_told_and_a_long_one_is_cut() {
        let mut lines = Lines { component: "a".into(), stream: "stdout", unfinished: Vec::new() };
        lines.write(b"one\ntw");
        assert_eq!(lines.unfinished, b"tw");
        lines.write(b"o\n");
        assert!(lines.unfinished.is_empty());
        lines.write(&vec![b'x'; LINE_BYTES_MAX + 1]);
        assert!(lines.unfinished.is_empty());
    }
}
