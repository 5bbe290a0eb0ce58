//! What a message says of a step that was told before: nothing new; or otherwise than it was told,
//! which corrects it; or what was taken back since.
//!
//! The same message may come again at any time, also one of which nothing was stored because all
//! of it was known. So what was taken back is said again only by a message that was written after
//! that. Both times are those that senders wrote, and where one sender wrote both, its clock alone
//! counts. Where another did, and the clocks differ by more than what lies between the two
//! messages, the step may come back, or stay away until it is sent again.

use jiff::SignedDuration;
use tsunagi_domain::EncounterId;
use tsunagi_domain::encounter::Encounter;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::{Tells, Told};
use super::changes::is_elsewhere;
use super::encounter::{Situation, apart};
use super::refusal::Refusal;
use super::visit::Said;
use crate::known::{Step, StepKind};

/// A beginning or end that is said to have been further away than this is another visit's.
pub(super) const SAME_VISIT: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Situation<'_> {
    /// A step, if it is news: else what is said otherwise of it, or nothing.
    pub(super) fn step(&self, encounter: EncounterId, kind: StepKind, new: Told) -> Tells {
        let at = self.visit.care_time(&new.at.text);
        let mut before = self.known.steps.iter().rev().filter(|step| step.encounter == encounter);
        if let Some(step) = before.find(|step| step.kind == kind && Some(step.at) == at) {
            return self.corrected(step, new.payload);
        }
        if self.was_taken_back(encounter, kind, &new)? { Ok(Vec::new()) } else { Ok(vec![new]) }
    }

    /// Whether a step was taken back after the message was written.
    pub(super) fn was_taken_back(
        &self,
        encounter: EncounterId,
        kind: StepKind,
        new: &Told,
    ) -> Result<bool, Refusal> {
        let at = self.visit.care_time(&new.at.text);
        let Some(written) = self.visit.care_time(&self.visit.written_at()?.text) else {
            return Ok(false);
        };
        // It is known to be written later than what it takes the place of.
        if self.takes_place {
            return Ok(false);
        }
        let planned_at = planned_at(&new.payload);
        let planned_at = planned_at.and_then(|text| self.visit.care_time(text));
        let is_it = |step: &Step| {
            let is_then = match step.planned_at {
                Some(planned) => Some(planned) == planned_at,
                None => Some(step.at) == at,
            };
            // It may have been told by another door, under an id of its own.
            step.kind == kind && is_then && self.is_told_as(step, encounter)
        };
        Ok(self.known.taken_back.iter().filter(|(step, _)| is_it(step)).any(|(step, since)| {
            let may_be_older = !since.is_before(&written);
            written.is_before(since) || (may_be_older && self.says_the_same(step, &new.payload))
        }))
    }

    /// Whether all that is said of a step is known.
    fn says_the_same(&self, step: &Step, said: &Payload) -> bool {
        let mut merged = Merged::default();
        if let Some(known) = self.known.said_by(step.event) {
            self.merge(step.encounter, known, said.clone(), &mut merged);
        }
        !merged.contradicts && !merged.adds
    }

    fn is_told_as(&self, step: &Step, encounter: EncounterId) -> bool {
        let facility = &self.visit.profile.facility.id;
        let place = step.place.as_ref().and_then(|place| place.facility.as_ref());
        step.encounter == encounter
            || (place.is_some_and(|there| there.id == *facility)
                && !self.has_another_number(step.encounter))
    }

    /// What the message says of a step otherwise than it is known. Of what another organisation
    /// told, that it says more is no news: nobody corrects another's word. What contradicts it is
    /// refused by the rules.
    pub(super) fn corrected(&self, step: &Step, said: Payload) -> Tells {
        let Some(known) = self.known.said_by(step.event) else { return Ok(Vec::new()) };
        let (at, mut merged) = (self.visit.written_at()?, Merged::default());
        let instead = self.merge(step.encounter, known, said, &mut merged);
        let is_own = self.known.is_word_of(&self.visit.profile.facility.id, step.event);
        let is_news = merged.contradicts || (merged.adds && is_own);
        if !is_news || self.is_older(step)? {
            return Ok(Vec::new());
        }
        Ok(vec![Told::instead_of(step.event, &instead, at)])
    }

    /// That a step was at another time than it is known to have been.
    pub(super) fn corrected_time(
        &self,
        step: &Step,
        said: &Said,
        at_most: SignedDuration,
    ) -> Tells {
        let at = self.visit.written_at()?;
        let Some(then) = self.visit.care_time(&said.text) else { return Ok(Vec::new()) };
        let differs = then.is_before(&step.at) || step.at.is_before(&then);
        let is_own = self.known.is_word_of(&self.visit.profile.facility.id, step.event);
        if !differs || !is_own || self.is_older(step)? {
            return Ok(Vec::new());
        }
        if apart(&then, &step.at) > at_most {
            return Err(other_visit(said.field));
        }
        let correction = v1::TimeCorrected {
            corrects_event_id: step.event.to_string(),
            occurred_at: said.text.clone(),
            ..v1::TimeCorrected::default()
        };
        let at = Said { field: said.field, ..at };
        Ok(vec![Told { at, payload: Payload::TimeCorrected(correction) }])
    }

    /// What an update says of when a visit began and ended, of one that has the message's number.
    /// Without a number, when it began is all that tells visits apart.
    pub(super) fn corrected_times(&self) -> Tells {
        let mut told = Vec::new();
        let Some(number) = self.visit.number() else { return Ok(told) };
        let Some(visit) = self.current(|_| true).ok().flatten() else { return Ok(told) };
        let began = self.visit.admitted_at()?;
        let ended = self.visit.discharged_at()?;
        let steps = &self.known.steps;
        let of_visit = |kinds: &[StepKind]| {
            steps.iter().find(|step| step.encounter == visit && kinds.contains(&step.kind))
        };
        // A stay that was a visit before may be said to have begun as either, and what followed from
        // another under the same number (A07) as that.
        let of_number: Vec<_> = self.known.numbered(&number).chain([visit]).collect();
        let is_known = |said: &Said| {
            let said = self.visit.care_time(&said.text);
            steps.iter().any(|step| of_number.contains(&step.encounter) && Some(step.at) == said)
        };
        let beginning = of_visit(&[StepKind::Admitted]).or(of_visit(&[StepKind::Registered]));
        let ending = of_visit(&[StepKind::Discharged]);
        if let Some(began) = began.as_ref().filter(|said| !is_known(said)) {
            self.check_ends_after(visit, began)?;
        }
        for (step, said) in [(beginning, began), (ending, ended)] {
            if let (Some(step), Some(said)) = (step, said.filter(|said| !is_known(said))) {
                told.extend(self.corrected_time(step, &said, SAME_VISIT)?);
            }
        }
        Ok(told)
    }

    /// Refuses a beginning that lies behind the end of the visit: then it is another's, to which
    /// the number was given again.
    pub(super) fn check_ends_after(&self, visit: EncounterId, began: &Said) -> Result<(), Refusal> {
        let end = self.known.last(visit, &[StepKind::Discharged]);
        let begun = self.visit.care_time(&began.text).filter(|_| self.visit.number().is_some());
        match (end, begun) {
            (Some(end), Some(begun)) if end.at.is_before(&begun) => Err(used_again(began.field)),
            _ => Ok(()),
        }
    }

    /// Whether a step was corrected after the message was written, or told by one of this facility
    /// that was written after it.
    pub(super) fn is_older(&self, step: &Step) -> Result<bool, Refusal> {
        let corrected = self.known.corrected_at(step.event);
        // Of other doors nobody knows when they were told. What comes in the place of another
        // message is known to be later than that.
        let is_told = self.is_own(step.event) && !self.takes_place;
        let told = self.known.told_at(step.event).filter(|_| is_told);
        let Some(written) = self.visit.care_time(&self.visit.written_at()?.text) else {
            return Ok(false);
        };
        Ok([corrected, told].iter().flatten().any(|known| written.is_before(known)))
    }

    /// What is known of a step with what the message says of it.
    fn merge(
        &self,
        encounter: EncounterId,
        known: &Payload,
        said: Payload,
        merged: &mut Merged,
    ) -> Payload {
        let now = self.known.record().encounter(encounter).and_then(Encounter::place);
        let now = now.map(v1::Place::from);
        let attends = self.known.attending(encounter).map(|attends| &attends.doctor);
        match (known, said) {
            (Payload::Admitted(known), Payload::Admitted(said)) => {
                let place = merged.place(known.place.as_ref(), said.place, now.as_ref());
                Payload::Admitted(v1::Admitted {
                    place,
                    admit_source: merged.part(known.admit_source.as_ref(), said.admit_source),
                    attending: merged.doctor(known.attending.as_ref(), said.attending, attends),
                    visit_number: merged.number(known.visit_number.as_ref(), said.visit_number),
                    ..known.clone()
                })
            }
            (Payload::EncounterRegistered(known), Payload::EncounterRegistered(said)) => {
                let is_class_said = self.visit.class().is_some() && known.class != said.class;
                merged.contradicts |= is_class_said;
                let class = if is_class_said { said.class } else { known.class };
                Payload::EncounterRegistered(v1::EncounterRegistered {
                    class,
                    place: merged.place(known.place.as_ref(), said.place, now.as_ref()),
                    attending: merged.doctor(known.attending.as_ref(), said.attending, attends),
                    visit_number: merged.number(known.visit_number.as_ref(), said.visit_number),
                    ..known.clone()
                })
            }
            (Payload::Discharged(known), Payload::Discharged(said)) => {
                let disposition = merged.part(known.disposition.as_ref(), said.disposition);
                Payload::Discharged(v1::Discharged { disposition, ..known.clone() })
            }
            (Payload::LeaveStarted(known), Payload::LeaveStarted(said)) => {
                let text = |text: String| Some(text).filter(|text| !text.is_empty());
                let known_return = text(known.expected_return_at.clone());
                let back = merged.part(known_return.as_ref(), text(said.expected_return_at));
                let expected_return_at = back.unwrap_or_default();
                Payload::LeaveStarted(v1::LeaveStarted { expected_return_at, ..known.clone() })
            }
            (Payload::Transferred(known), Payload::Transferred(said)) => {
                let to = merged.place(known.to.as_ref(), said.to, None);
                Payload::Transferred(v1::Transferred { to, ..known.clone() })
            }
            (known, _) => known.clone(),
        }
    }
}

