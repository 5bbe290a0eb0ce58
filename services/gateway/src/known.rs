//! What is known of a patient when a message about the patient comes in: the record that
//! commands are decided on, who the patient is, and which steps of encounters are in effect.
//!
//! The record decides what holds of what was told: corrections, merges and the order of what
//! happened are its matter. Here it is only put in the words of messages. Caught up before each
//! use; messages about one patient are taken one after the other in this process, and that nobody
//! else wrote meanwhile is what the expected version ensures.

mod protection;
mod steps;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use prost::Message as _;
use tokio::sync::Mutex as AsyncMutex;
use tsunagi_bus::address;
use tsunagi_bus::patients::Loaded;
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Bus, Stored, StreamId};
use tsunagi_domain::{CareTime, EncounterId, EventId, Fact, PatientId, Record, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::convert::happened;
use tsunagi_proto::demographics::Update;
use tsunagi_proto::{demographics, fields, v1};

use crate::fhir::version;
use crate::person::{Born, Word as PersonWord, Words as PersonWords};
use crate::received::{Received, Words as ReceivedWords, last_of_each};
use crate::recent::Recent;
use protection::Protection;
pub(crate) use steps::{Step, StepKind};
use steps::{step, taken_by};

/// One patient, as far as the stream was read.
#[derive(Debug, Default)]
pub(crate) struct Known {
    loaded: Loaded,
    told: Told,
    /// Who the person is.
    demographics: v1::Demographics,
    /// Whether `steps` are still to be made of what was told.
    is_changed: bool,
    /// In the order in which they happened.
    pub(crate) steps: Vec<Step>,
    /// Steps that were cancelled or entered in error, and when somebody said so.
    pub(crate) taken_back: Vec<(Step, CareTime)>,
    /// Who attends, by encounter and in the order in which it was said.
    attending: Vec<Attending>,
}

/// What was told that the record does not keep.
#[derive(Debug, Default)]
struct Told {
    /// What was said of the person in the patient's own record, by the event that said so.
    said: HashMap<EventId, Word>,
    protection: Protection,
    /// When and of what sex the patient was said to be born, by the event that said so, in all
    /// records.
    born: Vec<(EventId, Born)>,
    /// Of events about encounters, and of what is said instead of them.
    words: HashMap<EventId, Words>,
    /// When corrections were made.
    corrections: HashMap<EventId, CareTime>,
    /// What was said of when it happened, as it was written: of events about encounters, and in
    /// corrections of times.
    times: HashMap<EventId, String>,
    /// Of which version of a resource an event was made, of events that say so.
    versions: HashMap<EventId, v1::Source>,
    /// The records that this one is read from.
    records: BTreeSet<PatientId>,
    /// What was kept of resources, in the order of recording.
    received: ReceivedWords,
}

/// What an event says of who the person is, and when.
#[derive(Debug)]
struct Word {
    at: CareTime,
    actor: Option<v1::Actor>,
    source: Option<v1::Source>,
    update: Update,
}

/// What an event about an encounter says beside what the record keeps.
#[derive(Debug, Default)]
struct Words {
    by: String,
    organisation: String,
    /// The door by which it came.
    door: String,
    /// When it was written down, if not when it happened.
    written: Option<CareTime>,
    attending: Option<(EncounterId, CareTime, v1::Participant)>,
    number: Option<(EncounterId, v1::Identifier)>,
    /// Whether it says of an encounter that is known that another doctor attends.
    is_change: bool,
    /// The step that it takes, and all that it says, if it is an encounter's.
    step: Option<(Step, Payload)>,
    /// Whether it is said instead of what another event says.
    is_instead: bool,
}

/// The doctor who attends from some time on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attending {
    pub(crate) event: EventId,
    pub(crate) encounter: EncounterId,
    pub(crate) at: CareTime,
    pub(crate) doctor: v1::Participant,
    /// The organisation that said so in an event of its own; none if it was said in passing.
    pub(crate) changed_by: Option<String>,
}

