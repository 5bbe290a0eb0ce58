//! One patient's timeline: a pure fold of the patient's stream (I5).

mod names;
pub mod summary;
pub mod wording;

use std::collections::BTreeMap;

use jiff::Timestamp;
use prost::Message as _;
use tsunagi_bus::handler::to_wire;
use tsunagi_bus::{Placed, Stored, address};
use tsunagi_domain::encounter::Class;
use tsunagi_domain::transfer_request::TransferRequest;
use tsunagi_domain::{CareTime, EncounterId, EventId, Fact, PatientId, Record, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::convert::happened;
use tsunagi_proto::v1;

/// A patient's timeline as it was known at some time.
#[derive(Debug)]
pub struct Timeline {
    /// By whose clock times are told, and when a day begins.
    zone: Zone,
    record: Record,
    /// What is known of the person, and the version of the event that said it.
    demographics: Option<(u64, v1::Demographics)>,
    /// The version of the event that said an address last; 0 if none did.
    address_said_at: u64,
    /// Up to which version the patient's address is withheld; said by events that may lie
    /// beyond those that are shown.
    address_withheld_up_to: u64,
    /// In the order of recording.
    entries: Vec<Entry>,
    /// The last event that it is folded from.
    last: Option<Placed>,
    /// Whether only the entries are kept that the summary looks at.
    is_for_summary: bool,
    cancelled_by: BTreeMap<EventId, EventId>,
    names: names::Names,
}

#[derive(Debug)]
struct Entry {
    id: EventId,
    placed: Placed,
    /// None if the record is no event that this version can read.
    event: Option<v1::Event>,
    payload: Payload,
    /// When it happened, or was recorded if that cannot be read.
    happened_at: Timestamp,
    encounter: Option<EncounterId>,
}

/// Which part of what is recorded is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct View {
    /// Only what was recorded up to this moment (I8).
    pub as_known_at: Option<Timestamp>,
    /// Only the first so many events.
    pub version_max: Option<u64>,
}

impl Timeline {
    /// The timeline of a patient of whom nothing is known.
    pub fn new(zone: &Zone) -> Self {
        Self {
            zone: zone.clone(),
            record: Record::default(),
            demographics: None,
            address_said_at: 0,
            address_withheld_up_to: 0,
            entries: Vec::new(),
            last: None,
            is_for_summary: false,
            cancelled_by: BTreeMap::new(),
            names: names::Names::default(),
        }
    }

    /// One that keeps only what `summary` needs, and has no entries to show.
    pub(crate) fn for_summary(zone: &Zone) -> Self {
        Self { is_for_summary: true, ..Self::new(zone) }
    }

    /// Folds a stream's events, given in their order and whole: what is withheld of those that
    /// `view` shows is decided by the others too.
    pub fn fold(events: &[Stored], zone: &Zone, view: View) -> Self {
        let mut timeline = Self::new(zone);
        let shown = events.iter().take_while(|stored| view.shows(stored)).count();
        let (shown, later) = events.split_at(shown);
        timeline.entries.reserve_exact(shown.len());
        for stored in shown {
            timeline.add(stored);
        }
        let withheld = address::withheld_up_to(later);
        timeline.address_withheld_up_to = timeline.address_withheld_up_to.max(withheld);
        timeline
    }

    /// Adds the next event of the stream.
    pub fn add(&mut self, stored: &Stored) {
        let zone = &self.zone;
        let event = v1::Event::decode(stored.record.clone()).ok();
        let payload = event.as_ref().map(|event| Payload::decode(&event.r#type, &event.payload));
        let mut payload = payload.and_then(Result::ok).unwrap_or(Payload::Unknown);
        let fact = event.as_ref().and_then(|event| happened(event, &payload, zone));
        let occurred = event.as_ref().and_then(|e| CareTime::parse(&e.occurred_at, zone).ok());
        let mut encounter = None;
        if let Some(happened) = fact {
            self.record.apply(&happened);
            encounter = self.encounter_of(&happened.fact);
            if let Some(cancelled) = cancelled(&happened.fact) {
                self.cancelled_by.insert(cancelled, stored.event);
            }
        }
        let actor = event.as_ref().and_then(|event| event.actor.as_ref());
        let by = actor.map(|actor| actor.organisation.as_str()).unwrap_or_default();
        self.names.note(by, &payload);
        if let Some(event) = &event
            && address::is_confidential(event, &mut payload)
        {
            self.address_withheld_up_to = stored.placed.version;
        }
        if let Some(said) = address::demographics(&mut payload) {
            if said.address.is_some() {
                self.address_said_at = stored.placed.version;
            }
            self.demographics = Some((stored.placed.version, said.clone()));
        }
        self.last = Some(stored.placed);
        if self.is_for_summary && encounter.is_none() {
            return;
        }
        self.entries.push(Entry {
            id: stored.event,
            placed: stored.placed,
            happened_at: occurred.map_or(stored.placed.recorded_at, |time| time.earliest()),
            event,
            payload,
            encounter,
        });
    }

    /// How many entries there are.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// How many events it is folded from.
    pub fn version(&self) -> u64 {
        self.last.map_or(0, |last| last.version)
    }

    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The last event that it is folded from.
    pub fn last(&self) -> Option<Placed> {
        self.last
    }

    /// The entries in the order in which they happened; what happened at the same time, in the
    /// order of recording.
    pub fn entries_oldest_first(&self) -> Vec<v1::TimelineEntry> {
        self.entries_after(0, v1::Order::OldestFirst).collect()
    }

    /// The entries in an order, without the first `skip` ones; each is made when it is taken.
    pub fn entries_after(
        &self,
        skip: usize,
        order: v1::Order,
    ) -> impl Iterator<Item = v1::TimelineEntry> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| (entry.happened_at, entry.placed.version));
        if order != v1::Order::OldestFirst {
            entries.reverse();
        }
        entries.into_iter().skip(skip).map(|entry| self.show(entry))
    }

