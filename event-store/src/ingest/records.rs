//! What a slot's stream on NATS held besides events, as events of the system: so that every
//! message of the stream has its position, and nothing that came is lost.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use tsunagi_bus::nats::{Kept, Message, What};
use tsunagi_bus::{Slot, Stored, StreamId};
use tsunagi_domain::EventId;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use uuid::Uuid;

use crate::log::frame::Sealed;
use crate::log::writer::{Entry, Repeat, Taken};

/// Bytes that a note takes beside what it keeps.
pub(crate) const NOTE_BYTES: usize = 1024;

/// The note for an event whose id is stored already: that it came again or, if it is another
/// event, all of the message with its sequence.
pub(crate) fn again(
    slot: Slot,
    repeat: &Repeat<'_>,
    message: Option<&(u64, Message)>,
    bytes_max: usize,
) -> Taken {
    let Repeat { n, taken, is_same, .. } = *repeat;
    match message {
        Some((sequence, message)) if !is_same => {
            let reason = "its event id is that of another event";
            tracing::warn!(slot = slot.0, sequence, reason, "a message on NATS goes to quarantine");
            let message = (*sequence, reason, message.to_bytes());
            unreadable(slot, n, taken.recorded_at_us, message, bytes_max)
        }
        Some(_) | None => repeated(slot.0, n, taken),
    }
}

/// The note for an event that is stored already, and came again at position `n`.
fn repeated(slot: u16, n: u64, again: &Taken) -> Taken {
    let (kind, key) = again.stream;
    let stream = StreamId::from_parts(kind, key).map(|stream| stream.to_string());
    let event_id = EventId::new(Uuid::from_bytes(again.entry.event)).to_string();
    let repeated = v1::MessageRepeated { stream: stream.unwrap_or_default(), event_id };
    note(slot, n, again.recorded_at_us, &Payload::MessageRepeated(repeated))
}

/// A message that could not be read, at position `n`. What does not fit is cut.
pub(crate) fn unreadable(
    slot: Slot,
    n: u64,
    recorded_at_us: i64,
    message: (u64, &str, Bytes),
    bytes_max: usize,
) -> Taken {
    let (sequence, reason, raw) = message;
    let room = bytes_max.saturating_sub(NOTE_BYTES);
    let cut = if raw.len() > room { ", and is cut here" } else { "" };
    let quarantined = v1::MessageQuarantined {
        origin: format!("NATS, slot {} of the region, message {sequence}", slot.0),
        media_type: "application/vnd.nats.message".to_owned(),
        reason: format!("{reason}{cut}"),
        raw: raw.slice(..raw.len().min(room)).into(),
        part: 1,
        parts: 1,
        ..v1::MessageQuarantined::default()
    };
    note(slot.0, n, recorded_at_us, &Payload::MessageQuarantined(quarantined))
}

/// Every store that takes the stream in makes the same bytes of it.
fn note(slot: u16, n: u64, recorded_at_us: i64, payload: &Payload) -> Taken {
    let stream = StreamId::Slot(Slot(slot));
    let name = format!("{stream}/{n}");
    let event = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
    let occurred_at = Timestamp::from_microsecond(recorded_at_us).unwrap_or(Timestamp::UNIX_EPOCH);
    let record = v1::Event {
        event_id: event.to_string(),
        r#type: payload.event_type().to_owned(),
        occurred_at: occurred_at.to_string(),
        actor: Some(v1::Actor {
            organisation: "tsunagi".to_owned(),
            role: "system".to_owned(),
            person: "event-store".to_owned(),
            on_behalf_of: String::new(),
        }),
        source: Some(v1::Source { door: "nats".to_owned(), ..v1::Source::default() }),
        payload: payload.encode_to_vec(),
        ..v1::Event::default()
    };
    let sealed = Sealed::new(Bytes::from(record.encode_to_vec()));
    let entry = Entry { event: event.into_bytes(), sealed };
    Taken { stream: stream.to_parts(), recorded_at_us, entry }
}

