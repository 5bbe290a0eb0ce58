//! What is another patient's than was told: a visit (A45), a number (A43).
//!
//! A visit is told to the record of the patient whose it is, as it was told to the other's, and
//! then taken back there. These are two writes: a message that was interrupted between them was
//! not answered, and finishes what it began when it is sent again, or when a server starts
//! (`halves`). The record whose the visit is comes first, so that what it refuses changes nothing.
//!
//! A number is moved with all that is its own, and so only where it has a record of its own: that
//! one is taken apart from whose it is not, and merged with whose it is (I1).

use tsunagi_bus::handler::SubmitError;
use tsunagi_bus::{StreamId, Submission};
use tsunagi_domain::identity::Identifier;
use tsunagi_domain::{EncounterId, EventId, PatientId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::{fields, v1};

use super::acts::Told;
use super::encounter::Situation;
use super::events::event;
use super::group::Group;
use super::halves::Half;
use super::intake::{Incoming, Intake, Outcome};
use super::one_person::{Sides, United};
use super::parts::Part;
use super::patient;
use super::profile::Profile;
use super::refusal::Refusal;
use super::rules;
use super::trigger::Act;
use super::visit::Said;
use crate::known::{Attending, Step};

/// Events that one move of a visit takes, beside those that say who the patient is.
const MOVED_MAX: usize = 60;

/// Where messages say what is moved: what a number is, and whose it is from now on.
pub(super) struct Number {
    moved: Vec<v1::Identifier>,
    pub(super) of: Vec<v1::Identifier>,
    /// Whose it was.
    from: Vec<v1::Identifier>,
}

impl Number {
    /// PID-3 and MRG-1 have the number, PID-2 says whose it is (or PID-3 has that as well), and
    /// MRG-4 whose it was.
    pub(super) fn read(group: &Group<'_>, profile: &Profile) -> Result<Self, Refusal> {
        let read = |segment, number| patient::identifiers(group.field(segment, number), profile);
        let (said, prior, mut of) = (read("PID", 3), read("MRG", 1), read("PID", 2));
        let (moved, others): (Vec<_>, Vec<_>) =
            said.into_iter().partition(|number| prior.contains(number));
        if moved.is_empty() {
            return Err(Refusal::missing(
                "MRG-1",
                "say in MRG-1 and in PID-3 which number is moved, and in PID-2 to whom; that two numbers are one person's is A40",
            ));
        }
        of.extend(others);
        of.retain(|number| !moved.contains(number));
        if of.is_empty() {
            return Err(Refusal::missing(
                "PID-2",
                "say in PID-2 to whom the number belongs: another number of that person",
            ));
        }
        Ok(Self { moved, of, from: read("MRG", 4) })
    }
}

impl Intake {
    /// Refuses what an account of another patient's is said to become: nobody here knows which
    /// visits are under it.
    pub(super) async fn check_account(&self, sides: &Sides) -> Result<(), Refusal> {
        match self.another(sides).await? {
            Some(other) => Err(Refusal::contradicts(
                "MRG-1",
                "ACCOUNT_OF_ANOTHER",
                &format!(
                    "MRG-1 is patient {other}, and not the one of PID-3: accounts are not kept here, and so nobody knows which visits are meant. Say of each visit that it is moved (A45), or that both are one person (A40)"
                ),
            )),
            None => Ok(()),
        }
    }

    /// The patient whom MRG names, if known and none of those whom PID names.
    async fn another(&self, sides: &Sides) -> Result<Option<PatientId>, Refusal> {
        let (kept, other) = (self.records(&sides.kept).await?, self.records(&sides.other).await?);
        let survivors: Vec<PatientId> = kept.into_iter().map(|(_, survivor)| survivor).collect();
        let mut others = other.into_iter().map(|(_, survivor)| survivor);
        Ok(others.find(|other| !survivors.contains(other)))
    }

    /// Takes a message that says of visits whose they are, one after the other.
    pub(super) async fn move_visits(
        &self,
        incoming: &Incoming<'_>,
        group: &Group<'_>,
        numbers: &[v1::Identifier],
    ) -> Result<Outcome, Refusal> {
        let (mut outcome, mut half) = (Ok(Outcome::NothingNew), Half::default());
        for (number, group) in group.visits().iter().enumerate() {
            let part = Part { act: Act::MoveVisit, number, group, numbers, moved: &[] };
            let one = self.move_visit(incoming, part, &mut half).await;
            outcome = match (outcome, one) {
                // Whatever was stored now says more than what was not.
                (Ok(before), Ok(one))
                    if before == Outcome::Stored || one == Outcome::NothingNew =>
                {
                    Ok(before)
                }
                (_, one) => one,
            };
            if outcome.is_err() {
                break;
            }
        }
        self.end_half(half, &outcome).await;
        outcome
    }

    async fn move_visit(
        &self,
        incoming: &Incoming<'_>,
        part: Part<'_>,
        half: &mut Half,
    ) -> Result<Outcome, Refusal> {
        let sides = Sides::read(part.group, incoming.profile);
        // From one account of the patient's to another: these are not kept.
        let Some(from) = self.another(&sides).await? else {
            return self.take_part(incoming, part).await;
        };
        if self.was_taken_back_from(incoming, part, from).await? {
            return Ok(Outcome::Repeated);
        }
        let moved = self.told_of_visit(incoming, part, from).await?;
        if moved.is_empty() {
            self.check_known(incoming, part).await?;
            return self.take_part(incoming, part).await;
        }
        self.begin_half(incoming, half).await?;
        self.take_part(incoming, Part { moved: &moved, ..part }).await?;
        let taken_back = self.take_back_from(incoming, part, from).await;
        taken_back.map_err(|refusal| Refusal {
            message: format!("{}; until then, the visit is told to both patients", refusal.message),
            ..refusal
        })
    }

    /// Whether the message took the visit back where it should not have been told of.
    async fn was_taken_back_from(
        &self,
        incoming: &Incoming<'_>,
        part: Part<'_>,
        from: PatientId,
    ) -> Result<bool, Refusal> {
        let bus = self.handler.bus().as_ref();
        let taken_back = bus.find(StreamId::Patient(from), taken_back(incoming, part, 0)).await;
        Ok(taken_back.map_err(Refusal::of_read)?.is_some())
    }

    /// What was told of the visit in the record of `from`, and is in effect.
    async fn told_of_visit(
        &self,
        incoming: &Incoming<'_>,
        part: Part<'_>,
        from: PatientId,
    ) -> Result<Vec<Told>, Refusal> {
        let known = self.known.get(from);
        let mut known = known.lock().await;
        let bus = self.handler.bus().as_ref();
        known.catch_up(bus, from).await.map_err(Refusal::of_read)?;
        let visit = self.visit(incoming, part.group);
        let act = part.act;
        let situation = Situation { visit, known: &known, patient: from, act, takes_place: false };
        situation.told_of_numbered()
    }

    /// Refuses a visit of which neither record tells.
    async fn check_known(&self, incoming: &Incoming<'_>, part: Part<'_>) -> Result<(), Refusal> {
        let owner = self.owner(part.numbers).await?;
        if self.told_of_visit(incoming, part, owner).await?.is_empty() {
            return Err(Refusal::unknown(
                "PV1-19",
                "ENCOUNTER_UNKNOWN",
                "no visit of this number is known here of the patient whom MRG names: send its admission (A01) or registration (A04) with the patient whose it is",
            ));
        }
        Ok(())
    }

    /// Takes the visit back where it should not have been told of.
    async fn take_back_from(
        &self,
        incoming: &Incoming<'_>,
        part: Part<'_>,
        from: PatientId,
    ) -> Result<Outcome, Refusal> {
        let mut last = SubmitError::Contended;
        for _ in 0..self.attempts_max {
            let known = self.known.get(from);
            let mut known = known.lock().await;
            let bus = self.handler.bus().as_ref();
            known.catch_up(bus, from).await.map_err(Refusal::of_read)?;
            // The same message may come by several ways at once.
            if self.was_taken_back_from(incoming, part, from).await? {
                return Ok(Outcome::Repeated);
            }
            let visit = self.visit(incoming, part.group);
            let act = part.act;
            let situation =
                Situation { visit, known: &known, patient: from, act, takes_place: false };
            let told = situation.delete_visit()?;
            let id = |at| taken_back(incoming, part, at);
            let events = told.into_iter().enumerate();
            let events = events.map(|(at, told)| event(incoming, id(at), from, told)).collect();
            let submission = Submission { events, expected_version: Some(known.version()) };
            match self.handler.submit(submission).await {
                Ok(_) => return Ok(Outcome::Stored),
                Err(error @ (SubmitError::VersionConflict { .. } | SubmitError::Contended)) => {
                    last = error;
                }
                Err(error) => return Err(rules::refusal(act, error, "MRG-5")),
            }
        }
        Err(Refusal::of_submit(last, "MRG-5"))
    }

    /// Makes a number, with all that is its own, that of the person whom PID-2 names.
    pub(super) async fn move_number(
        &self,
        incoming: &Incoming<'_>,
        group_number: usize,
        at: &Said,
        group: &Group<'_>,
    ) -> Result<United, Refusal> {
        let Number { moved, of, from } = Number::read(group, incoming.profile)?;
        let (records, owners) = (self.records(&moved).await?, self.records(&of).await?);
        // What is nobody's is linked like any other number.
        let Some((record, holder)) = records.first().copied() else { return Ok(United::Before) };
        if owners.iter().any(|(_, owner)| *owner == holder) {
            return Ok(United::Before);
        }
        let from = self.records(&from).await?;
        if !from.is_empty() && from.iter().all(|(_, of)| *of != holder) {
            return Err(of_somebody_else(holder));
        }
        let loaded = self.loaded(record).await?;
        let moved_too =
            |number: &Identifier| moved.iter().any(|of| Identifier::from(of) == *number);
        if records.len() > 1 || !loaded.record.patient().identifiers().all(moved_too) {
            return Err(of_one_record(record));
        }
        // Before anything is changed.
        if let Some((_, owner)) = owners.first() {
            self.check_one_person([*owner, record]).await?;
        }
        if let Some(into) = loaded.record.patient().retired_into() {
            self.take_apart(incoming, group_number, at.clone(), (record, into)).await?;
        }
        let sides = Sides { kept: of, other: moved };
        self.unite(incoming, group_number, at, &sides).await
    }
}

impl Situation<'_> {
    /// All that is in effect of the visit that the message numbers, as it was told: nothing if
    /// no such visit is known here.
    fn told_of_numbered(&self) -> Result<Vec<Told>, Refusal> {
        let number = self.visit.number().ok_or_else(|| {
            Refusal::missing("PV1-19", "say in PV1-19 the number of the visit that is moved")
        })?;
        let (visit, is_known) = self.numbered(&number);
        if !is_known {
            return Ok(Vec::new());
        }
        let in_force = self.in_force(visit);
        let steps = self.known.steps.iter().filter(|step| in_force.contains(&step.event));
        let mut told: Vec<Told> =
            steps.filter_map(|step| self.told_at(step.event, said_anew(self, step)?)).collect();
        let changes = self.known.attending_changes(visit);
        for change in changes.take(if told.is_empty() { 0 } else { MOVED_MAX }) {
            let (encounter_id, attending) = (visit.to_string(), Some(change.doctor.clone()));
            let changed = v1::AttendingChanged { encounter_id, attending };
            told.extend(self.told_at(change.event, Payload::AttendingChanged(changed)));
        }
        told.sort_by_key(|told| self.visit.care_time(&told.at.text).map(|at| at.earliest()));
        if told.len() > MOVED_MAX {
            return Err(too_much(visit));
        }
        Ok(told)
    }

    fn told_at(&self, event: EventId, payload: Payload) -> Option<Told> {
        let text = self.known.written_time(event)?.to_owned();
        Some(Told { at: Said { text, field: "PV1-19", odd_offset: false }, payload })
    }

    /// What of a visit that was told elsewhere is not known here.
    pub(super) fn unknown_of(&self, moved: &[Told]) -> Vec<Told> {
        let is_known = |told: &&Told| {
            let at = self.visit.care_time(&told.at.text);
            let visit = encounter_of(&told.payload);
            if let Payload::AttendingChanged(said) = &told.payload {
                let changes = visit.into_iter().flat_map(|of| self.known.attending_changes(of));
                let is_it = |change: &Attending| Some(&change.doctor) == said.attending.as_ref();
                return changes.filter(|change| Some(change.at) == at).any(is_it);
            }
            let mut steps = self.known.steps.iter().filter(|step| Some(step.at) == at);
            steps.any(|step| {
                let said = self.known.said_by(step.event);
                Some(step.encounter) == visit
                    && said.is_some_and(|said| said.event_type() == told.payload.event_type())
            })
        };
        moved.iter().filter(|told| !is_known(told)).cloned().collect()
    }
}

