//! What happened, by trigger event: the events that a message says of a visit or stay.
//!
//! What is known already, from whichever message or desk, is not said again. Where a message
//! tells of a stay whose admission never came, and says when it began, its admission is said
//! with it: a feed begins in the middle, and messages get lost.

use jiff::SignedDuration;
use tsunagi_domain::encounter::{Encounter, Stage};
use tsunagi_domain::{EncounterId, EventId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::again::SAME_VISIT;
use super::encounter::{INPATIENT, Situation, VISIT};
use super::refusal::Refusal;
use super::trigger::Act;
use super::visit::Said;
use crate::known::{Step, StepKind, said_instead};

/// Something that a message tells of, and the field that says when.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) at: Said,
    pub(super) payload: Payload,
}

impl Told {
    /// That this was to be said, and not what that event says.
    pub(super) fn instead_of(event: EventId, instead: &Payload, at: Said) -> Self {
        Self { at, payload: said_instead(&event.to_string(), instead) }
    }
}

pub(super) type Tells = Result<Vec<Told>, Refusal>;

impl Situation<'_> {
    /// What the message says of the visit; nothing if all of it is known.
    pub(super) fn tells(&self, act: Act) -> Tells {
        match act {
            Act::Admit => match self.visit.class() {
                None | Some(v1::EncounterClass::Inpatient) => self.admit(),
                Some(class) => self.register(class),
            },
            Act::Register => match self.visit.class() {
                Some(v1::EncounterClass::Inpatient) => self.admit(),
                class => self.register(class.unwrap_or(v1::EncounterClass::Outpatient)),
            },
            Act::PlanAdmission => self.plan_admission(),
            Act::BecomeInpatient => self.become_inpatient(),
            Act::BecomeOutpatient => self.become_outpatient(),
            Act::Transfer => self.transfer(),
            Act::PlanTransfer => self.plan_transfer(),
            Act::StartLeave | Act::ReturnFromLeave => self.leave(act),
            Act::PlanDischarge => self.plan_discharge(),
            Act::Discharge => self.discharge(),
            Act::Cancel(kinds) => self.cancel(kinds),
            Act::DeleteVisit => self.delete_visit(),
            Act::ChangeAttending => self.change_attending(),
            Act::CancelAttending => self.cancel_attending(),
            Act::Update => self.update(),
            Act::Arrive => self.arrive(),
            Act::Depart => self.depart(),
            Act::CancelTracked(kind) => self.cancel_tracked(kind),
            Act::RenumberVisit => self.renumber(),
            Act::MergeVisits => self.merge_visits(),
            Act::Allergies => self.allergies(),
            // What they say besides who the patient is, is about more than one record.
            Act::Person
            | Act::Account
            | Act::MoveVisit
            | Act::MoveNumber
            | Act::SamePerson
            | Act::OtherPerson => Ok(Vec::new()),
        }
    }

    pub(super) fn began(&self) -> Result<Said, Refusal> {
        self.visit.admitted_at()?.map_or_else(|| self.visit.happened_at(), Ok)
    }

    pub(super) fn admit(&self) -> Tells {
        let at = self.began()?;
        let encounter = self.beginning(&at.text, INPATIENT);
        let new = self.admitted(encounter, at, 3);
        let Some(before) = self.known.last(encounter, &[StepKind::Admitted]) else {
            return self.becomes_stay(encounter, new);
        };
        if self.was_taken_back(encounter, StepKind::Admitted, &new)? || self.is_older(before)? {
            return Ok(Vec::new());
        }
        self.check_ends_after(encounter, &new.at)?;
        let began = self.visit.admitted_at()?;
        let mut told = Vec::new();
        // Without a number, a stay that began at another time may be another one.
        if let (Some(began), Some(_)) = (&began, self.visit.number()) {
            told = self.corrected_time(before, began, SAME_VISIT)?;
        }
        if told.is_empty() && self.differs(before, began.as_ref()) {
            // Another's word, or another stay's: the rules say why not.
            return Ok(vec![new]);
        }
        told.extend(self.corrected(before, new.payload)?);
        Ok(told)
    }

    pub(super) fn admitted(&self, encounter: EncounterId, at: Said, place: usize) -> Told {
        let payload = Payload::Admitted(v1::Admitted {
            encounter_id: encounter.to_string(),
            place: Some(self.visit.place(place)),
            admit_source: self.visit.coded(14, "0023"),
            attending: self.visit.attending(),
            visit_number: self.visit.number(),
            ..v1::Admitted::default()
        });
        Told { at, payload }
    }

    fn register(&self, class: v1::EncounterClass) -> Tells {
        let at = self.began()?;
        let encounter = self.beginning(&at.text, VISIT);
        self.check_merged(encounter)?;
        self.step(encounter, StepKind::Registered, self.registered(encounter, class, at))
    }

    pub(super) fn registered(
        &self,
        encounter: EncounterId,
        class: v1::EncounterClass,
        at: Said,
    ) -> Told {
        let payload = Payload::EncounterRegistered(v1::EncounterRegistered {
            encounter_id: encounter.to_string(),
            class: class.into(),
            place: Some(self.visit.place(3)),
            ended_at: self.visit.ends_on(class, &at),
            attending: self.visit.attending(),
            visit_number: self.visit.number(),
            ..v1::EncounterRegistered::default()
        });
        Told { at, payload }
    }

    fn plan_admission(&self) -> Tells {
        let planned_at = self.visit.expected_admission()?.ok_or_else(|| {
            Refusal::missing("PV2-8", "say when the patient is expected, in PV2-8, EVN-3 or PV1-44")
        })?;
        let encounter = self.planned(&planned_at.text);
        let at = self.visit.happened_at()?;
        let place = self.visit.place(if self.visit.says_place(3) { 3 } else { 42 });
        if self.is_planned(encounter, StepKind::AdmissionPlanned, &planned_at, Some(&place)) {
            return Ok(Vec::new());
        }
        let payload = Payload::AdmissionPlanned(v1::AdmissionPlanned {
            encounter_id: encounter.to_string(),
            planned_at: planned_at.text,
            place: Some(place),
            preceding_encounter_id: String::new(),
            purpose: String::new(),
        });
        self.plan(encounter, StepKind::AdmissionPlanned, Told { at, payload })
    }

    /// A plan, if it was not taken back since.
    fn plan(&self, encounter: EncounterId, kind: StepKind, new: Told) -> Tells {
        Ok(if self.was_taken_back(encounter, kind, &new)? { Vec::new() } else { vec![new] })
    }

    fn transfer(&self) -> Tells {
        if !self.visit.says_place(3) {
            return Err(Refusal::missing(
                "PV1-3",
                "say where the patient is now: ward, room or bed",
            ));
        }
        if let Some(visit) = self.visit_moved()? {
            return Ok(visit);
        }
        let (mut told, stay) = self.known_stay()?;
        // An admission that is told in passing names its doctor itself.
        let is_known = told.is_empty();
        let (at, to) = (self.visit.happened_at()?, self.visit.place(3));
        if !self.is_said(stay, &[StepKind::Transferred], &at, Some(&to)) {
            let (encounter_id, to) = (stay.to_string(), Some(to));
            let payload = Payload::Transferred(v1::Transferred { encounter_id, to });
            let moved = Told { at: at.clone(), payload };
            told.extend(self.plan(stay, StepKind::Transferred, moved)?);
        }
        told.extend(self.other_doctor(stay, at).filter(|_| is_known));
        Ok(told)
    }

    fn plan_transfer(&self) -> Tells {
        let place = if self.visit.says_place(42) { 42 } else { 3 };
        let planned_at = self.visit.expected_transfer()?.ok_or_else(|| {
            Refusal::missing("EVN-3", "say when the move is planned for, in EVN-3")
        })?;
        let (mut told, stay) = self.known_stay()?;
        let (at, to) = (self.visit.happened_at()?, self.visit.place(place));
        if !self.is_planned(stay, StepKind::TransferPlanned, &planned_at, Some(&to)) {
            let payload = Payload::TransferPlanned(v1::TransferPlanned {
                encounter_id: stay.to_string(),
                planned_at: planned_at.text,
                to: Some(to),
            });
            told.extend(self.plan(stay, StepKind::TransferPlanned, Told { at, payload })?);
        }
        Ok(told)
    }

    fn leave(&self, act: Act) -> Tells {
        let (mut told, stay) = self.known_stay()?;
        let at = self.visit.happened_at()?;
        let is_start = act == Act::StartLeave;
        let kind = if is_start { StepKind::LeaveStarted } else { StepKind::LeaveReturned };
        let payload = self.left(stay.to_string(), act)?;
        told.extend(self.step(stay, kind, Told { at, payload })?);
        Ok(told)
    }

    fn left(&self, encounter_id: String, act: Act) -> Result<Payload, Refusal> {
        if act != Act::StartLeave {
            return Ok(Payload::LeaveReturned(v1::LeaveReturned { encounter_id }));
        }
        let back = self.visit.expected_return()?;
        Ok(Payload::LeaveStarted(v1::LeaveStarted {
            encounter_id,
            expected_return_at: back.map(|said| said.text).unwrap_or_default(),
            destination: String::new(),
        }))
    }

    fn plan_discharge(&self) -> Tells {
        let planned_at = self.visit.expected_discharge()?.ok_or_else(|| {
            Refusal::missing(
                "PV2-9",
                "say when the discharge is planned for, in PV2-9, EVN-3 or PV1-45",
            )
        })?;
        let (mut told, stay) = self.known_stay()?;
        let at = self.visit.happened_at()?;
        if !self.is_planned(stay, StepKind::DischargePlanned, &planned_at, None) {
            let payload = Payload::DischargePlanned(v1::DischargePlanned {
                encounter_id: stay.to_string(),
                planned_at: planned_at.text,
                disposition: self.visit.coded(36, "0112"),
                destination: None,
            });
            told.extend(self.plan(stay, StepKind::DischargePlanned, Told { at, payload })?);
        }
        Ok(told)
    }

    fn discharge(&self) -> Tells {
        let end = self.visit.discharged_at()?;
        let at = end.clone().map_or_else(|| self.visit.happened_at(), Ok)?;
        let is_going_on = |encounter: &Encounter| {
            matches!(encounter.stage(), Stage::Visiting | Stage::InHospital | Stage::OnLeave)
        };
        let ended = |encounter: &Encounter| encounter.stage() == Stage::Ended;
        let found = match self.current(is_going_on)? {
            Some(encounter) => Some(encounter),
            None => self
                .current(ended)?
                .filter(|encounter| self.is_said(*encounter, &[StepKind::Discharged], &at, None)),
        };
        let (mut told, encounter) = match found {
            Some(encounter) => (Vec::new(), encounter),
            None => self.implied()?,
        };
        let new = self.discharged(encounter, at);
        let before = self.known.last(encounter, &[StepKind::Discharged]);
        let Some(before) = before.filter(|_| told.is_empty()) else {
            told.extend(self.step(encounter, StepKind::Discharged, new)?);
            return Ok(told);
        };
        if self.was_taken_back(encounter, StepKind::Discharged, &new)? || self.is_older(before)? {
            return Ok(told);
        }
        self.check_visit_behind(before, &new.at)?;
        // It has ended already: it did so otherwise, or at another time.
        match &end {
            Some(end) if self.visit.number().is_none() => {
                told.extend(self.corrected_time(before, end, SAME_VISIT)?);
            }
            Some(_) | None => told.extend(self.corrected_times()?),
        }
        if told.is_empty() && self.differs(before, end.as_ref()) {
            return Ok(vec![new]);
        }
        told.extend(self.corrected(before, new.payload)?);
        Ok(told)
    }

    /// Whether a step is known to have been at another time than is said.
    fn differs(&self, step: &Step, said: Option<&Said>) -> bool {
        let said = said.and_then(|said| self.visit.care_time(&said.text));
        said.is_some_and(|said| said.is_before(&step.at) || step.at.is_before(&said))
    }

    pub(super) fn discharged(&self, encounter: EncounterId, at: Said) -> Told {
        let payload = Payload::Discharged(v1::Discharged {
            encounter_id: encounter.to_string(),
            disposition: self.visit.coded(36, "0112"),
            destination: None,
        });
        Told { at, payload }
    }

    /// Takes back what these events did and is still in effect, the last first.
    pub(super) fn take_back(&self, events: &[EventId]) -> Tells {
        // When it was taken back: EVN-6 may be when that happened which is taken back.
        let at = self.visit.written_at()?;
        let is_meant = |step: &&Step| events.contains(&step.event) || self.is_end_of(step, events);
        let mut steps: Vec<&Step> = self.known.steps.iter().filter(is_meant).collect();
        // The end comes last, also if no more is known of it than the day.
        steps.sort_by_key(|step| self.is_end_of(step, events));
        let mut told = Vec::new();
        for step in steps.iter().rev() {
            let cancellation = v1::EncounterCancellation {
                encounter_id: step.encounter.to_string(),
                cancelled_event_id: step.event.to_string(),
                reason: String::new(),
            };
            told.push(Told { at: at.clone(), payload: cancels(step.kind, cancellation) });
            let is_beginning =
                |of: &&Step| (of.encounter, of.kind) == (step.encounter, StepKind::Registered);
            let is_visit_again = step.kind == StepKind::Admitted && !steps.iter().any(is_beginning);
            if is_visit_again {
                told.extend(self.ends_after_all(step.encounter));
            }
        }
        Ok(told)
    }

    /// What the message says instead of one that it replaces, and whose steps could not be taken
    /// back: corrections of them. None if none of them is in effect.
    pub(super) fn instead_of(
        &self,
        events: &[EventId],
        act: Act,
    ) -> Result<Option<Vec<Told>>, Refusal> {
        let happened = || self.visit.happened_at();
        let (kind, at) = match act {
            Act::Admit | Act::Register => match self.visit.class() {
                None if act == Act::Register => (StepKind::Registered, self.began()?),
                None | Some(v1::EncounterClass::Inpatient) => (StepKind::Admitted, self.began()?),
                Some(_) => (StepKind::Registered, self.began()?),
            },
            Act::Transfer => (StepKind::Transferred, happened()?),
            Act::StartLeave => (StepKind::LeaveStarted, happened()?),
            Act::ReturnFromLeave => (StepKind::LeaveReturned, happened()?),
            Act::Discharge => {
                let end = self.visit.discharged_at()?;
                (StepKind::Discharged, end.map_or_else(happened, Ok)?)
            }
            Act::PlanAdmission
            | Act::BecomeInpatient
            | Act::BecomeOutpatient
            | Act::PlanTransfer
            | Act::PlanDischarge
            | Act::Cancel(_)
            | Act::DeleteVisit
            | Act::ChangeAttending
            | Act::CancelAttending
            | Act::Person
            | Act::Update
            | Act::Arrive
            | Act::Depart
            | Act::CancelTracked(_)
            | Act::Account
            | Act::MoveVisit
            | Act::RenumberVisit
            | Act::MergeVisits
            | Act::MoveNumber
            | Act::Allergies
            | Act::SamePerson
            | Act::OtherPerson => return Ok(None),
        };
        let mut steps = self.known.steps.iter().rev();
        let is_one = |step: &&Step| step.kind == kind && events.contains(&step.event);
        let Some(step) = steps.find(is_one) else { return Ok(None) };
        let mut told = self.corrected_time(step, &at, SignedDuration::MAX)?;
        told.extend(self.corrected(step, self.payload(step, act, at)?)?);
        Ok(Some(told))
    }

    /// What the message says as a step of an encounter.
    fn payload(&self, step: &Step, act: Act, at: Said) -> Result<Payload, Refusal> {
        let (encounter, encounter_id) = (step.encounter, step.encounter.to_string());
        Ok(match step.kind {
            StepKind::Registered => {
                let class = self.visit.class().unwrap_or(v1::EncounterClass::Outpatient);
                self.registered(encounter, class, at).payload
            }
            StepKind::Discharged => self.discharged(encounter, at).payload,
            StepKind::Transferred => {
                let to = Some(self.visit.place(3));
                Payload::Transferred(v1::Transferred { encounter_id, to })
            }
            StepKind::LeaveStarted | StepKind::LeaveReturned => self.left(encounter_id, act)?,
            StepKind::Admitted
            | StepKind::AdmissionPlanned
            | StepKind::TransferPlanned
            | StepKind::DischargePlanned => self.admitted(encounter, at, 3).payload,
        })
    }

    /// The stay that goes on, or else the one that the message says began.
    fn known_stay(&self) -> Result<(Vec<Told>, EncounterId), Refusal> {
        let found = match self.current(Encounter::is_inpatient)? {
            Some(stay) => (Vec::new(), stay),
            None => self.implied()?,
        };
        let is_visit = match found.0.first() {
            Some(begun) => matches!(begun.payload, Payload::EncounterRegistered(_)),
            None => self.is_visiting(found.1),
        };
        if is_visit { Err(no_stay()) } else { Ok(found) }
    }

    /// The beginning of a stay or visit that is told of in passing.
    pub(super) fn implied(&self) -> Result<(Vec<Told>, EncounterId), Refusal> {
        let began = self.visit.admitted_at()?.ok_or_else(unknown_visit)?;
        let was = if self.visit.says_place(6) { 6 } else { 3 };
        let (kind, encounter, begun) = match self.visit.class() {
            None | Some(v1::EncounterClass::Inpatient) => {
                let encounter = self.beginning(&began.text, INPATIENT);
                (StepKind::Admitted, encounter, self.admitted(encounter, began, was))
            }
            Some(class) => {
                let encounter = self.beginning(&began.text, VISIT);
                (StepKind::Registered, encounter, self.registered(encounter, class, began))
            }
        };
        // Taken back since: it is known, and not as something that took place.
        if self.was_taken_back(encounter, kind, &begun)? {
            return Err(unknown_visit());
        }
        Ok((vec![begun], encounter))
    }

    /// Whether such a step of an encounter was at this time, and led there.
    fn is_said(
        &self,
        encounter: EncounterId,
        kinds: &[StepKind],
        at: &Said,
        place: Option<&v1::Place>,
    ) -> bool {
        let at = self.visit.care_time(&at.text);
        self.known.steps.iter().any(|step| {
            (step.encounter, Some(step.at)) == (encounter, at)
                && kinds.contains(&step.kind)
                && place.is_none_or(|place| step.place.as_ref() == Some(place))
        })
    }

    fn is_planned(
        &self,
        encounter: EncounterId,
        kind: StepKind,
        planned_at: &Said,
        place: Option<&v1::Place>,
    ) -> bool {
        let when = self.visit.care_time(&planned_at.text);
        self.known.last(encounter, &[kind]).is_some_and(|step| {
            step.planned_at == when && place.is_none_or(|place| step.place.as_ref() == Some(place))
        })
    }
}

