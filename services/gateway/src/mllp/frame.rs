//! Frames: a message between 0x0B and 0x1C 0x0D. Bytes come in pieces of any size.
//!
//! What must stay true: every byte that came is in a frame that is given out, but for blanks
//! between frames and what a message has more than is taken.

use std::collections::VecDeque;

const START: u8 = 0x0b;
const END: u8 = 0x1c;
/// Only behind the first does it end a frame.
const END_SECOND: u8 = b'\r';

/// With what a message begins, behind the start of a frame. Within a message, the start is none
/// without one of them.
const BEGINNINGS: [&[u8]; 3] = [b"MSH", b"FHS", b"BHS"];

/// Bytes kept together of what stands outside every frame.
const STRAY_BYTES_MAX: usize = 64 << 10;

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The bytes between start and end.
    Message(Vec<u8>),
    /// The beginning of a message that has more bytes than are taken.
    TooLarge(Vec<u8>),
    /// A message that was not ended before the next one began, or before no more bytes came; or its
    /// beginning, if it had more bytes than are taken.
    Cut(Vec<u8>),
    /// Bytes outside every frame.
    Stray(Vec<u8>),
}

/// Finds the frames in what comes in.
#[derive(Debug)]
pub struct Frames {
    bytes_max: usize,
    state: State,
    found: VecDeque<Frame>,
    /// What may be the beginning of a sign: what comes next tells.
    held: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Outside { stray: Vec<u8> },
    Inside { bytes: Vec<u8>, more: More },
}

/// What a message has more than is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Nothing,
    /// Bytes that do not end it.
    Open,
    /// Bytes with which its sender takes it for ended.
    Ended,
}

/// What stands within a message where a sign of frames may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// The end, of so many bytes.
    End(usize),
    /// The next message begins here.
    Start,
    /// A byte of the message.
    Byte,
    /// The next bytes tell.
    Unclear,
}

impl Frames {
    pub fn new(bytes_max: usize) -> Self {
        let state = State::Outside { stray: Vec::new() };
        Self { bytes_max, state, found: VecDeque::new(), held: Vec::new() }
    }

    /// Takes in bytes, of which there may be any number of frames, or part of one.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let mut left = all.as_slice();
        while !left.is_empty() {
            let taken = match self.state {
                State::Outside { .. } => self.take_outside(left),
                State::Inside { .. } => self.take_inside(left),
            };
            if taken == 0 {
                self.held = left.to_vec();
                return;
            }
            left = left.get(taken..).unwrap_or_default();
        }
    }

    /// The next whole frame, if there is one.
    pub fn take(&mut self) -> Option<Frame> {
        self.found.pop_front()
    }

    /// What is left when no more bytes come.
    pub fn rest(mut self) -> Option<Frame> {
        let held = std::mem::take(&mut self.held);
        self.add(&held);
        self.end_frame(Frame::Cut);
        self.take()
    }

    /// Whether a message has begun and not ended.
    pub fn is_inside(&self) -> bool {
        matches!(self.state, State::Inside { .. })
    }

    /// Takes bytes up to the start of a message, and says how many.
    fn take_outside(&mut self, bytes: &[u8]) -> usize {
        let start = bytes.iter().position(|byte| *byte == START);
        self.add(bytes.get(..start.unwrap_or(bytes.len())).unwrap_or_default());
        let Some(start) = start else { return bytes.len() };
        self.begin_frame();
        start + 1
    }

    /// Takes bytes up to the next sign of frames, and says how many: none if more bytes must tell.
    fn take_inside(&mut self, bytes: &[u8]) -> usize {
        let Some(at) = bytes.iter().position(|byte| matches!(*byte, START | END)) else {
            self.add(bytes);
            return bytes.len();
        };
        let (before, behind) = bytes.split_at_checked(at).unwrap_or_default();
        self.add(before);
        match Sign::of(behind) {
            Sign::End(length) => {
                self.end_frame(Frame::Message);
                at + length
            }
            Sign::Start => {
                self.end_frame(Frame::Cut);
                self.begin_frame();
                at + 1
            }
            Sign::Byte => {
                self.add(behind.get(..1).unwrap_or_default());
                at + 1
            }
            Sign::Unclear => at,
        }
    }

    /// Adds bytes to what has begun.
    fn add(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Inside { bytes: message, more } => {
                let room = self.bytes_max.saturating_sub(message.len());
                message.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                *more = more.with(bytes.get(room..).unwrap_or_default());
            }
            State::Outside { stray } => {
                for byte in bytes {
                    // What some senders put between frames is nothing.
                    if stray.is_empty() && is_blank(*byte) {
                        continue;
                    }
                    stray.push(*byte);
                    if stray.len() >= STRAY_BYTES_MAX {
                        self.found.push_back(Frame::Stray(std::mem::take(stray)));
                    }
                }
            }
        }
    }

    /// A message begins.
    fn begin_frame(&mut self) {
        let inside = State::Inside { bytes: Vec::new(), more: More::Nothing };
        if let State::Outside { stray } = std::mem::replace(&mut self.state, inside)
            && !stray.is_empty()
        {
            self.found.push_back(Frame::Stray(stray));
        }
    }

    /// What has begun is over, as it is said of a message. Of one that was cut before it said
    /// anything, there is nothing to keep.
    fn end_frame(&mut self, of_message: fn(Vec<u8>) -> Frame) {
        let outside = State::Outside { stray: Vec::new() };
        let frame = match std::mem::replace(&mut self.state, outside) {
            State::Outside { stray } => Frame::Stray(stray),
            State::Inside { bytes, more } => match (of_message(bytes), more) {
                (Frame::Message(bytes), More::Open | More::Ended)
                | (Frame::Cut(bytes), More::Ended) => Frame::TooLarge(bytes),
                (frame, _) => frame,
            },
        };
        if !matches!(&frame, Frame::Stray(said) | Frame::Cut(said) if is_nothing(said)) {
            self.found.push_back(frame);
        }
    }
}

