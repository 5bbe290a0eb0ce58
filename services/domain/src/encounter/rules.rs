//! Which moves, plans and cancels one encounter allows, and why not the others.

use jiff::SignedDuration;

use super::moves::{Move, Voice};
use super::plans::Plans;
use super::{Admission, Cancellation, Class, Command, Encounter, Refusal, Stage, Visit};
use crate::id::EventId;
use crate::path::{Step as _, Taken};
use crate::place::Place;
use crate::record::Stamp;
use crate::time::CareTime;

/// So long ahead a day may lie from which a patient could leave: later is a slip of the keyboard.
const READY_AHEAD_MAX: SignedDuration = SignedDuration::from_hours(366 * 24);

impl Encounter {
    /// Whether the patient was in hospital at the time: also if it is told when they have left.
    pub(super) fn in_hospital_at(&self, stamp: &Stamp) -> Result<(), Refusal> {
        match self.stage() {
            Stage::InHospital | Stage::OnLeave => Ok(()),
            // What is said of a stay that goes on may be of before it, and so of one that ended.
            Stage::Ended if self.class() == Class::Inpatient && !self.ended_before(stamp) => Ok(()),
            Stage::Ended | Stage::Expected | Stage::Visiting
                if self.was_in_hospital_by(&stamp.occurred_at)
                    || self.path.state_before(&stamp.occurred_at).is_in_hospital() =>
            {
                Ok(())
            }
            Stage::Ended => Err(Refusal::AlreadyEnded),
            Stage::Expected | Stage::Visiting => Err(Refusal::NotAdmitted),
        }
    }

    /// What was planned before it began may be told afterwards.
    pub(super) fn can_still_be_planned(&self, stamp: &Stamp) -> Result<(), Refusal> {
        match self.stage() {
            Stage::Expected => Ok(()),
            Stage::Visiting | Stage::InHospital | Stage::OnLeave | Stage::Ended => {
                match self.path.state_before(&stamp.occurred_at) {
                    Stage::Expected => Ok(()),
                    Stage::Visiting | Stage::InHospital | Stage::OnLeave | Stage::Ended => {
                        Err(Refusal::AlreadyBegun)
                    }
                }
            }
        }
    }

    /// Of what a facility tells itself, others tell only on its behalf.
    pub(crate) fn check_teller(&self, stamp: &Stamp) -> Result<(), Refusal> {
        let is_of_others = |taken: &Taken<Move>| match &taken.step {
            Move::Visit(Visit { place, .. }, Voice::Own)
            | Move::Admission(Admission { place, .. }, Voice::Own) => {
                place.facility.id != stamp.acting_for
            }
            Move::Visit(..)
            | Move::Admission(..)
            | Move::Transfer(_)
            | Move::Leave
            | Move::Return
            | Move::Discharge => false,
        };
        // What the facility told of later was not there to be told of.
        let mut then = self.path.iter().filter(|taken| !stamp.occurred_at.is_before(&taken.at));
        if then.any(is_of_others) { Err(Refusal::NotTheFacility) } else { Ok(()) }
    }

    /// A planned admission is cancelled by those who planned it, and by the facility that expects
    /// the patient.
    pub(super) fn check_planner(&self, stamp: &Stamp, cancel: Cancellation) -> Result<(), Refusal> {
        let mut made = self.planned_admission.made.iter();
        match made.find(|plan| plan.event == cancel.cancelled) {
            Some(plan) if plan.is_of_others(stamp) => Err(Refusal::NotTheFacility),
            Some(_) | None => Ok(()),
        }
    }

