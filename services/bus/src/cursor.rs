//! Cursors: how far somebody has seen, slot by slot. Opaque to callers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::stream::{Position, Slot};

/// Everything up to some position in each slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// How many events of each slot were seen; slots beyond the end: none.
    seen: Vec<u64>,
}

/// A cursor that is advanced in one place and told in another.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Mutex<Cursor>>);

/// A text that is not a cursor of this region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cursor is not one that this region gave out: use cursors as they came, or none to begin at the first event"
)]
pub struct MalformedCursor;

/// The first byte of an encoded cursor. Further forms get further numbers.
const EVERY_SLOT: u8 = 1;
const SOME_SLOTS: u8 = 2;

impl Cursor {
    /// Before the first event.
    pub fn start() -> Self {
        Self::default()
    }

    /// Everything up to and with `position` in its slot, and nothing elsewhere.
    pub fn at(position: Position) -> Self {
        let mut cursor = Self::start();
        cursor.advance(position);
        cursor
    }

    /// How many events of `slot` were seen.
    pub fn seen(&self, slot: Slot) -> u64 {
        self.seen.get(usize::from(slot.0)).copied().unwrap_or(0)
    }

    pub fn has_seen(&self, position: Position) -> bool {
        position.n <= self.seen(position.slot)
    }

    /// Whether all that `other` has seen was seen.
    pub fn covers(&self, other: &Self) -> bool {
        other.positions().all(|position| self.has_seen(position))
    }

    /// Sees one event more.
    pub fn advance(&mut self, position: Position) {
        let index = usize::from(position.slot.0);
        if self.seen.len() <= index {
            self.seen.resize(index + 1, 0);
        }
        if let Some(seen) = self.seen.get_mut(index) {
            *seen = (*seen).max(position.n);
        }
    }

    /// The last position seen in each slot of which something was seen.
    pub fn positions(&self) -> impl Iterator<Item = Position> {
        (0..)
            .zip(&self.seen)
            .filter(|(_, n)| **n > 0)
            .map(|(slot, n)| Position { slot: Slot(slot), n: *n })
    }

    /// The text that callers keep.
    pub fn encode(&self) -> String {
        let some = self.positions().count();
        let mut bytes = Vec::with_capacity(8 + 4 * self.seen.len());
        if some * 2 > self.seen.len() {
            bytes.push(EVERY_SLOT);
            for n in &self.seen {
                write_varint(&mut bytes, *n);
            }
        } else {
            bytes.push(SOME_SLOTS);
            for Position { slot, n } in self.positions() {
                write_varint(&mut bytes, u64::from(slot.0));
                write_varint(&mut bytes, n);
            }
        }
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor of a region with so many slots. An empty text is the start.
    pub fn decode(text: &str, slots: u16) -> Result<Self, MalformedCursor> {
        if text.is_empty() {
            return Ok(Self::start());
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).or(Err(MalformedCursor))?;
        let (form, mut rest) = bytes.split_first().ok_or(MalformedCursor)?;
        let mut cursor = Self::start();
        let mut next_slot = 0;
        while !rest.is_empty() {
            let slot = match *form {
                EVERY_SLOT => next_slot,
                SOME_SLOTS => read_varint(&mut rest)?,
                _ => return Err(MalformedCursor),
            };
            let n = read_varint(&mut rest)?;
            let slot = u16::try_from(slot).or(Err(MalformedCursor))?;
            if slot >= slots {
                return Err(MalformedCursor);
            }
            cursor.advance(Position { slot: Slot(slot), n });
            next_slot = u64::from(slot) + 1;
        }
        Ok(cursor)
    }
}

impl Progress {
    pub fn from(cursor: Cursor) -> Self {
        Self(Arc::new(Mutex::new(cursor)))
    }

    pub fn has_seen(&self, position: Position) -> bool {
        self.lock().has_seen(position)
    }

    pub fn advance(&self, position: Position) {
        self.lock().advance(position);
    }

    pub fn encode(&self) -> String {
        self.lock().encode()
    }

    fn lock(&self) -> MutexGuard<'_, Cursor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_varint(bytes: &mut Vec<u8>, number: u64) {
    prost::encoding::encode_varint(number, bytes);
}

fn read_varint(bytes: &mut &[u8]) -> Result<u64, MalformedCursor> {
    prost::encoding::decode_varint(bytes).or(Err(MalformedCursor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursor(positions: &[(u16, u64)]) -> Cursor {
        let mut cursor = Cursor::start();
        for (slot, n) in positions {
            cursor.advance(Position { slot: Slot(*slot), n: *n });
        }
        cursor
    }

    #[test]
    fn a_cursor_covers_what_it_has_seen() {
        let some = cursor(&[(0, 3), (5, 1)]);
        assert!(some.covers(&cursor(&[(0, 2)])));
        assert!(!some.covers(&cursor(&[(0, 4)])));
        assert!(!some.covers(&cursor(&[(6, 1)])));
        assert!(Cursor::start().covers(&Cursor::start()));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["x", "!!", "病院", "AQ==", "A_______", "AgUB"] {
            assert_eq!(Cursor::decode(text, 4), Err(MalformedCursor), "{text}");
        }
        assert!(Cursor::decode("AgUB", 64).is_ok());
    }

    #[test]
    fn the_written_form_stays_readable_for_ever() {
        assert_eq!(cursor(&[(5, 1)]).encode(), "AgUB");
        assert_eq!(cursor(&[(0, 300), (1, 2)]).encode(), "AawCAg");
        assert_eq!(Cursor::decode("AawCAg", 64), Ok(cursor(&[(0, 300), (1, 2)])));
    }

    proptest! {
        #[test]
        fn a_cursor_reads_as_it_was_written(
            positions in proptest::collection::vec((0..64u16, 1..u64::MAX), 0..80)
        ) {
            let written = cursor(&positions);
            prop_assert_eq!(Cursor::decode(&written.encode(), 64), Ok(written));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _any = Cursor::decode(&text, 64);
        }
    }
}