impl Known {
    /// Reads the events that are not known yet.
    pub(crate) async fn catch_up(
        &mut self,
        bus: &dyn Bus,
        patient: PatientId,
    ) -> Result<(), ReadError> {
        let (zone, own) = (&bus.region().zone, StreamId::Patient(patient));
        let Self { loaded, told, is_changed, .. } = self;
        let mut seen = |stored: &Stored| {
            *is_changed = true;
            told.fold(stored, stored.stream == own, zone);
        };
        loaded.catch_up_seeing(bus, patient, &mut seen).await?;
        if self.told.protection.is_given_back() {
            let since = address::Words::new(1).confidential_since_apart(bus, patient).await?;
            self.told.protection.take_along(since);
        }
        if std::mem::take(&mut self.is_changed) {
            (self.steps, self.taken_back) = self.steps_in_effect();
            self.attending = self.attending_in_effect();
            self.demographics = self.demographics_in_effect();
        }
        Ok(())
    }

    pub(crate) fn record(&self) -> &Record {
        &self.loaded.record
    }

    pub(crate) fn version(&self) -> u64 {
        self.loaded.version
    }

    /// What is known of the person; nothing, if nobody has said anything.
    pub(crate) fn demographics(&self) -> &v1::Demographics {
        &self.demographics
    }

    fn demographics_in_effect(&self) -> v1::Demographics {
        let patient = self.record().patient();
        let update = |event: EventId| self.told.said.get(&event).map(|word| &word.update);
        let of_death = patient.death_said_by().filter_map(update);
        demographics::known(patient.said_by().filter_map(update), of_death).demographics
    }

    /// All that was said of when and of what sex the patient was born, and not in error.
    pub(crate) fn born(&self) -> Vec<&Born> {
        let all = self.told.born.iter();
        all.filter(|(event, _)| self.record().outcome(*event).error.is_none())
            .map(|(_, born)| born)
            .collect()
    }

    /// What was said of the person, in the order in which it holds, and whether it is the word of
    /// whoever speaks now; and whether that is all that they know each time.
    pub(crate) fn words(
        &self,
        is_own: impl Fn(Option<&v1::Actor>, Option<&v1::Source>) -> bool,
        are_whole: bool,
    ) -> PersonWords {
        let word = |word: &Word| PersonWord {
            update: word.update.clone(),
            at: word.at,
            is_own: is_own(word.actor.as_ref(), word.source.as_ref()),
        };
        let is_in_error = |event: &EventId| self.record().outcome(*event).error.is_some();
        let in_error = self.told.said.iter().filter(|(event, _)| is_in_error(event));
        let in_error = in_error.map(|(_, said)| word(said)).collect();
        let standing = |event: EventId| self.told.said.get(&event).map(word);
        PersonWords::of(self.record().patient(), standing, in_error, are_whole)
    }

    /// Whether somebody said that the address is confidential, in this record or in one that is
    /// merged into it, and nobody who could know openly said one since.
    pub(crate) fn is_address_protected(&self) -> bool {
        self.told.protection.holds(self.record().patient())
    }

    /// Whether anybody ever said so.
    pub(crate) fn was_address_protected(&self) -> bool {
        self.told.protection.was_said(self.record().patient())
    }