/// Whether a message of the stream is the one that an event was stored from.
pub(crate) fn agrees(stored: &Stored, kept: &Kept) -> bool {
    if let What::Event { stream, event, record } = &kept.what
        && (*stream, *event) == (stored.stream, stored.event)
    {
        return *record == stored.record;
    }
    if let Some(repeated) = repeated_event(stored) {
        // Not by JetStream's id: others publish without one.
        return matches!(kept.what, What::Event { stream, event, .. }
            if (stream, event) == repeated);
    }
    matches!(payload_of_note(stored), Some(Payload::MessageQuarantined(kept_here))
        if kept.raw.starts_with(&kept_here.raw))
}

/// The event that came again, if this is the note of that.
pub(crate) fn repeated_event(stored: &Stored) -> Option<(StreamId, EventId)> {
    let Some(Payload::MessageRepeated(repeated)) = payload_of_note(stored) else { return None };
    Some((repeated.stream.parse().ok()?, EventId::parse(&repeated.event_id).ok()?))
}

fn payload_of_note(stored: &Stored) -> Option<Payload> {
    let StreamId::Slot(_) = stored.stream else { return None };
    let event = v1::Event::decode(stored.record.clone()).ok()?;
    Payload::decode(&event.r#type, &event.payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(event: u128) -> Taken {
        let stream = StreamId::Quarantine.to_parts();
        let sealed = Sealed::new(Bytes::from_static(b"record"));
        let entry = Entry { event: *Uuid::from_u128(event).as_bytes(), sealed };
        Taken { stream, recorded_at_us: 7, entry }
    }

    fn stored(taken: &Taken) -> Stored {
        let (kind, key) = taken.stream;
        Stored {
            stream: StreamId::from_parts(kind, key).unwrap(),
            placed: tsunagi_bus::Placed {
                position: tsunagi_bus::Position { slot: Slot(3), n: 9 },
                version: 1,
                recorded_at: Timestamp::UNIX_EPOCH,
            },
            event: EventId::new(Uuid::from_bytes(taken.entry.event)),
            record: taken.entry.sealed.record.clone(),
        }
    }

    fn kept(what: What, raw: &'static [u8]) -> Kept {
        Kept { sequence: 1, taken_at_ns: 0, message_id: None, what, raw: Bytes::from_static(raw) }
    }

    #[test]
    fn a_note_is_the_same_bytes_on_every_store() {
        let note = repeated(3, 9, &taken(1));
        assert_eq!(note.entry.event, repeated(3, 9, &taken(1)).entry.event);
        assert_eq!(note.entry.sealed.record, repeated(3, 9, &taken(1)).entry.sealed.record);
        assert_ne!(note.entry.event, repeated(3, 10, &taken(1)).entry.event);
    }

    #[test]
    fn a_note_is_known_again_by_the_message_that_it_was_made_of() {
        let again = taken(1);
        let note = stored(&repeated(3, 9, &again));
        let record = again.entry.sealed.record.clone();
        let of = |event: u128| {
            let event = EventId::new(Uuid::from_u128(event));
            What::Event { stream: StreamId::Quarantine, event, record: record.clone() }
        };
        assert!(agrees(&note, &kept(of(1), b"")), "whether or not it bears JetStream's id");
        assert!(!agrees(&note, &kept(of(2), b"")));
        assert!(agrees(&stored(&again), &kept(of(1), b"")));
        let repeated = Some((StreamId::Quarantine, EventId::new(Uuid::from_u128(1))));
        assert_eq!((repeated_event(&note), repeated_event(&stored(&again))), (repeated, None));
    }

    #[test]
    fn what_could_not_be_read_is_known_again_by_its_bytes() {
        let message = (4, "it is empty", Bytes::from_static(b"raw bytes"));
        let note = stored(&unreadable(Slot(3), 9, 7, message.clone(), 1 << 20));
        let what = What::Unreadable { reason: "it is empty" };
        assert!(agrees(&note, &kept(what.clone(), b"raw bytes")));
        assert!(!agrees(&note, &kept(what, b"other bytes")));
        let cut = unreadable(Slot(3), 9, 7, message, NOTE_BYTES + 3);
        let event = v1::Event::decode(cut.entry.sealed.record).unwrap();
        let Ok(Payload::MessageQuarantined(cut)) = Payload::decode(&event.r#type, &event.payload)
        else {
            panic!("no quarantine");
        };
        assert_eq!(
            (cut.raw.as_slice(), cut.reason.as_str()),
            (&b"raw"[..], "it is empty, and is cut here")
        );
    }
}
