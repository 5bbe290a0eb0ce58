//! Which encounter a message is about: the one that has its visit number, or, where messages
//! have none as in SS-MIX2, the one of this patient in this facility that began then or goes on.
//!
//! A message about another visit must not move or discharge who is in hospital: one that has
//! another number is never meant, nor one of another class than PV1-2 says, but by the messages
//! that turn a visit into a stay or back (A06, A07).

use jiff::SignedDuration;
use tsunagi_domain::encounter::{Class, Encounter, Stage};
use tsunagi_domain::{CareTime, EncounterId, PatientId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::ids;
use super::refusal::Refusal;
use super::trigger::Act;
use super::visit::{VISIT_NUMBERS, Visit};
use crate::known::{Known, Step, StepKind};

/// A message about one patient, and what is known of the patient.
pub(super) struct Situation<'a> {
    pub(super) visit: Visit<'a>,
    pub(super) known: &'a Known,
    pub(super) patient: PatientId,
    pub(super) act: Act,
    /// Whether it comes in the place of an earlier message.
    pub(super) takes_place: bool,
}

/// Two admissions to one facility this close together are one that was told twice.
const SAME_STAY: SignedDuration = SignedDuration::from_hours(24);

/// A stay that was planned for a time this close to an admission's, before or after, is the one
/// that begins. What is planned for another time is planned still.
const SAME_PLAN: SignedDuration = SignedDuration::from_hours(3 * 24);

/// So often a number can be taken from a visit and be given to the next.
const NUMBERED_MAX: u32 = 8;

const BEGINNINGS: [StepKind; 2] = [StepKind::Admitted, StepKind::Registered];

