//! What came in and could not be read is kept byte for byte, until a person has looked at it, or it
//! was sent again and taken. Then it is released: an event more in the quarantine's stream (I1).
//!
//! What must stay true: its bytes are given to whoever asks for this one thing by its id, and to
//! nobody who follows events. Nothing is withheld from them, not even an address that must not
//! leave the record.

mod list;

use std::iter;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use tonic::Code;
use tsunagi_chassis::Refused;
use tsunagi_domain::{Actor, EventId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::check::Path;
use tsunagi_proto::convert::is_program;
use tsunagi_proto::v1;
use uuid::Uuid;

pub use list::list;

use crate::cursor::Cursor;
use crate::handler::{SubmitError, to_wire};
use crate::port::{Bus, Draft, Expected, Placed, Publication, PublishError, ReadError};
use crate::stream::{Slot, StreamId};

/// Bytes that one event keeps; of what has more, each part is an event.
const PART_BYTES: usize = 512 << 10;

/// The types of events that keep such bytes, of whatever version, begin so.
const QUARANTINED: &str = "care.system.message_quarantined.";

/// Keeps one part of something, in the name of `actor`. Answers when it is durable (I2).
pub async fn keep(
    bus: &dyn Bus,
    message: v1::MessageQuarantined,
    actor: &Actor,
    door: &str,
) -> Result<v1::Receipt, Refused> {
    let event = id(&message);
    write(bus, event, &Payload::MessageQuarantined(message), actor, door).await
}

/// Writes an event of the quarantine's own stream.
async fn write(
    bus: &dyn Bus,
    event: EventId,
    payload: &Payload,
    actor: &Actor,
    door: &str,
) -> Result<v1::Receipt, Refused> {
    let record = v1::Event {
        event_id: event.to_string(),
        r#type: payload.event_type().to_owned(),
        occurred_at: Timestamp::now().to_string(),
        actor: Some(actor.into()),
        source: Some(v1::Source { door: door.to_owned(), ..v1::Source::default() }),
        payload: payload.encode_to_vec(),
        ..v1::Event::default()
    };
    let draft = Draft { event, record: Bytes::from(record.encode_to_vec()) };
    let bytes = draft.record.len();
    let (stream, expected) = (StreamId::Quarantine, Expected::Any);
    let published = bus.publish(Publication { stream, expected, drafts: vec![draft] }).await;
    let (placed, repeated) = match published {
        Ok(placed) => (placed.first().copied(), false),
        Err(PublishError::Repeated { stored }) => (stored.first().map(|s| s.placed), true),
        Err(PublishError::NoRoom(told)) => return Err(SubmitError::NoRoom(told).into()),
        Err(PublishError::Full) => return Err(SubmitError::Full.into()),
        Err(PublishError::TooLarge { limit }) => {
            return Err(SubmitError::TooLarge { bytes, limit }.into());
        }
        // Of one event that depends on nothing, it can only be the last.
        Err(
            PublishError::Conflict { .. }
            | PublishError::TooMany { .. }
            | PublishError::OutcomeUnknown(_),
        ) => (None, false),
    };
    let placed = placed.ok_or_else(|| {
        let message = "it is not known whether this was kept: send it again";
        Refused::new(Code::Unavailable, "OUTCOME_UNKNOWN", message)
    })?;
    Ok(receipt(bus, event, placed, repeated))
}

fn receipt(bus: &dyn Bus, event: EventId, placed: Placed, repeated: bool) -> v1::Receipt {
    v1::Receipt {
        event_id: event.to_string(),
        version: placed.version,
        recorded_at: Some(to_wire(placed.recorded_at)),
        cursor: bus.region().cursor_text(&Cursor::at(placed.position)),
        repeated,
        ..v1::Receipt::default()
    }
}

/// Keeps all of something, in as many parts as it needs, and gives the receipt of each.
pub async fn keep_whole(
    bus: &dyn Bus,
    message: v1::MessageQuarantined,
    actor: &Actor,
    door: &str,
) -> Result<Vec<v1::Receipt>, Refused> {
    let parts = u32::try_from(message.raw.len().div_ceil(PART_BYTES).max(1)).unwrap_or(u32::MAX);
    let whole = v1::MessageQuarantined { raw: Vec::new(), parts, ..message.clone() };
    // Nothing at all is one part, too: that it came is kept.
    let empty = message.raw.is_empty().then_some([].as_slice());
    // Two that differ in one part have each all of their own.
    let of_whole = (parts > 1).then(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, &message.raw));
    let mut kept = Vec::new();
    for (part, raw) in (1..).zip(message.raw.chunks(PART_BYTES).chain(empty)) {
        let raw = raw.to_owned();
        let message = v1::MessageQuarantined { raw, part, ..whole.clone() };
        let of_part = id(&message);
        let event = of_whole
            .map_or(of_part, |whole| EventId::new(Uuid::new_v5(&of_part.uuid(), whole.as_bytes())));
        let payload = Payload::MessageQuarantined(message);
        kept.push(write(bus, event, &payload, actor, door).await?);
    }
    Ok(kept)
}