fn no_stay() -> Refusal {
    Refusal::contradicts(
        "PV1-2",
        "NOT_ADMITTED",
        "this is a visit, and no stay: of one is kept where the patient is, who attends and when it ends. If the patient was admitted, say so first (A06); if not, have such messages passed over: list them under `ignore` in the facility's profile",
    )
}

pub(super) fn unknown_visit() -> Refusal {
    Refusal::unknown(
        "PV1-44",
        "ENCOUNTER_UNKNOWN",
        "the stay is not known here: send its admission (A01) first, or say in PV1-44 when it began",
    )
}

pub(super) fn nothing_to_cancel() -> Refusal {
    Refusal::unknown(
        "PV1-19",
        "NOTHING_TO_CANCEL",
        "nothing that this takes back is in effect here: it never came, was taken back before, or came after this was written; if it comes yet, send this again after it, or have it replayed from the quarantine, where it is",
    )
}

pub(super) fn unknown_to_cancel() -> Refusal {
    Refusal::unknown(
        "PV1-44",
        "ENCOUNTER_UNKNOWN",
        "no visit is known here of which this takes anything back: if what it takes back comes yet, send this again after it, or have it replayed from the quarantine, where it is; if its number (PV1-19) or beginning (PV1-44) is wrong, correct it",
    )
}

pub(super) fn cancels(kind: StepKind, cancellation: v1::EncounterCancellation) -> Payload {
    match kind {
        StepKind::AdmissionPlanned => Payload::AdmissionPlannedCancelled(cancellation),
        StepKind::Registered => Payload::RegistrationCancelled(cancellation),
        StepKind::Admitted => Payload::AdmitCancelled(cancellation),
        StepKind::TransferPlanned => Payload::TransferPlannedCancelled(cancellation),
        StepKind::Transferred => Payload::TransferCancelled(cancellation),
        StepKind::LeaveStarted => Payload::LeaveStartedCancelled(cancellation),
        StepKind::LeaveReturned => Payload::LeaveReturnedCancelled(cancellation),
        StepKind::DischargePlanned => Payload::DischargePlannedCancelled(cancellation),
        StepKind::Discharged => Payload::DischargeCancelled(cancellation),
    }
}
