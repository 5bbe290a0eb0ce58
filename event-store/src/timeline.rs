//! One patient's timeline: a pure fold of the patient's stream (I5), and of the streams of the
//! records that were merged into it.

pub mod glance;
mod names;
mod readmission;
pub mod summary;
pub mod wording;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use prost::Message as _;
use tsunagi_bus::handler::to_wire;
use tsunagi_bus::patients::MERGES_READ_MAX;
use tsunagi_bus::{Placed, Stored, address};
use tsunagi_domain::encounter::Class;
use tsunagi_domain::transfer_request::TransferRequest;
use tsunagi_domain::{
    CareTime, EncounterId, EventId, Fact, PatientId, Record, ResourceId, Turn, Zone, identity,
};
use tsunagi_proto::catalogue::{Family, Payload};
use tsunagi_proto::convert::happened;
use tsunagi_proto::{fields, v1};

use crate::directory;

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
    /// Whose word `person` has besides.
    others: BTreeSet<PatientId>,
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
    cancelled_by: BTreeMap<EventId, EventId>,
    names: names::Names,
    /// The organisations that its events name.
    organisations: BTreeSet<String>,
}

/// What one event said of the person. Which of them holds, the record knows.
#[derive(Debug)]
struct Said {
    by: EventId,
    told_in: Option<PatientId>,
    placed: Placed,
    /// When it is said to have been so.
    as_of: Timestamp,
    demographics: v1::Demographics,
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

/// An entry as it is corrected.
struct Standing<'a> {
    entry: &'a Entry,
    payload: Cow<'a, Payload>,
    occurred_at: &'a str,
    happened_at: Timestamp,
    encounter: Option<EncounterId>,
    error: Option<EventId>,
}