/// Says that nobody has to look at something any more, in the name of `actor`. The first word
/// counts (I3): what comes after it adds nothing.
pub async fn release(
    bus: &dyn Bus,
    release: v1::MessageReleased,
    actor: &Actor,
    door: &str,
) -> Result<v1::Receipt, Refused> {
    let unknown = || {
        let message = "nothing in quarantine has this id: CareBus.ListQuarantine, or `tsunagi quarantine --all`, lists what there is";
        Refused::new(Code::NotFound, "EVENT_UNKNOWN", message)
    };
    let quarantined = EventId::parse(&release.quarantined_event_id).map_err(|_error| unknown())?;
    if release.how() == v1::Release::Dismissed {
        if is_program(actor.role()) {
            let message = "a person dismisses what is in quarantine: give the person's role and id";
            return Err(Refused::new(Code::PermissionDenied, "PERSON_NEEDED", message));
        }
        if release.note.is_empty() {
            let release = Path::ROOT.field("release");
            let note = release.field("note").violation("must say why it is dismissed");
            return Err(Refused::fields(vec![note]));
        }
    }
    let event = released(quarantined);
    if let Some(stored) = bus.find(StreamId::Quarantine, event).await? {
        return Ok(receipt(bus, event, stored.placed, true));
    }
    read(bus, quarantined).await?;
    let quarantined_event_id = quarantined.to_string();
    let release = v1::MessageReleased { quarantined_event_id, ..release };
    write(bus, event, &Payload::MessageReleased(release), actor, door).await
}

/// Whether somebody said that nobody has to look at something any more.
pub async fn is_released(bus: &dyn Bus, quarantined: EventId) -> Result<bool, ReadError> {
    Ok(bus.find(StreamId::Quarantine, released(quarantined)).await?.is_some())
}

/// The id of the event by which something is released.
fn released(quarantined: EventId) -> EventId {
    EventId::new(Uuid::new_v5(&quarantined.uuid(), b"released"))
}

/// What is kept under an event id, with its bytes.
pub async fn read(bus: &dyn Bus, event: EventId) -> Result<v1::MessageQuarantined, Refused> {
    let slots = (0..bus.region().slots).map(|slot| StreamId::Slot(Slot(slot)));
    for stream in iter::once(StreamId::Quarantine).chain(slots) {
        let Some(stored) = bus.find(stream, event).await? else { continue };
        let kept = v1::Event::decode(stored.record).ok();
        let payload = kept.and_then(|event| Payload::decode(&event.r#type, &event.payload).ok());
        if let Some(Payload::MessageQuarantined(message)) = payload {
            return Ok(message);
        }
    }
    let message = format!(
        "nothing in quarantine has the id {event}: `tsunagi quarantine` lists what there is"
    );
    Err(Refused::new(Code::NotFound, "EVENT_UNKNOWN", message))
}

/// The event as it is sent to those who follow events: without the bytes.
pub(crate) fn sent(event: v1::Event) -> v1::Event {
    if !event.r#type.starts_with(QUARANTINED) {
        return event;
    }
    let mut message = v1::MessageQuarantined::decode(&*event.payload).unwrap_or_default();
    message.raw_length = u32::try_from(message.raw.len()).unwrap_or(u32::MAX);
    message.raw.clear();
    v1::Event { payload: message.encode_to_vec(), ..event }
}

/// The same bytes from the same place have the same id, and are kept once.
fn id(message: &v1::MessageQuarantined) -> EventId {
    let of_origin = Uuid::new_v5(&Uuid::NAMESPACE_URL, message.origin.as_bytes());
    let part = format!("{}/{}", message.part, message.parts);
    let of_part = Uuid::new_v5(&of_origin, part.as_bytes());
    EventId::new(Uuid::new_v5(&of_part, &message.raw))
}
