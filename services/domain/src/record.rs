//! One patient's whole record: the state that commands about the patient are decided on.
//!
//! The state is made of what was told, as it was corrected since, and of the times at which it
//! happened: in which order it was told makes no difference, but for corrections of one event that
//! were made at one time: of them, the one told last holds.

mod begun;
mod casework;
mod corrections;
mod fact;
mod reading;
mod refusal;
mod retold;
mod state;
mod stays;
#[cfg(test)]
pub(crate) mod testing;
mod together;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use self::corrections::corrected;
pub use self::fact::{Fact, Order, Turn};
pub use self::refusal::{Refusal, RefusalKind};
use self::state::{State, check_ends};
use crate::correction::{self, Change, Correction, Corrections};
use crate::id::{EncounterId, EventId, OrganisationId, PatientId};
use crate::time::CareTime;
use crate::{encounter, identity};

/// How far ahead of the server's clock an event may claim to have happened: clocks differ.
pub const FUTURE_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// What every command and event says besides its content.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamp {
    pub event: EventId,
    pub occurred_at: CareTime,
    /// The organisation whose word it is.
    pub acting_for: OrganisationId,
    /// Whether it is the word of a program, and of no person.
    pub by_program: bool,
    /// Whether another organisation entered it for the one whose word it is.
    pub by_proxy: bool,
}

/// Somebody wants something to have happened to this patient.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    pub stamp: Stamp,
    pub order: Order,
}

/// Something happened to this patient.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub stamp: Stamp,
    pub fact: Fact,
}

/// One patient's record: everything that was told, and the state that follows from it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// What the state follows from, in the order in which it was told.
    told: Vec<Arc<Told>>,
    /// The forms and notes that no state follows from: only what a correction of them looks at.
    notes: Vec<Note>,
    corrections: Corrections,
    state: State,
}

#[derive(Debug, PartialEq)]
struct Told {
    event: Event,
    /// The last of all moments if it is not recorded yet.
    recorded_at: Timestamp,
    /// The record that was merged into this one, if it was told there.
    of: Option<PatientId>,
}

#[derive(Debug, Clone, PartialEq)]
struct Note {
    event: EventId,
    at: CareTime,
    kind: &'static str,
    by: OrganisationId,
    /// From which day on, and which stay, the patient could leave, if it says so.
    ready: Option<Box<(EncounterId, CareTime)>>,
    of: Option<PatientId>,
}

impl Record {
    /// The events that `command` causes at the moment `now`, or why it causes none.
    pub fn decide(&self, command: Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        self.decide_before(command, &[], now)
    }

    /// The same, if those that `follow` are accepted as well, or none. A stay that is cancelled
    /// whole is not open again between the cancel of its discharge and that of its admission,
    /// and so no later stay is in the way; nor does what is entered in error stand for a moment,
    /// because the event that said so before is.
    pub fn decide_before(
        &self,
        command: Command,
        follow: &[Command],
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let Command { stamp, order } = command;
        if stamp.occurred_at.earliest() > now + FUTURE_TOLERANCE {
            return Err(Refusal::InFuture);
        }
        let begins = matches!(
            order,
            Order::Identity(identity::Command::Register(_) | identity::Command::OpenAnonymous(()))
        );
        if !begins && !self.state.patient.is_known() {
            return Err(identity::Refusal::Unknown.into());
        }
        let ends_a_merge = matches!(
            order,
            Order::Identity(identity::Command::Restore(_) | identity::Command::AbandonMerge(_))
        );
        if !ends_a_merge {
            self.state.patient.not_retired()?;
        }
        check_ends(&order, now)?;
        self.check_cancelled(&order)?;
        let fact = match order {
            Order::Correction(correction) => {
                self.check_correction(&stamp, &correction, follow, now)?;
                Fact::Correction(correction)
            }
            order @ (Order::Identity(_)
            | Order::Encounter(..)
            | Order::TransferRequest(..)
            | Order::Referral(..)
            | Order::Case(..)
            | Order::Document(_)) => {
                let fact = self.decide_order(&stamp, order, follow)?;
                self.check_woken(&stamp, &fact, follow)?;
                fact
            }
        };
        Ok(vec![Event { stamp, fact }])
    }

