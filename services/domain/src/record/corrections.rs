//! Corrections of what was told: which are taken, and what holds with them.

use std::mem::discriminant;

use jiff::Timestamp;

use super::retold::{Refused, Retold, Work, is_excluded, is_step, refused};
use super::state::check_ends;
use super::{
    Command, Event, FUTURE_TOLERANCE, Fact, Note, Order, Record, Refusal, Stamp, Told,
    is_taken_back,
};
use crate::correction::{self, Change, Correction, Corrections};
use crate::id::{EncounterId, EventId};
use crate::identity;
use crate::note::Document;
use crate::time::CareTime;

impl Record {
    /// Whether everything else that was told still makes sense with the correction, and with those
    /// that `follow` and are taken with it.
    pub(super) fn check_correction(
        &self,
        stamp: &Stamp,
        correction: &Correction,
        follow: &[Command],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let target = correction.corrects;
        if let Some(note) = self.notes.iter().find(|note| note.event == target) {
            return self.check_correction_of_note((stamp, follow), note, &correction.change, now);
        }
        let told = self.told.iter().find(|told| told.event.stamp.event == target);
        let told = told.ok_or(correction::Refusal::UnknownEvent(target))?;
        if self.trail(target).count() > correction::DEPTH_MAX {
            return Err(correction::Refusal::NotCorrectable(target).into());
        }
        if told.event.stamp.acting_for != stamp.acting_for {
            return Err(correction::Refusal::NotTheAuthor(target).into());
        }
        self.check_in_force(stamp, (target, &correction.change), follow)?;
        check_change(told, &correction.change, now)?;
        self.check_numbers(told, &correction.change)?;
        let correcting =
            Command { stamp: stamp.clone(), order: Order::Correction(correction.clone()) };
        let corrections = self.corrections_with([&correcting].into_iter().chain(follow));
        let mut work = Work::default();
        let before = refused(&self.retold(&self.corrections, &[]), &mut work)?;
        let retold = self.retold(&corrections, follow);
        for one in refused(&retold, &mut work)? {
            let Refused { event, at, refusal, .. } = &one;
            if *event == target && one.of.is_none() {
                return Err(one.refusal);
            }
            let was = before.iter().find(|was| was.event == *event).map(|was| &was.refusal);
            if was == Some(refusal) || follow.iter().any(|with| with.stamp.event == *event) {
                continue;
            }
            // What happened after a correction that is told late, does not speak against it; but a
            // move that leaves it behind does, whenever it is said to have been.
            let is_later = stamp.occurred_at.is_before(at) && correction.change != Change::Moved;
            if !is_later && was.is_none() && one.of.is_none() {
                return Err(correction::Refusal::LaterEventDepends(*event).into());
            }
            // But of two steps that exclude each other, one stands at most, whatever the times.
            let excludes = || {
                let root = self.trail(target).last();
                root.is_some_and(|root| is_step(&root.fact) && corrections.holds(root.stamp.event))
            };
            if is_step(&one.fact)
                && (excludes()
                    || one.refusal.is_of_order() && is_excluded(&one, was, &retold, &mut work)?)
            {
                return Err(one.refusal.because_of(one.event));
            }
        }
        Ok(())
    }

    /// An event; if it is a correction, what it corrects; and so on, to what was no correction.
    fn trail(&self, event: EventId) -> impl Iterator<Item = &Event> {
        let told = |event| {
            let told = self.told.iter().find(|told| told.event.stamp.event == event)?;
            Some(&told.event)
        };
        let corrected = move |event: &&Event| {
            let Fact::Correction(correction) = &event.fact else { return None };
            told(correction.corrects)
        };
        // A chain cannot be longer than what was told, unless it were circular.
        std::iter::successors(told(event), corrected).take(self.told.len())
    }