impl Situation<'_> {
    fn facility(&self) -> &str {
        &self.visit.profile.facility.id
    }

    /// The encounter that begins at a time, as `what` it begins.
    pub(super) fn beginning(&self, at: &str, what: &str) -> EncounterId {
        let begun = self.visit.care_time(at);
        if let Some(number) = self.visit.number() {
            let (numbered, is_known) = self.numbered(&number);
            let may_be_told = !is_known && what == INPATIENT;
            let told = begun.filter(|_| may_be_told).and_then(|begun| self.told_otherwise(begun));
            return told.unwrap_or(numbered);
        }
        let known = begun.and_then(|begun| {
            let by_time = self.begun_at(begun, what);
            let otherwise = || self.told_otherwise(begun).or_else(|| self.expected(begun));
            by_time.or_else(|| if what == INPATIENT { otherwise() } else { None })
        });
        known.unwrap_or_else(|| self.timed(at, what))
    }

    /// The id of what began at a time. Of two visits at the same time, in two departments, the
    /// second that is told is named by its department as well.
    fn timed(&self, at: &str, what: &str) -> EncounterId {
        let named = |what: &str| ids::timed_encounter(self.facility(), self.patient, what);
        let first = named(&format!("{what} {at}"));
        let is_another = self.known.steps.iter().any(|step| {
            step.encounter == first && step.kind == StepKind::Registered && self.is_elsewhere(step)
        });
        let department = self.visit.place(3).department;
        if is_another { named(&format!("{what} {at} {department}")) } else { first }
    }

    /// Whether a step leads to another department than the message names.
    fn is_elsewhere(&self, step: &Step) -> bool {
        let [here, there] = [
            self.visit.place(3).department,
            step.place.as_ref().map(|place| place.department.clone()).unwrap_or_default(),
        ];
        !here.is_empty() && !there.is_empty() && here != there
    }

    /// The encounter that a plan for a time is about. Without a number, a new plan takes the place
    /// of the one that is there.
    pub(super) fn planned(&self, at: &str) -> EncounterId {
        let begun = self.visit.care_time(at).and_then(|begun| self.begun_at(begun, INPATIENT));
        let is_clear = self.visit.number().is_some() || begun.is_some();
        let planned = if is_clear { None } else { self.expected_of(|_| true).last() };
        planned.unwrap_or_else(|| self.beginning(at, INPATIENT))
    }

    /// The encounter that goes on, or, if `wanted` says so, one that has ended.
    pub(super) fn current(
        &self,
        wanted: impl Fn(&Encounter) -> bool,
    ) -> Result<Option<EncounterId>, Refusal> {
        let began = self.visit.admitted_at()?.and_then(|said| self.visit.care_time(&said.text));
        if let Some(number) = self.visit.number() {
            let (numbered, is_known) = self.numbered(&number);
            if is_known {
                return self.of_number(&number, numbered, wanted).map(Some);
            }
            // Somebody told of it at a desk before, without the number.
            let told = match began {
                Some(began) => self.told_otherwise(began),
                None => self.last_here(|stay| stay.is_inpatient() && wanted(stay)),
            };
            return Ok(told);
        }
        let by_time = began.and_then(|began| {
            let begun = self.steps_here(&BEGINNINGS).filter(|step| step.at == began);
            let state = |of: EncounterId| self.known.record().encounter(of);
            let mut meant = begun
                .map(|step| step.encounter)
                .filter(|of| state(*of).is_some_and(|state| self.is_of_kind(state)));
            meant.next_back()
        });
        match (by_time, began) {
            (Some(encounter), _) => Ok(Some(encounter)),
            // It says when the stay began, and no stay here began then.
            (None, Some(_)) => Ok(None),
            (None, None) => Ok(self.last_here(wanted)),
        }
    }

    /// Which of the encounters of a number is meant: the one that it names, or what followed from
    /// that under the same number (A07, and A06 again). The newest that is of the kind that is said
    /// and goes on, or else the newest; of what becomes another, the one that the number names.
    fn of_number(
        &self,
        number: &v1::Identifier,
        numbered: EncounterId,
        wanted: impl Fn(&Encounter) -> bool,
    ) -> Result<EncounterId, Refusal> {
        let state = |of: EncounterId| self.known.record().encounter(of);
        let is_other = |of: &EncounterId| *of != numbered && self.is_here(*of);
        let others = self.known.numbered(number).filter(is_other);
        let all = std::iter::once(numbered).chain(others);
        let mut meant: Vec<_> =
            all.filter(|of| state(*of).is_none_or(|state| self.is_of_kind(state))).collect();
        let is_named = self.turns_into_another() && meant.first() == Some(&numbered);
        let began = |of: EncounterId| state(of).and_then(Encounter::began_at);
        meant.sort_by_key(|of| (began(*of).map(|at| at.earliest()), *of));
        let newest = meant.last().copied();
        let mut going_on = meant.iter().rev().filter(|of| state(**of).is_some_and(&wanted));
        let otherwise = || if is_named { Some(numbered) } else { newest };
        going_on.next().copied().or_else(otherwise).ok_or_else(other_class)
    }

    /// The encounter that has or would have the message's visit number or time.
    pub(super) fn own(&self, at: &str, what: &str) -> EncounterId {
        match self.visit.number() {
            Some(number) => self.numbered(&number).0,
            None => ids::timed_encounter(self.facility(), self.patient, &format!("{what} {at}")),
        }
    }

    /// The encounter that has a number here, as this or another door told of it, and whether it
    /// is known.
    pub(super) fn numbered(&self, number: &v1::Identifier) -> (EncounterId, bool) {
        if let Some(encounter) = self.merged_into(number) {
            return (encounter, true);
        }
        let told = self.known.numbered(number).filter(|encounter| self.is_here(*encounter));
        let told = told.min();
        for time in 0..NUMBERED_MAX {
            let own = ids::numbered_encounter(self.facility(), number, time);
            if !self.is_known(own) {
                return told.map_or((own, false), |id| (id, true));
            }
            if !self.is_renumbered(own, number) {
                return (own, true);
            }
        }
        let last = ids::numbered_encounter(self.facility(), number, NUMBERED_MAX);
        told.map_or((last, self.is_known(last)), |id| (id, true))
    }

    /// The encounter with whose number this one was made one (A42).
    pub(super) fn merged_into(&self, number: &v1::Identifier) -> Option<EncounterId> {
        let mut beginnings = self.steps_here(&BEGINNINGS);
        let is_one = |step: &&Step| {
            let said = self.known.said_by(step.event);
            said.is_some_and(|said| merged_numbers(said).any(|merged| merged == number))
        };
        beginnings.find(is_one).map(|step| step.encounter)
    }

    /// Refuses a visit under a number that was made one with a stay's, which never was a visit.
    pub(super) fn check_merged(&self, encounter: EncounterId) -> Result<(), Refusal> {
        let number = self.visit.number();
        let is_merged = number.is_some_and(|number| self.merged_into(&number) == Some(encounter));
        let was_visit = self.known.last(encounter, &[StepKind::Registered]).is_some();
        if is_merged && !was_visit { Err(other_class()) } else { Ok(()) }
    }

    /// Whether messages gave an encounter another number since.
    fn is_renumbered(&self, encounter: EncounterId, number: &v1::Identifier) -> bool {
        let of_messages = |of: &&v1::Identifier| of.system.ends_with(VISIT_NUMBERS);
        let mut numbers = self.known.numbers_of(encounter).filter(of_messages).peekable();
        numbers.peek().is_some() && numbers.all(|of| of != number)
    }

    pub(super) fn is_known(&self, encounter: EncounterId) -> bool {
        self.known.record().encounter(encounter).is_some()
    }

    pub(super) fn is_here(&self, encounter: EncounterId) -> bool {
        let place = self.known.record().encounter(encounter).and_then(Encounter::place);
        place.is_some_and(|place| place.facility.id.as_str() == self.facility())
    }

    fn steps_here(&self, kinds: &[StepKind]) -> impl DoubleEndedIterator<Item = &Step> {
        let steps = self.known.steps.iter().filter(|step| kinds.contains(&step.kind));
        steps.filter(|step| self.is_here(step.encounter))
    }

    fn begun_at(&self, at: CareTime, what: &str) -> Option<EncounterId> {
        let is_stay = what == INPATIENT;
        let kind = if is_stay { StepKind::Admitted } else { StepKind::Registered };
        let mut begun = self.steps_here(std::slice::from_ref(&kind)).filter(|step| step.at == at);
        let is_one = |step: &&Step| is_stay || !self.is_elsewhere(step);
        begun.find(is_one).map(|step| step.encounter)
    }

    /// The stay that is planned here for about that time and has not begun.
    fn expected(&self, begun: CareTime) -> Option<EncounterId> {
        let planned = self.expected_of(|planned| apart(&planned, &begun) <= SAME_PLAN);
        planned.last()
    }

    /// The stays that are planned here for a time and have not begun.
    fn expected_of(&self, when: impl Fn(CareTime) -> bool) -> impl Iterator<Item = EncounterId> {
        let planned = |of: EncounterId| self.known.record().encounter(of)?.planned_admission();
        let plans = self.steps_here(&[StepKind::AdmissionPlanned]).map(|step| step.encounter);
        plans.filter(move |of| planned(*of).is_some_and(|(_, planned_at)| when(planned_at)))
    }

    /// A stay here that began at about the same time, and had not ended by then.
    fn told_otherwise(&self, began: CareTime) -> Option<EncounterId> {
        self.last_here(|stay| {
            let is_stay = stay.class() == Class::Inpatient;
            let had_ended = stay.stage() == Stage::Ended
                && stay.since().is_none_or(|ended| !began.is_before(&ended));
            let apart = stay.began_at().map(|other| apart(&other, &began));
            is_stay && !had_ended && apart.is_some_and(|apart| apart < SAME_STAY)
        })
    }

    /// The last one here that the message may be about.
    fn last_here(&self, wanted: impl Fn(&Encounter) -> bool) -> Option<EncounterId> {
        let all = self.known.record().encounters();
        let wanted = all.filter(|(id, encounter)| {
            self.is_here(*id) && wanted(encounter) && self.may_be(*id, encounter)
        });
        let last = wanted
            .max_by_key(|(id, encounter)| (encounter.since().map(|since| since.earliest()), *id));
        last.map(|(id, _)| id)
    }

    /// Whether a message that does not say which one it is about may be about this one.
    pub(super) fn may_be(&self, id: EncounterId, encounter: &Encounter) -> bool {
        let is_of_class = self.visit.class().is_none_or(|class| class == class_of(encounter));
        // What has not begun, or no more, has no class.
        let is_of_class =
            is_of_class || encounter.stage() == Stage::Expected || self.turns_into_another();
        is_of_class && !self.has_another_number(id)
    }

    /// Whether both are stays, or both visits: a visit's class is not always written alike.
    fn is_of_kind(&self, encounter: &Encounter) -> bool {
        let is_stay = |class: v1::EncounterClass| class == v1::EncounterClass::Inpatient;
        let said = self.visit.class().map(is_stay);
        said.is_none_or(|said| said == is_stay(class_of(encounter)))
            || encounter.stage() == Stage::Expected
            || self.turns_into_another()
    }

    fn turns_into_another(&self) -> bool {
        matches!(self.act, Act::BecomeInpatient | Act::BecomeOutpatient)
    }

    /// Whether HL7 messages gave an encounter another number than this one has. Numbers that
    /// came through other doors are of other systems.
    pub(super) fn has_another_number(&self, encounter: EncounterId) -> bool {
        let Some(number) = self.visit.number() else { return false };
        let mut numbers = self.known.numbers_of(encounter);
        numbers.any(|other| other.system.ends_with(VISIT_NUMBERS) && *other != number)
            && self.merged_into(&number) != Some(encounter)
    }
}