    /// Whether much of what was told is judged again with the commands.
    pub fn may_take_long(&self, commands: &[Command]) -> bool {
        let is_judged_with_others = |command: &Command| match &command.order {
            Order::Correction(_) => true,
            Order::Identity(_) | Order::Encounter(..) => false,
            order @ (Order::TransferRequest(..)
            | Order::Referral(..)
            | Order::Case(..)
            | Order::Document(_)) => self.state.wakes(&order.clone().into()),
        };
        commands.len() > 1 || commands.iter().any(is_judged_with_others)
    }

    fn decide_order(
        &self,
        stamp: &Stamp,
        order: Order,
        follow: &[Command],
    ) -> Result<Fact, Refusal> {
        match self.state.decide(stamp, order.clone()) {
            Err(Refusal::Encounter(encounter::Refusal::InFacilityAlready(_)))
                if is_withdrawn(&order, follow) =>
            {
                self.state.decide_of_encounter(stamp, order)
            }
            Err(_) if is_taken_back(stamp, follow) => Ok(order.into()),
            Err(refusal) => match corrected_time(stamp, follow) {
                Some(occurred_at) => {
                    self.state.decide(&Stamp { occurred_at, ..stamp.clone() }, order)
                }
                None => Err(refusal),
            },
            Ok(fact) => Ok(fact),
        }
    }

    /// Adds what is to have happened, and is not recorded yet.
    pub fn apply(&mut self, event: &Event) {
        self.apply_recorded(event, Timestamp::MAX);
    }

    /// Adds what happened.
    pub fn apply_recorded(&mut self, event: &Event, recorded_at: Timestamp) {
        self.apply_page([(event, recorded_at)]);
    }

    /// Adds what happened. What was told before is looked at again if any of it corrects that, or
    /// takes another record off: once, behind all.
    pub fn apply_page<'e>(&mut self, events: impl IntoIterator<Item = (&'e Event, Timestamp)>) {
        let mut is_stale = false;
        for (event, recorded_at) in events {
            let Event { stamp, fact } = event;
            if let Fact::Document(document) = fact
                && document.is_independent()
            {
                let (kind, by) = (document.kind, stamp.acting_for.clone());
                let (event, at) = (stamp.event, stamp.occurred_at);
                let ready = document.ready().map(Box::new);
                self.notes.push(Note { event, at, kind, by, ready, of: None });
                continue;
            }
            self.told.push(Arc::new(Told { event: event.clone(), recorded_at, of: None }));
            if let Fact::Identity(identity::Event::Unmerged(merge)) = fact {
                self.told.retain(|told| told.of != Some(merge.retired));
                self.notes.retain(|note| note.of != Some(merge.retired));
                is_stale = true;
            }
            is_stale |= matches!(fact, Fact::Correction(_)) || self.is_corrected(stamp.event);
            if !is_stale {
                self.state.apply(stamp, fact);
            }
        }
        if is_stale {
            self.rebuild();
        }
    }

    fn is_corrected(&self, event: EventId) -> bool {
        !self.corrections.is_empty()
            && self.corrections.outcome(event) != correction::Outcome::default()
    }

    /// Takes over what was told of the same person in another record.
    pub fn absorb(&mut self, retired: PatientId, other: &Self) {
        let of = Some(retired);
        let absorbed =
            |told: &Arc<Told>| Arc::new(Told { event: told.event.clone(), of, ..**told });
        self.told.extend(other.told.iter().map(absorbed));
        self.notes.extend(other.notes.iter().map(|note| Note { of, ..note.clone() }));
        self.rebuild();
    }

    /// The records that were merged into this one and are not yet taken over, and the events
    /// that merged them.
    pub fn wanted(&self) -> Vec<(PatientId, EventId)> {
        let merged = self.state.patient.merged();
        merged.filter(|(id, _)| !self.told.iter().any(|told| told.of == Some(*id))).collect()
    }

    fn rebuild(&mut self) {
        self.corrections = self.corrections_told();
        self.state = State::default();
        for told in &self.told {
            let event = told.event.stamp.event;
            let outcome = self.corrections.outcome(event);
            let (stamp, fact) = corrected(told, &outcome);
            match outcome.error.and_then(|by| self.corrections.change(event, by)) {
                None => self.state.take_over(told.of, &stamp, &fact),
                Some(Change::Moved) => {}
                Some(Change::EnteredInError | Change::Value(_) | Change::Time(_)) => {
                    self.state.begun.add(&stamp, &fact);
                }
            }
        }
    }

    /// In the order of recording: of what was told in several records, that of this list is another.
    fn corrections_told(&self) -> Corrections {
        let is_correction = |told: &&Arc<Told>| matches!(told.event.fact, Fact::Correction(_));
        let mut told: Vec<_> = self.told.iter().filter(is_correction).collect();
        told.sort_by_key(|told| told.recorded_at);
        let mut corrections = Corrections::default();
        for told in told {
            if let Fact::Correction(correction) = &told.event.fact {
                corrections.add(&told.event.stamp, correction);
            }
        }
        corrections
    }

    /// What is to be cancelled is no event of something else, and no cancel: that is entered in error.
    /// One that is not known yet may be told late.
    fn check_cancelled(&self, order: &Order) -> Result<(), Refusal> {
        let Order::Encounter(id, command) = order else { return Ok(()) };
        let Some(target) = encounter::Event::from(command.clone()).cancelled() else {
            return Ok(());
        };
        let is_of_it = |told: &Told| matches!(&told.event.fact, Fact::Encounter(of, said) if of == id && said.cancelled().is_none());
        let told = self.told.iter().find(|told| told.event.stamp.event == target);
        let is_note = || self.notes.iter().any(|note| note.event == target);
        if told.map_or_else(is_note, |told| !is_of_it(told)) {
            return Err(encounter::Refusal::NothingToCancel(target).into());
        }
        Ok(())
    }
}