    /// A planned admission is moved by the same. What was planned later was not there to be moved.
    pub(super) fn check_replanner(&self, stamp: &Stamp) -> Result<(), Refusal> {
        match self.planned_admission.in_force_at(&stamp.occurred_at) {
            Some(plan) if plan.is_of_others(stamp) => Err(Refusal::NotTheFacility),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the patient can have been ready to leave on that day, by what had happened when that
    /// was declared. It may be written down after the discharge.
    pub(crate) fn check_ready(&self, stamp: &Stamp, day: CareTime) -> Result<(), Refusal> {
        match self.in_hospital_at(stamp) {
            Err(Refusal::AlreadyEnded) if self.class() == Class::Inpatient => {}
            Err(Refusal::AlreadyEnded) => return Err(Refusal::NotAdmitted),
            other => other?,
        }
        let ended = self.since().filter(|_| self.stage() == Stage::Ended);
        if self.began_at().is_some_and(|began| day.is_before(&began)) {
            Err(Refusal::ReadyBeforeAdmission)
        } else if self.ended_before(stamp) && ended.is_some_and(|ended| ended.is_before(&day)) {
            Err(Refusal::ReadyAfterDischarge)
        } else if day.earliest().duration_since(stamp.occurred_at.latest()) > READY_AHEAD_MAX {
            Err(Refusal::ReadyTooFar)
        } else {
            Ok(())
        }
    }

    /// Whether it went on at the time, or was still expected. It is over if it had ended, or if
    /// what it began with or was to begin with was cancelled and nothing is planned.
    pub(crate) fn check_not_over(&self, stamp: &Stamp) -> Result<(), Refusal> {
        let at = &stamp.occurred_at;
        let plans = &self.planned_admission;
        let was_cancelled =
            || self.path.was_cancelled_before(at) || plans.was_called_off_before(at);
        let went_on = || {
            [self.path.state_at(at), self.path.state_before(at)]
                .iter()
                .any(|stage| matches!(stage, Stage::Visiting | Stage::InHospital | Stage::OnLeave))
        };
        match self.stage() {
            Stage::Ended if self.ended_before(stamp) && !went_on() => Err(Refusal::AlreadyEnded),
            Stage::Expected
                if plans.in_force().is_none()
                    && was_cancelled()
                    && !plans.was_planned_at(at)
                    && !went_on() =>
            {
                Err(Refusal::NotAdmitted)
            }
            Stage::Visiting
            | Stage::InHospital
            | Stage::OnLeave
            | Stage::Ended
            | Stage::Expected => Ok(()),
        }
    }

    pub(super) fn ended_before(&self, stamp: &Stamp) -> bool {
        self.since().is_some_and(|ended| ended.is_before(&stamp.occurred_at))
    }

    /// Whether a place is in the facility of this encounter, also if it is only planned; or of what
    /// was cancelled afterwards.
    pub(super) fn same_facility(&self, stamp: &Stamp, to: &Place) -> Result<(), Refusal> {
        let is_there = |there: &Place| there.facility.id == to.facility.id;
        let mut then = self.path.before_cancels(&stamp.occurred_at);
        match self.visited() {
            Some(here) if !is_there(here) => {
                let was_there = then.any(|taken| taken.step.place().is_some_and(is_there));
                if was_there { Ok(()) } else { Err(Refusal::OtherFacility) }
            }
            Some(_) => Ok(()),
            None => match self.planned_admission.content_at(&stamp.occurred_at) {
                Some(plan) if !is_there(&plan.place) => Err(Refusal::OtherFacility),
                Some(_) | None => Ok(()),
            },
        }
    }

    /// Whether the move that `command` asks for has a place on the path.
    pub(super) fn accept(&self, stamp: &Stamp, command: &Command) -> Result<(), Refusal> {
        let Some(step) = Move::ordered_by(command) else { return Ok(()) };
        if self.path.accepts(stamp, step.clone()) {
            return Ok(());
        }
        if step.leads_from(self.stage()).is_some() {
            return Err(Refusal::OutOfOrder);
        }
        Err(self.why_not(&step))
    }

    pub(super) fn why_not(&self, kind: &Move) -> Refusal {
        match (kind, self.stage()) {
            (_, Stage::Ended) => Refusal::AlreadyEnded,
            (Move::Admission(..), Stage::InHospital | Stage::OnLeave) => Refusal::AlreadyAdmitted,
            (Move::Visit(..), _) => Refusal::AlreadyBegun,
            (Move::Return, Stage::InHospital) => Refusal::NotOnLeave,
            (_, Stage::OnLeave) => Refusal::OnLeave,
            (_, Stage::Expected | Stage::Visiting | Stage::InHospital) => Refusal::NotAdmitted,
        }
    }

    /// Also of a step that is still to be told, if this is late news.
    pub(super) fn can_take_back(
        &self,
        stamp: &Stamp,
        cancel: Cancellation,
        is_meant: fn(&Move) -> bool,
    ) -> Result<(), Refusal> {
        let (target, at) = (cancel.cancelled, &stamp.occurred_at);
        let (taken, next) = match self.path.find(target) {
            Some((taken, next)) if is_meant(&taken.step) => (taken, next),
            None if !self.knows(target) && self.path.may_come_late(target, at) => return Ok(()),
            Some(_) | None => return Err(Refusal::NothingToCancel(target)),
        };
        if self.path.can_do_without(target, at) {
            Ok(())
        } else {
            Err(Refusal::LaterMoveDepends(next.unwrap_or(taken).event))
        }
    }

    /// The move that builds on another, as far as all is known by now: without it, it could not be.
    pub fn built_on(&self, event: EventId) -> Option<EventId> {
        let (_, next) = self.path.find(event)?;
        next.filter(|_| !self.path.is_whole_without(event)).map(|next| next.event)
    }

    /// Whether a plan is cancelled that held, or holds; or that is still to be told, if this is late
    /// news.
    pub(super) fn can_drop<T>(
        &self,
        plans: &Plans<T>,
        stamp: &Stamp,
        Cancellation { cancelled }: Cancellation,
    ) -> Result<(), Refusal> {
        let may_come_late = !self.knows(cancelled) && plans.may_come_late(&stamp.occurred_at);
        if !plans.is_cancelled(cancelled)
            && (may_come_late || plans.held(cancelled, &stamp.occurred_at))
        {
            Ok(())
        } else {
            Err(Refusal::NothingToCancel(cancelled))
        }
    }

    /// Whether an event of this encounter has been told that can be cancelled.
    pub(super) fn knows(&self, event: EventId) -> bool {
        self.path.knows(event)
            || self.planned_admission.knows(event)
            || self.planned_transfer.knows(event)
            || self.planned_discharge.knows(event)
    }

    /// Whether a move was cancelled before it is told: it then leads nowhere.
    pub(crate) fn is_cancelled_ahead(&self, stamp: &Stamp, command: &Command) -> bool {
        let step = Move::ordered_by(command);
        step.is_some_and(|step| self.path.is_cancelled_ahead(stamp, &step))
    }

    /// Whether the patient was in hospital under it at the time, by what had happened until then.
    pub(crate) fn was_in_hospital_by(&self, at: &CareTime) -> bool {
        self.path.state_at(at).is_in_hospital()
    }

    /// Whether the patient is in hospital under it, and was when a move is cancelled, without that.
    pub(crate) fn goes_on_without(&self, stamp: &Stamp, cancel: Cancellation) -> bool {
        let mut without = self.clone();
        without.path.take_back(cancel.cancelled, stamp.occurred_at, |_| true);
        without.is_inpatient() && without.was_in_hospital_by(&stamp.occurred_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encounter::testing::{
        admit, admitted, cancelling, given, place, planned, to_ward, visit,
    };
    use crate::encounter::{Event, WardTransfer};
    use crate::record::testing::{event_id, stamp, stamp_for, time};

    #[test]
    fn of_its_own_stay_the_facility_tells_and_others_on_its_behalf() {
        let mut own = Encounter::default();
        own.apply(&stamp_for(1, "2026-05-01", "acute"), &admitted());
        let mut by_proxy = Encounter::default();
        let proxy = Stamp { by_proxy: true, ..stamp_for(1, "2026-05-01", "acute") };
        by_proxy.apply(&proxy, &admitted());
        let others = stamp_for(9, "2026-05-03", "elsewhere");
        let facility = stamp_for(9, "2026-05-03", "acute");
        let moves = || {
            [
                Command::Discharge(()),
                Command::StartLeave(()),
                Command::Transfer(to_ward("5W")),
                Command::PlanDischarge(planned("2026-05-09")),
                Command::CancelAdmission(cancelling(1)),
            ]
        };
        for command in moves() {
            assert_eq!(own.decide(&others, command.clone()), Err(Refusal::NotTheFacility));
            assert!(own.decide(&facility, command.clone()).is_ok());
            assert!(by_proxy.decide(&others, command).is_ok(), "nobody is there to tell of it");
        }
    }

    #[test]
    fn a_visit_ends_after_it_begins() {
        let none = given(&[]);
        assert_eq!(
            none.when("2026-05-02", visit(Some("2026-05-01"))),
            Err(Refusal::EndsBeforeItBegins)
        );
    }

    #[test]
    fn news_may_arrive_late_if_it_fits() {
        let ended = given(&[("2026-05-01", admitted()), ("2026-05-09", Event::Discharged(()))]);
        assert!(ended.when("2026-05-05", Command::Transfer(to_ward("5W"))).is_ok());
        assert_eq!(
            ended.when("2026-05-10", Command::Transfer(to_ward("5W"))),
            Err(Refusal::AlreadyEnded)
        );
    }

    #[test]
    fn a_time_that_says_little_does_not_hide_the_order_of_the_others() {
        let moved = given(&[
            ("2026-05-01T10:00:00+09:00", admitted()),
            ("2026-05-01", Event::Transferred(to_ward("5W"))),
        ]);
        assert_eq!(
            moved.when("2026-05-01T09:00:00+09:00", Command::Discharge(())),
            Err(Refusal::OutOfOrder)
        );
    }

    #[test]
    fn a_visit_becomes_a_stay_in_the_same_facility_only() {
        let visiting = given(&[("2026-05-01", Event::from(visit(None)))]);
        let elsewhere = Command::Admit(Admission { place: place("rehab", "1"), preceding: None });
        assert_eq!(visiting.when("2026-05-01", elsewhere), Err(Refusal::OtherFacility));
    }

    #[test]
    fn a_transfer_stays_within_the_facility() {
        let stay = given(&[("2026-05-01", admitted())]);
        let elsewhere = Command::Transfer(WardTransfer { to: place("rehab", "1") });
        assert_eq!(stay.when("2026-05-02", elsewhere), Err(Refusal::OtherFacility));
    }

    #[test]
    fn a_cancelled_move_is_as_though_it_had_not_been() {
        let before =
            [("2026-05-01", admitted()), ("2026-05-04", Event::Transferred(to_ward("5W")))];
        let mut after = given(&before);
        after.apply(&stamp(3, "2026-05-06"), &Event::Discharged(()));
        after.apply(&stamp(4, "2026-05-06"), &Event::DischargeCancelled(cancelling(3)));
        assert_eq!(after, given(&before));
    }

    #[test]
    fn what_others_build_on_is_not_cancelled_first() {
        let ended = given(&[("2026-05-01", admitted()), ("2026-05-09", Event::Discharged(()))]);
        assert_eq!(
            ended.when("2026-05-09", Command::CancelAdmission(cancelling(1))),
            Err(Refusal::LaterMoveDepends(event_id(2)))
        );
        assert!(ended.when("2026-05-09", Command::CancelDischarge(cancelling(2))).is_ok());
    }

    #[test]
    fn what_builds_on_a_move_is_known_whenever_that_is_asked() {
        let ended = given(&[
            ("2026-05-01", admitted()),
            ("2026-05-04", Event::Transferred(to_ward("5W"))),
            ("2026-05-09", Event::Discharged(())),
        ]);
        let builds = [1, 2, 3].map(|number| ended.built_on(event_id(number)));
        assert_eq!(builds, [Some(event_id(2)), None, None]);
        assert!(ended.when("2026-05-02", Command::CancelAdmission(cancelling(1))).is_ok());
    }

    #[test]
    fn a_move_in_the_middle_may_be_cancelled_if_the_rest_makes_sense() {
        let moved = given(&[
            ("2026-05-01", admitted()),
            ("2026-05-04", Event::Transferred(to_ward("5W"))),
            ("2026-05-09", Event::Discharged(())),
        ]);
        assert!(moved.when("2026-05-10", Command::CancelTransfer(cancelling(2))).is_ok());
    }

    #[test]
    fn only_what_is_in_effect_can_be_cancelled() {
        let nothing = |number| Err(Refusal::NothingToCancel(event_id(number)));
        let stay = given(&[("2026-05-01", admitted())]);
        let cancel = |number| Command::CancelTransfer(cancelling(number));
        assert_eq!(stay.when("2026-05-02", cancel(1)), nothing(1), "of another kind");
        assert_eq!(stay.when("2026-05-02", cancel(7)), nothing(7), "unknown");
        let mut again = stay;
        again.apply(&stamp(2, "2026-05-02"), &Event::AdmissionCancelled(cancelling(1)));
        let cancel = Command::CancelAdmission(cancelling(1));
        assert_eq!(again.when("2026-05-02", cancel), nothing(1), "cancelled already");
    }

    /// Of a discharge, its cancel and the discharge that holds, the last comes first.
    #[test]
    fn a_cancel_that_is_told_late_overtakes_what_it_cancels() {
        let discharged = || Event::Discharged(());
        let mut ended = given(&[("2026-05-01", admitted()), ("2026-05-12", discharged())]);
        let late = |number, at: &str, ended: &Encounter, command| {
            ended.decide(&stamp(number, at), command).map(|event| (stamp(number, at), event))
        };
        let first = || Command::Discharge(());
        let again = late(3, "2026-05-09", &ended, first());
        assert_eq!(again.unwrap_err(), Refusal::AlreadyEnded, "as long as nobody took it back");
        let cancel = || Command::CancelDischarge(cancelling(3));
        let today = late(4, "2026-05-13", &ended, cancel());
        assert_eq!(today.unwrap_err(), Refusal::NothingToCancel(event_id(3)), "a wrong id");
        let (stamp, event) = late(4, "2026-05-10", &ended, cancel()).unwrap();
        ended.apply(&stamp, &event);
        let twice = late(5, "2026-05-10", &ended, cancel());
        assert_eq!(twice.unwrap_err(), Refusal::NothingToCancel(event_id(3)));
        let (stamp, event) = late(3, "2026-05-09", &ended, first()).unwrap();
        ended.apply(&stamp, &event);
        assert_eq!(ended.since(), Some(time("2026-05-12")));
        assert_eq!(ended.path.iter().count(), 2);
    }

    /// A leave that is told after a later move: first that it began, and then that it ended.
    #[test]
    fn a_leave_is_told_though_the_patient_has_moved_since() {
        let mut moved =
            given(&[("2026-05-01", admitted()), ("2026-05-07", Event::Transferred(to_ward("5W")))]);
        let away = moved.decide(&stamp(3, "2026-05-03"), Command::StartLeave(())).unwrap();
        moved.apply(&stamp(3, "2026-05-03"), &away);
        assert_eq!(moved.stage(), Stage::InHospital, "the last move still says where they are");
        let back = moved.decide(&stamp(4, "2026-05-04"), Command::ReturnFromLeave(())).unwrap();
        moved.apply(&stamp(4, "2026-05-04"), &back);
        assert!(moved.is_legal());
        assert_eq!(
            moved.when("2026-05-05", Command::ReturnFromLeave(())),
            Err(Refusal::NotOnLeave)
        );
    }

    #[test]
    fn a_cancel_that_came_first_cancels_only_what_it_means() {
        let mut moved =
            given(&[("2026-05-01", admitted()), ("2026-05-07", Event::Transferred(to_ward("5W")))]);
        let cancel = Command::CancelLeave(cancelling(4));
        let cancel = moved.decide(&stamp(3, "2026-05-06"), cancel).unwrap();
        moved.apply(&stamp(3, "2026-05-06"), &cancel);
        moved.apply(&stamp(4, "2026-05-05"), &Event::Transferred(to_ward("6N")));
        assert_eq!(moved.path.iter().count(), 3, "a transfer is no leave");
    }

    #[test]
    fn after_a_cancelled_admission_the_patient_can_be_admitted_again() {
        let cancelled = given(&[
            ("2026-05-01", admitted()),
            ("2026-05-01", Event::AdmissionCancelled(cancelling(1))),
        ]);
        assert_eq!(cancelled.stage(), Stage::Expected);
        assert!(cancelled.when("2026-05-01", admit()).is_ok());
    }
}
