//! Frames: a message between 0x0B and 0x1C 0x0D. Bytes come in pieces of any size.

use std::collections::VecDeque;

const START: u8 = 0x0b;
const END: u8 = 0x1c;
/// Only behind the first does it end a frame.
const END_SECOND: u8 = b'\r';

/// Bytes kept of what stands outside every frame.
const STRAY_BYTES_MAX: usize = 64 << 10;

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The bytes between start and end.
    Message(Vec<u8>),
    /// The beginning of a message that has more bytes than are taken.
    TooLarge(Vec<u8>),
    /// Bytes outside every frame.
    Stray(Vec<u8>),
}

/// Finds the frames in what comes in.
#[derive(Debug)]
pub struct Frames {
    bytes_max: usize,
    state: State,
    found: VecDeque<Frame>,
}

#[derive(Debug)]
enum State {
    Outside {
        stray: Vec<u8>,
    },
    Inside {
        bytes: Vec<u8>,
        is_too_large: bool,
        /// The last byte was the first of the two that end a frame.
        may_end: bool,
    },
}

impl Frames {
    pub fn new(bytes_max: usize) -> Self {
        let state = State::Outside { stray: Vec::new() };
        Self { bytes_max, state, found: VecDeque::new() }
    }

    /// Takes in bytes, of which there may be any number of frames, or part of one.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Outside { stray } => {
                    let (before, rest) = split_at(bytes, START);
                    let room = STRAY_BYTES_MAX.saturating_sub(stray.len());
                    let said = before.iter().copied();
                    // What some senders put between frames is nothing.
                    let is_kept = !stray.is_empty();
                    stray.extend(said.skip_while(|b| !is_kept && is_blank(*b)).take(room));
                    let is_full = stray.len() >= STRAY_BYTES_MAX;
                    if (rest.is_some() || is_full) && !stray.is_empty() {
                        self.found.push_back(Frame::Stray(std::mem::take(stray)));
                    }
                    if rest.is_some() {
                        self.state = State::Inside {
                            bytes: Vec::new(),
                            is_too_large: false,
                            may_end: false,
                        };
                    }
                    rest.unwrap_or_default()
                }
                State::Inside { bytes: message, is_too_large, may_end } => {
                    let (is_end, rest) = match bytes.split_first() {
                        Some((&END_SECOND, rest)) if *may_end => (true, rest),
                        // A sender that leaves the second out begins the next message.
                        Some((&START, _)) if *may_end => (true, bytes),
                        _ => (false, bytes),
                    };
                    if is_end {
                        self.end_frame();
                        rest
                    } else {
                        // By itself, it is a byte of the message.
                        let held = if *may_end { &[END][..] } else { &[] };
                        let (inside, behind) = split_at(rest, END);
                        for piece in [held, inside] {
                            let room = self.bytes_max.saturating_sub(message.len());
                            message.extend_from_slice(piece.get(..room).unwrap_or(piece));
                            *is_too_large |= piece.len() > room;
                        }
                        *may_end = behind.is_some();
                        behind.unwrap_or_default()
                    }
                }
            };
        }
    }

    /// The next whole frame, if there is one.
    pub fn take(&mut self) -> Option<Frame> {
        self.found.pop_front()
    }

    /// What is left when no more bytes come: stray bytes. A message that was not ended is still
    /// its sender's, who was not answered.
    pub fn rest(self) -> Option<Frame> {
        match self.state {
            State::Outside { stray } if !stray.is_empty() => Some(Frame::Stray(stray)),
            State::Outside { .. } | State::Inside { .. } => None,
        }
    }

    /// Whether a message has begun and not ended.
    pub fn is_inside(&self) -> bool {
        matches!(self.state, State::Inside { .. })
    }

    fn end_frame(&mut self) {
        let outside = State::Outside { stray: Vec::new() };
        let State::Inside { bytes, is_too_large, .. } = std::mem::replace(&mut self.state, outside)
        else {
            return;
        };
        let message = from_last_start(bytes);
        self.found.push_back(if is_too_large {
            Frame::TooLarge(message)
        } else {
            Frame::Message(message)
        });
    }
}