/// What a step says, in another record: what came before it is not known there.
fn said_anew(situation: &Situation<'_>, step: &Step) -> Option<Payload> {
    let mut payload = situation.known.said_by(step.event)?.clone();
    if let Payload::Admitted(said) = &mut payload {
        said.preceding_encounter_id.clear();
    } else if let Payload::EncounterRegistered(said) = &mut payload {
        said.preceding_encounter_id.clear();
    } else if let Payload::AdmissionPlanned(said) = &mut payload {
        said.preceding_encounter_id.clear();
    }
    Some(payload)
}

fn encounter_of(payload: &Payload) -> Option<EncounterId> {
    EncounterId::parse(fields::written(payload.fields()?, "encounter_id")).ok()
}

/// The id of an event by which a message takes a visit back.
fn taken_back(incoming: &Incoming<'_>, part: Part<'_>, at: usize) -> EventId {
    incoming.events().named(&format!("{}/moved/{at}", part.number))
}

fn of_somebody_else(holder: PatientId) -> Refusal {
    let message = format!(
        "the number belongs to patient {holder}, and not to whom MRG-4 names: find out whose it is, and correct the message"
    );
    Refusal::contradicts("MRG-4", "IDENTIFIERS_OF_SEVERAL", &message)
}

fn of_one_record(record: PatientId) -> Refusal {
    let message = format!(
        "the number was given to patient {record} together with others, and what was told under each is not kept apart: have the event that gave it to the wrong patient marked as entered in error at a desk (CareTeam.MarkEnteredInError), move the visits (A45), and then send the number with the right patient (A31)"
    );
    Refusal::contradicts("MRG-1", "NUMBER_OF_ONE_RECORD", &message)
}

fn too_much(visit: EncounterId) -> Refusal {
    let message = format!(
        "more than {MOVED_MAX} events tell of the visit, encounter {visit}: delete it where it is (A23), and send it anew with the patient whose it is"
    );
    Refusal::contradicts("PV1-19", "TOO_MANY_EVENTS", &message)
}
