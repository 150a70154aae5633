//! As much of Kafka's wire as it takes to lose an answer: where requests and answers begin, what is asked, and what answers it.

use std::collections::HashMap;

/// Kinds of requests, by Kafka's numbers.
pub const PRODUCE: i16 = 0;
pub const OFFSET_COMMIT: i16 = 8;
pub const ADD_PARTITIONS: i16 = 24;
pub const ADD_OFFSETS: i16 = 25;
pub const END_TRANSACTION: i16 = 26;
pub const TRANSACTION_OFFSETS: i16 = 28;

/// Everything that settling is made of.
pub const SETTLING: [i16; 6] =
    [PRODUCE, OFFSET_COMMIT, ADD_PARTITIONS, ADD_OFFSETS, END_TRANSACTION, TRANSACTION_OFFSETS];

/// Which answers are lost: the broker has done what was asked, and its connection is cut before it can say so.
#[derive(Default)]
pub struct Losses {
    pub kinds: Vec<i16>,
    /// One answer in so many; 0 is none.
    pub one_in: u32,
    /// As many as this.
    pub left: usize,
    /// Afterwards nothing passes any more.
    pub then_hole: bool,
    pub chance: fastrand::Rng,
    /// What was lost so far.
    pub lost: Vec<i16>,
}

impl Losses {
    fn takes(&mut self, kind: i16) -> bool {
        self.left > 0 && self.one_in > 0 && self.kinds.contains(&kind) && self.chance.u32(..self.one_in) == 0
    }

    /// Whether an answer of this kind, which was to be lost, is.
    fn lose(&mut self, kind: i16) -> bool {
        let more = self.left > 0;
        if more {
            self.left -= 1;
            self.lost.push(kind);
        }
        more
    }
}

/// The requests of one connection whose answers are to be lost, by their correlation.
#[derive(Default)]
pub struct Awaited(HashMap<[u8; 4], i16>);

impl Awaited {
    /// A piece of what the client says.
    pub fn ask(&mut self, frames: &mut Frames<8>, piece: &[u8], losses: &mut Losses) {
        for [kind_high, kind_low, _, _, correlation @ ..] in frames.take(piece) {
            let kind = i16::from_be_bytes([kind_high, kind_low]);
            if losses.takes(kind) {
                self.0.insert(correlation, kind);
            }
        }
    }

    /// Whether a piece of what the broker says holds an answer that is lost.
    pub fn is_lost(&mut self, frames: &mut Frames<4>, piece: &[u8], losses: &mut Losses) -> bool {
        let answered = frames.take(piece).into_iter();
        answered.filter_map(|correlation| self.0.remove(&correlation)).any(|kind| losses.lose(kind))
    }
}

/// Finds where frames begin in a stream that comes in pieces.
#[derive(Default)]
pub struct Frames<const N: usize> {
    head: Vec<u8>,
    skip: usize,
}

impl<const N: usize> Frames<N> {
    /// The first bytes behind the length of each frame that has shown them with this piece.
    fn take(&mut self, mut piece: &[u8]) -> Vec<[u8; N]> {
        let mut found = Vec::new();
        while !piece.is_empty() {
            let wanted = if self.skip > 0 { self.skip } else { 4 + N - self.head.len() };
            let (part, rest) = piece.split_at(wanted.min(piece.len()));
            piece = rest;
            if self.skip > 0 {
                self.skip -= part.len();
                continue;
            }
            self.head.extend_from_slice(part);
            if let Some((length, first)) = self.head.split_first_chunk::<4>()
                && let Ok(first) = <[u8; N]>::try_from(first)
            {
                self.skip = u32::from_be_bytes(*length) as usize - N;
                self.head.clear();
                found.push(first);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind, version, correlation and a body, behind their length.
    fn request(kind: i16, correlation: i32, body: usize) -> Vec<u8> {
        let head = [&(8 + body as u32).to_be_bytes()[..], &kind.to_be_bytes(), &[0, 1], &correlation.to_be_bytes()];
        [head.concat(), vec![7; body]].concat()
    }

    fn answer(correlation: i32, body: usize) -> Vec<u8> {
        [&(4 + body as u32).to_be_bytes()[..], &correlation.to_be_bytes(), &vec![7; body]].concat()
    }

    #[test]
    fn the_answer_to_one_request_of_a_kind_is_lost_however_the_bytes_come() {
        let said = [request(3, 1, 9), request(END_TRANSACTION, 2, 0), request(END_TRANSACTION, 3, 30)].concat();
        for size in [1, 3, 7, 100] {
            let mut losses = Losses { kinds: vec![END_TRANSACTION], one_in: 1, left: 1, ..Losses::default() };
            let (mut awaited, mut asked, mut answered) = (Awaited::default(), Frames::default(), Frames::default());
            said.chunks(size).for_each(|piece| awaited.ask(&mut asked, piece, &mut losses));
            let mut is_lost = |text: Vec<u8>| {
                let lost: Vec<bool> =
                    text.chunks(size).map(|piece| awaited.is_lost(&mut answered, piece, &mut losses)).collect();
                lost.contains(&true)
            };
            assert_eq!([is_lost(answer(1, 5)), is_lost(answer(2, 0)), is_lost(answer(3, 8))], [false, true, false]);
            assert_eq!(losses.lost, [END_TRANSACTION]);
        }
    }
}