/// What came of putting together what is known and what is said.
#[derive(Debug, Default)]
struct Merged {
    /// Something is said otherwise.
    contradicts: bool,
    /// Something is said of which nothing was known.
    adds: bool,
}

impl Merged {
    fn part<T: Clone + PartialEq>(&mut self, known: Option<&T>, said: Option<T>) -> Option<T> {
        match (known, said) {
            (Some(known), Some(said)) => {
                self.contradicts |= *known != said;
                Some(said)
            }
            (None, Some(said)) => {
                self.adds = true;
                Some(said)
            }
            (known, None) => known.cloned(),
        }
    }

    /// Where a step led. A place to which the patient has moved since is no other one.
    fn place(
        &mut self,
        known: Option<&v1::Place>,
        said: Option<v1::Place>,
        now: Option<&v1::Place>,
    ) -> Option<v1::Place> {
        let (Some(known), Some(said)) = (known, said) else { return known.cloned() };
        let is_now = now.is_some_and(|now| !is_elsewhere(&said, now));
        if is_now || !is_elsewhere(&said, known) {
            return Some(known.clone());
        }
        let differs =
            |known: &str, said: &str| !known.is_empty() && !said.is_empty() && known != said;
        let is_other = differs(&known.department, &said.department)
            || differs(&known.ward, &said.ward)
            || differs(&known.room, &said.room)
            || differs(&known.bed, &said.bed);
        self.contradicts |= is_other;
        self.adds |= !is_other;
        let or = |said: String, known: &str| if said.is_empty() { known.to_owned() } else { said };
        // A room is one of its ward.
        let is_same_ward = said.ward.is_empty() || said.ward == known.ward;
        let [room, bed] = if is_same_ward { [&*known.room, &*known.bed] } else { ["", ""] };
        Some(v1::Place {
            facility: known.facility.clone(),
            department: or(said.department, &known.department),
            ward: or(said.ward, &known.ward),
            room: or(said.room, room),
            bed: or(said.bed, bed),
        })
    }

