//! The stays and visits of one patient together: nobody lies twice in one facility or is admitted
//! after death, and a chain of stays has a beginning.

use super::state::State;
use super::{Fact, Order, Refusal, Stamp};
use crate::encounter::{self, Encounter};
use crate::id::{EncounterId, EventId};
use crate::identity;
use crate::time::CareTime;

impl State {
    /// The stay by which the facility itself tells of one that somebody had entered for it, and
    /// the event that does so.
    pub(super) fn successor(&self, id: EncounterId) -> Option<(EncounterId, EventId)> {
        let proxy = self.by_proxy.get(&id).and_then(|id| self.encounters.get(id));
        let proxy = proxy.filter(|proxy| proxy.is_by_proxy())?;
        let mut all = self.encounters.iter();
        all.find_map(|(own, encounter)| Some((*own, encounter.takes_the_place_of(proxy)?)))
    }

    /// The encounter that one continues; a stay also what was said of the one it took the place of.
    pub(super) fn preceding(&self, id: EncounterId) -> Option<EncounterId> {
        let said = self.encounters.get(&id).and_then(Encounter::preceding);
        said.or_else(|| {
            let gave_way =
                |of: &&EncounterId| self.successor(**of).is_some_and(|(own, _)| own == id);
            let proxy = self.by_proxy.iter().find(gave_way)?;
            self.encounters.get(proxy).and_then(Encounter::preceding)
        })
    }

    pub(super) fn decide_encounter(
        &self,
        id: EncounterId,
        stamp: &Stamp,
        command: encounter::Command,
    ) -> Result<encounter::Event, Refusal> {
        if let Some(other) = self.stay_in_the_way(id, stamp, &command) {
            return Err(encounter::Refusal::InFacilityAlready(other).into());
        }
        if command.admits() && self.died_before(stamp.occurred_at) {
            return Err(identity::Refusal::Deceased.into());
        }
        let at = &stamp.occurred_at;
        if command.preceding().is_some_and(|preceding| self.leads_to(preceding, id, at)) {
            return Err(encounter::Refusal::CircularEpisode.into());
        }
        let unknown = Encounter::default();
        let encounter = self.encounters.get(&id).unwrap_or(&unknown);
        Ok(encounter.decide(stamp, command)?)
    }

    /// Whether an encounter by itself allows a command.
    pub(super) fn decide_of_encounter(&self, stamp: &Stamp, order: Order) -> Result<Fact, Refusal> {
        let Order::Encounter(id, command) = order else { return self.decide(stamp, order) };
        let unknown = Encounter::default();
        let encounter = self.encounters.get(&id).unwrap_or(&unknown);
        Ok(Fact::Encounter(id, encounter.decide(stamp, command)?))
    }

    /// The stay in a facility where the patient would lie a second time. What is told of the past
    /// may come in any order: only a stay counts that had begun by then and had not ended, by what
    /// is known now and by what had happened then.
    pub(super) fn stay_in_the_way(
        &self,
        id: EncounterId,
        stamp: &Stamp,
        command: &encounter::Command,
    ) -> Option<EncounterId> {
        let own = self.encounters.get(&id);
        let place = if let encounter::Command::Admit(admission) = command {
            if own.is_some_and(|own| own.is_cancelled_ahead(stamp, command)) {
                return None;
            }
            &admission.place
        } else if let encounter::Command::CancelDischarge(cancel) = command {
            own.filter(|own| own.goes_on_without(stamp, *cancel))?.place()?
        } else {
            return None;
        };
        let at = &stamp.occurred_at;
        let in_the_way = |other: &Encounter| {
            let goes_on =
                other.is_inpatient() && other.began_at().is_some_and(|began| !at.is_before(&began));
            (goes_on || other.was_inpatient_at(at))
                && other.was_in_hospital_by(at)
                && other.place().is_some_and(|there| there.facility.id == place.facility.id)
        };
        // What somebody entered for the facility gives way to its own word.
        let is_own = !stamp.by_proxy && stamp.acting_for == place.facility.id;
        let gives_way = |other: EncounterId, encounter: &Encounter| {
            is_own && encounter.is_by_proxy() || self.successor(other).is_some()
        };
        let mut others = self.encounters.iter().filter(|(other, _)| **other != id);
        others.find_map(|(other, encounter)| {
            (in_the_way(encounter) && !gives_way(*other, encounter)).then_some(*other)
        })
    }

    /// Whether one encounter continues another, by what was said by a time.
    pub(super) fn leads_to(&self, from: EncounterId, to: EncounterId, at: &CareTime) -> bool {
        let mut next = Some(from);
        for _ in 0..=self.encounters.len() {
            match next {
                Some(encounter) if encounter == to => return true,
                Some(encounter) => {
                    let said = self.encounters.get(&encounter);
                    next = said.and_then(|said| said.preceding_at(at));
                }
                None => return false,
            }
        }
        false
    }

