//! All that was told, told again as it is corrected, each when it happened: what would be refused
//! then, and because of which step.

use std::collections::BTreeSet;

use super::begun::thing;
use super::state::State;
use super::together::are_one;
use super::{Fact, Refusal, Stamp};
use crate::correction;
use crate::id::{EventId, PatientId};
use crate::time::CareTime;
use crate::{case, identity, transfer_request};

/// So many groups of steps are tried as one, each of so many steps at most: what is left then stands
/// as it does in the record, one by one.
const GROUPS_MAX: usize = 64;
const TOGETHER_MAX: usize = 16;
/// So many steps that wait are looked at for those that wait for each other.
const WAITING_MAX: usize = 256;
/// To judge one command, so many decisions are made again at most. A record of some thousand events
/// takes a few thousand; where hundreds of steps would be refused, each is asked again and again for
/// which of the others.
const DECISIONS_MAX: usize = 250_000;

/// What was told, as it is corrected.
#[derive(Debug, Clone)]
pub(super) struct Retold {
    /// The record that was merged into this one, if it was told there.
    pub(super) of: Option<PatientId>,
    pub(super) stamp: Stamp,
    pub(super) fact: Fact,
}

/// What would be refused, and why.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) of: Option<PatientId>,
    pub(super) event: EventId,
    pub(super) at: CareTime,
    pub(super) fact: Fact,
    pub(super) refusal: Refusal,
}

/// What is still to be decided to judge a command.
#[derive(Debug)]
pub(super) struct Work {
    decisions_left: usize,
}

impl Default for Work {
    fn default() -> Self {
        Self { decisions_left: DECISIONS_MAX }
    }
}

impl Work {
    /// Refused if there is too much, because of the event that is to be decided next.
    fn decide(&mut self, next: &Retold) -> Result<(), correction::Refusal> {
        let left = self.decisions_left.checked_sub(1);
        self.decisions_left =
            left.ok_or(correction::Refusal::LaterEventDepends(next.stamp.event))?;
        Ok(())
    }
}

/// What would be refused if all were told again. A step that would be stands all the same, as it
/// does in the record: what comes after it may exclude another. Of what was told in a record that
/// was merged, the steps alone.
pub(super) fn refused(
    told: &[Retold],
    work: &mut Work,
) -> Result<Vec<Refused>, correction::Refusal> {
    let mut left: Vec<&Retold> = told.iter().collect();
    // What the own record begins with comes first, also where another of the person is older.
    left.sort_by_key(|Retold { of, stamp, fact }| {
        let begins = matches!(fact, Fact::Identity(identity::Event::Registered(_)));
        (of.is_some() || !begins, stamp.occurred_at.earliest())
    });
    let (mut state, mut refused, mut groups_left) = (State::default(), Vec::new(), GROUPS_MAX);
    loop {
        let (before, mut again) = (left.len(), Vec::new());
        for one in left {
            work.decide(one)?;
            match state.decide(&one.stamp, one.fact.clone().into()) {
                Err(refusal) if one.of.is_none() || is_step(&one.fact) => {
                    again.push((one, refusal));
                }
                Ok(_) | Err(_) => state.take_over(one.of, &one.stamp, &one.fact),
            }
        }
        // Of what happened at the same time, one may be what the other waits for.
        if again.len() == before && !take_as_one(&mut state, &mut again, &mut groups_left) {
            let Some(stands) = again.iter().position(|(one, _)| is_step(&one.fact)) else {
                refused.extend(again.into_iter().map(Refused::of));
                return Ok(refused);
            };
            let (one, refusal) = again.remove(stands);
            state.take_over(one.of, &one.stamp, &one.fact);
            refused.push(Refused::of((one, refusal)));
        }
        left = again.into_iter().map(|(one, _)| one).collect();
    }
}

/// Takes steps of which none can be the first, if there are such, as they were told: together.
fn take_as_one(
    state: &mut State,
    again: &mut Vec<(&Retold, Refusal)>,
    groups_left: &mut usize,
) -> bool {
    if *groups_left == 0 {
        return false;
    }
    let add = |with: &mut State, one: &&Retold| with.apply(&one.stamp, &one.fact);
    let can_be =
        |others: &State, one: &&Retold| others.decide(&one.stamp, one.fact.clone().into()).is_ok();
    for group in groups(again).into_iter().take(*groups_left) {
        *groups_left -= 1;
        if are_one(state, &group, add, State::gaps, can_be) {
            for one in group {
                state.take_over(one.of, &one.stamp, &one.fact);
                again.retain(|(other, _)| other.stamp.event != one.stamp.event);
            }
            return true;
        }
    }
    false
}

