//! What a timeline shows: its entries as they are corrected, in the order in which they happened, and
//! of each what it says, and said before.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::Timestamp;
use prost::Message as _;
use tsunagi_bus::handler::to_wire;
use tsunagi_bus::{Placed, Stored, address};
use tsunagi_domain::encounter::Class;
use tsunagi_domain::transfer_request::TransferRequest;
use tsunagi_domain::{CareTime, EncounterId, EventId, Fact, PatientId};
use tsunagi_proto::catalogue::{Family, Payload};
use tsunagi_proto::{demographics, v1};

use super::{Entry, Said, Timeline, summary, wording};

/// An entry as it is corrected.
pub(super) struct Standing<'a> {
    pub(super) entry: &'a Entry,
    pub(super) payload: Cow<'a, Payload>,
    pub(super) occurred_at: &'a str,
    pub(super) happened_at: Timestamp,
    pub(super) encounter: Option<EncounterId>,
    pub(super) error: Option<EventId>,
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

impl Timeline {
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
    pub(super) fn standing(&self) -> impl Iterator<Item = Standing<'_>> {
        self.entries.iter().chain(&self.absorbed).map(|entry| self.correct(entry))
    }

    /// An entry as it is corrected.
    pub(super) fn correct<'a>(&'a self, entry: &'a Entry) -> Standing<'a> {
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

    pub(super) fn passes(&self, standing: &Standing<'_>, filter: &Filter) -> bool {
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
    pub(super) fn said(&self, event: EventId) -> Option<Standing<'_>> {
        self.find(event).map(|entry| self.correct(entry))
    }

    pub(super) fn find(&self, event: EventId) -> Option<&Entry> {
        let mut entries = self.entries.iter().rev().chain(self.absorbed.iter().rev());
        entries.find(|entry| entry.id == event)
    }

    /// What is known of the person, but for an address that must not leave the record. Who the
    /// person is, the record says itself; and where it does not, those that were merged into it.
    pub(crate) fn demographics(&self) -> Option<v1::Demographics> {
        let said: HashMap<EventId, &Said> = self.said.iter().map(|said| (said.by, said)).collect();
        let patient = self.record.patient();
        let own = Known::of(&said, patient.said_by(), patient.death_said_by());
        let elsewhere = patient.said_elsewhere();
        let elsewhere: Vec<Known<'_>> =
            elsewhere.filter_map(|(all, of_death)| Known::of(&said, all, of_death)).collect();
        let said = own.as_ref().or_else(|| last(elsewhere.iter()))?;
        let mut known = said.demographics.clone();
        if known.names.is_empty()
            && let Some(named) =
                last(elsewhere.iter().filter(|of| !of.demographics.names.is_empty()))
        {
            known.names.clone_from(&named.demographics.names);
        }
        let is_withheld = |said: &Said| self.is_withheld(said.told_in, said.placed, said.as_of);
        if let (Some(address), Some(by)) = (&mut known.address, said.address_by) {
            if is_withheld(by) || self.person.is_in_error(by.by) {
                address::withhold(address);
            }
            return Some(known);
        }
        // Demographics that say nothing of an address do not say that it is confidential no more.
        let has_address = |said: &&Said| said.update.demographics.address.is_some();
        if self.said.iter().rev().find(has_address).is_some_and(is_withheld) {
            address::withhold(known.address.get_or_insert_default());
        }
        Some(known)
    }

    /// Whether an address must not leave the record because of what is confidential: it was told
    /// there, as of a time.
    pub(super) fn is_withheld(
        &self,
        told_in: Option<PatientId>,
        placed: Placed,
        said_at: Timestamp,
    ) -> bool {
        told_in.is_none_or(|told_in| self.person.withholds(told_in, placed, said_at))
    }

    pub(super) fn encounter_of(&self, fact: &Fact) -> Option<EncounterId> {
        match fact {
            Fact::Encounter(encounter, _) => Some(*encounter),
            Fact::TransferRequest(request, _) => {
                self.record.transfer_request(*request).and_then(TransferRequest::encounter)
            }
            Fact::Document(document) => document.encounter,
            Fact::Identity(_) | Fact::Referral(..) | Fact::Case(..) | Fact::Correction(_) => None,
        }
    }

    pub(super) fn recorded(&self, version: u64) -> Option<&Entry> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.entries.get(index)
    }

    /// The payload as a message that says its own type: the bytes as they came, unless it was
    /// corrected, or an address in it must not leave the record.
    pub(super) fn detail(
        &self,
        standing: &Standing<'_>,
        payload: Vec<u8>,
    ) -> Option<prost_types::Any> {
        let type_url = format!("type.googleapis.com/{}", standing.payload.message_name()?);
        let Entry { id, told_in, placed, happened_at, .. } = standing.entry;
        let is_withheld = address::has_address(&standing.payload)
            && (self.is_withheld(*told_in, *placed, *happened_at) || self.person.is_in_error(*id));
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
    pub(super) fn context(
        &self,
        entry: &Entry,
        encounter: Option<EncounterId>,
    ) -> wording::Context<'_> {
        let encounter = encounter.and_then(|encounter| self.record.encounter(encounter));
        let is_visit = encounter.is_some_and(|encounter| encounter.class() != Class::Inpatient);
        let told_of = entry.event.as_ref();
        let told_of =
            told_of.and_then(|event| CareTime::parse(&event.occurred_at, &self.zone).ok());
        wording::Context { names: &self.names, zone: &self.zone, is_visit, told_of }
    }

    /// The event by which a facility tells of the stay itself that an entry is a move of.
    pub(super) fn superseded_by(&self, standing: &Standing<'_>) -> Option<EventId> {
        let is_move = standing.payload.family() == Family::Encounter;
        standing.encounter.filter(|_| is_move).and_then(|stay| self.record.superseded_by(stay))
    }

    pub(super) fn show(&self, standing: &Standing<'_>) -> v1::TimelineEntry {
        let entry = standing.entry;
        let event = entry.event.clone().unwrap_or_default();
        let cancelled_by = self.cancelled_by.get(&entry.id).copied();
        let cancelled_by = cancelled_by.or_else(|| self.superseded_by(standing));
        let episode =
            standing.encounter.map(|encounter| self.record.episode(encounter).to_string());
        let merged = entry.merged.map(|merged| merged.to_string());
        let sensitivity = labels(standing, &event);
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
            sensitivity,
        }
    }

    /// What the entry said before each of its corrections.
    pub(super) fn earlier(&self, entry: &Entry) -> Vec<v1::EarlierWord> {
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

/// What the events of one record say of a person.
struct Known<'a> {
    demographics: v1::Demographics,
    /// The one that says where the person lives.
    address_by: Option<&'a Said>,
    last: &'a Said,
}

