//! One patient's timeline: a pure fold of the patient's stream (I5), and of the streams of the
//! records that were merged into it.

mod apart;
mod entries;
pub mod glance;
mod names;
mod readmission;
pub mod summary;
mod wishes;
pub mod wording;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use prost::Message as _;
use tsunagi_bus::patients::MERGES_READ_MAX;
use tsunagi_bus::{Placed, Stored, address};
use tsunagi_domain::{
    CareTime, EncounterId, EventId, Fact, PatientId, Record, ResourceId, Turn, Zone, identity,
};
use tsunagi_proto::catalogue::{Family, Payload};
use tsunagi_proto::convert::happened;
use tsunagi_proto::demographics::Update;
use tsunagi_proto::{fields, v1};

use crate::directory;
use entries::{Standing, instead, sort};

pub use entries::Filter;
pub(crate) use entries::is_read;

/// A patient's timeline as it was known at some time.
#[derive(Debug)]
pub struct Timeline {
    /// By whose clock times are told, and when a day begins.
    zone: Zone,
    record: Record,
    /// What was said of the person.
    said: Vec<Said>,
    /// What its own record says of addresses being confidential, also in events beyond those that
    /// are shown; and all records of the person.
    word: address::Word,
    person: address::Person,
    /// The merges and their ends with which `person` was read.
    ties: BTreeSet<(PatientId, u64)>,
    /// Whose record it is; none as long as it is empty.
    patient: Option<PatientId>,
    /// In the order of recording.
    entries: Vec<Entry>,
    /// Those of the records that were merged into this one.
    absorbed: Vec<Entry>,
    /// The last event that it is folded from.
    last: Option<Placed>,
    /// Whether only the entries are kept that the summary looks at.
    is_for_summary: bool,
    /// Whether events were moved here from another patient's record.
    is_moved_to: bool,
    cancelled_by: BTreeMap<EventId, EventId>,
    names: names::Names,
    /// The organisations that its events name.
    organisations: BTreeSet<String>,
    /// What was told while it was merged with records that it was taken apart from.
    told_meanwhile: Vec<v1::ToldWhileMerged>,
}

/// What one event said of the person. Which of them holds, the record knows.
#[derive(Debug)]
struct Said {
    by: EventId,
    told_in: Option<PatientId>,
    placed: Placed,
    /// When it is said to have been so.
    as_of: Timestamp,
    update: Update,
    /// The record that was merged into this one, if it was told there.
    merged: Option<PatientId>,
}

#[derive(Debug)]
struct Entry {
    id: EventId,
    told_in: Option<PatientId>,
    placed: Placed,
    /// None if the record is no event that this version can read.
    event: Option<v1::Event>,
    payload: Payload,
    /// When it happened, or was recorded if that cannot be read.
    happened_at: Timestamp,
    /// When its turn is among what happened at the same time.
    turn: Turn,
    encounter: Option<EncounterId>,
    /// The record that was merged into this one, if it was told there.
    merged: Option<PatientId>,
}

/// Another stream that a timeline needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// A record that was merged into another, and by which merge.
    Merged(PatientId, EventId),
    /// Another record of the same person, as far as it goes.
    Person(PatientId),
    /// A community resource that is only named by its id.
    Resource(ResourceId),
}