    /// The corrections that were told, and those that are told with them.
    pub(super) fn corrections_with<'a>(
        &self,
        with: impl IntoIterator<Item = &'a Command>,
    ) -> Corrections {
        let mut corrections = self.corrections.clone();
        for Command { stamp, order } in with {
            if let Order::Correction(correction) = order {
                corrections.add(stamp, correction);
            }
        }
        corrections
    }

    /// All that stands with these corrections, and with what is told with them.
    pub(super) fn retold(&self, corrections: &Corrections, with: &[Command]) -> Vec<Retold> {
        let with = with.iter().map(|Command { stamp, order }| Told {
            event: Event { stamp: stamp.clone(), fact: order.clone().into() },
            recorded_at: Timestamp::MAX,
            of: None,
        });
        let with: Vec<Told> = with.collect();
        let retold = |told: &Told| {
            let (stamp, fact) = effective(told, corrections)?;
            Some(Retold { of: told.of, stamp, fact })
        };
        self.told.iter().map(AsRef::as_ref).chain(&with).filter_map(retold).collect()
    }

    /// Whether an event is not in error already. One that says so and was taken back itself says
    /// nothing: it may be told late, with what took it back.
    fn check_in_force(
        &self,
        stamp: &Stamp,
        (target, change): (EventId, &Change),
        follow: &[Command],
    ) -> Result<(), Refusal> {
        if is_taken_back(stamp, follow) {
            return Ok(());
        }
        Ok(self.corrections.check_in_force(target, &stamp.occurred_at, change)?)
    }

    /// What is said instead takes no number of another record that is merged with this one: taken
    /// apart, two would have it.
    fn check_numbers(&self, told: &Told, change: &Change) -> Result<(), Refusal> {
        let Change::Value(instead) = change else { return Ok(()) };
        let others = self.told.iter().filter(|other| other.of != told.of);
        let mut others = others.filter_map(|other| effective(other, &self.corrections));
        let wanted = numbers(instead);
        if others.any(|(_, fact)| numbers(&fact).iter().any(|number| wanted.contains(number))) {
            return Err(identity::Refusal::AlreadyLinked.into());
        }
        Ok(())
    }

    fn check_correction_of_note(
        &self,
        (stamp, follow): (&Stamp, &[Command]),
        note: &Note,
        change: &Change,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if note.by != stamp.acting_for {
            return Err(correction::Refusal::NotTheAuthor(note.event).into());
        }
        self.check_in_force(stamp, (note.event, change), follow)?;
        match change {
            Change::EnteredInError | Change::Moved => Ok(()),
            Change::Time(at) if at.earliest() > now + FUTURE_TOLERANCE => Err(Refusal::InFuture),
            Change::Time(at) => {
                self.state.check_born(*at)?;
                let ready = self.ready(note, follow);
                let stay = ready.and_then(|(stay, _)| self.state.encounters.get(&stay));
                if let Some((stay, (_, day))) = stay.zip(ready) {
                    stay.check_ready(&Stamp { occurred_at: *at, ..stamp.clone() }, day)?;
                }
                Ok(())
            }
            Change::Value(fact) => {
                let order = Order::from(Fact::clone(fact));
                check_ends(&order, now)?;
                match order {
                    Order::Document(document) if document.kind == note.kind => {
                        // As of when it was said, also by what follows. The time may be corrected
                        // next, and so does not speak against an end.
                        let corrections = self.corrections_with(follow);
                        let time = corrections.outcome(note.event).time;
                        let occurred_at = time.map_or(note.at, |(_, at)| at);
                        let document = Document { ended_at: None, ..document };
                        self.state
                            .check_document(&Stamp { occurred_at, ..stamp.clone() }, &document)
                    }
                    Order::Document(_)
                    | Order::Identity(_)
                    | Order::Encounter(..)
                    | Order::TransferRequest(..)
                    | Order::Referral(..)
                    | Order::Case(..)
                    | Order::Correction(_) => {
                        Err(correction::Refusal::OtherKind(note.event).into())
                    }
                }
            }
        }
    }

    /// From which day on the patient could leave which stay, if a note says so: as it is corrected,
    /// also by what follows.
    fn ready(&self, note: &Note, follow: &[Command]) -> Option<(EncounterId, CareTime)> {
        let corrections = self.corrections_with(follow);
        match corrections.outcome(note.event).value {
            Some((_, Fact::Document(document))) => document.ready(),
            Some(_) | None => note.ready.as_deref().copied(),
        }
    }
}

/// What was told, as it is corrected. None if it was entered in error.
pub(super) fn effective(told: &Told, corrections: &Corrections) -> Option<(Stamp, Fact)> {
    let outcome = corrections.outcome(told.event.stamp.event);
    outcome.error.is_none().then(|| corrected(told, &outcome))
}