impl More {
    fn with(self, bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            self
        } else if seems_ended(bytes) || (self == Self::Ended && bytes.iter().all(|b| is_blank(*b)))
        {
            Self::Ended
        } else {
            Self::Open
        }
    }
}

impl Sign {
    /// What the first byte is, by those behind it.
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [END, END_SECOND, ..] => Self::End(2),
            // A sender that leaves the second out begins the next message.
            [END, rest @ ..] if rest.first() == Some(&START) => {
                let next = begins(rest);
                if next == Self::Start { Self::End(1) } else { next }
            }
            [END] => Self::Unclear,
            [START, ..] => begins(bytes),
            _ => Self::Byte,
        }
    }
}

/// Whether a message begins with the start of a frame that stands within another: as when its
/// sender was cut off, and begins anew on the same connection.
fn begins(bytes: &[u8]) -> Sign {
    let named = bytes.get(1..).unwrap_or_default();
    if BEGINNINGS.iter().any(|name| named.starts_with(name)) {
        Sign::Start
    } else if BEGINNINGS.iter().any(|name| name.starts_with(named)) {
        Sign::Unclear
    } else {
        Sign::Byte
    }
}

/// Whether the sender of a message that was cut takes it for ended, and waits for an answer: it
/// put something else behind 0x1C than 0x0D.
pub(super) fn seems_ended(cut: &[u8]) -> bool {
    let end = cut.iter().rposition(|byte| !is_blank(*byte));
    cut.get(end.map_or(0, |end| end + 1)..).is_some_and(|behind| behind.contains(&END))
}

