//! What becomes of a visit that the patient stays after (A06), and of a stay that the patient leaves
//! for a visit (A07): also where that has a number of its own.

use tsunagi_domain::encounter::{Class, Encounter, Stage};
use tsunagi_domain::{CareTime, EncounterId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::{Tells, Told};
use super::again::SAME_VISIT;
use super::encounter::{Situation, VISIT, apart};
use super::refusal::Refusal;
use super::visit::Said;
use crate::known::{Step, StepKind};

impl Situation<'_> {
    /// The visit becomes a stay, under the same encounter.
    pub(super) fn become_inpatient(&self) -> Tells {
        let is_visiting = |of: &Encounter| of.stage() == Stage::Visiting;
        if let Some(visit) = self.under_another_number(is_visiting)? {
            let mut told = self.numbered_too(visit)?;
            // Without a number, the stay is known by when it began.
            let number = self.visit.number();
            let at = number.map_or_else(|| self.began(), |_| self.visit.happened_at())?;
            told.extend(self.becomes_stay(visit, self.admitted(visit, at, 3))?);
            return Ok(told);
        }
        let Some(encounter) = self.becoming_inpatient()? else { return self.admit() };
        let at = self.visit.happened_at()?;
        let new = self.admitted(encounter, at, 3);
        let is_stay = self.known.record().encounter(encounter).is_some_and(Encounter::is_inpatient);
        match self.known.last(encounter, &[StepKind::Admitted]).filter(|_| is_stay) {
            // It became one before.
            Some(before) => self.corrected(before, new.payload),
            None => self.becomes_stay(encounter, new),
        }
    }

    /// The visit that becomes a stay: one that goes on, or that of the message's number which has
    /// ended. Only of an end that was assumed it can still become one (`becomes_stay`); any other
    /// the rules refuse.
    fn becoming_inpatient(&self) -> Result<Option<EncounterId>, Refusal> {
        let is_visiting = |of: &Encounter| of.stage() == Stage::Visiting;
        let found = self.current(is_visiting)?;
        let state = |of| self.known.record().encounter(of);
        if self.visit.number().is_none() || found.and_then(state).is_some_and(is_visiting) {
            return Ok(found);
        }
        self.current(|of| of.stage() == Stage::Ended && of.class() != Class::Inpatient)
    }

    /// The stay ends, and the patient remains for a visit that follows from it.
    pub(super) fn become_outpatient(&self) -> Tells {
        let (mut told, stay) = match self.under_another_number(Encounter::is_inpatient)? {
            Some(stay) => (Vec::new(), stay),
            None => match self.current(Encounter::is_inpatient)? {
                Some(stay) => (Vec::new(), stay),
                None => self.implied()?,
            },
        };
        if self.is_visit_behind(stay) {
            return Ok(Vec::new());
        }
        let at = self.visit.happened_at()?;
        if self.became_visit(stay) || self.began_after_a_stay(stay, &at) {
            return Ok(Vec::new());
        }
        let left = self.step(stay, StepKind::Discharged, self.discharged(stay, at.clone()))?;
        // Known before, with the visit behind it.
        if !matches!(left.as_slice(), [Told { payload: Payload::Discharged(_), .. }]) {
            return Ok(left);
        }
        told.extend(left);
        let visit = self.own(&format!("{} after {stay}", at.text), VISIT);
        // The number is the stay's, or that of what came before it: the visit behind it has an id
        // of its own.
        let is_numbered = self.visit.number().is_some();
        let is_taken = visit == stay || (is_numbered && self.is_known(visit));
        let visit = if is_taken { self.after(stay, &at) } else { visit };
        let mut visit = self.registered(visit, v1::EncounterClass::Outpatient, at);
        if let Payload::EncounterRegistered(message) = &mut visit.payload {
            message.preceding_encounter_id = stay.to_string();
        }
        told.push(visit);
        Ok(told)
    }

    /// The visit or stay that goes on under another number than the message has, and is what it
    /// tells of: the one that MRG-5 names, or the only one here that is under way. PV1-19 may
    /// change with what the visit is (HL7 v2, 3.3.6). Which of several it is, is not guessed.
    fn under_another_number(
        &self,
        wanted: impl Fn(&Encounter) -> bool,
    ) -> Result<Option<EncounterId>, Refusal> {
        let is_new = match self.visit.number() {
            Some(number) => !self.numbered(&number).1,
            None => self.visit.admitted_at()?.is_some(),
        };
        if !is_new || self.current(&wanted)?.is_some() {
            return Ok(None);
        }
        let record = self.known.record();
        if let Some(prior) = self.visit.prior_number() {
            let (named, is_known) = self.numbered(&prior);
            let is_one = is_known && record.encounter(named).is_some_and(&wanted);
            return Ok(is_one.then_some(named));
        }
        let at = self.visit.care_time(&self.visit.happened_at()?.text);
        let may_be = |of: &Encounter| {
            let began = at.zip(of.began_at());
            // A visit that nobody ended goes on for ever, and is none that becomes a stay.
            let is_near = |(at, began): (CareTime, CareTime)| {
                !at.is_before(&began) && (of.is_inpatient() || apart(&began, &at) <= SAME_VISIT)
            };
            wanted(of) && began.is_some_and(is_near)
        };
        let mut all = record.encounters().filter(|(id, of)| self.is_here(*id) && may_be(of));
        Ok(all.next().map(|(id, _)| id).filter(|_| all.next().is_none()))
    }

    /// Whether it is the visit behind a stay, which became that before.
    fn is_visit_behind(&self, encounter: EncounterId) -> bool {
        let state = self.known.record().encounter(encounter);
        state.is_some_and(|of| of.class() != Class::Inpatient && of.preceding().is_some())
    }

    /// Whether a stay has ended, and a visit is known that follows from it, or from what followed
    /// from it: that may have become a stay in its turn, and ended.
    fn became_visit(&self, stay: EncounterId) -> bool {
        let record = self.known.record();
        let before = |of: &EncounterId| record.encounter(*of)?.preceding();
        let longest = record.encounters().count();
        let follows = |of| {
            let chain = std::iter::successors(before(&of), before);
            chain.take(longest).any(|before| before == stay)
        };
        let has_ended = record.encounter(stay).is_some_and(|of| of.stage() == Stage::Ended);
        let mut visits = record.encounters().filter(|(_, of)| of.class() != Class::Inpatient);
        has_ended && visits.any(|(visit, _)| follows(visit))
    }

    /// Whether a stay was not yet one at a time, and had been a visit behind another stay: what
    /// ended then was that one, and its end is known.
    fn began_after_a_stay(&self, stay: EncounterId, at: &Said) -> bool {
        let began = self.known.last(stay, &[StepKind::Admitted]);
        let was_visit = self.known.last(stay, &[StepKind::Registered]).is_some();
        let followed = self.known.record().encounter(stay).and_then(Encounter::preceding).is_some();
        let at = self.visit.care_time(&at.text);
        was_visit && followed && began.zip(at).is_some_and(|(began, at)| at.is_before(&began.at))
    }

    /// Refuses the end of a stay that had become a visit before: the visit goes on.
    pub(super) fn check_visit_behind(&self, ended: &Step, at: &Said) -> Result<(), Refusal> {
        let mut all = self.known.record().encounters();
        let goes_on = all.any(|(_, of)| {
            of.preceding() == Some(ended.encounter)
                && of.began_at() == Some(ended.at)
                && of.stage() == Stage::Visiting
        });
        let at = self.visit.care_time(&at.text);
        if goes_on && at.is_some_and(|at| ended.at.is_before(&at)) {
            return Err(became_visit());
        }
        Ok(())
    }

    fn after(&self, stay: EncounterId, at: &Said) -> EncounterId {
        let facility = &self.visit.profile.facility.id;
        super::ids::timed_encounter(facility, self.patient, &format!("after {stay} {}", at.text))
    }
}

fn became_visit() -> Refusal {
    Refusal::contradicts(
        "PV1-2",
        "ENCOUNTER_ENDED",
        "the stay had become a visit by then (A07), which goes on: if that has ended, say its class in PV1-2 (O); if the stay went on until then, take its end back first (A13) and the visit (A11)",
    )
}
