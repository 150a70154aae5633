//! Chunked bodies (RFC 9112, section 7.1): a body is put together from what has come so far.

use httparse::Status;

use super::wire::{HEAD_BYTES_MAX, Malformed};

/// What comes next in a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    Size,
    Data(usize),
    LineEnd,
    Trailers,
    Nothing,
}

impl Chunk {
    /// Takes one piece of `bytes` and answers how long it is; 0 while it has not all come. There is `size CRLF data CRLF` again and
    /// again; after a size of zero come trailers, which nobody looks at.
    pub fn step(&mut self, body: &mut Vec<u8>, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Chunk::Size => match httparse::parse_chunk_size(bytes).map_err(|_| Malformed::Chunk)? {
                Status::Complete((length, size)) => {
                    let size = usize::try_from(size).map_err(|_| Malformed::Chunk)?;
                    *self = if size == 0 { Chunk::Trailers } else { Chunk::Data(size) };
                    Ok(length)
                }
                Status::Partial => wait(bytes),
            },
            Chunk::Data(rest) => {
                let taken = keep(body, bytes, *rest);
                *rest -= taken;
                if *rest == 0 {
                    *self = Chunk::LineEnd;
                }
                Ok(taken)
            }
            Chunk::LineEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    *self = Chunk::Size;
                    Ok(2)
                }
                [] | [b'\r'] => Ok(0),
                _ => Err(Malformed::Chunk),
            },
            Chunk::Trailers => self.trailer(bytes),
            Chunk::Nothing => Ok(0),
        }
    }

    fn trailer(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match bytes.iter().position(|byte| *byte == b'\n') {
            None => wait(bytes),
            Some(at) => {
                if matches!(&bytes[..at], [] | [b'\r']) {
                    *self = Chunk::Nothing;
                }
                Ok(at + 1)
            }
        }
    }
}

/// For the end of a line, but not for ever.
fn wait(line: &[u8]) -> Result<usize, Malformed> {
    if line.len() < HEAD_BYTES_MAX { Ok(0) } else { Err(Malformed::TooLong) }
}

/// Keeps at most so many of the bytes; answers how many.
pub fn keep(kept: &mut Vec<u8>, bytes: &[u8], most: usize) -> usize {
    let taken = bytes.len().min(most);
    kept.extend_from_slice(&bytes[..taken]);
    taken
}
