//! What is planned under one encounter: what was planned last holds, until it is cancelled.

use std::collections::BTreeMap;

use super::{Cancellation, PlannedAdmission};
use crate::id::{EventId, OrganisationId};
use crate::record::Stamp;
use crate::time::CareTime;

/// What was planned, by the time at which it was planned; what was planned last holds.
#[derive(Debug, Clone)]
pub(super) struct Plans<T> {
    pub(super) made: Vec<Plan<T>>,
    /// When they were cancelled. None of them comes back: the plan that a cancelled one had replaced
    /// does not hold again.
    cancelled: BTreeMap<EventId, CareTime>,
}

/// A plan, and the event that made it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan<T> {
    pub(super) event: EventId,
    pub(super) made_at: CareTime,
    pub(super) by: OrganisationId,
    pub(super) content: T,
}

/// Whether both have the same plan; what is no plan any more makes no difference.
impl<T: PartialEq> PartialEq for Plans<T> {
    fn eq(&self, other: &Self) -> bool {
        self.newest() == other.newest() && self.in_force().is_some() == other.in_force().is_some()
    }
}

impl Plan<PlannedAdmission> {
    /// Whether it is neither theirs who say something of it, nor they are the facility.
    pub(super) fn is_of_others(&self, stamp: &Stamp) -> bool {
        self.by != stamp.acting_for && self.content.place.facility.id != stamp.acting_for
    }
}

impl<T> Default for Plans<T> {
    fn default() -> Self {
        Self { made: Vec::new(), cancelled: BTreeMap::new() }
    }
}

impl<T> Plans<T> {
    pub(super) fn newest(&self) -> Option<&Plan<T>> {
        self.made.last()
    }

    pub(super) fn in_force(&self) -> Option<(EventId, &T)> {
        let plan = self.newest().filter(|plan| !self.is_cancelled(plan.event))?;
        Some((plan.event, &plan.content))
    }

    pub(super) fn content(&self) -> Option<&T> {
        self.in_force().map(|(_, content)| content)
    }

    /// Adds a plan where its time puts it.
    pub(super) fn add(&mut self, stamp: &Stamp, content: T) {
        let (event, made_at) = (stamp.event, stamp.occurred_at);
        let by = stamp.acting_for.clone();
        let place = |plan: &Plan<T>| (plan.made_at.earliest(), plan.event);
        let before = |plan: &Plan<T>| place(plan) <= (made_at.earliest(), event);
        let at = self.made.partition_point(before);
        self.made.insert(at, Plan { event, made_at, by, content });
    }

    pub(super) fn newest_at(&self, at: &CareTime) -> Option<&Plan<T>> {
        self.made.iter().rev().find(|plan| !at.is_before(&plan.made_at))
    }

    pub(super) fn content_at(&self, at: &CareTime) -> Option<&T> {
        Some(&self.in_force_at(at)?.content)
    }

    /// The plan that held at a time, unless it was cancelled since.
    pub(super) fn in_force_at(&self, at: &CareTime) -> Option<&Plan<T>> {
        self.newest_at(at).filter(|plan| !self.is_cancelled(plan.event))
    }

    pub(super) fn is_cancelled(&self, event: EventId) -> bool {
        self.cancelled.contains_key(&event)
    }

    /// Whether all that had been planned by a time had certainly been cancelled before it.
    pub(super) fn was_called_off_before(&self, at: &CareTime) -> bool {
        let newest = self.newest_at(at).and_then(|plan| self.cancelled.get(&plan.event));
        newest.is_some_and(|cancelled_at| cancelled_at.is_before(at))
    }

    /// Whether something was planned at a time, by what was said until then.
    pub(super) fn was_planned_at(&self, at: &CareTime) -> bool {
        self.newest_at(at).is_some() && !self.was_called_off_before(at)
    }