/// The numbers that a beginning says were made one with that of its encounter.
pub(super) fn merged_numbers(beginning: &Payload) -> impl Iterator<Item = &v1::Identifier> {
    let merged = if let Payload::Admitted(said) = beginning {
        said.merged_visit_numbers.as_slice()
    } else if let Payload::EncounterRegistered(said) = beginning {
        said.merged_visit_numbers.as_slice()
    } else {
        &[]
    };
    merged.iter().filter_map(|merged| merged.number.as_ref())
}

fn class_of(encounter: &Encounter) -> v1::EncounterClass {
    match encounter.class() {
        Class::Inpatient => v1::EncounterClass::Inpatient,
        Class::Outpatient => v1::EncounterClass::Outpatient,
        Class::Emergency => v1::EncounterClass::Emergency,
        Class::Home => v1::EncounterClass::Home,
        Class::Virtual => v1::EncounterClass::Virtual,
    }
}

/// How far apart two times are at the least.
pub(super) fn apart(one: &CareTime, other: &CareTime) -> SignedDuration {
    let between = |one: &CareTime, other: &CareTime| {
        other.earliest().duration_since(one.latest()).max(SignedDuration::ZERO)
    };
    between(one, other).max(between(other, one))
}

fn other_class() -> Refusal {
    Refusal::unknown(
        "PV1-2",
        "ENCOUNTER_UNKNOWN",
        "the visit of that number is of another class: correct PV1-2, turn the one into the other (A06, A07), or give each a number of its own",
    )
}

/// What names the id of a stay that has no number.
pub(super) const INPATIENT: &str = "stay";
/// And of a visit.
pub(super) const VISIT: &str = "visit";