/// What was told, as it is corrected, also if it was entered in error.
pub(super) fn corrected(told: &Told, outcome: &correction::Outcome<'_>) -> (Stamp, Fact) {
    let Event { stamp, fact } = &told.event;
    let occurred_at = outcome.time.map_or(stamp.occurred_at, |(_, at)| at);
    let fact = outcome.value.map_or_else(|| fact.clone(), |(_, instead)| instead_of(fact, instead));
    (Stamp { occurred_at, ..stamp.clone() }, fact)
}

/// What is said instead. Of a registration, its numbers alone: who the person is, is said anew.
fn instead_of(fact: &Fact, instead: &Fact) -> Fact {
    use identity::Event::Registered;
    match (fact, instead) {
        (Fact::Identity(Registered(said)), Fact::Identity(Registered(numbers))) => {
            let demographics = said.demographics.clone();
            let registration = identity::Registration { demographics, ..numbers.clone() };
            Fact::Identity(Registered(registration))
        }
        (_, instead) => instead.clone(),
    }
}

/// The numbers that a fact says are the patient's.
fn numbers(fact: &Fact) -> &[identity::Identifier] {
    if let Fact::Identity(identity::Event::Registered(said)) = fact {
        &said.identifiers
    } else if let Fact::Identity(identity::Event::IdentifierLinked(number)) = fact {
        std::slice::from_ref(number)
    } else {
        &[]
    }
}

/// Whether an event can be corrected in this way.
fn check_change(told: &Told, change: &Change, now: Timestamp) -> Result<(), Refusal> {
    let Event { stamp: Stamp { event: target, .. }, fact } = &told.event;
    match (change, fact) {
        (Change::Value(_) | Change::Time(_), Fact::Correction(_)) => {
            return Err(correction::Refusal::IsACorrection(*target).into());
        }
        (_, Fact::Correction(Correction { change: Change::Moved, .. })) => {
            return Err(correction::Refusal::IsAMove(*target).into());
        }
        (
            Change::EnteredInError | Change::Moved,
            Fact::Correction(_)
            | Fact::Identity(
                identity::Event::IdentifierLinked(_)
                | identity::Event::DemographicsUpdated(_)
                | identity::Event::DeathRecorded(_),
            ),
        ) => return Ok(()),
        (change, Fact::Identity(event)) if !corrects_numbers(change, event) => {
            return Err(correction::Refusal::NotCorrectable(*target).into());
        }
        (
            _,
            Fact::Encounter(..)
            | Fact::TransferRequest(..)
            | Fact::Referral(..)
            | Fact::Case(..)
            | Fact::Document(_)
            | Fact::Identity(_),
        ) => {}
    }
    match change {
        Change::Time(at) if at.earliest() > now + FUTURE_TOLERANCE => Err(Refusal::InFuture),
        Change::EnteredInError | Change::Moved | Change::Time(_) => Ok(()),
        Change::Value(instead) if is_of_same_kind(fact, instead) => {
            check_ends(&Order::from(Fact::clone(instead)), now)
        }
        Change::Value(_) => Err(correction::Refusal::OtherKind(*target).into()),
    }
}

/// Whether it mends numbers: one may have been mistyped.
fn corrects_numbers(change: &Change, event: &identity::Event) -> bool {
    use identity::Event::{IdentifierLinked, Registered};
    matches!((change, event), (Change::Value(_), Registered(_) | IdentifierLinked(_)))
}