    /// Whether a plan is the newest, or was at a time; what was planned at that very time may have
    /// been planned afterwards.
    pub(super) fn held(&self, event: EventId, at: &CareTime) -> bool {
        let before = self.made.iter().rev().find(|plan| plan.made_at.is_before(at));
        let newest = [self.newest(), self.newest_at(at), before];
        newest.into_iter().flatten().any(|plan| plan.event == event)
    }

    /// Whether something is known already that was planned at that time or after it.
    pub(super) fn may_come_late(&self, at: &CareTime) -> bool {
        self.made.iter().any(|plan| !plan.made_at.is_before(at))
    }

    pub(super) fn knows(&self, event: EventId) -> bool {
        self.made.iter().any(|plan| plan.event == event)
    }

    pub(super) fn take_back(&mut self, stamp: &Stamp, Cancellation { cancelled }: Cancellation) {
        let at = self.cancelled.entry(cancelled).or_insert(stamp.occurred_at);
        if stamp.occurred_at.earliest() < at.earliest() {
            *at = stamp.occurred_at;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::encounter::testing::{admitted, cancelling, given, place, planned};
    use crate::encounter::{Command, Encounter, Event, PlannedAdmission, Refusal};
    use crate::record::testing::{event_id, stamp, stamp_for, time};

    #[test]
    fn a_new_plan_replaces_the_old_one_and_is_cancelled_whole() {
        let replanned = given(&[
            ("2026-05-01", admitted()),
            ("2026-05-02", Event::DischargePlanned(planned("2026-05-20"))),
            ("2026-05-03", Event::DischargePlanned(planned("2026-05-15"))),
        ]);
        assert_eq!(replanned.planned_discharge(), Some((event_id(3), time("2026-05-15"))));
        let cancel = |number| Command::CancelPlannedDischarge(cancelling(number));
        assert_eq!(
            replanned.when("2026-05-04", cancel(2)),
            Err(Refusal::NothingToCancel(event_id(2)))
        );
        let mut cancelled = replanned;
        let event = cancelled.when("2026-05-04", cancel(3)).unwrap();
        cancelled.apply(&stamp(4, "2026-05-04"), &event);
        assert_eq!(cancelled.planned_discharge(), None, "the old date does not come back");
    }

    #[test]
    fn a_plan_is_fulfilled_by_what_it_planned_and_stands_again_when_that_is_cancelled() {
        let events = [
            ("2026-05-01", admitted()),
            ("2026-05-02", Event::DischargePlanned(planned("2026-05-09"))),
            ("2026-05-09", Event::Discharged(())),
        ];
        let mut ended = given(&events);
        assert_eq!(ended.planned_discharge(), None);
        ended.apply(&stamp(4, "2026-05-09"), &Event::DischargeCancelled(cancelling(3)));
        assert_eq!(ended.planned_discharge(), Some((event_id(2), time("2026-05-09"))));
    }

    #[test]
    fn only_who_is_in_hospital_has_a_discharge_planned() {
        let plan = || Command::PlanDischarge(planned("2026-05-09"));
        assert_eq!(given(&[]).when("2026-05-02", plan()), Err(Refusal::NotAdmitted));
        let ended = given(&[("2026-05-01", admitted()), ("2026-05-03", Event::Discharged(()))]);
        assert_eq!(ended.when("2026-05-04", plan()), Err(Refusal::AlreadyEnded));
    }

    #[test]
    fn what_was_planned_may_be_told_when_it_has_happened() {
        let ended = given(&[("2026-05-03", admitted()), ("2026-05-09", Event::Discharged(()))]);
        let plan = || Command::PlanDischarge(planned("2026-05-08"));
        assert!(ended.when("2026-05-05", plan()).is_ok());
        assert_eq!(ended.when("2026-05-10", plan()), Err(Refusal::AlreadyEnded));
        let admission = Command::PlanAdmission(PlannedAdmission {
            planned_at: time("2026-05-03"),
            place: place("acute", "4E"),
            preceding: None,
        });
        assert!(ended.when("2026-05-01", admission).is_ok());
    }

    #[test]
    fn an_admission_is_planned_before_it_happens() {
        let plan = |at: &str| PlannedAdmission {
            planned_at: time(at),
            place: place("acute", "4E"),
            preceding: None,
        };
        let expected = given(&[("2026-04-20", Event::AdmissionPlanned(plan("2026-05-01")))]);
        assert_eq!(expected.planned_admission(), Some((event_id(1), time("2026-05-01"))));
        let stay = given(&[("2026-05-01", admitted())]);
        assert_eq!(
            stay.when("2026-05-02", Command::PlanAdmission(plan("2026-05-03"))),
            Err(Refusal::AlreadyBegun)
        );
    }

    #[test]
    fn a_planned_admission_is_fulfilled_in_the_facility_that_expects_it() {
        let plan = Event::AdmissionPlanned(PlannedAdmission {
            planned_at: time("2026-05-03"),
            place: place("acute", "4E"),
            preceding: None,
        });
        let mut expected = given(&[("2026-05-01", plan)]);
        let Event::Admitted(mut elsewhere) = admitted() else { unreachable!() };
        assert!(expected.when("2026-05-03", Command::Admit(elsewhere.clone())).is_ok());
        elsewhere.place = place("rehab", "5N");
        let admit = || Command::Admit(elsewhere.clone());
        assert_eq!(expected.when("2026-05-03", admit()), Err(Refusal::OtherFacility));
        let cancel = Event::PlannedAdmissionCancelled(cancelling(1));
        expected.apply(&stamp(2, "2026-05-02"), &cancel);
        assert!(expected.when("2026-05-03", admit()).is_ok());
    }

    #[test]
    fn a_planned_admission_is_moved_by_who_planned_it_and_by_who_expects_it() {
        let plan = |at: &str| PlannedAdmission {
            planned_at: time(at),
            place: place("acute", ""),
            preceding: None,
        };
        let mut planned = Encounter::default();
        planned.apply(
            &stamp_for(1, "2026-05-03", "clinic"),
            &Event::AdmissionPlanned(plan("2026-05-09")),
        );
        let again = || Command::PlanAdmission(plan("2026-05-12"));
        for (organisation, is_theirs) in [("clinic", true), ("acute", true), ("other", false)] {
            let after = planned.decide(&stamp_for(2, "2026-05-04", organisation), again());
            assert_eq!(after.is_ok(), is_theirs, "{organisation}");
            assert!(is_theirs || after == Err(Refusal::NotTheFacility));
            let before = planned.decide(&stamp_for(2, "2026-05-02", organisation), again());
            assert!(before.is_ok(), "nothing was planned yet");
        }
        planned.apply(
            &stamp_for(3, "2026-05-04", "acute"),
            &Event::PlannedAdmissionCancelled(cancelling(1)),
        );
        assert!(planned.decide(&stamp_for(4, "2026-05-05", "other"), again()).is_ok());
    }

    #[test]
    fn a_planned_admission_is_cancelled_by_who_planned_it_and_by_who_expects_it() {
        let plan = |at: &str| PlannedAdmission {
            planned_at: time(at),
            place: place("acute", ""),
            preceding: None,
        };
        let mut planned = Encounter::default();
        let by_clinic = stamp_for(1, "2026-05-01", "clinic");
        planned.apply(&by_clinic, &Event::AdmissionPlanned(plan("2026-05-09")));
        let cancel = || Command::CancelPlannedAdmission(cancelling(1));
        for (organisation, is_theirs) in [("clinic", true), ("acute", true), ("other", false)] {
            let stamp = stamp_for(2, "2026-05-02", organisation);
            assert_eq!(planned.decide(&stamp, cancel()).is_ok(), is_theirs, "{organisation}");
        }
    }
}