/// The steps that may wait for each other: those of one thing, and those that may be in each other's
/// way.
fn groups<'t>(again: &[(&'t Retold, Refusal)]) -> Vec<Vec<&'t Retold>> {
    let is_open =
        |(one, refusal): &&(&Retold, Refusal)| is_step(&one.fact) && refusal.is_of_order();
    let open = again.iter().filter(is_open).map(|(one, _)| *one);
    let open: Vec<&Retold> = open.take(WAITING_MAX).collect();
    let (mut groups, mut known) = (Vec::new(), BTreeSet::new());
    for is_beside in [is_of_one_thing, may_wait_for] {
        for first in &open {
            let is_it = |other: &&&Retold| {
                other.stamp.event == first.stamp.event || is_beside(&first.fact, &other.fact)
            };
            let group: Vec<&Retold> = open.iter().filter(is_it).copied().collect();
            let events: Vec<EventId> = group.iter().map(|one| one.stamp.event).collect();
            if (2..=TOGETHER_MAX).contains(&group.len()) && known.insert(events) {
                groups.push(group);
            }
        }
    }
    groups
}

impl Refused {
    fn of((Retold { of, stamp, fact }, refusal): (&Retold, Refusal)) -> Self {
        let Stamp { event, occurred_at: at, .. } = *stamp;
        Self { of: *of, event, at, fact: fact.clone(), refusal }
    }
}

/// Whether a step is refused because of another that stands, and not for want of one that may still
/// be told: without the other, it would be as it was before.
pub(super) fn is_excluded(
    one: &Refused,
    was: Option<&Refusal>,
    told: &[Retold],
    work: &mut Work,
) -> Result<bool, correction::Refusal> {
    let others = told.iter().filter(|other| other.stamp.event != one.event);
    for other in others.filter(|other| can_exclude(&other.fact, &one.fact)) {
        let is_left = |told: &&Retold| told.stamp.event != other.stamp.event;
        let without: Vec<Retold> = told.iter().filter(is_left).cloned().collect();
        let refused = refused(&without, work)?;
        let again = refused.iter().find(|again| again.event == one.event);
        if again.map(|again| &again.refusal) == was {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it is a step that cannot be cancelled, of something that has a course.
pub(super) fn is_step(fact: &Fact) -> bool {
    match fact {
        Fact::TransferRequest(..) | Fact::Referral(..) | Fact::Case(..) => true,
        Fact::Document(document) => !document.is_independent(),
        Fact::Identity(_) | Fact::Encounter(..) | Fact::Correction(_) => false,
    }
}

/// Whether one may stand in the way of the other: two steps of one thing, two acceptances, a referral
/// and the case that is opened on it, or a case and the work on it.
fn can_exclude(one: &Fact, other: &Fact) -> bool {
    use transfer_request::Event::Accepted;
    let are_accepted = matches!(
        (one, other),
        (Fact::TransferRequest(_, Accepted(())), Fact::TransferRequest(_, Accepted(())))
    );
    are_accepted
        || is_of_one_thing(one, other)
        || [(one, other), (other, one)].into_iter().any(|(one, other)| match (one, other) {
            (Fact::Case(_, case::Event::Opened(Some(on))), Fact::Referral(id, _)) => on == id,
            (Fact::Case(id, _), Fact::Document(work)) => {
                work.is_case_work && work.case == Some(*id)
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
        })
}

/// Whether they may wait for each other: of offers for one stay, one waits until another was
/// withdrawn.
fn may_wait_for(one: &Fact, other: &Fact) -> bool {
    can_exclude(one, other)
        || matches!((one, other), (Fact::TransferRequest(..), Fact::TransferRequest(..)))
}

fn is_of_one_thing(one: &Fact, other: &Fact) -> bool {
    thing(one).is_some_and(|of| thing(other) == Some(of))
}
