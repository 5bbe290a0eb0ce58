//! What an encounter says: where the patient is or was under it, since when, and what is planned.

use super::moves::{Move, Voice};
use super::{Class, Encounter, Stage, Visit};
use crate::id::{EncounterId, EventId};
use crate::path::{Step as _, Taken};
use crate::place::Place;
use crate::time::CareTime;

impl Encounter {
    pub fn stage(&self) -> Stage {
        self.path.state()
    }

    pub fn class(&self) -> Class {
        let visit = self.path.iter().rev().find_map(|taken| match &taken.step {
            Move::Visit(visit, _) => Some(visit.class),
            Move::Admission(..) => Some(Class::Inpatient),
            Move::Transfer(_) | Move::Leave | Move::Return | Move::Discharge => None,
        });
        visit.unwrap_or(Class::Inpatient)
    }

    /// Where the patient is, or is expected, under this encounter.
    pub fn place(&self) -> Option<&Place> {
        self.visited().or_else(|| self.planned_admission.content().map(|plan| &plan.place))
    }

    /// Where the patient was last under this encounter.
    pub(super) fn visited(&self) -> Option<&Place> {
        self.path.iter().rev().find_map(|taken| taken.step.place())
    }

    /// When the encounter began. Of a stay that was told in a record that was taken apart again,
    /// this record may have the end alone.
    pub fn began_at(&self) -> Option<CareTime> {
        let first = self.path.first()?;
        first.step.leads_from(Move::BEGINNING).map(|_| first.at)
    }

    /// When it came to stand where it stands.
    pub fn since(&self) -> Option<CareTime> {
        let taken = self.since_step()?;
        match &taken.step {
            Move::Visit(Visit { ended_at: Some(end), .. }, _) => Some(*end),
            Move::Visit(..)
            | Move::Admission(..)
            | Move::Transfer(_)
            | Move::Leave
            | Move::Return
            | Move::Discharge => Some(taken.at),
        }
    }

    /// The event since which it stands where it stands.
    pub fn since_event(&self) -> Option<EventId> {
        self.since_step().map(|taken| taken.event)
    }

    /// The event since which the patient is in it, also while on leave.
    pub fn stay_since_event(&self) -> Option<EventId> {
        let begun = self.path.iter().rev().find(|taken| matches!(taken.step, Move::Admission(..)));
        begun.or_else(|| self.since_step()).map(|taken| taken.event)
    }

    pub(super) fn since_step(&self) -> Option<&Taken<Move>> {
        let last = self.path.last()?;
        match &last.step {
            // A move within the hospital does not change since when the patient is in it.
            Move::Transfer(_) | Move::Return => {
                let admission = |taken: &&Taken<Move>| matches!(taken.step, Move::Admission(..));
                self.path.iter().rev().find(admission)
            }
            Move::Visit(..) | Move::Admission(..) | Move::Leave | Move::Discharge => Some(last),
        }
    }

    /// When the patient died in it, and the event that says so.
    pub fn death(&self) -> Option<(EventId, CareTime)> {
        let taken = self.path.iter().rev().find(|taken| self.deaths.contains(&taken.event))?;
        Some((taken.event, taken.at))
    }

    /// The encounter that this one continues.
    pub fn preceding(&self) -> Option<EncounterId> {
        let begun = self.path.iter().rev().find_map(|taken| taken.step.preceding());
        begun.or_else(|| self.planned_admission.content()?.preceding)
    }

    /// The same, as it was said by a time.
    pub(crate) fn preceding_at(&self, at: &CareTime) -> Option<EncounterId> {
        let says = |taken: &&Taken<Move>| taken.step.preceding().is_some();
        let said = self.path.as_of(at).filter(says).max_by_key(|taken| taken.place());
        said.and_then(|taken| taken.step.preceding())
            .or_else(|| self.planned_admission.content_at(at)?.preceding)
    }

    /// The planned admission, while it is still to come.
    pub fn planned_admission(&self) -> Option<(EventId, CareTime)> {
        let (event, plan) = self.planned_admission.in_force()?;
        (self.stage() == Stage::Expected).then_some((event, plan.planned_at))
    }

