//! What systems sent of resources beyond what becomes of it here: which of it holds, and by which
//! events it is kept.
//!
//! What must stay true: of what one system said of one resource, the last by when it was said
//! holds; of what was said at the same time, what was recorded last.

use std::collections::HashMap;

use prost::Message as _;
use tsunagi_bus::Stored;
use tsunagi_domain::{CareTime, EventId, PatientId, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::convert::happened;
use tsunagi_proto::v1;
use uuid::Uuid;

/// What a system sent of a resource, and by which event it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) event: EventId,
    pub(crate) at: CareTime,
    /// Of the elements: the same have the same.
    pub(crate) content: Uuid,
    pub(crate) has_elements: bool,
    /// The record in which it was told.
    pub(crate) told_in: PatientId,
    /// The system, and its own id of the resource.
    from: (String, String),
    /// The resource's type, and its id here.
    of: (String, Uuid),
}

impl Received {
    /// What a stored event says, if it is one by which something is kept.
    pub(crate) fn read(stored: &Stored, zone: &Zone) -> Option<Self> {
        let event = v1::Event::decode(stored.record.clone()).ok()?;
        let payload = Payload::decode(&event.r#type, &event.payload).ok()?;
        Self::of_event(stored, &event, &payload, zone)
    }

    /// The same of an event that was read.
    pub(crate) fn of_event(
        stored: &Stored,
        event: &v1::Event,
        payload: &Payload,
        zone: &Zone,
    ) -> Option<Self> {
        let Payload::ResourceReceived(message) = payload else { return None };
        let stamp = happened(event, payload, zone)?.stamp;
        let system = event.actor.as_ref().map(|actor| actor.organisation.clone());
        let id = Uuid::try_parse(&message.resource_id).unwrap_or_default();
        Some(Self {
            event: stamp.event,
            at: stamp.occurred_at,
            content: content(&message.elements),
            has_elements: !message.elements.is_empty(),
            told_in: stored.stream.patient()?,
            from: (system.unwrap_or_default(), message.sent_as.clone()),
            of: (message.resource_type.clone(), id),
        })
    }

    /// Whether the system sent it as this.
    pub(crate) fn is_from(&self, system: &str, sent_as: &str) -> bool {
        self.from.0 == system && self.from.1 == sent_as
    }

    /// Whether it is of this resource of this patient. What was told of another record's patient is
    /// not of this one, also when they are merged.
    pub(crate) fn is_of(&self, patient: PatientId, resource_type: &str, id: Uuid) -> bool {
        let is_patient = resource_type == "Patient";
        self.of.0 == resource_type && self.of.1 == id && (self.told_in == patient || !is_patient)
    }
}

/// By which the same elements are known to be the same.
pub(crate) fn content(elements: &[v1::ReceivedElement]) -> Uuid {
    let said = v1::ResourceReceived { elements: elements.to_vec(), ..Default::default() };
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &said.encode_to_vec())
}

/// The last of each system and resource, in the order of time. They are given in the order of
/// recording.
pub(crate) fn last_of_each<'r>(words: impl Iterator<Item = &'r Received>) -> Vec<&'r Received> {
    let mut all: Vec<&Received> = words.collect();
    all.sort_by_key(|word| word.at.earliest());
    let last: HashMap<_, _> = all.iter().map(|word| (&word.from, word.event)).collect();
    all.retain(|word| last.get(&word.from) == Some(&word.event));
    all
}