/// A sender that was cut off in a message begins it anew on the same connection: what counts is
/// what stands behind the last start of a message.
fn from_last_start(bytes: Vec<u8>) -> Vec<u8> {
    let begins = |four: &[u8]| matches!(four, [START, rest @ ..] if [b"MSH", b"FHS", b"BHS"].iter().any(|name| rest == *name));
    match bytes.windows(4).rposition(begins) {
        Some(at) => bytes.get(at + 1..).unwrap_or_default().to_vec(),
        None => bytes,
    }
}

/// What stands before a sign, and what stands behind it if it is there.
fn split_at(bytes: &[u8], sign: u8) -> (&[u8], Option<&[u8]>) {
    match bytes.iter().position(|byte| *byte == sign) {
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..)),
        None => (bytes, None),
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | b' ' | 0 | END)
}

/// A message in its frame.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 3);
    frame.push(START);
    frame.extend_from_slice(message);
    frame.extend([END, END_SECOND]);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]], bytes_max: usize) -> Vec<Frame> {
        let mut frames = Frames::new(bytes_max);
        for piece in pieces {
            frames.push(piece);
        }
        let mut found: Vec<Frame> = std::iter::from_fn(|| frames.take()).collect();
        found.extend(frames.rest());
        found
    }

    fn message(bytes: &[u8]) -> Frame {
        Frame::Message(bytes.to_vec())
    }

    #[test]
    fn frames_come_in_pieces_and_side_by_side() {
        let both = b"\x0bMSH|1\r\x1c\r\x0bMSH|2\r\x1c\r\n\x0bMSH";
        assert_eq!(all(&[both], 100), [message(b"MSH|1\r"), message(b"MSH|2\r")]);
        let one_by_one: Vec<&[u8]> = both.chunks(1).collect();
        assert_eq!(all(&one_by_one, 100), [message(b"MSH|1\r"), message(b"MSH|2\r")]);
    }

    #[test]
    fn half_an_end_within_a_text_ends_nothing() {
        let text = b"MSH|a\x1cb\x1c\x1c";
        let sent = [&framed(text)[..], b"\x0bMSH|2\x1c", b"\r"].concat();
        for size in [1, 2, 3, 100] {
            let pieces: Vec<&[u8]> = sent.chunks(size).collect();
            assert_eq!(all(&pieces, 100), [message(text), message(b"MSH|2")], "{size}");
        }
        let next = b"\x0bMSH|1\x1c\x0bMSH|2\x1c\r";
        assert_eq!(all(&[next], 100), [message(b"MSH|1"), message(b"MSH|2")], "none is lost");
        let mut frames = Frames::new(100);
        frames.push(b"\x0bMSH|1\x1c");
        assert!(frames.is_inside() && frames.take().is_none(), "it has not ended");
    }

    #[test]
    fn a_message_begun_anew_is_the_one_that_counts() {
        assert_eq!(all(&[b"\x0bMSH|cut\x0bMSH|whole\x1c\r"], 100), [message(b"MSH|whole")]);
        assert_eq!(all(&[b"\x0b\x0bMSH|1\x1c\r"], 100), [message(b"MSH|1")], "a file had the sign");
        let text = b"MSH|a\x0bb";
        assert_eq!(all(&[&framed(text)], 100), [message(text)], "a tab within a text");
    }

    #[test]
    fn a_larger_message_is_cut_and_the_next_one_whole() {
        let found = all(&[b"\x0bMSH|1234567\x1c\r\x0bMSH|2\x1c\r"], 6);
        assert_eq!(found, [Frame::TooLarge(b"MSH|12".to_vec()), message(b"MSH|2")]);
    }

    #[test]
    fn bytes_outside_frames_are_kept_up_to_a_limit() {
        let found = all(&[b"\r\nGET / HTTP/1.1\r\n", b"\x0bM\x1c\r"], 100);
        assert_eq!(found, [Frame::Stray(b"GET / HTTP/1.1\r\n".to_vec()), message(b"M")]);
        let much = vec![b'x'; STRAY_BYTES_MAX + 7];
        assert!(
            matches!(&all(&[&much], 100)[0], Frame::Stray(kept) if kept.len() == STRAY_BYTES_MAX)
        );
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_frames_are_the_same(
            bytes in prop::collection::vec(prop::sample::select(b"\x0b\x1c\rMSH|ab".to_vec()), 0..80),
            cut in 1_usize..9,
        ) {
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(all(&pieces, 12), all(&[&bytes], 12));
        }
    }
}
