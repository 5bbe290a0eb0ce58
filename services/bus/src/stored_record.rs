//! A stored event as the region's own processes send it to each other.

use bytes::Bytes;
use jiff::Timestamp;
use tsunagi_domain::EventId;
use tsunagi_proto::v1;

use crate::cursor::Cursor;
use crate::port::{Placed, ReadError, Stored, Unreadable};
use crate::stream::{Position, Slot};

pub fn to_wire(stored: &Stored) -> v1::StoredRecord {
    let Placed { position, version, recorded_at } = stored.placed;
    v1::StoredRecord {
        stream: stored.stream.to_string(),
        slot: position.slot.0.into(),
        n: position.n,
        version,
        recorded_at_us: recorded_at.as_microsecond(),
        event_id: stored.event.to_string(),
        record: stored.record.to_vec(),
    }
}

pub fn from_wire(record: v1::StoredRecord) -> Result<Stored, ReadError> {
    let read = |record: v1::StoredRecord| {
        let position = Position { slot: Slot(u16::try_from(record.slot).ok()?), n: record.n };
        let recorded_at = Timestamp::from_microsecond(record.recorded_at_us).ok()?;
        Some(Stored {
            stream: record.stream.parse().ok()?,
            placed: Placed { position, version: record.version, recorded_at },
            event: EventId::parse(&record.event_id).ok()?,
            record: Bytes::from(record.record),
        })
    };
    read(record)
        .ok_or_else(|| ReadError::Log("another store sent an event that is none".to_owned()))
}

/// An event that cannot be read: without its record, and empty if nothing of it is known.
pub fn unreadable_to_wire(of: Option<Unreadable>) -> v1::StoredRecord {
    let record = Bytes::new();
    of.map(|Unreadable { stream, placed, event }| {
        to_wire(&Stored { stream, placed, event, record })
    })
    .unwrap_or_default()
}

pub fn unreadable_from_wire(of: v1::StoredRecord) -> Result<Option<Unreadable>, ReadError> {
    if of.stream.is_empty() {
        return Ok(None);
    }
    let Stored { stream, placed, event, .. } = from_wire(of)?;
    Ok(Some(Unreadable { stream, placed, event }))
}

/// The positions that a cursor has seen.
pub fn positions(cursor: &Cursor) -> Vec<v1::SlotPosition> {
    let position = |Position { slot, n }| v1::SlotPosition {
        slot: slot.0.into(),
        n,
        ..v1::SlotPosition::default()
    };
    cursor.positions().map(position).collect()
}

/// The cursor that has seen these positions.
pub fn cursor(positions: &[v1::SlotPosition]) -> Cursor {
    let mut cursor = Cursor::start();
    for position in positions {
        // A slot that does not exist was not seen.
        if let Ok(slot) = u16::try_from(position.slot) {
            cursor.advance(Position { slot: Slot(slot), n: position.n });
        }
    }
    cursor
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tsunagi_domain::PatientId;
    use uuid::Uuid;

    use super::*;
    use crate::stream::StreamId;

    proptest! {
        #[test]
        fn a_stored_event_reads_as_it_was_sent(
            key in any::<u128>(),
            event in any::<u128>(),
            slot in any::<u16>(),
            (n, version) in any::<(u64, u64)>(),
            at in 0..1i64 << 50,
            record in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let stored = Stored {
                stream: StreamId::Patient(PatientId::new(Uuid::from_u128(key))),
                placed: Placed {
                    position: Position { slot: Slot(slot), n },
                    version,
                    recorded_at: Timestamp::from_microsecond(at).unwrap(),
                },
                event: EventId::new(Uuid::from_u128(event)),
                record: Bytes::from(record),
            };
            let Stored { stream, placed, event, .. } = stored;
            for of in [None, Some(Unreadable { stream, placed, event })] {
                prop_assert_eq!(unreadable_from_wire(unreadable_to_wire(of)).unwrap(), of);
            }
            prop_assert_eq!(from_wire(to_wire(&stored)).unwrap(), stored);
        }

        #[test]
        fn positions_read_as_they_were_sent(
            seen in proptest::collection::vec((0..64u16, 1..u64::MAX), 0..80)
        ) {
            let mut written = Cursor::start();
            for (slot, n) in seen {
                written.advance(Position { slot: Slot(slot), n });
            }
            let read = cursor(&positions(&written));
            prop_assert!(read.covers(&written) && written.covers(&read));
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        assert!(from_wire(v1::StoredRecord::default()).is_err());
    }
}