/// Whether two facts tell of the same thing in the same way.
fn is_of_same_kind(one: &Fact, other: &Fact) -> bool {
    match (one, other) {
        (Fact::Identity(one), Fact::Identity(other)) => discriminant(one) == discriminant(other),
        (Fact::Encounter(id, one), Fact::Encounter(of, other)) => {
            let is_same_kind = discriminant(one) == discriminant(other);
            id == of && (is_same_kind || one.is_discharge() && other.is_discharge())
        }
        (Fact::TransferRequest(id, one), Fact::TransferRequest(of, other)) => {
            id == of && discriminant(one) == discriminant(other)
        }
        (Fact::Referral(id, one), Fact::Referral(of, other)) => {
            id == of && discriminant(one) == discriminant(other)
        }
        (Fact::Case(id, one), Fact::Case(of, other)) => {
            id == of && discriminant(one) == discriminant(other)
        }
        (Fact::Document(one), Fact::Document(other)) => {
            let id = |document: &Document| document.step.map(|step| step.id);
            let plan = |document: &Document| document.edition.map(|edition| edition.of);
            one.kind == other.kind && id(one) == id(other) && plan(one) == plan(other)
        }
        (
            Fact::Identity(_)
            | Fact::Encounter(..)
            | Fact::TransferRequest(..)
            | Fact::Referral(..)
            | Fact::Case(..)
            | Fact::Document(_)
            | Fact::Correction(_),
            _,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encounter::Encounter;
    use crate::id::{PatientId, ReferralId};
    use crate::record::testing::{
        admit, discharge, encounter_id, event_id, given, noon, register, stamp, stamp_for, stay,
        time,
    };
    use crate::referral;
    use uuid::Uuid;

    fn correct(corrects: u128, change: Change) -> Order {
        Order::Correction(Correction { corrects: event_id(corrects), change })
    }

    fn began(record: &Record) -> Option<CareTime> {
        record.encounter(encounter_id(1)).and_then(Encounter::began_at)
    }

    #[test]
    fn a_corrected_time_holds_from_then_on() {
        let mut record = stay();
        let earlier = correct(2, Change::Time(time("2026-05-01")));
        assert_eq!(record.when("2026-05-10", earlier.clone()), Ok(()));
        record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: earlier.into() });
        assert_eq!(began(&record), Some(time("2026-05-01")));
        let after_the_discharge = correct(2, Change::Time(time("2026-05-11")));
        assert!(record.when("2026-05-12", after_the_discharge).is_err());
    }

    #[test]
    fn of_corrections_of_one_time_the_one_told_last_holds() {
        let times = ["2026-05-10", "2026-05-10T10:00:00+09:00"];
        for said in times.map(|first| times.map(|last| (first, last))).concat() {
            let mut record = stay();
            // The ids run against the order of telling.
            for (number, at, began) in [(9, said.0, "2026-05-01"), (8, said.1, "2026-04-30")] {
                let earlier = correct(2, Change::Time(time(began)));
                record.apply(&Event { stamp: stamp(number, at), fact: earlier.into() });
            }
            assert_eq!(began(&record), Some(time("2026-04-30")), "{said:?}");
            assert!(record.corrections_of(event_id(2)).eq([event_id(9), event_id(8)]), "{said:?}");
        }
    }

    /// The record that takes the other over is told of a correction while they are one; the other
    /// is, after they were taken apart: and then they are one again.
    #[test]
    fn of_corrections_in_records_that_were_merged_twice_the_one_recorded_last_holds() {
        let retired = PatientId::new(Uuid::from_u128(7));
        let merge = identity::Merge { retired };
        let recorded = |second: i64| Timestamp::from_second(second).unwrap();
        let corrected = |number, began| {
            let fact = correct(2, Change::Time(time(began))).into();
            Event { stamp: stamp(number, "2026-05-10"), fact }
        };
        let merged = |number, fact| Event { stamp: stamp(number, "2026-05-10"), fact };
        let is_one = || Fact::Identity(identity::Event::Merged(merge));
        let is_two = || Fact::Identity(identity::Event::Unmerged(merge));
        let mut other = Record::default();
        for (second, event) in (1..).zip(stay().told.iter().map(|told| told.event.clone())) {
            other.apply_recorded(&event, recorded(second));
        }
        let mut record = given(&[("2026-05-01", register())]);
        record.apply_recorded(&merged(20, is_one()), recorded(10));
        record.absorb(retired, &other);
        record.apply_recorded(&corrected(9, "2026-05-01"), recorded(11));
        assert_eq!(began(&record), Some(time("2026-05-01")));
        record.apply_recorded(&merged(21, is_two()), recorded(12));
        for (number, second, began_on) in [(8, 13, "2026-04-30"), (7, 9, "2026-05-01")] {
            let mut other = other.clone();
            other.apply_recorded(&corrected(number, "2026-04-30"), recorded(second));
            let mut again = record.clone();
            again.apply_recorded(&merged(22, is_one()), recorded(14));
            again.absorb(retired, &other);
            assert_eq!(began(&again), Some(time(began_on)));
        }
    }

    #[test]
    fn an_error_of_an_error_goes_so_deep_and_no_deeper() {
        let mut record = stay();
        let deepest = u128::try_from(correction::DEPTH_MAX).unwrap();
        for number in 100..100 + deepest {
            let wrong = if number == 100 { 3 } else { number - 1 };
            let error = correct(wrong, Change::EnteredInError);
            assert_eq!(record.when("2026-05-10", error.clone()), Ok(()), "{number}");
            record.apply(&Event { stamp: stamp(number, "2026-05-10"), fact: error.into() });
            let discharged = record.corrections.holds(event_id(3));
            assert_eq!(discharged, number % 2 == 1, "each takes back the one before");
        }
        let last = 99 + deepest;
        assert_eq!(
            record.when("2026-05-10", correct(last, Change::EnteredInError)),
            Err(correction::Refusal::NotCorrectable(event_id(last)).into())
        );
    }

    /// A referral that was requested, accepted, and then started and held so many times.
    fn referral_of(holds: usize) -> Record {
        use referral::Command::{Accept, Hold, Request, Start};
        let receiver = stamp(1, "2026-05-01").acting_for;
        let begun = [Request(referral::Asked { receiver, case: None }), Accept(())];
        let steps =
            begun.into_iter().chain(std::iter::repeat_n([Start(()), Hold(())], holds).flatten());
        let step = |step| Order::Referral(ReferralId::new(Uuid::from_u128(1)), step);
        let told = [register()].into_iter().chain(steps.map(step));
        given(&told.map(|order| ("2026-05-02T09:00:00+09:00", order)).collect::<Vec<_>>())
    }

    #[test]
    fn a_correction_on_which_more_depends_than_can_be_judged_is_refused() {
        let request = || correct(2, Change::EnteredInError);
        assert_eq!(referral_of(20).when("2026-05-01", request()), Ok(()));
        let refusal = referral_of(400).when("2026-05-01", request()).unwrap_err();
        assert_eq!(refusal.reason(), "LATER_EVENT_DEPENDS");
    }

    #[test]
    fn what_others_build_on_is_not_entered_in_error_first() {
        let mut record = stay();
        assert_eq!(
            record.when("2026-05-10", correct(2, Change::EnteredInError)),
            Err(correction::Refusal::LaterEventDepends(event_id(3)).into())
        );
        let discharge = correct(3, Change::EnteredInError);
        assert_eq!(record.when("2026-05-10", discharge.clone()), Ok(()));
        record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: discharge.into() });
        assert!(record.encounter(encounter_id(1)).unwrap().is_inpatient());
        assert_eq!(record.when("2026-05-11", correct(2, Change::EnteredInError)), Ok(()));
    }

    #[test]
    fn what_others_build_on_is_not_moved_without_them_whenever_that_is_said_to_have_been() {
        let record = stay();
        let without = Err(correction::Refusal::LaterEventDepends(event_id(3)).into());
        for at in ["2026-05-10", "2026-05-03"] {
            assert_eq!(record.when(at, correct(2, Change::Moved)), without, "{at}");
        }
        assert_eq!(
            record.when("2026-05-03", correct(2, Change::EnteredInError)),
            Ok(()),
            "told late"
        );
    }

    #[test]
    fn a_correction_that_was_an_error_itself_is_taken_back() {
        let mut record = stay();
        let error = |number, corrects| Event {
            stamp: stamp(number, "2026-05-10"),
            fact: correct(corrects, Change::EnteredInError).into(),
        };
        record.apply(&error(4, 3));
        record.apply(&error(5, 4));
        assert_eq!(record.outcome(event_id(3)), correction::Outcome::default());
        assert!(!record.encounter(encounter_id(1)).unwrap().is_inpatient());
        assert_eq!(
            record.when("2026-05-12", correct(4, Change::Time(time("2026-05-03")))),
            Err(correction::Refusal::AlreadyInError(event_id(4)).into())
        );
    }

    /// A discharge that was an error and the one that holds, told backwards: the error cannot be
    /// named before it is told, and so is told with it.
    #[test]
    fn what_was_entered_in_error_is_told_late_with_that() {
        let record = stay();
        let early = Command { stamp: stamp(4, "2026-05-07T10:00:00+09:00"), order: discharge(1) };
        let error = |corrects| Command {
            stamp: stamp(5, "2026-05-08"),
            order: correct(corrects, Change::EnteredInError),
        };
        let now = noon();
        assert!(record.decide(early.clone(), now).is_err());
        assert!(record.decide_before(early.clone(), &[error(3)], now).is_err(), "of another");
        let mut after = record.clone();
        for event in record.decide_before(early, &[error(4)], now).unwrap() {
            after.apply(&event);
        }
        for event in after.decide(error(4), now).unwrap() {
            after.apply(&event);
        }
        assert!(after.corrections_of(event_id(4)).eq([event_id(5)]));
        assert_eq!(after.encounter(encounter_id(1)), record.encounter(encounter_id(1)));
    }

    /// An admission that was entered in error, and the right one of the same hospital.
    #[test]
    fn what_is_entered_in_error_once_more_stands_at_no_time_between() {
        let mut record = stay();
        let error = |number, corrects| Command {
            stamp: stamp(number, "2026-05-10"),
            order: correct(corrects, Change::EnteredInError),
        };
        for (number, corrects) in [(4, 3), (5, 2)] {
            let Command { stamp, order } = error(number, corrects);
            record.apply(&Event { stamp, fact: order.into() });
        }
        let right = Event { stamp: stamp(6, "2026-05-03"), fact: admit(2, "acute", None).into() };
        record.apply(&right);
        let now = noon();
        assert_eq!(
            record.decide(error(7, 5), now),
            Err(correction::Refusal::LaterEventDepends(event_id(6)).into())
        );
        for event in record.decide_before(error(7, 5), &[error(8, 2)], now).unwrap() {
            record.apply(&event);
        }
        for event in record.decide(error(8, 2), now).unwrap() {
            record.apply(&event);
        }
        assert_eq!(record.outcome(event_id(2)).error, Some(event_id(8)));
    }

    #[test]
    fn what_is_in_error_is_not_entered_in_error_again_whatever_the_times() {
        let mut record = stay();
        let error = |number, at, corrects| Command {
            stamp: stamp(number, at),
            order: correct(corrects, Change::EnteredInError),
        };
        let Command { stamp, order } = error(4, "2026-05-10T10:00:00+09:00", 3);
        record.apply(&Event { stamp, fact: order.into() });
        for at in ["2026-05-10T09:55:00+09:00", "2026-05-10", "2026-05-10T10:05:00+09:00"] {
            assert_eq!(
                record.decide(error(5, at, 3), noon()),
                Err(correction::Refusal::AlreadyInError(event_id(3)).into()),
                "{at}"
            );
        }
        // One that was taken back itself before, and is told late with that.
        let late = error(5, "2026-05-10T09:00:00+09:00", 3);
        let back = error(6, "2026-05-10T09:30:00+09:00", 5);
        assert!(record.decide_before(late, &[back], noon()).is_ok());
    }

    #[test]
    fn what_happened_after_a_late_correction_does_not_speak_against_it() {
        let record = stay();
        let error = correct(2, Change::EnteredInError);
        assert_eq!(
            record.when("2026-05-10", error.clone()),
            Err(correction::Refusal::LaterEventDepends(event_id(3)).into())
        );
        assert_eq!(record.when("2026-05-03", error), Ok(()), "the discharge was on 9 May");
    }

    #[test]
    fn a_corrected_value_is_of_the_same_kind_and_about_the_same_thing() {
        let instead = |order: Order| Change::Value(Box::new(order.into()));
        let record = stay();
        let elsewhere = correct(2, instead(admit(1, "rehab", None)));
        assert_eq!(record.when("2026-05-10", elsewhere), Ok(()));
        for other in [admit(2, "acute", None), discharge(1)] {
            assert_eq!(
                record.when("2026-05-10", correct(2, instead(other))),
                Err(correction::Refusal::OtherKind(event_id(2)).into())
            );
        }
    }

    #[test]
    fn no_correction_takes_a_number_of_another_record_that_is_merged() {
        let number = |value: &str| identity::Identifier { system: "s".into(), value: value.into() };
        let registered = |value: &str| {
            let identifiers = vec![number(value)];
            let demographics = identity::Demographics::default();
            let registration = identity::Registration { identifiers, demographics };
            Order::Identity(identity::Command::Register(registration))
        };
        let retired = PatientId::new(Uuid::from_u128(7));
        let other = given(&[("2026-04-01", registered("theirs"))]);
        let mut record = given(&[("2026-05-01", registered("ours"))]);
        let instead = |value| Change::Value(Box::new(registered(value).into()));
        assert_eq!(record.when("2026-05-10", correct(1, instead("theirs"))), Ok(()));
        let merged = identity::Event::Merged(identity::Merge { retired });
        record.apply(&Event { stamp: stamp(20, "2026-05-09"), fact: Fact::Identity(merged) });
        record.absorb(retired, &other);
        let refused = record.when("2026-05-10", correct(1, instead("theirs"))).unwrap_err();
        assert_eq!(refused, identity::Refusal::AlreadyLinked.into());
        assert_eq!(record.when("2026-05-10", correct(1, instead("another"))), Ok(()));
    }

    #[test]
    fn a_number_that_was_mistyped_is_corrected_also_where_it_was_registered() {
        let number = |value: &str| identity::Identifier { system: "s".into(), value: value.into() };
        let registration = |value: &str| {
            let identifiers = vec![number(value)];
            let demographics = identity::Demographics::default();
            identity::Registration { identifiers, demographics }
        };
        let registered = |value| Order::Identity(identity::Command::Register(registration(value)));
        let linked = |value| Order::Identity(identity::Command::LinkIdentifier(number(value)));
        let instead = |order: Order| Change::Value(Box::new(order.into()));
        let mut record = given(&[
            ("2026-05-01", registered("1")),
            ("2026-05-02", linked("2")),
            ("2026-05-03", admit(1, "acute", None)),
        ]);
        for (event, right, wrong) in
            [(1, registered("3"), linked("3")), (2, linked("4"), registered("4"))]
        {
            let corrected = correct(event, instead(right));
            assert_eq!(
                record.when("2026-05-05", correct(event, instead(wrong))),
                Err(correction::Refusal::OtherKind(event_id(event)).into())
            );
            assert_eq!(record.when("2026-05-05", corrected.clone()), Ok(()));
            let stamp = stamp(10 + event, "2026-05-05");
            record.apply(&Event { stamp, fact: corrected.into() });
        }
        let numbers: Vec<&str> = record.patient().identifiers().map(|of| &*of.value).collect();
        assert_eq!(numbers, ["3", "4"]);
        let none = Order::Identity(identity::Command::Register(identity::Registration {
            identifiers: Vec::new(),
            ..registration("")
        }));
        assert_eq!(record.when("2026-05-06", correct(1, instead(none))), Ok(()), "taken back");
    }

    #[test]
    fn a_registration_is_corrected_also_while_an_older_record_is_merged_into_it() {
        use crate::id::PatientId;
        let registered = |value: &str| {
            let identifiers =
                vec![identity::Identifier { system: "s".into(), value: value.into() }];
            let demographics = identity::Demographics::default();
            Order::Identity(identity::Command::Register(identity::Registration {
                identifiers,
                demographics,
            }))
        };
        let retired = PatientId::new(Uuid::from_u128(7));
        let mut other = Record::default();
        let of_other = Event { stamp: stamp(21, "2026-04-01"), fact: registered("1").into() };
        other.apply(&of_other);
        let mut record = given(&[("2026-05-01", registered("2"))]);
        let merged = Fact::Identity(identity::Event::Merged(identity::Merge { retired }));
        record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: merged });
        record.absorb(retired, &other);
        for event in [1, 21] {
            let instead = Change::Value(Box::new(registered("3").into()));
            assert_eq!(record.when("2026-05-11", correct(event, instead)), Ok(()), "{event}");
        }
    }

    #[test]
    fn only_whose_word_it_was_corrects_it() {
        let record = stay();
        let command = Command {
            stamp: stamp_for(4, "2026-05-10", "nurses"),
            order: correct(3, Change::EnteredInError),
        };
        assert_eq!(
            record.decide(command, noon()),
            Err(correction::Refusal::NotTheAuthor(event_id(3)).into())
        );
        assert_eq!(
            record.when("2026-05-10", correct(77, Change::EnteredInError)),
            Err(correction::Refusal::UnknownEvent(event_id(77)).into())
        );
        assert_eq!(
            record.when("2026-05-10", correct(1, Change::EnteredInError)),
            Err(correction::Refusal::NotCorrectable(event_id(1)).into())
        );
    }
}