    /// An event of the patient's own record, or of one that was merged into it.
    pub(crate) async fn find(
        &self,
        bus: &dyn Bus,
        event: EventId,
    ) -> Result<Option<Stored>, ReadError> {
        for record in &self.told.records {
            let found = bus.find(StreamId::Patient(*record), event).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What a system sent last of a resource, by the system's own id of it, that holds of this
    /// patient.
    pub(crate) fn received_from(
        &self,
        patient: PatientId,
        (system, sent_as): (&str, &str),
    ) -> Option<&Received> {
        let holds = |word: &Received| {
            word.is_about(patient) && self.record().outcome(word.event).error.is_none()
        };
        let all = self.told.received.holding().filter(|word| word.is_from(system, sent_as));
        last_of_each(all.filter(|word| holds(word))).pop()
    }

    /// The last event by which something was kept that a system sent as this.
    pub(crate) fn last_received_from(&self, system: &str, sent_as: &str) -> Option<EventId> {
        self.told.received.last_from(system, sent_as)
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.record().patient().is_registered()
    }

    /// The last step of an encounter that is of one of these kinds.
    pub(crate) fn last(&self, encounter: EncounterId, kinds: &[StepKind]) -> Option<&Step> {
        let is_one = |step: &&Step| step.encounter == encounter && kinds.contains(&step.kind);
        self.steps.iter().rev().find(is_one)
    }

    /// Who attends under an encounter.
    pub(crate) fn attending(&self, encounter: EncounterId) -> Option<&Attending> {
        self.attending.iter().rev().find(|of| of.encounter == encounter)
    }

    /// The last change of doctors that an organisation told of.
    pub(crate) fn attending_changed_by(
        &self,
        organisation: &str,
        encounter: EncounterId,
    ) -> Option<&Attending> {
        let is_theirs = |of: &&Attending| {
            of.changed_by.as_deref() == Some(organisation) && of.encounter == encounter
        };
        self.attending.iter().rev().find(is_theirs)
    }

    /// The encounters to which somebody gave this number, and nobody another one since.
    pub(crate) fn numbered<'k>(
        &'k self,
        number: &'k v1::Identifier,
    ) -> impl Iterator<Item = EncounterId> + 'k {
        let said = self.told.words.iter().filter(|(_, words)| !words.is_instead);
        let numbers =
            said.filter_map(|(event, words)| self.in_effect(*event, words)?.number.as_ref());
        numbers.filter(move |(_, of)| of == number).map(|(encounter, _)| *encounter)
    }

    /// What an event says, or what is said instead. None if it was entered in error.
    fn in_effect<'k>(&'k self, event: EventId, words: &'k Words) -> Option<&'k Words> {
        let outcome = self.record().outcome(event);
        let instead = outcome.value.and_then(|(by, _)| self.told.words.get(&by));
        outcome.error.is_none().then(|| instead.unwrap_or(words))
    }

    /// The numbers that were given to an encounter.
    pub(crate) fn numbers_of(
        &self,
        encounter: EncounterId,
    ) -> impl Iterator<Item = &v1::Identifier> {
        let said = self.told.words.iter().filter(|(_, words)| !words.is_instead);
        let numbers =
            said.filter_map(|(event, words)| self.in_effect(*event, words)?.number.as_ref());
        numbers.filter(move |(of, _)| *of == encounter).map(|(_, number)| number)
    }

    /// What a step of an encounter says, as it was corrected since.
    pub(crate) fn said_by(&self, step: EventId) -> Option<&Payload> {
        let instead = self.record().outcome(step).value.map(|(by, _)| by);
        let words = instead.and_then(|by| self.told.words.get(&by));
        let words = words.or_else(|| self.told.words.get(&step))?;
        words.step.as_ref().map(|(_, payload)| payload)
    }

    /// What a step of an encounter was said to be at first, and each time instead, with the step
    /// that this event takes.
    pub(crate) fn wordings(&self, step: EventId) -> impl Iterator<Item = &(Step, Payload)> {
        let holds = |by: &EventId| self.record().outcome(*by).error.is_none();
        let instead = self.record().corrections_of(step).filter(holds);
        let events = std::iter::once(step).chain(instead);
        events.filter_map(|by| self.told.words.get(&by)?.step.as_ref())
    }

    /// When an event about an encounter happened, as it was written and corrected since.
    pub(crate) fn written_time(&self, event: EventId) -> Option<&str> {
        let instead = self.record().outcome(event).time.map(|(by, _)| by);
        let written = instead.and_then(|by| self.told.times.get(&by));
        written.or_else(|| self.told.times.get(&event)).map(String::as_str)
    }

    /// The changes of doctors that were told of an encounter in events of their own.
    pub(crate) fn attending_changes(
        &self,
        encounter: EncounterId,
    ) -> impl Iterator<Item = &Attending> {
        let is_change = move |of: &&Attending| of.encounter == encounter && of.changed_by.is_some();
        self.attending.iter().filter(is_change)
    }

    /// The doctors who were said to attend from some time on, which was taken back, and when.
    pub(crate) fn attending_taken_back(
        &self,
        encounter: EncounterId,
    ) -> impl Iterator<Item = (&v1::Participant, CareTime)> {
        self.told.words.iter().filter(|(_, words)| words.is_change).filter_map(
            move |(event, words)| {
                let since = self.told.corrections.get(&self.record().outcome(*event).error?)?;
                let (of, _, doctor) = words.attending.as_ref()?;
                (*of == encounter).then_some((doctor, *since))
            },
        )
    }

