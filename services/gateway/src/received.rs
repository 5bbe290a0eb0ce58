//! What systems sent of resources beyond what becomes of it here: which of it holds, and by which
//! events it is kept.
//!
//! What must stay true: of what one system said of one resource, the last by when it was said
//! holds; of what was said at the same time, what was recorded last. Of what was told while two
//! records were merged, nobody knows whose it was when they are taken apart: it holds for neither.

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
    /// Which elements it keeps, by their hashes.
    pub(crate) kept: Vec<Uuid>,
    /// The record in which it was told.
    pub(crate) told_in: PatientId,
    /// The system, and its own id of the resource.
    from: (String, String),
    /// The resource's type, and its id here.
    of: (String, Uuid),
    /// It was told while another record was merged into this one that is none of it any more.
    is_nobodys: bool,
}

/// What was told of resources in one record, or in several, in the order of recording.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    all: Vec<Received>,
    /// Which records were merged into this one, and how much was told before.
    merged: Vec<(String, usize)>,
}

impl Words {
    /// Takes in an event of the record itself, or of one that is part of it.
    pub(crate) fn add(
        &mut self,
        (stored, is_own): (&Stored, bool),
        event: &v1::Event,
        payload: &Payload,
        zone: &Zone,
    ) {
        self.all.extend(Received::of_event(stored, event, payload, zone));
        if !is_own {
            return;
        }
        if let Payload::PatientsMerged(of) = payload {
            self.merged.push((of.retired_patient_id.to_ascii_lowercase(), self.all.len()));
        } else if let Payload::PatientsUnmerged(of) = payload {
            let retired = of.retired_patient_id.to_ascii_lowercase();
            let merged = self.merged.iter().rev().find(|(of, _)| *of == retired);
            let since = merged.map_or(self.all.len(), |(_, before)| *before);
            self.all.iter_mut().skip(since).for_each(|word| word.is_nobodys = true);
        }
    }

    /// What may hold.
    pub(crate) fn holding(&self) -> impl Iterator<Item = &Received> {
        self.all.iter().filter(|word| !word.is_nobodys)
    }

    /// The last event by which something was kept that a system sent as this, whether it holds or
    /// not.
    pub(crate) fn last_from(&self, system: &str, sent_as: &str) -> Option<EventId> {
        let mut all = self.all.iter().rev();
        all.find(|word| word.is_from(system, sent_as)).map(|word| word.event)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Received {
    /// What an event says, if it is one by which something is kept.
    fn of_event(
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
            content: content(&message.elements, &message.too_large),
            kept: message.elements.iter().map(|kept| hash(&kept.name, &kept.json)).collect(),
            told_in: stored.stream.patient()?,
            from: (system.unwrap_or_default(), message.sent_as.clone()),
            of: (message.resource_type.clone(), id),
            is_nobodys: false,
        })
    }

    /// Whether the system sent it as this.
    pub(crate) fn is_from(&self, system: &str, sent_as: &str) -> bool {
        self.from.0 == system && self.from.1 == sent_as
    }

    /// Whether the same system sent both, as the same.
    pub(crate) fn is_from_where(&self, other: &Self) -> bool {
        self.from == other.from
    }

    /// Whether it is of this resource, and of this patient.
    pub(crate) fn is_of(&self, patient: PatientId, resource_type: &str, id: Uuid) -> bool {
        self.of.0 == resource_type && self.of.1 == id && self.is_about(patient)
    }

    /// Whether it is about this patient: of who somebody is, each record has its own word, also when
    /// they are merged.
    pub(crate) fn is_about(&self, patient: PatientId) -> bool {
        self.told_in == patient || self.of.0 != "Patient"
    }
}

/// By which the same elements are known to be the same.
pub(crate) fn content(elements: &[v1::ReceivedElement], too_large: &[v1::ElementTooLarge]) -> Uuid {
    let (elements, too_large) = (elements.to_vec(), too_large.to_vec());
    let said = v1::ResourceReceived { elements, too_large, ..Default::default() };
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &said.encode_to_vec())
}

/// By which an element is known to be the same.
pub(crate) fn hash(name: &str, json: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{name} {json}").as_bytes())
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