impl<'a> Known<'a> {
    /// None if no event says anything.
    fn of(
        said: &HashMap<EventId, &'a Said>,
        all: impl Iterator<Item = EventId>,
        of_death: impl Iterator<Item = EventId>,
    ) -> Option<Self> {
        let told = |event: EventId| said.get(&event).copied();
        let all: Vec<&'a Said> = all.filter_map(told).collect();
        let of_death = of_death.filter_map(told).map(|said| &said.update);
        let known = demographics::known(all.iter().map(|said| &said.update), of_death);
        Some(Self {
            demographics: known.demographics,
            address_by: known.address_by.and_then(|by| all.get(by)).copied(),
            last: all.last()?,
        })
    }
}

/// What was said last.
fn last<'k, 'a: 'k>(known: impl Iterator<Item = &'k Known<'a>>) -> Option<&'k Known<'a>> {
    known.max_by_key(|known| (known.last.as_of, known.last.by))
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
pub(super) fn instead(correction: &Payload) -> Option<Payload> {
    let Payload::ValueCorrected(correction) = correction else { return None };
    Payload::decode(&correction.r#type, &correction.payload).ok()
}

/// In the order in which it happened; what happened at the same time, by what can follow what, and
/// then by the events' ids. The order of recording makes no difference: it is not the same
/// wherever news come late.
pub(super) fn sort(entries: &mut [Standing<'_>]) {
    entries.sort_by_key(|Standing { happened_at, entry, .. }| (*happened_at, entry.turn, entry.id));
}

/// The labels of an entry. Of an error every address is withheld: that this one was confidential, its
/// label says.
fn labels(standing: &Standing<'_>, event: &v1::Event) -> Vec<i32> {
    let label = v1::Sensitivity::ConfidentialAddress.into();
    let mut labels = event.sensitivity.clone();
    if standing.error.is_some()
        && !labels.contains(&label)
        && address::is_confidential(event, &standing.payload)
    {
        labels.push(label);
    }
    labels
}