/// Whether there is nothing to be kept.
fn is_nothing(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| is_blank(*byte) || *byte == START)
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

    fn cut(bytes: &[u8]) -> Frame {
        Frame::Cut(bytes.to_vec())
    }

    #[test]
    fn frames_come_in_pieces_and_side_by_side() {
        let both = b"\x0bMSH|1\r\x1c\r\x0bMSH|2\r\x1c\r\n\x0bMSH";
        let found = [message(b"MSH|1\r"), message(b"MSH|2\r"), cut(b"MSH")];
        assert_eq!(all(&[both], 100), found);
        let one_by_one: Vec<&[u8]> = both.chunks(1).collect();
        assert_eq!(all(&one_by_one, 100), found);
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
        let found = all(&[b"\x0bMSH|cut\x0bMSH|whole\x1c\r"], 100);
        assert_eq!(found, [cut(b"MSH|cut"), message(b"MSH|whole")]);
        assert_eq!(all(&[b"\x0b\x0bMSH|1\x1c\r"], 100), [message(b"MSH|1")], "a file had the sign");
        let text = b"MSH|a\x0bb";
        assert_eq!(all(&[&framed(text)], 100), [message(text)], "a tab within a text");
    }

    #[test]
    fn what_another_byte_than_the_second_follows_has_not_ended_and_is_kept() {
        let sent = b"\x0bMSH|1\x1c\n\x0bMSH|2\x1c\n\x0bMSH|3\x1c\r\x0bMSH|4\x1c\n";
        for size in [1, 2, 3, 5, 100] {
            let pieces: Vec<&[u8]> = sent.chunks(size).collect();
            let kept = [1, 2, 4].map(|n| cut(format!("MSH|{n}\x1c\n").as_bytes()));
            let [one, two, four] = kept;
            assert_eq!(all(&pieces, 100), [one, two, message(b"MSH|3"), four], "{size}");
        }
        // One that is too large does not swallow those behind it.
        let found = all(&[b"\x0bMSH|1234567\x1c\n\x0bMSH|2\x1c\r"], 6);
        assert_eq!(found, [Frame::TooLarge(b"MSH|12".to_vec()), message(b"MSH|2")]);
        let is_waited_for = [&b"MSH|1\x1c\n"[..], b"MSH|1\x1c", b"MSH|1\x1c\r\n"];
        assert!(is_waited_for.into_iter().all(seems_ended));
        assert!(![&b"MSH|1"[..], b"MSH|1\x1c\nx", b"", b"MSH|1\r\n"].into_iter().any(seems_ended));
    }

    #[test]
    fn the_signs_of_frames_within_a_text_cut_nothing() {
        for text in [&b"MSH|a\x1c\x0bb"[..], b"MSH|\x0b", b"MSH|a\x1c\x0bM|b", b"MSH|\x1c\x0bFH"] {
            let sent = framed(text);
            for size in [1, 2, 3, 100] {
                let pieces: Vec<&[u8]> = sent.chunks(size).collect();
                assert_eq!(all(&pieces, 100), [message(text)], "{size}");
            }
        }
    }

    #[test]
    fn a_larger_message_is_cut_and_the_next_one_whole() {
        let found = all(&[b"\x0bMSH|1234567\x1c\r\x0bMSH|2\x1c\r"], 6);
        assert_eq!(found, [Frame::TooLarge(b"MSH|12".to_vec()), message(b"MSH|2")]);
    }

    #[test]
    fn a_larger_message_that_was_cut_was_not_all_there() {
        let sent = b"\x0bMSH|1234567\x0bMSH|2\x1c\r\x0bMSH|3 and more";
        for size in [1, 2, 3, 100] {
            let pieces: Vec<&[u8]> = sent.chunks(size).collect();
            let found = all(&pieces, 6);
            assert_eq!(found, [cut(b"MSH|12"), message(b"MSH|2"), cut(b"MSH|3 ")], "{size}");
        }
    }

    #[test]
    fn bytes_outside_frames_are_all_kept_in_parts() {
        let found = all(&[b"\r\nGET / HTTP/1.1\r\n", b"\x0bM\x1c\r"], 100);
        assert_eq!(found, [Frame::Stray(b"GET / HTTP/1.1\r\n".to_vec()), message(b"M")]);
        let much = vec![b'x'; STRAY_BYTES_MAX + 7];
        let part = |bytes: usize| Frame::Stray(vec![b'x'; bytes]);
        assert_eq!(all(&[&much], 100), [part(STRAY_BYTES_MAX), part(7)]);
        let pieces: Vec<&[u8]> = much.chunks(1000).collect();
        assert_eq!(all(&pieces, 100), [part(STRAY_BYTES_MAX), part(7)]);
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

        #[test]
        fn nothing_is_lost_but_signs_and_blanks(
            bytes in prop::collection::vec(prop::sample::select(b"\x0b\x1c\r\nMSH|ab".to_vec()), 0..80),
        ) {
            let found = all(&[&bytes], 100).into_iter();
            let kept: Vec<u8> = found
                .flat_map(|frame| match frame {
                    Frame::Message(said)
                    | Frame::TooLarge(said)
                    | Frame::Cut(said)
                    | Frame::Stray(said) => said,
                })
                .collect();
            let said = |bytes: &[u8]| -> Vec<u8> {
                bytes.iter().copied().filter(|byte| !is_blank(*byte) && *byte != START).collect()
            };
            prop_assert_eq!(said(&kept), said(&bytes));
        }
    }
}