    pub(super) fn known_encounter(&self, id: EncounterId) -> Result<&Encounter, Refusal> {
        self.encounters.get(&id).ok_or(Refusal::UnknownEncounter(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encounter::{Cancellation, Stage};
    use crate::identity::Demographics;
    use crate::record::testing::{
        admit, discharge, encounter_id, event_id, given, noon, place, register, stamp, stamp_for,
    };
    use crate::record::{Command, Event, Record};

    #[test]
    fn a_patient_has_one_open_stay_in_a_facility() {
        let record = given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", None))]);
        assert_eq!(
            record.when("2026-05-03", admit(2, "acute", None)),
            Err(Refusal::Encounter(encounter::Refusal::InFacilityAlready(encounter_id(1))))
        );
        assert_eq!(record.when("2026-05-03", admit(2, "rehab", None)), Ok(()));
        assert_eq!(record.when("2026-04-03", admit(2, "acute", None)), Ok(()), "told later");
    }

    #[test]
    fn nobody_is_admitted_after_a_death_of_which_only_is_known_that_it_was() {
        let update = |deceased, not_deceased| {
            let known = Demographics { deceased, not_deceased, ..Demographics::default() };
            Order::Identity(identity::Command::UpdateDemographics(known))
        };
        let mut record = given(&[("2026-05-01", register()), ("2026-05-05", update(true, false))]);
        let admit_on = |record: &Record, at: &str| record.when(at, admit(1, "acute", None));
        let dead = || Err(Refusal::Identity(identity::Refusal::Deceased));
        assert_eq!(admit_on(&record, "2026-05-06"), dead());
        assert_eq!(admit_on(&record, "2026-05-04"), Ok(()), "before, and told late");
        assert_eq!(admit_on(&record, "2026-05-05"), Ok(()), "perhaps before, on that day");
        let moved = Event { stamp: stamp(3, "2026-05-07"), fact: update(false, false).into() };
        record.apply(&moved);
        assert!(record.is_deceased(), "silence takes no death back");
        assert!(record.patient().death_said_by().eq([event_id(2)]));
        assert_eq!(admit_on(&record, "2026-05-08"), dead());
        let alive = Event { stamp: stamp(4, "2026-05-07"), fact: update(false, true).into() };
        record.apply(&alive);
        assert!(record.patient().death_said_by().eq([event_id(4)]));
        assert_eq!(admit_on(&record, "2026-05-08"), Ok(()), "it was said wrongly");
    }

    #[test]
    fn a_cancelled_discharge_does_not_make_a_second_stay() {
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-05", discharge(1)),
            ("2026-05-09", admit(2, "acute", None)),
        ]);
        let cancel = Order::Encounter(
            encounter_id(1),
            encounter::Command::CancelDischarge(Cancellation { cancelled: event_id(3) }),
        );
        assert_eq!(
            record.when("2026-05-10", cancel),
            Err(Refusal::Encounter(encounter::Refusal::InFacilityAlready(encounter_id(2))))
        );
    }

    #[test]
    fn a_visit_whose_end_is_cancelled_is_no_second_stay() {
        let visit = encounter::Visit {
            class: encounter::Class::Outpatient,
            place: place("acute"),
            ended_at: None,
            preceding: None,
        };
        let visited = Order::Encounter(encounter_id(1), encounter::Command::RegisterVisit(visit));
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", visited),
            ("2026-05-03", discharge(1)),
            ("2026-05-09", admit(2, "acute", None)),
        ]);
        let cancel = Order::Encounter(
            encounter_id(1),
            encounter::Command::CancelDischarge(Cancellation { cancelled: event_id(3) }),
        );
        assert_eq!(record.when("2026-05-10", cancel), Ok(()));
    }

    #[test]
    fn a_stay_is_cancelled_whole_though_a_later_one_goes_on() {
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-04", discharge(1)),
            ("2026-05-09", admit(2, "acute", None)),
        ]);
        let of_first = |command| Order::Encounter(encounter_id(1), command);
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let command = |number, order| Command { stamp: stamp(number, "2026-05-10"), order };
        let cancelled = |number| Cancellation { cancelled: event_id(number) };
        let discharge = command(8, of_first(encounter::Command::CancelDischarge(cancelled(3))));
        let admission = command(9, of_first(encounter::Command::CancelAdmission(cancelled(2))));
        assert!(record.decide(discharge.clone(), now).is_err());
        let mut after = record.clone();
        let follow = std::slice::from_ref(&admission);
        for event in record.decide_before(discharge, follow, now).unwrap() {
            after.apply(&event);
        }
        for event in after.decide(admission, now).unwrap() {
            after.apply(&event);
        }
        assert_eq!(after.encounter(encounter_id(1)).unwrap().stage(), Stage::Expected);
        assert!(after.encounter(encounter_id(2)).unwrap().is_inpatient());
    }

    #[test]
    fn an_encounter_does_not_continue_itself() {
        let circular = || Err(Refusal::Encounter(encounter::Refusal::CircularEpisode));
        let record =
            given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", Some(2)))]);
        assert_eq!(record.when("2026-05-03", admit(2, "rehab", Some(1))), circular());
        assert_eq!(record.when("2026-05-03", admit(3, "rehab", Some(3))), circular());
    }

    #[test]
    fn a_stay_that_is_told_late_does_not_begin_within_another() {
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-10T09:00:00+09:00", admit(1, "acute", None)),
            ("2026-05-20T09:00:00+09:00", discharge(1)),
        ]);
        let overlaps =
            || Err(Refusal::Encounter(encounter::Refusal::InFacilityAlready(encounter_id(1))));
        let admit_at = |at: &str| record.when(at, admit(2, "acute", None));
        assert_eq!(admit_at("2026-05-10T09:00:00+09:00"), overlaps());
        assert_eq!(admit_at("2026-05-13"), overlaps());
        assert_eq!(admit_at("2026-05-20T08:59:59+09:00"), overlaps());
        for free in ["2026-05-03", "2026-05-10", "2026-05-20", "2026-05-20T09:00:00+09:00"] {
            assert_eq!(admit_at(free), Ok(()), "{free}");
        }
        assert_eq!(record.when("2026-05-13", admit(2, "rehab", None)), Ok(()), "elsewhere");
    }

    #[test]
    fn what_was_entered_for_a_hospital_gives_way_to_its_own_word() {
        let by_proxy =
            |number: u128, at: &str| Stamp { by_proxy: true, ..stamp_for(number, at, "seaside") };
        let mut record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-20", discharge(1)),
        ]);
        let proxy =
            Event { stamp: by_proxy(4, "2026-05-20"), fact: admit(2, "seaside", Some(1)).into() };
        record.apply(&proxy);
        let own = |number: u128, at: &str, order: Order| Command {
            stamp: stamp_for(number, at, "seaside"),
            order,
        };
        let again = Command { stamp: by_proxy(5, "2026-05-21"), order: admit(3, "seaside", None) };
        let twice = || Err(encounter::Refusal::InFacilityAlready(encounter_id(2)).into());
        assert_eq!(record.decide(again, noon()), twice(), "a proxy does not tell of it twice");
        let word = own(6, "2026-05-20T13:10:00+09:00", admit(3, "seaside", None));
        let told = record.decide(word, noon()).unwrap();
        record.apply(&told[0]);
        assert_eq!(record.superseded_by(encounter_id(2)), Some(event_id(6)));
        assert_eq!(record.whereabouts().unwrap().0, encounter_id(3));
        assert!(record.encounters().all(|(id, _)| id != encounter_id(2)));
        assert_eq!(record.episode(encounter_id(3)), encounter_id(1), "what the desk said of it");
        let late = Command { stamp: by_proxy(7, "2026-05-22"), order: admit(4, "seaside", None) };
        assert_eq!(
            record.decide(late, noon()),
            Err(encounter::Refusal::InFacilityAlready(encounter_id(3)).into())
        );
        let home = record.decide(own(8, "2026-05-25", discharge(3)), noon()).unwrap();
        record.apply(&home[0]);
        assert_eq!(record.whereabouts().unwrap().1.stage(), Stage::Ended, "and nowhere else");
        let another =
            Command { stamp: by_proxy(9, "2026-05-28"), order: admit(5, "seaside", None) };
        let another = record.decide(another, noon()).unwrap();
        record.apply(&another[0]);
        assert_eq!(
            record.whereabouts().unwrap().0,
            encounter_id(5),
            "a later stay is one of its own"
        );
    }

    #[test]
    fn a_cancel_names_its_event() {
        let record = given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", None))]);
        let cancel = |event: u128| {
            let cancellation = Cancellation { cancelled: event_id(event) };
            Order::Encounter(encounter_id(1), encounter::Command::CancelAdmission(cancellation))
        };
        assert_eq!(record.when("2026-05-03", cancel(2)), Ok(()));
        assert_eq!(
            record.when("2026-05-03", cancel(1)),
            Err(Refusal::Encounter(encounter::Refusal::NothingToCancel(event_id(1))))
        );
    }
}