/// Reads the events of another stream.
pub type ReadOther<'a, E> = &'a mut dyn FnMut(Other) -> Result<Vec<Stored>, E>;

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
            said: Vec::new(),
            word: address::Word::default(),
            person: address::Person::default(),
            ties: BTreeSet::new(),
            patient: None,
            entries: Vec::new(),
            absorbed: Vec::new(),
            last: None,
            is_for_summary: false,
            is_moved_to: false,
            cancelled_by: BTreeMap::new(),
            names: names::Names::default(),
            organisations: BTreeSet::new(),
            told_meanwhile: Vec::new(),
        }
    }

    /// One that keeps only what `summary` needs, and has no entries to show.
    pub(crate) fn for_summary(zone: &Zone) -> Self {
        Self { is_for_summary: true, ..Self::new(zone) }
    }

    /// Folds a stream's events, given in their order and whole: what is withheld of those that
    /// `view` shows is decided by the others too. Leaves out what was merged into the record.
    pub fn fold(events: &[Stored], zone: &Zone, view: View) -> Self {
        let mut timeline = Self::new(zone);
        let shown = events.iter().take_while(|stored| view.shows(stored)).count();
        let (shown, later) = events.split_at(shown);
        timeline.entries.reserve_exact(shown.len());
        for stored in shown {
            timeline.add(stored);
        }
        timeline.note_corrected();
        timeline.look_ahead(later);
        timeline
    }

    /// Folds a stream's events, and with them those of the records that were merged into it.
    pub fn fold_with<E>(
        events: &[Stored],
        zone: &Zone,
        view: View,
        read: ReadOther<'_, E>,
    ) -> Result<Self, E> {
        let mut timeline = Self::new(zone);
        let shown = events.iter().take_while(|stored| view.shows(stored)).count();
        let (shown, later) = events.split_at(shown);
        timeline.entries.reserve_exact(shown.len());
        for stored in shown {
            timeline.add_absorbing(stored, view, read)?;
        }
        timeline.note_corrected();
        timeline.name_resources(view, read)?;
        timeline.look_ahead(later);
        timeline.read_person(read)?;
        timeline.told_meanwhile = apart::told_meanwhile(&timeline, shown, view, read)?;
        Ok(timeline)
    }

    /// Adds the next event of the stream, and what it merges into the record.
    pub(crate) fn add_with<E>(
        &mut self,
        stored: &Stored,
        view: View,
        read: ReadOther<'_, E>,
    ) -> Result<(), E> {
        self.add_absorbing(stored, view, read)?;
        self.read_person(read)
    }

    fn add_absorbing<E>(
        &mut self,
        stored: &Stored,
        view: View,
        read: ReadOther<'_, E>,
    ) -> Result<(), E> {
        self.add(stored);
        self.absorb_wanted(view, read, MERGES_READ_MAX)?;
        self.name_resources(view, read)
    }

    /// Takes note of what events say of addresses that are not shown.
    fn look_ahead(&mut self, later: &[Stored]) {
        for stored in later {
            self.word.add(stored, &self.zone);
        }
        if let Some(patient) = later.last().and_then(|stored| stored.stream.patient()) {
            self.person.add(patient, self.word.clone());
        }
    }

    /// Whether it is not known what other records of the person say of addresses.
    pub(crate) fn wants_person(&self) -> bool {
        self.word.ties() != self.ties
    }

    /// Reads what the other records of the person say of addresses, whatever is shown of them.
    fn read_person<E>(&mut self, read: ReadOther<'_, E>) -> Result<(), E> {
        if !self.wants_person() {
            return Ok(());
        }
        self.person.keep_only(self.patient);
        while let Some(other) = self.person.wanted() {
            let mut word = address::Word::default();
            for stored in &read(Other::Person(other))? {
                word.add(stored, &self.zone);
            }
            self.person.add(other, word);
        }
        self.ties = self.word.ties();
        Ok(())
    }

    /// Takes note of whom requests ask since they were corrected.
    fn note_corrected(&mut self) {
        if !self.record.has_corrections() {
            return;
        }
        let in_force = self.standing().filter(|standing| standing.error.is_none());
        let corrected = in_force.filter_map(|standing| match standing.payload {
            Cow::Owned(instead) => Some(instead),
            Cow::Borrowed(_) => None,
        });
        for payload in corrected.collect::<Vec<_>>() {
            self.names.note_asked(&payload);
        }
    }

    /// Looks up what resources are called that are only named by their ids.
    fn name_resources<E>(&mut self, view: View, read: ReadOther<'_, E>) -> Result<(), E> {
        if self.is_for_summary {
            return Ok(());
        }
        for id in self.names.unnamed_resources() {
            let events = read(Other::Resource(id))?;
            let known = events.iter().take_while(|stored| view.knows(stored)).count();
            let entry = directory::entry(id, events.split_at(known).0, &self.zone);
            let resource = entry.and_then(|entry| entry.resource).unwrap_or_default();
            self.names.name_resource(id, resource.name);
        }
        Ok(())
    }

    fn absorb_wanted<E>(
        &mut self,
        view: View,
        read: ReadOther<'_, E>,
        depth: usize,
    ) -> Result<(), E> {
        for (retired, merge) in self.record.wanted() {
            let mut other = Self { is_for_summary: self.is_for_summary, ..Self::new(&self.zone) };
            let events = if depth == 0 { Vec::new() } else { read(Other::Merged(retired, merge))? };
            for stored in events.iter().take_while(|stored| view.knows(stored)) {
                other.add(stored);
                other.absorb_wanted(view, read, depth.saturating_sub(1))?;
                if other.record.patient().retired_by() == Some(merge) {
                    break;
                }
            }
            self.absorb(retired, other);
        }
        Ok(())
    }

    /// Takes over a record that was merged into this one.
    fn absorb(&mut self, retired: PatientId, other: Self) {
        self.record.absorb(retired, &other.record);
        self.names.add(other.names);
        self.organisations.extend(other.organisations);
        self.cancelled_by = self.cancels_in_effect();
        let merged = Some(retired);
        self.said.extend(other.said.into_iter().map(|said| Said { merged, ..said }));
        // That it is no record of its own any more, this record says itself.
        let is_of_the_person = |entry: &Entry| entry.payload.family() != Family::System;
        let entries = other.entries.into_iter().chain(other.absorbed).filter(is_of_the_person);
        self.absorbed.extend(entries.map(|entry| Entry { merged, ..entry }));
    }

    /// Which events are cancelled by which.
    fn cancels_in_effect(&self) -> BTreeMap<EventId, EventId> {
        let standing = self.record.standing();
        standing.filter_map(|(stamp, fact)| Some((fact.cancelled()?, stamp.event))).collect()
    }

    /// Adds the next event of the stream.
    pub fn add(&mut self, stored: &Stored) {
        let zone = &self.zone;
        let event = v1::Event::decode(stored.record.clone()).ok();
        let payload = event.as_ref().map(|event| Payload::decode(&event.r#type, &event.payload));
        let mut payload = payload.and_then(Result::ok).unwrap_or(Payload::Unknown);
        let is_read = !matches!(payload, Payload::ResourceReceived(_));
        let fact = event.as_ref().and_then(|event| happened(event, &payload, zone));
        let occurred = event.as_ref().and_then(|e| CareTime::parse(&e.occurred_at, zone).ok());
        let turn = fact.as_ref().map_or(Turn::Begun, |happened| happened.fact.turn());
        let mut encounter = None;
        if let Some(happened) = fact {
            self.record.apply_recorded(&happened, stored.placed.recorded_at);
            encounter = self.encounter_of(&happened.fact);
            if let Fact::Identity(identity::Event::Unmerged(merge)) = &happened.fact {
                let retired = Some(merge.retired);
                self.absorbed.retain(|entry| entry.merged != retired);
                self.said.retain(|said| said.merged != retired);
                self.cancelled_by = self.cancels_in_effect();
            }
            if self.record.has_corrections() {
                // A cancel may be in error itself, or be corrected, whichever came first.
                self.cancelled_by = self.cancels_in_effect();
            } else if let Some(cancelled) = happened.fact.cancelled() {
                self.cancelled_by.insert(cancelled, stored.event);
            }
        }
        let happened_at = occurred.map_or(stored.placed.recorded_at, |time| time.earliest());
        let actor = event.as_ref().and_then(|event| event.actor.as_ref());
        let by = actor.map(|actor| actor.organisation.as_str()).unwrap_or_default();
        if is_read {
            self.names.note(by, happened_at, &payload);
            self.note_organisations(by, &payload);
        }
        let told_in = stored.stream.patient();
        self.patient = told_in;
        if let Some(event) = &event
            && let Some(patient) = told_in
            && self.word.add_read(stored, event, &payload, &self.zone)
        {
            self.person.add(patient, self.word.clone());
        }
        let update = event.as_ref().and_then(|event| Update::of(event, &payload));
        self.said.extend(update.map(|update| Said {
            by: stored.event,
            told_in,
            placed: stored.placed,
            as_of: happened_at,
            update,
            merged: None,
        }));
        self.is_moved_to |= matches!(payload, Payload::EventsMoved(_));
        self.last = Some(stored.placed);
        if self.is_for_summary && encounter.is_none() && !glance::looks_at(&payload) {
            return;
        }
        let event = event.filter(|_| is_read);
        if !is_read {
            // What it says is given out by the FHIR door alone.
            payload = Payload::ResourceReceived(v1::ResourceReceived::default());
        }
        self.entries.push(Entry {
            id: stored.event,
            told_in,
            placed: stored.placed,
            happened_at,
            turn,
            event,
            payload,
            encounter,
            merged: None,
        });
    }

    /// Takes note of the organisations that an event names.
    fn note_organisations(&mut self, by: &str, payload: &Payload) {
        let corrected = instead(payload);
        let said = corrected.as_ref().unwrap_or(payload).fields();
        let named = said.map(fields::organisations).unwrap_or_default();
        for id in named.into_iter().map(|of| of.id.as_str()).chain([by]) {
            if !id.is_empty() && !self.organisations.contains(id) {
                self.organisations.insert(id.to_owned());
            }
        }
    }

    /// The organisations that ever had to do with the patient.
    pub(crate) fn organisations(&self) -> impl Iterator<Item = &str> {
        self.organisations.iter().map(String::as_str)
    }

    /// What was told while it was merged with records that it was taken apart from, in this one or
    /// in the other.
    pub fn told_while_merged(&self) -> &[v1::ToldWhileMerged] {
        &self.told_meanwhile
    }

    /// Whether events were moved to its own record from another patient's.
    pub(crate) fn is_moved_to(&self) -> bool {
        self.is_moved_to
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
}

impl View {
    fn knows(&self, stored: &Stored) -> bool {
        self.as_known_at.is_none_or(|moment| stored.placed.recorded_at <= moment)
    }

    fn shows(&self, stored: &Stored) -> bool {
        self.knows(stored)
            && self.version_max.is_none_or(|version| stored.placed.version <= version)
    }
}
