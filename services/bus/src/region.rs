//! A region: what is fixed for all its services and machines when it is created.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tsunagi_domain::Zone;
use tsunagi_domain::identity::Identifier;
use uuid::Uuid;

use crate::cursor::{Cursor, CursorError, RegionTag};
use crate::stream::StreamId;

/// The region that this process serves.
#[derive(Clone)]
pub struct Region {
    pub id: Uuid,
    /// Into how many slots the streams are divided.
    pub slots: u16,
    pub zone_name: String,
    pub zone: Zone,
    /// Changes whenever the region is restored from a copy: what was recorded since the copy is
    /// gone, and other events may have its positions.
    pub course: u32,
    /// Names the streams of identifiers. Secret: who has it can try numbers against names.
    pub identifier_key: [u8; 32],
}

impl Region {
    /// The stream that says to whom `identifier` belongs.
    pub fn identifier_stream(&self, identifier: &Identifier) -> StreamId {
        // HMAC takes keys of every length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.identifier_key) else {
            return StreamId::Identifier([0; 16]);
        };
        let system_length = u64::try_from(identifier.system.len()).unwrap_or(u64::MAX);
        mac.update(&system_length.to_be_bytes());
        mac.update(identifier.system.as_bytes());
        mac.update(identifier.value.as_bytes());
        let mut name = [0; 16];
        for (to, from) in name.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
        StreamId::Identifier(name)
    }

    /// The text of a cursor that callers keep.
    pub fn cursor_text(&self, cursor: &Cursor) -> String {
        cursor.encode_of(self.tag())
    }

    /// Reads a cursor that a caller kept. An empty text is the start.
    pub fn read_cursor(&self, text: &str) -> Result<Cursor, CursorError> {
        Cursor::decode_of(text, self.tag(), self.slots)
    }

    /// Tells this region's cursors from others'. The id is random from its first byte on.
    fn tag(&self) -> RegionTag {
        (self.id.as_fields().0 ^ self.course).to_be_bytes()
    }
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region")
            .field("id", &self.id)
            .field("slots", &self.slots)
            .field("zone", &self.zone_name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Position, Slot};

    fn region(key: u8) -> Region {
        Region {
            id: Uuid::from_u128(1),
            slots: 4,
            zone_name: "UTC".into(),
            zone: Zone::utc(),
            course: 0,
            identifier_key: [key; 32],
        }
    }

    fn identifier(system: &str, value: &str) -> Identifier {
        Identifier { system: system.into(), value: value.into() }
    }

    #[test]
    fn an_identifier_has_one_stream_that_tells_nothing_without_the_key() {
        let stream = |key, system, value| region(key).identifier_stream(&identifier(system, value));
        assert_eq!(stream(1, "a", "12"), stream(1, "a", "12"));
        assert_ne!(stream(1, "a", "12"), stream(2, "a", "12"));
        assert_ne!(stream(1, "a1", "2"), stream(1, "a", "12"), "parts do not run together");
    }

    #[test]
    fn a_region_reads_its_own_cursors_alone() {
        let here = region(1);
        let elsewhere = Region { id: Uuid::from_u128(1 << 127), ..region(1) };
        let cursor = Cursor::at(Position { slot: Slot(3), n: 7 });
        let text = here.cursor_text(&cursor);
        assert_eq!(here.read_cursor(&text), Ok(cursor));
        assert_eq!(elsewhere.read_cursor(&text), Err(CursorError::OtherRegion));
    }

    #[test]
    fn the_key_is_not_printed() {
        assert!(!format!("{:?}", region(7)).contains("7, 7"));
    }
}
