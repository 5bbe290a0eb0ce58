//! All that was told, told again as it is corrected, each when it happened: what would be refused
//! then, and because of which step.

use std::collections::BTreeSet;

use super::begun::thing;
use super::state::State;
use super::together::are_one;
use super::{Fact, Refusal, Stamp};
use crate::id::{EventId, PatientId};
use crate::time::CareTime;
use crate::{case, identity, transfer_request};

/// So many groups of steps are tried as one, each of so many steps at most: what is left then stands
/// as it does in the record, one by one.
const GROUPS_MAX: usize = 64;
const TOGETHER_MAX: usize = 16;

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

/// What would be refused if all were told again. A step that would be stands all the same, as it
/// does in the record: what comes after it may exclude another. Of what was told in a record that
/// was merged, the steps alone.
pub(super) fn refused(told: &[Retold]) -> Vec<Refused> {
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
                return refused;
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
    let together = groups(again).into_iter().find(|group| {
        let may_be_tried = *groups_left > 0;
        *groups_left = groups_left.saturating_sub(1);
        let add = |with: &mut State, one: &&Retold| with.apply(&one.stamp, &one.fact);
        let can_be = |others: &State, at: usize| {
            let one = group.get(at);
            one.is_some_and(|one| others.decide(&one.stamp, one.fact.clone().into()).is_ok())
        };
        may_be_tried && are_one(state, group, add, State::gaps, can_be)
    });
    for one in together.iter().flatten() {
        state.take_over(one.of, &one.stamp, &one.fact);
        again.retain(|(other, _)| other.stamp.event != one.stamp.event);
    }
    together.is_some()
}

/// The steps that may wait for each other: those of one thing, and those that may be in each other's
/// way.
fn groups<'t>(again: &[(&'t Retold, Refusal)]) -> Vec<Vec<&'t Retold>> {
    let is_open =
        |(one, refusal): &&(&Retold, Refusal)| is_step(&one.fact) && refusal.is_of_order();
    let open: Vec<&Retold> = again.iter().filter(is_open).map(|(one, _)| *one).collect();
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
pub(super) fn is_excluded(one: &Refused, was: Option<&Refusal>, told: &[Retold]) -> bool {
    let others = told.iter().filter(|other| other.stamp.event != one.event);
    let mut others = others.filter(|other| can_exclude(&other.fact, &one.fact));
    others.any(|other| {
        let is_left = |told: &&Retold| told.stamp.event != other.stamp.event;
        let without: Vec<Retold> = told.iter().filter(is_left).cloned().collect();
        let refused = refused(&without);
        refused.iter().find(|again| again.event == one.event).map(|again| &again.refusal) == was
    })
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
            _ => false,
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