/// Whether a discharge is cancelled, and the admission of the same stay behind it.
fn is_withdrawn(order: &Order, follow: &[Command]) -> bool {
    let Order::Encounter(id, encounter::Command::CancelDischarge(_)) = order else { return false };
    follow.iter().any(|command| {
        matches!(
            &command.order,
            Order::Encounter(of, encounter::Command::CancelAdmission(_)) if of == id
        )
    })
}

/// Whether what is told late was cancelled or entered in error, and that is told with it.
fn is_taken_back(stamp: &Stamp, follow: &[Command]) -> bool {
    let is_error = |order: &Order| {
        let Order::Correction(Correction { corrects, change }) = order else { return false };
        *corrects == stamp.event && change.takes_back()
    };
    follow.iter().any(|Command { order, .. }| {
        is_error(order) || Fact::from(order.clone()).cancelled() == Some(stamp.event)
    })
}

/// When it happened, if that was corrected, and that is told with it.
fn corrected_time(stamp: &Stamp, follow: &[Command]) -> Option<CareTime> {
    follow.iter().rev().find_map(|Command { order, .. }| {
        let Order::Correction(Correction { corrects, change: Change::Time(at) }) = order else {
            return None;
        };
        (*corrects == stamp.event).then_some(*at)
    })
}

#[cfg(test)]
impl Record {
    /// Whether the same follows from both, whatever the order in which it was told.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        self.state == other.state && self.corrections == other.corrections
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{
        admit, discharge, encounter_id, event_id, given, register, stamp, stay,
    };
    use uuid::Uuid;

    #[test]
    fn nothing_happens_to_a_stranger() {
        let orders = [admit(1, "acute", None), discharge(1)];
        for order in orders {
            assert_eq!(
                given(&[]).when("2026-05-01", order),
                Err(Refusal::Identity(identity::Refusal::Unknown))
            );
        }
    }

    #[test]
    fn the_future_is_refused_beyond_the_tolerance() {
        let at = |text: &str| given(&[]).when(text, register());
        assert_eq!(at("2026-06-01T12:05:00+09:00"), Ok(()));
        assert_eq!(at("2026-06-01T12:05:01+09:00"), Err(Refusal::InFuture));
        assert_eq!(at("2026-06-01"), Ok(()), "today");
        assert_eq!(at("2026-06-02"), Err(Refusal::InFuture), "tomorrow");
    }