    /// Who attended. Who has come to attend since is no other one.
    fn doctor(
        &mut self,
        known: Option<&v1::Participant>,
        said: Option<v1::Participant>,
        now: Option<&v1::Participant>,
    ) -> Option<v1::Participant> {
        let is_known = |one: &v1::Participant| {
            said.as_ref().is_some_and(|said| super::changes::is_same_doctor(said, one))
        };
        if [known, now].into_iter().flatten().any(is_known) {
            return known.cloned();
        }
        self.part(known, said)
    }

    /// The number of a visit, which another cannot take the place of.
    fn number(
        &mut self,
        known: Option<&v1::Identifier>,
        said: Option<v1::Identifier>,
    ) -> Option<v1::Identifier> {
        self.adds |= known.is_none() && said.is_some();
        known.cloned().or(said)
    }
}

fn planned_at(payload: &Payload) -> Option<&str> {
    if let Payload::AdmissionPlanned(said) = payload {
        Some(&said.planned_at)
    } else if let Payload::TransferPlanned(said) = payload {
        Some(&said.planned_at)
    } else if let Payload::DischargePlanned(said) = payload {
        Some(&said.planned_at)
    } else {
        None
    }
}

fn used_again(field: &str) -> Refusal {
    Refusal::contradicts(
        field,
        "OTHER_VISIT",
        "the visit of this number had ended by then: if the number is used again, give each visit a number of its own; if the patient never left, take its end back first (A13); if this is the same visit, say in PV1-44 when it began",
    )
}

pub(super) fn other_visit(field: &str) -> Refusal {
    Refusal::contradicts(
        field,
        "OTHER_VISIT",
        "the visit of this number is known to have been more than 7 days before or after that: if the number is used again, give each visit one of its own; if what is known is wrong, correct it at a desk (CareTeam.CorrectTime)",
    )
}
