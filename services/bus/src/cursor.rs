//! Cursors: how far somebody has seen, slot by slot. Opaque to callers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::region::Region;
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

/// Why a text is of no use here as a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    #[error(
        "the cursor is not one that a server gave out: use cursors as they came, or none to begin at the first event"
    )]
    Malformed,
    #[error(
        "the cursor is of another region, or of this one before it was restored from a copy: use one that it gave out since, or none to begin at its first event, and know by their event ids what you have"
    )]
    OtherRegion,
    #[error(
        "the cursor has seen events that are not stored here, as after an older backup was put back: begin again without a cursor, and know by their event ids what you have"
    )]
    Ahead,
    #[error("the server has not yet seen what the cursor has seen: try again")]
    NotReached,
}

/// Which region a cursor is of.
pub(crate) type RegionTag = [u8; 4];

/// The first byte of an encoded cursor. Further forms get further numbers.
const EVERY_SLOT: u8 = 1;
const SOME_SLOTS: u8 = 2;
/// A region's tag stands before one of the other forms.
const OF_REGION: u8 = 3;

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

    /// The cursor, if nothing that it has seen lies beyond `end`.
    pub fn within(self, end: &Self) -> Result<Self, CursorError> {
        if end.covers(&self) { Ok(self) } else { Err(CursorError::Ahead) }
    }

    /// The cursor as text, for the region itself.
    pub fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.to_bytes())
    }

    /// Reads a cursor of a region with so many slots. An empty text is the start.
    pub fn decode(text: &str, slots: u16) -> Result<Self, CursorError> {
        if text.is_empty() { Ok(Self::start()) } else { Self::from_bytes(&bytes(text)?, slots) }
    }

    /// The text that callers keep: it says of which region it is.
    pub(crate) fn encode_of(&self, region: RegionTag) -> String {
        let mut bytes = vec![OF_REGION];
        bytes.extend(region);
        bytes.extend(self.to_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the text that callers keep. A text without a tag is read too: cursors had none
    /// at first.
    pub(crate) fn decode_of(
        text: &str,
        region: RegionTag,
        slots: u16,
    ) -> Result<Self, CursorError> {
        let bytes = bytes(text)?;
        let Some((&OF_REGION, tagged)) = bytes.split_first() else {
            return Self::decode(text, slots);
        };
        let (tag, rest) = tagged.split_first_chunk().ok_or(CursorError::Malformed)?;
        if *tag != region {
            return Err(CursorError::OtherRegion);
        }
        Self::from_bytes(rest, slots)
    }

    fn to_bytes(&self) -> Vec<u8> {
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
        bytes
    }

    fn from_bytes(bytes: &[u8], slots: u16) -> Result<Self, CursorError> {
        let (form, mut rest) = bytes.split_first().ok_or(CursorError::Malformed)?;
        if ![EVERY_SLOT, SOME_SLOTS].contains(form) {
            return Err(CursorError::Malformed);
        }
        let mut cursor = Self::start();
        let mut next_slot = 0;
        while !rest.is_empty() {
            let slot = if *form == EVERY_SLOT { next_slot } else { read_varint(&mut rest)? };
            let n = read_varint(&mut rest)?;
            let slot = u16::try_from(slot).or(Err(CursorError::Malformed))?;
            if slot >= slots {
                return Err(CursorError::Malformed);
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

    /// The text that callers keep.
    pub fn text(&self, region: &Region) -> String {
        region.cursor_text(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Cursor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_varint(bytes: &mut Vec<u8>, number: u64) {
    prost::encoding::encode_varint(number, bytes);
}

fn bytes(text: &str) -> Result<Vec<u8>, CursorError> {
    BASE64_URL_SAFE_NO_PAD.decode(text).or(Err(CursorError::Malformed))
}

fn read_varint(bytes: &mut &[u8]) -> Result<u64, CursorError> {
    prost::encoding::decode_varint(bytes).or(Err(CursorError::Malformed))
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
        for text in ["x", "!!", "病院", "AQ==", "A_______", "Aw", "_w", "AgUB"] {
            assert_eq!(Cursor::decode(text, 4), Err(CursorError::Malformed), "{text}");
            assert_eq!(
                Cursor::decode_of(text, [0xff; 4], 4),
                Err(CursorError::Malformed),
                "{text}"
            );
        }
        assert!(Cursor::decode("AgUB", 64).is_ok());
    }

    #[test]
    fn the_written_form_stays_readable_for_ever() {
        assert_eq!(cursor(&[(5, 1)]).encode(), "AgUB");
        assert_eq!(cursor(&[(0, 300), (1, 2)]).encode(), "AawCAg");
        assert_eq!(Cursor::decode("AawCAg", 64), Ok(cursor(&[(0, 300), (1, 2)])));
        assert_eq!(cursor(&[(5, 1)]).encode_of([1, 2, 3, 4]), "AwECAwQCBQE");
        for of_a_region in ["AwECAwQCBQE", "AgUB"] {
            let read = Cursor::decode_of(of_a_region, [1, 2, 3, 4], 64);
            assert_eq!(read, Ok(cursor(&[(5, 1)])));
        }
    }

    #[test]
    fn a_cursor_of_another_region_is_told_from_one_that_is_none() {
        let text = cursor(&[(5, 1)]).encode_of([1, 2, 3, 4]);
        assert_eq!(Cursor::decode_of(&text, [1, 2, 3, 5], 64), Err(CursorError::OtherRegion));
        for cut_short in ["AwEC", "AwECAwQ"] {
            let read = Cursor::decode_of(cut_short, [1, 2, 3, 4], 64);
            assert_eq!(read, Err(CursorError::Malformed));
        }
        assert_eq!(Cursor::decode_of("", [1, 2, 3, 4], 64), Ok(Cursor::start()));
    }

    #[test]
    fn a_cursor_that_has_seen_more_than_there_is_is_ahead() {
        let end = cursor(&[(0, 3), (1, 9)]);
        assert_eq!(end.clone().within(&end), Ok(end.clone()));
        assert_eq!(Cursor::start().within(&end), Ok(Cursor::start()));
        assert_eq!(cursor(&[(0, 4)]).within(&end), Err(CursorError::Ahead));
        assert_eq!(cursor(&[(2, 1)]).within(&end), Err(CursorError::Ahead));
    }

    proptest! {
        #[test]
        fn a_cursor_reads_as_it_was_written(
            positions in proptest::collection::vec((0..64u16, 1..u64::MAX), 0..80)
        ) {
            let written = cursor(&positions);
            prop_assert_eq!(Cursor::decode(&written.encode(), 64), Ok(written.clone()));
            let tag = [1, 2, 3, 4];
            prop_assert_eq!(Cursor::decode_of(&written.encode_of(tag), tag, 64), Ok(written));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _any = Cursor::decode(&text, 64);
            let _any = Cursor::decode_of(&text, [0; 4], 64);
        }
    }
}
