//! What a message changes of a visit or stay that goes on: where the patient is, who attends;
//! and that the visit should not have been told of at all.

use tsunagi_domain::encounter::{Encounter, Stage};
use tsunagi_domain::{EncounterId, EventId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::{Tells, Told, nothing_to_cancel, unknown_to_cancel};
use super::encounter::Situation;
use super::refusal::Refusal;
use super::trigger;
use super::visit::Said;
use crate::known::{Attending, Step, StepKind};

impl Situation<'_> {
    /// Takes back all that is in effect of a visit or stay.
    pub(super) fn delete_visit(&self) -> Tells {
        if self.visit.number().is_none() && self.visit.admitted_at()?.is_none() {
            return Err(trigger::deletes_the_patient());
        }
        let visit = self.current(|_| true)?.ok_or_else(unknown_to_cancel)?;
        let told = self.all_taken_back(visit)?;
        if told.is_empty() { Err(nothing_to_cancel()) } else { Ok(told) }
    }

    /// All that is in effect of a visit, taken back: its last move first. Who came to attend by
    /// another organisation's word stays: nobody takes back what others said.
    pub(super) fn all_taken_back(&self, visit: EncounterId) -> Tells {
        let at = self.visit.written_at()?;
        let facility = self.visit.profile.facility.id.as_str();
        let changes = self.known.attending_changes(visit);
        let own = changes.filter(|change| change.changed_by.as_deref() == Some(facility));
        let mut told: Vec<Told> = own.map(|change| in_error(change, at.clone())).collect();
        told.reverse();
        told.extend(self.take_back(&self.in_force(visit))?);
        Ok(told)
    }

    /// The steps of a visit that are in effect. Of plans, only the last of a kind is.
    pub(super) fn in_force(&self, visit: EncounterId) -> Vec<EventId> {
        let is_in_force = |step: &&Step| {
            step.planned_at.is_none()
                || self.known.last(step.encounter, &[step.kind]).is_some_and(|last| last == *step)
        };
        let steps = self.known.steps.iter().filter(|step| step.encounter == visit);
        steps.filter(is_in_force).map(|step| step.event).collect()
    }

    /// What changed of a visit that goes on, in a message that is not about a change: where the
    /// patient is, who attends, and when it began or ended. Older news changes nothing.
    pub(super) fn update(&self) -> Tells {
        let mut told = self.corrected_times()?;
        told.extend(self.arrive()?);
        let at = self.visit.happened_at()?;
        if let Some(going_on) = self.going_on(&at) {
            told.extend(self.other_doctor(going_on, at));
        }
        Ok(told)
    }

    /// The visit or stay that the message is about, if it goes on and nothing is known of it that
    /// happened later.
    pub(super) fn going_on(&self, at: &Said) -> Option<EncounterId> {
        let goes_on = |encounter: &Encounter| {
            matches!(encounter.stage(), Stage::Visiting | Stage::InHospital | Stage::OnLeave)
        };
        if self.visit.says_nothing() {
            return None;
        }
        // A time that cannot be read says nothing here.
        let found = self.current(goes_on).ok().flatten()?;
        let is_one = self.known.record().encounter(found).is_some_and(goes_on);
        let at = self.visit.care_time(&at.text)?;
        let mut steps = self.known.steps.iter().filter(|step| step.encounter == found);
        let is_older = steps.any(|step| at.is_before(&step.at));
        // What it says may have been taken back since.
        let mut taken_back =
            self.known.taken_back.iter().filter(|(step, _)| step.encounter == found);
        let is_older = is_older || taken_back.any(|(_, since)| at.is_before(since));
        (is_one && !is_older).then_some(found)
    }

    pub(super) fn is_visiting(&self, visit: EncounterId) -> bool {
        let state = self.known.record().encounter(visit);
        state.is_some_and(|of| of.stage() == Stage::Visiting)
    }

    fn says_visit(&self) -> bool {
        self.visit.class().is_some_and(|of| of != v1::EncounterClass::Inpatient)
    }

    /// A move of a patient who visits, such as to another bed of the emergency department; none if
    /// the message is about something else. Of a visit there are no moves: where it is told to be
    /// is put right.
    pub(super) fn visit_moved(&self) -> Result<Option<Vec<Told>>, Refusal> {
        let goes_on = |of: &Encounter| of.is_inpatient() || of.stage() == Stage::Visiting;
        let is_visit = self.says_visit();
        let found = if is_visit { self.current(goes_on)? } else { None };
        match found {
            Some(visit) if self.is_visiting(visit) => {
                let mut told = self.placed(visit)?;
                told.extend(self.other_doctor(visit, self.visit.happened_at()?));
                Ok(Some(told))
            }
            None if is_visit => {
                let (mut told, visit) = self.implied()?;
                let here = self.visit.place(3);
                for begun in &mut told {
                    if let Payload::EncounterRegistered(message) = &mut begun.payload {
                        message.place = Some(here.clone());
                    }
                }
                Ok((!self.is_known(visit)).then_some(told))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// That such a move was none: the patient is where the message says.
    pub(super) fn visit_moved_back(&self) -> Result<Option<Vec<Told>>, Refusal> {
        if !self.says_visit() {
            return Ok(None);
        }
        let visit = self.current(|of| of.stage() == Stage::Visiting)?;
        let begun = visit.filter(|of| self.is_visiting(*of) && self.visit.says_place(3));
        let begun = begun.and_then(|of| self.known.last(of, &[StepKind::Registered]));
        let Some(begun) = begun.filter(|begun| self.known.wordings(begun.event).count() > 1) else {
            return Ok(None);
        };
        self.placed(begun.encounter).map(Some)
    }

    /// Where a visit is, if it is said to be elsewhere than is known.
    pub(super) fn placed(&self, visit: EncounterId) -> Tells {
        let begun = self.known.last(visit, &[StepKind::Registered]);
        let known = begun.and_then(|begun| Some((begun, self.known.said_by(begun.event)?)));
        let Some((begun, Payload::EncounterRegistered(known))) = known else {
            return Ok(Vec::new());
        };
        let said = v1::EncounterRegistered {
            place: Some(self.visit.place(3)),
            attending: None,
            visit_number: None,
            ..known.clone()
        };
        self.corrected(begun, Payload::EncounterRegistered(said))
    }

    /// That another doctor attends than was known, if the message says so.
    pub(super) fn other_doctor(&self, encounter: EncounterId, at: Said) -> Option<Told> {
        let doctor = self.visit.attending()?;
        let known = self.known.attending(encounter);
        let when = self.visit.care_time(&at.text)?;
        let is_known = known.is_some_and(|known| {
            is_same_doctor(&doctor, &known.doctor) || when.is_before(&known.at)
        });
        let written = self.visit.care_time(&self.visit.written_at().ok()?.text)?;
        let is_taken_back =
            self.known.attending_taken_back(encounter).any(|(taken_back, since)| {
                is_same_doctor(&doctor, taken_back) && !since.is_before(&written)
            });
        let (encounter_id, attending) = (encounter.to_string(), Some(doctor));
        let changed = v1::AttendingChanged { encounter_id, attending };
        (!is_known && !is_taken_back)
            .then_some(Told { at, payload: Payload::AttendingChanged(changed) })
    }

    pub(super) fn change_attending(&self) -> Tells {
        if self.visit.attending().is_none() {
            return Err(Refusal::missing("PV1-7", "say who attends from now on, in PV1-7"));
        }
        let at = self.visit.happened_at()?;
        let begun = |encounter: &Encounter| encounter.stage() != Stage::Expected;
        let (mut told, encounter) = match self.current(begun)? {
            Some(encounter) => (Vec::new(), encounter),
            None => self.implied()?,
        };
        // An admission that is told in passing names its doctor itself.
        if told.is_empty() {
            told.extend(self.other_doctor(encounter, at));
        }
        Ok(told)
    }

    /// The change of doctors was an error: it is corrected by whoever told of it.
    pub(super) fn cancel_attending(&self) -> Tells {
        let at = self.visit.written_at()?;
        let facility = &self.visit.profile.facility.id;
        let encounter = self.current(|encounter| encounter.stage() != Stage::Expected)?;
        let changed = encounter.and_then(|of| self.known.attending_changed_by(facility, of));
        let changed = changed.ok_or_else(nothing_to_cancel)?;
        Ok(vec![in_error(changed, at)])
    }
}

fn in_error(change: &Attending, at: Said) -> Told {
    let error = v1::EnteredInError {
        corrects_event_id: change.event.to_string(),
        ..v1::EnteredInError::default()
    };
    Told { at, payload: Payload::EnteredInError(error) }
}

/// Whether a place, as far as it is said, is another one than is known.
pub(super) fn is_elsewhere(said: &v1::Place, known: &v1::Place) -> bool {
    let differs = |said: &str, known: &str| !said.is_empty() && said != known;
    differs(&said.department, &known.department)
        || differs(&said.ward, &known.ward)
        || differs(&said.room, &known.room)
        || differs(&said.bed, &known.bed)
}

pub(super) fn is_same_doctor(one: &v1::Participant, other: &v1::Participant) -> bool {
    if one.person.is_empty() || other.person.is_empty() {
        one.name == other.name
    } else {
        one.person == other.person
    }
}