/// Which entries are shown.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Empty: all.
    pub families: Vec<Family>,
    /// Empty: all.
    pub roles: Vec<String>,
    pub episode: Option<EncounterId>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
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
            others: BTreeSet::new(),
            patient: None,
            entries: Vec::new(),
            absorbed: Vec::new(),
            last: None,
            is_for_summary: false,
            cancelled_by: BTreeMap::new(),
            names: names::Names::default(),
            organisations: BTreeSet::new(),
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
        timeline.look_ahead(later);
        timeline.read_person(read)?;
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
        self.word.others() != self.others
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
        self.others = self.word.others();
        Ok(())
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
            self.record.apply(&happened);
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
            && self.word.add_read(stored.placed, event, &mut payload, &self.zone)
        {
            self.person.add(patient, self.word.clone());
        }
        if let Some(said) = address::demographics(&mut payload) {
            self.said.push(Said {
                by: stored.event,
                told_in,
                placed: stored.placed,
                as_of: happened_at,
                demographics: said.clone(),
                merged: None,
            });
        }
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

    /// The entries in the order in which they happened.
    pub fn entries_oldest_first(&self) -> Vec<v1::TimelineEntry> {
        self.entries_after(0, v1::Order::OldestFirst, &Filter::default()).collect()
    }

    /// The entries in an order that pass the filter, without the first `skip` ones; each is made
    /// when it is taken.
    pub fn entries_after(
        &self,
        skip: usize,
        order: v1::Order,
        filter: &Filter,
    ) -> impl Iterator<Item = v1::TimelineEntry> {
        let mut entries: Vec<Standing<'_>> =
            self.standing().filter(|standing| self.passes(standing, filter)).collect();
        sort(&mut entries);
        if order != v1::Order::OldestFirst {
            entries.reverse();
        }
        entries.into_iter().skip(skip).map(|standing| self.show(&standing))
    }

    /// All entries as they are corrected, in no order.
    fn standing(&self) -> impl Iterator<Item = Standing<'_>> {
        self.entries.iter().chain(&self.absorbed).map(|entry| self.correct(entry))
    }

    /// An entry as it is corrected.
    fn correct<'a>(&'a self, entry: &'a Entry) -> Standing<'a> {
        let occurred_at = entry.event.as_ref().map(|event| event.occurred_at.as_str());
        let mut standing = Standing {
            entry,
            payload: Cow::Borrowed(&entry.payload),
            occurred_at: occurred_at.unwrap_or_default(),
            happened_at: entry.happened_at,
            encounter: entry.encounter,
            error: None,
        };
        if !self.record.has_corrections() {
            return standing;
        }
        let outcome = self.record.outcome(entry.id);
        standing.error = outcome.error;
        if let Some((by, at)) = outcome.time
            && let Some(Payload::TimeCorrected(correction)) = self.payload(by)
        {
            standing.occurred_at = &correction.occurred_at;
            standing.happened_at = at.earliest();
        }
        if let Some((by, fact)) = outcome.value
            && let Some(instead) = self.payload(by).and_then(instead)
        {
            standing.payload = Cow::Owned(instead);
            standing.encounter = self.encounter_of(fact);
        }
        standing
    }

    fn passes(&self, standing: &Standing<'_>, filter: &Filter) -> bool {
        let Filter { families, roles, episode, from, to } = filter;
        let entry = standing.entry;
        if !entry.is_read() {
            return false;
        }
        let role = entry.event.as_ref().and_then(|event| event.actor.as_ref());
        let role = role.map(|actor| actor.role.as_str()).unwrap_or_default();
        (families.is_empty() || families.contains(&entry.payload.family()))
            && (roles.is_empty() || roles.iter().any(|of| of == role))
            && episode.is_none_or(|episode| {
                standing.encounter.is_some_and(|of| self.record.episode(of) == episode)
            })
            && from.is_none_or(|from| standing.happened_at >= from)
            && to.is_none_or(|to| standing.happened_at <= to)
    }

    /// The entry of the event of this version; none if it is one that nobody reads.
    pub fn entry(&self, version: u64) -> Option<v1::TimelineEntry> {
        let entry = self.recorded(version).filter(|entry| entry.is_read());
        entry.map(|entry| self.show(&self.correct(entry)))
    }

    /// Where the event of this version stands.
    pub fn placed(&self, version: u64) -> Option<Placed> {
        self.recorded(version).map(|entry| entry.placed)
    }

    /// What one sees of the patient at a glance.
    pub fn summary(&self, patient: PatientId) -> v1::PatientSummary {
        summary::summary(self, patient)
    }

    /// The payload of an event, as it was told.
    pub(crate) fn payload(&self, event: EventId) -> Option<&Payload> {
        self.find(event).map(|entry| &entry.payload)
    }

    /// What an event says, as it is corrected.
    fn said(&self, event: EventId) -> Option<Standing<'_>> {
        self.find(event).map(|entry| self.correct(entry))
    }

    fn find(&self, event: EventId) -> Option<&Entry> {
        let mut entries = self.entries.iter().rev().chain(self.absorbed.iter().rev());
        entries.find(|entry| entry.id == event)
    }

    /// What is known of the person, but for an address that must not leave the record. Who the
    /// person is, the record says itself; and where it does not, those that were merged into it.
    pub(crate) fn demographics(&self) -> Option<v1::Demographics> {
        let holds = self.record.patient().said_by();
        let own = self.said.iter().rev().find(|said| Some(said.by) == holds);
        let said = own.or_else(|| self.said_elsewhere(|_| true))?;
        let mut demographics = said.demographics.clone();
        if demographics.names.is_empty()
            && let Some(named) = self.said_elsewhere(|of| !of.names.is_empty())
        {
            demographics.names.clone_from(&named.demographics.names);
        }
        if let Some(address) = &mut demographics.address {
            if self.is_withheld(said.told_in, said.placed, said.as_of) {
                address::withhold(address);
            }
            return Some(demographics);
        }
        // Demographics that say nothing of an address do not say that it is confidential no more.
        let has_address = |said: &&Said| said.demographics.address.is_some();
        let last = self.said.iter().rev().find(has_address);
        if last.is_some_and(|last| self.is_withheld(last.told_in, last.placed, last.as_of)) {
            address::withhold(demographics.address.get_or_insert_default());
        }
        Some(demographics)
    }

    /// What was said last of the person in the records that were merged into this one, of that
    /// which is `fit`.
    fn said_elsewhere(&self, fit: impl Fn(&v1::Demographics) -> bool) -> Option<&Said> {
        let holds = |said: &&Said| {
            said.merged.is_some()
                && fit(&said.demographics)
                && self.record.outcome(said.by).error.is_none()
        };
        self.said.iter().filter(holds).max_by_key(|said| (said.as_of, said.by))
    }

    /// Whether an address must not leave the record that was told there, as of a time.
    fn is_withheld(&self, told_in: Option<PatientId>, placed: Placed, said_at: Timestamp) -> bool {
        told_in.is_none_or(|told_in| self.person.withholds(told_in, placed, said_at))
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

    /// The payload as a message that says its own type: the bytes as they came, unless it was
    /// corrected, or an address in it must not leave the record.
    fn detail(&self, standing: &Standing<'_>, payload: Vec<u8>) -> Option<prost_types::Any> {
        let type_url = format!("type.googleapis.com/{}", standing.payload.message_name()?);
        let Entry { told_in, placed, happened_at, .. } = standing.entry;
        let is_withheld = self.is_withheld(*told_in, *placed, *happened_at);
        let said = || Payload::clone(&standing.payload);
        let without = is_withheld.then(|| address::without_address(said())).flatten();
        let value = match (without, &standing.payload) {
            (Some(without), _) => without,
            (None, Cow::Owned(instead)) => instead.encode_to_vec(),
            (None, Cow::Borrowed(_)) => payload,
        };
        Some(prost_types::Any { type_url, value })
    }

    /// What the words of an entry about `encounter` need to know.
    fn context(&self, entry: &Entry, encounter: Option<EncounterId>) -> wording::Context<'_> {
        let encounter = encounter.and_then(|encounter| self.record.encounter(encounter));
        let is_visit = encounter.is_some_and(|encounter| encounter.class() != Class::Inpatient);
        let told_of = entry.event.as_ref();
        let told_of =
            told_of.and_then(|event| CareTime::parse(&event.occurred_at, &self.zone).ok());
        wording::Context { names: &self.names, zone: &self.zone, is_visit, told_of }
    }

    /// The event by which a facility tells of the stay itself that an entry is a move of.
    fn superseded_by(&self, standing: &Standing<'_>) -> Option<EventId> {
        let is_move = standing.payload.family() == Family::Encounter;
        standing.encounter.filter(|_| is_move).and_then(|stay| self.record.superseded_by(stay))
    }

    fn show(&self, standing: &Standing<'_>) -> v1::TimelineEntry {
        let entry = standing.entry;
        let event = entry.event.clone().unwrap_or_default();
        let cancelled_by = self.cancelled_by.get(&entry.id).copied();
        let cancelled_by = cancelled_by.or_else(|| self.superseded_by(standing));
        let episode =
            standing.encounter.map(|encounter| self.record.episode(encounter).to_string());
        let merged = entry.merged.map(|merged| merged.to_string());
        v1::TimelineEntry {
            event_id: entry.id.to_string(),
            text: Some(wording::headline(
                &event.r#type,
                &standing.payload,
                self.context(entry, standing.encounter),
            )),
            recorded_at: Some(to_wire(entry.placed.recorded_at)),
            version: entry.placed.version,
            encounter_id: standing.encounter.map(|id| id.to_string()).unwrap_or_default(),
            episode_id: episode.unwrap_or_default(),
            cancelled_by_event_id: cancelled_by.map(|by| by.to_string()).unwrap_or_default(),
            by: event.actor.as_ref().map(|actor| wording::by(actor, &self.names)),
            note: wording::note(&standing.payload),
            family: entry.payload.family().into(),
            entered_in_error_by_event_id: standing
                .error
                .map(|event| event.to_string())
                .unwrap_or_default(),
            earlier: self.earlier(entry),
            merged_patient_id: merged.unwrap_or_default(),
            detail: self.detail(standing, event.payload),
            r#type: event.r#type,
            occurred_at: standing.occurred_at.to_owned(),
            actor: event.actor,
            source: event.source,
            sensitivity: event.sensitivity,
        }
    }

    /// What the entry said before each of its corrections.
    fn earlier(&self, entry: &Entry) -> Vec<v1::EarlierWord> {
        if !self.record.has_corrections() {
            return Vec::new();
        }
        let event = entry.event.as_ref();
        let event_type = event.map(|event| event.r#type.as_str()).unwrap_or_default();
        let mut payload = Cow::Borrowed(&entry.payload);
        let mut occurred_at = event.map(|event| event.occurred_at.clone()).unwrap_or_default();
        let mut recorded_at = entry.placed.recorded_at;
        let mut earlier = Vec::new();
        for correction in self.record.corrections_of(entry.id) {
            let Some(by) = self.find(correction) else { continue };
            earlier.push(v1::EarlierWord {
                text: Some(wording::headline(
                    event_type,
                    &payload,
                    self.context(entry, entry.encounter),
                )),
                occurred_at: occurred_at.clone(),
                recorded_at: Some(to_wire(recorded_at)),
                corrected_by_event_id: correction.to_string(),
            });
            recorded_at = by.placed.recorded_at;
            if let Payload::TimeCorrected(said) = &by.payload {
                occurred_at.clone_from(&said.occurred_at);
            } else if let Some(instead) = instead(&by.payload) {
                payload = Cow::Owned(instead);
            }
        }
        earlier
    }
}

/// Whether an event is one that people read: not what a system sent and nothing is made of.
pub(crate) fn is_read(stored: &Stored) -> bool {
    let event = v1::Event::decode(stored.record.clone());
    event.map_or(true, |event| {
        let payload = Payload::decode(&event.r#type, &[]);
        !matches!(payload, Ok(Payload::ResourceReceived(_)))
    })
}

impl Entry {
    /// The same of an entry.
    fn is_read(&self) -> bool {
        !matches!(self.payload, Payload::ResourceReceived(_))
    }
}

/// What a correction says instead.
fn instead(correction: &Payload) -> Option<Payload> {
    let Payload::ValueCorrected(correction) = correction else { return None };
    Payload::decode(&correction.r#type, &correction.payload).ok()
}

/// In the order in which it happened; what happened at the same time, by what can follow what, and
/// then by the events' ids. The order of recording makes no difference: it is not the same
/// wherever news come late.
fn sort(entries: &mut [Standing<'_>]) {
    entries.sort_by_key(|Standing { happened_at, entry, .. }| (*happened_at, entry.turn, entry.id));
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