    /// Of which versions of their resources events were made, of those that say so.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &v1::Source> {
        self.told.versions.values()
    }

    /// What a system said instead of a step and of its time, in corrections that stand, and in
    /// which version of its resource.
    pub(crate) fn corrections_by<'k>(
        &'k self,
        system: &'k str,
        step: EventId,
    ) -> impl Iterator<Item = (Timestamp, Option<&'k Payload>, Option<&'k str>)> {
        let stands = |by: &EventId| self.record().outcome(*by).error.is_none();
        self.record().corrections_of(step).filter(stands).filter_map(move |by| {
            let source = self.told.versions.get(&by).filter(|source| source.system == system)?;
            let words = self.told.words.get(&by).and_then(|words| words.step.as_ref());
            let value = words.map(|(_, payload)| payload);
            let time = self.told.times.get(&by).filter(|_| value.is_none()).map(String::as_str);
            Some((version::of(source)?.1, value, time))
        })
    }

    /// When a step was corrected last.
    pub(crate) fn corrected_at(&self, step: EventId) -> Option<CareTime> {
        let made = self.record().corrections_of(step);
        made.filter_map(|by| self.told.corrections.get(&by).copied()).last()
    }

    /// When it was written that a step was taken.
    pub(crate) fn told_at(&self, step: EventId) -> Option<CareTime> {
        self.told.words.get(&step)?.written
    }

    /// When it was written that a step was at the time at which it is known to have been.
    pub(crate) fn timed_at(&self, step: EventId) -> Option<CareTime> {
        let corrected = self.record().outcome(step).time;
        let corrected = corrected.and_then(|(by, _)| self.told.corrections.get(&by).copied());
        corrected.or_else(|| self.told_at(step))
    }

    /// Whether it was this organisation's word.
    pub(crate) fn is_word_of(&self, organisation: &str, event: EventId) -> bool {
        self.told.words.get(&event).is_some_and(|words| words.organisation == organisation)
    }

    /// Whether an event about an encounter came by one of these doors.
    pub(crate) fn came_by(&self, doors: &[&str], event: EventId) -> bool {
        self.told.words.get(&event).is_some_and(|words| doors.contains(&words.door.as_str()))
    }

    /// The steps in effect, and those that were taken back.
    fn steps_in_effect(&self) -> (Vec<Step>, Vec<(Step, CareTime)>) {
        let told: Vec<_> = self.record().standing().collect();
        let cancelled: HashMap<EventId, CareTime> = told
            .iter()
            .filter_map(|(stamp, fact)| Some((fact.cancelled()?, stamp.occurred_at)))
            .collect();
        let (mut steps, mut taken_back) = (Vec::new(), self.entered_in_error());
        for (stamp, fact) in told {
            let Fact::Encounter(encounter, fact) = fact else { continue };
            let (event, at) = (stamp.event, stamp.occurred_at);
            let Some((kind, place, planned_at)) = step(&fact) else { continue };
            let by = self.told.words.get(&event).map(|words| words.by.clone());
            let by = by.unwrap_or_default();
            let step = Step { event, encounter, kind, at, place, planned_at, by };
            match cancelled.get(&event) {
                Some(since) => taken_back.push((step, *since)),
                None => steps.push(step),
            }
        }
        steps.sort_by_key(|step| step.at.earliest());
        (steps, taken_back)
    }

    fn entered_in_error(&self) -> Vec<(Step, CareTime)> {
        let since = |event: EventId| {
            self.told.corrections.get(&self.record().outcome(event).error?).copied()
        };
        let steps = self.told.words.values().filter_map(|words| words.step.as_ref());
        steps.filter_map(|(step, _)| Some((step.clone(), since(step.event)?))).collect()
    }

    fn attending_in_effect(&self) -> Vec<Attending> {
        let mut all = Vec::new();
        for (event, words) in &self.told.words {
            let stands = words.is_change || self.steps.iter().any(|step| step.event == *event);
            let said = self.in_effect(*event, words).filter(|_| stands);
            let Some((encounter, at, doctor)) = said.and_then(|said| said.attending.clone()) else {
                continue;
            };
            let told_at = words.attending.as_ref().map_or(at, |(_, at, _)| *at);
            let at = self.record().outcome(*event).time.map_or(told_at, |(_, at)| at);
            let changed_by = words.is_change.then(|| words.organisation.clone());
            all.push(Attending { event: *event, encounter, at, doctor, changed_by });
        }
        // Of what was said of one time, any order will do, if it is always the same.
        all.sort_by_key(|of| (of.at.earliest(), of.changed_by.is_some(), of.event));
        all
    }
}