    /// The entry of the event of this version.
    pub fn entry(&self, version: u64) -> Option<v1::TimelineEntry> {
        self.recorded(version).map(|entry| self.show(entry))
    }

    /// Where the event of this version stands.
    pub fn placed(&self, version: u64) -> Option<Placed> {
        self.recorded(version).map(|entry| entry.placed)
    }

    /// What one sees of the patient at a glance.
    pub fn summary(&self, patient: PatientId) -> v1::PatientSummary {
        summary::summary(self, patient)
    }

    /// The words in which an event tells its time.
    pub(crate) fn occurred_at(&self, event: EventId) -> String {
        let entry = self.entries.iter().rev().find(|entry| entry.id == event);
        let event = entry.and_then(|entry| entry.event.as_ref());
        event.map(|event| event.occurred_at.clone()).unwrap_or_default()
    }

    /// The place of an event among the patient's.
    pub(crate) fn version_of(&self, event: EventId) -> u64 {
        let entry = self.entries.iter().rev().find(|entry| entry.id == event);
        entry.map_or(0, |entry| entry.placed.version)
    }

    /// The payload of an event.
    pub(crate) fn payload(&self, event: EventId) -> Option<&Payload> {
        self.entries.iter().rev().find(|entry| entry.id == event).map(|entry| &entry.payload)
    }

    /// What is known of the person, but for an address that must not leave the record.
    pub(crate) fn demographics(&self) -> Option<v1::Demographics> {
        let (version, mut demographics) = self.demographics.clone()?;
        // Demographics that say nothing of an address do not say that it is confidential no more.
        let is_withheld = (1..=self.address_withheld_up_to).contains(&self.address_said_at);
        if let Some(address) = &mut demographics.address
            && version <= self.address_withheld_up_to
        {
            address::withhold(address);
        } else if demographics.address.is_none() && is_withheld {
            address::withhold(demographics.address.get_or_insert_default());
        }
        Some(demographics)
    }

    fn encounter_of(&self, fact: &Fact) -> Option<EncounterId> {
        match fact {
            Fact::Encounter(encounter, _) => Some(*encounter),
            Fact::TransferRequest(request, _) => {
                self.record.transfer_request(*request).and_then(TransferRequest::encounter)
            }
            Fact::Document(document) => document.encounter,
            Fact::Identity(_) | Fact::Referral(..) | Fact::Case(..) | Fact::Correction(_) => None,
        }
    }

    fn recorded(&self, version: u64) -> Option<&Entry> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.entries.get(index)
    }

    /// The payload as a message that says its own type: the bytes as they came, unless an
    /// address in them must not leave the record.
    fn detail(&self, entry: &Entry, payload: Vec<u8>) -> Option<prost_types::Any> {
        let type_url = format!("type.googleapis.com/{}", entry.payload.message_name()?);
        let is_withheld = entry.placed.version <= self.address_withheld_up_to;
        let without = is_withheld.then(|| address::without_address(entry.payload.clone()));
        Some(prost_types::Any { type_url, value: without.flatten().unwrap_or(payload) })
    }

    fn context(&self, entry: &Entry) -> wording::Context<'_> {
        let encounter = entry.encounter.and_then(|encounter| self.record.encounter(encounter));
        let is_visit = encounter.is_some_and(|encounter| encounter.class() != Class::Inpatient);
        wording::Context { names: &self.names, zone: &self.zone, is_visit }
    }

    fn show(&self, entry: &Entry) -> v1::TimelineEntry {
        let event = entry.event.clone().unwrap_or_default();
        let cancelled_by = self.cancelled_by.get(&entry.id);
        let episode = entry.encounter.map(|encounter| self.record.episode(encounter).to_string());
        v1::TimelineEntry {
            event_id: entry.id.to_string(),
            text: Some(wording::headline(&event.r#type, &entry.payload, self.context(entry))),
            recorded_at: Some(to_wire(entry.placed.recorded_at)),
            version: entry.placed.version,
            encounter_id: entry.encounter.map(|id| id.to_string()).unwrap_or_default(),
            episode_id: episode.unwrap_or_default(),
            cancelled_by_event_id: cancelled_by.map(ToString::to_string).unwrap_or_default(),
            by: event.actor.as_ref().map(|actor| wording::by(actor, &self.names)),
            note: wording::note(&entry.payload),
            detail: self.detail(entry, event.payload),
            r#type: event.r#type,
            occurred_at: event.occurred_at,
            actor: event.actor,
            source: event.source,
            sensitivity: event.sensitivity,
        }
    }
}

impl View {
    fn shows(&self, stored: &Stored) -> bool {
        self.as_known_at.is_none_or(|moment| stored.placed.recorded_at <= moment)
            && self.version_max.is_none_or(|version| stored.placed.version <= version)
    }
}

/// The event that a fact cancels.
fn cancelled(fact: &Fact) -> Option<EventId> {
    match fact {
        Fact::Encounter(_, event) => event.cancelled(),
        Fact::Identity(_)
        | Fact::TransferRequest(..)
        | Fact::Referral(..)
        | Fact::Case(..)
        | Fact::Document(_)
        | Fact::Correction(_) => None,
    }
}