    #[test]
    fn a_record_that_was_merged_takes_the_other_s_stays_over_and_gives_them_back() {
        let retired = PatientId::new(Uuid::from_u128(7));
        let other = given(&[("2026-05-01", register()), ("2026-05-04", admit(2, "rehab", None))]);
        let mut record = stay();
        let before = record.clone();
        let merge = identity::Merge { retired };
        let merged = Fact::Identity(identity::Event::Merged(merge));
        record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: merged });
        assert_eq!(record.wanted(), [(retired, event_id(4))]);
        record.absorb(retired, &other);
        assert!(record.wanted().is_empty());
        assert!(record.encounter(encounter_id(2)).unwrap().is_inpatient());
        assert_eq!(record.when("2026-05-11", discharge(2)), Ok(()), "what goes on there, goes on");
        let unmerged = Fact::Identity(identity::Event::Unmerged(merge));
        record.apply(&Event { stamp: stamp(5, "2026-05-12"), fact: unmerged });
        assert_eq!(record.state, before.state);
    }

    #[test]
    fn who_is_dead_by_one_of_several_records_is_dead() {
        let retired = PatientId::new(Uuid::from_u128(7));
        let update = |deceased: bool| {
            let not_deceased = !deceased;
            let known = identity::Demographics { deceased, not_deceased, ..Default::default() };
            Order::Identity(identity::Command::UpdateDemographics(known))
        };
        let death =
            || Order::Identity(identity::Command::RecordDeath(identity::Death { at: None }));
        for said in [update(true), death()] {
            let other = given(&[("2026-05-01", register()), ("2026-05-04", said)]);
            let mut record = given(&[("2026-05-01", register())]);
            let merge = identity::Merge { retired };
            let merged = Fact::Identity(identity::Event::Merged(merge));
            record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: merged });
            record.absorb(retired, &other);
            assert!(record.is_deceased());
            let dead = Err(Refusal::Identity(identity::Refusal::Deceased));
            assert_eq!(record.when("2026-05-11", admit(1, "acute", None)), dead);
            // The own record says so of itself, and does not speak against the other.
            record.apply(&Event { stamp: stamp(5, "2026-05-11"), fact: update(false).into() });
            assert!(record.is_deceased());
            let unmerged = Fact::Identity(identity::Event::Unmerged(merge));
            record.apply(&Event { stamp: stamp(6, "2026-05-12"), fact: unmerged });
            assert!(!record.is_deceased());
        }
    }

    #[test]
    fn the_end_of_a_stay_that_another_record_has_is_no_stay_here() {
        let retired = PatientId::new(Uuid::from_u128(7));
        let other = given(&[("2026-05-01", register()), ("2026-05-04", admit(2, "rehab", None))]);
        let mut record = stay();
        let merge = identity::Merge { retired };
        let merged = Fact::Identity(identity::Event::Merged(merge));
        record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: merged });
        record.absorb(retired, &other);
        record.apply(&Event { stamp: stamp(5, "2026-05-11"), fact: discharge(2).into() });
        let unmerged = Fact::Identity(identity::Event::Unmerged(merge));
        record.apply(&Event { stamp: stamp(6, "2026-05-12"), fact: unmerged });
        assert_eq!(record.whereabouts().map(|(id, _)| id), Some(encounter_id(1)));
    }

    #[test]
    fn nothing_is_said_of_a_record_that_was_merged_into_another() {
        let survivor = PatientId::new(Uuid::from_u128(8));
        let retirement = identity::Retirement { survivor, merge: event_id(9) };
        let mut record = stay();
        let retired = Fact::Identity(identity::Event::Retired(retirement));
        record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: retired });
        let refused = || Err(Refusal::Identity(identity::Refusal::Retired(survivor)));
        assert_eq!(record.when("2026-05-11", admit(2, "rehab", None)), refused());
        let restore = Order::Identity(identity::Command::Restore(retirement));
        assert_eq!(record.when("2026-05-11", restore), Ok(()));
    }
}