    /// The planned discharge, while it is still to come.
    pub fn planned_discharge(&self) -> Option<(EventId, CareTime)> {
        let (event, plan) = self.planned_discharge.in_force()?;
        self.is_inpatient().then_some((event, plan.planned_at))
    }

    pub fn is_inpatient(&self) -> bool {
        self.stage().is_in_hospital()
    }

    /// The event that admitted the patient, and whose word it is.
    pub(super) fn admitted(&self) -> Option<(EventId, Voice)> {
        self.path.iter().find_map(|taken| match &taken.step {
            Move::Admission(_, voice) => Some((taken.event, *voice)),
            Move::Visit(..) | Move::Transfer(_) | Move::Leave | Move::Return | Move::Discharge => {
                None
            }
        })
    }

    /// Whether it is a stay that somebody entered for the facility.
    pub(crate) fn is_by_proxy(&self) -> bool {
        self.admitted().is_some_and(|(_, voice)| voice == Voice::Proxy)
    }

    /// The event by which the facility itself says that it is the stay which somebody else
    /// entered for it: a patient does not lie twice in one facility at a time.
    pub(crate) fn takes_the_place_of(&self, proxy: &Self) -> Option<EventId> {
        let (event, _) = self.admitted().filter(|(_, voice)| *voice == Voice::Own)?;
        let facility = |of: &Self| of.visited().map(|place| place.facility.id.clone());
        let ended = |of: &Self| of.since().filter(|_| of.stage() == Stage::Ended);
        let began_before_end_of = |one: &Self, other: &Self| {
            let began = one.began_at();
            began.is_some_and(|began| ended(other).is_none_or(|ended| began.is_before(&ended)))
        };
        let is_same = facility(self) == facility(proxy)
            && began_before_end_of(self, proxy)
            && began_before_end_of(proxy, self);
        is_same.then_some(event)
    }

    /// Whether this is a stay that has ended, and the patient was certainly in it then.
    pub(crate) fn was_inpatient_at(&self, moment: &CareTime) -> bool {
        let is_past_stay = self.stage() == Stage::Ended && self.class() == Class::Inpatient;
        is_past_stay
            && self.began_at().is_some_and(|began| began.latest() <= moment.earliest())
            && self.since().is_some_and(|ended| moment.is_before(&ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encounter::Event;
    use crate::encounter::testing::{admitted, cancelling, given, to_ward, visit};
    use crate::record::testing::{event_id, stamp, time};

    #[test]
    fn a_death_is_cancelled_with_the_discharge_that_says_so() {
        let mut stay =
            given(&[("2026-05-01", admitted()), ("2026-05-03", Event::DischargedDeceased(()))]);
        assert_eq!(stay.death(), Some((event_id(2), time("2026-05-03"))));
        assert_eq!(stay.stage(), Stage::Ended);
        stay.apply(&stamp(3, "2026-05-04"), &Event::DischargeCancelled(cancelling(2)));
        assert_eq!((stay.death(), stay.stage()), (None, Stage::InHospital));
    }

    #[test]
    fn a_patient_is_in_hospital_since_the_admission() {
        let stay = given(&[
            ("2026-05-01T09:00:00+09:00", Event::from(visit(None))),
            ("2026-05-01T20:00:00+09:00", admitted()),
            ("2026-05-03", Event::Transferred(to_ward("5W"))),
        ]);
        assert_eq!(stay.since(), Some(time("2026-05-01T20:00:00+09:00")));
        assert_eq!(stay.since_event(), Some(event_id(2)));
    }

    #[test]
    fn the_last_ward_in_time_is_where_the_patient_is() {
        let moved = given(&[
            ("2026-05-01", admitted()),
            ("2026-05-07", Event::Transferred(to_ward("6N"))),
            ("2026-05-04", Event::Transferred(to_ward("5W"))),
        ]);
        assert_eq!(&*moved.place().unwrap().ward, "6N");
    }
}