impl Told {
    fn fold(&mut self, stored: &Stored, is_own: bool, zone: &Zone) {
        if let StreamId::Patient(patient) = stored.stream {
            self.records.insert(patient);
        }
        // What this version cannot read changes nothing here.
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { return };
        let Ok(mut payload) = Payload::decode(&event.r#type, &event.payload) else { return };
        let Some(happened) = happened(&event, &payload, zone) else { return };
        let (id, at) = (happened.stamp.event, happened.stamp.occurred_at);
        if let Some(source) = event.source.as_ref().filter(|source| version::of(source).is_some()) {
            self.versions.insert(id, source.clone());
        }
        if matches!(happened.fact, Fact::Correction(_)) {
            self.corrections.insert(id, at);
        }
        self.protection.fold(stored, is_own, &event, &payload);
        self.received.add((stored, is_own), &event, &payload, zone);
        if let Some(update) = Update::of(&event, &payload) {
            let Update { demographics, .. } = &update;
            self.born
                .push((id, Born { on: demographics.birth_on.clone(), sex: demographics.sex() }));
            if is_own {
                let (actor, source) = (event.actor.clone(), event.source.clone());
                self.said.insert(id, Word { at, actor, source, update });
            }
        }
        let mut is_instead = false;
        if let Payload::ValueCorrected(correction) = payload {
            is_instead = true;
            let instead = Payload::decode(&correction.r#type, &correction.payload);
            payload = instead.unwrap_or(Payload::Unknown);
        }
        if let Payload::TimeCorrected(correction) = &payload {
            self.times.insert(id, correction.occurred_at.clone());
        }
        if let Some(words) = words(payload.clone(), at) {
            self.times.insert(id, event.occurred_at.clone());
            let by = event.actor.unwrap_or_default().person;
            let v1::Source { door, written_at, .. } = event.source.unwrap_or_default();
            let written = CareTime::parse(&written_at, zone).ok().or(Some(at));
            let organisation = happened.stamp.acting_for.to_string();
            let is_change = words.is_change && !is_instead;
            let step = taken_by(&happened, &by).map(|step| (step, payload));
            let said =
                Words { by, organisation, door, written, is_change, step, is_instead, ..words };
            self.words.insert(id, said);
        }
    }
}

/// What an event about an encounter says beside what the record keeps of it.
fn words(payload: Payload, at: CareTime) -> Option<Words> {
    let (encounter, attending, number, is_change) = if let Payload::Admitted(m) = payload {
        (m.encounter_id, m.attending, m.visit_number, false)
    } else if let Payload::EncounterRegistered(m) = payload {
        (m.encounter_id, m.attending, m.visit_number, false)
    } else if let Payload::AttendingChanged(m) = payload {
        (m.encounter_id, m.attending, None, true)
    } else {
        let encounter = payload.fields().map(|fields| fields::written(fields, "encounter_id"));
        (encounter.unwrap_or_default().to_owned(), None, None, false)
    };
    let encounter = EncounterId::parse(&encounter).ok()?;
    let attending = attending.map(|doctor| (encounter, at, doctor));
    let number = number.map(|number| (encounter, number));
    Some(Words { attending, number, is_change, ..Words::default() })
}

/// The patients that messages were about lately. Whoever locks one has the patient alone.
pub(crate) type KnownPatients = Recent<Arc<AsyncMutex<Known>>>;
/// That this was to be said, and not what that event says.
pub(crate) fn said_instead(event: &str, instead: &Payload) -> Payload {
    Payload::ValueCorrected(v1::ValueCorrected {
        corrects_event_id: event.to_owned(),
        r#type: instead.event_type().to_owned(),
        payload: instead.encode_to_vec(),
        ..v1::ValueCorrected::default()
    })
}
