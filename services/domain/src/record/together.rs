//! What is told together: all of it is taken or nothing, and each is judged with what is told beside
//! it. What one alone could not be, it may be when another makes the whole story possible. It is
//! written in the order in which it was given: the record says the same in whichever it is told.

use jiff::Timestamp;

use super::{Command, Event, Order, Record, Refusal};
use crate::path::Gaps;

/// So many are looked at in other orders than the one in which they were given, since each may have
/// to be judged once for each other: more must be given in an order in which they can follow.
const REORDERED_MAX: usize = 64;

/// A command that was refused as yet, with its place among those that were given.
type Waiting = (usize, Command, Refusal);

impl Record {
    /// The events that commands cause which are taken together, or why the first one that is refused
    /// causes none.
    pub fn decide_together(
        &self,
        commands: &[Command],
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        match self.decide_in_turn(commands, now) {
            Err(refusal) if (2..=REORDERED_MAX).contains(&commands.len()) => {
                self.decide_in_some_order(commands, now).ok_or(refusal)
            }
            decided => decided,
        }
    }

    fn decide_in_turn(&self, commands: &[Command], now: Timestamp) -> Result<Vec<Event>, Refusal> {
        let corrects = |command: &Command| matches!(command.order, Order::Correction(_));
        let is_with_corrections = commands.iter().any(corrects);
        // The record with the commands before. A form or a note changes nothing for those that
        // follow, but that it can be corrected.
        let mut ahead: Option<Self> = None;
        let mut events = Vec::with_capacity(commands.len());
        for (at, command) in commands.iter().enumerate() {
            let record = ahead.as_ref().unwrap_or(self);
            let follow = commands.get(at + 1..).unwrap_or_default();
            let caused = record.decide_before(command.clone(), follow, now)?;
            if !follow.is_empty() && (is_with_corrections || !command.order.is_independent()) {
                ahead.get_or_insert_with(|| self.clone()).apply_all(&caused);
            }
            events.extend(caused);
        }
        Ok(events)
    }

    fn decide_in_some_order(&self, commands: &[Command], now: Timestamp) -> Option<Vec<Event>> {
        let (mut ahead, mut caused) = (self.clone(), Vec::with_capacity(commands.len()));
        let mut left: Vec<(usize, Command)> = commands.iter().cloned().enumerate().collect();
        while let Some((_, first)) = left.first() {
            let is_turn = |(_, command): &(usize, Command)| keeps_its_turn(command);
            let until = left.iter().position(is_turn).unwrap_or(left.len());
            let later = left.split_off(if keeps_its_turn(first) { 1 } else { until });
            let mut waiting: Vec<Waiting> = Vec::new();
            for (at, (place, command)) in left.iter().enumerate() {
                let follow = left.iter().skip(at + 1).chain(&later);
                let follow: Vec<Command> = follow.map(|(_, command)| command.clone()).collect();
                match ahead.decide_before(command.clone(), &follow, now) {
                    Ok(events) => {
                        ahead.apply_all(&events);
                        caused.extend(events.into_iter().map(|event| (*place, event)));
                    }
                    Err(refusal) => waiting.push((*place, command.clone(), refusal)),
                }
            }
            if waiting.len() == left.len() {
                let events = ahead.decide_as_one(&waiting, &later, now)?;
                ahead.apply_all(events.iter().map(|(_, event)| event));
                caused.extend(events);
                waiting.clear();
            }
            left = waiting.into_iter().map(|(place, command, _)| (place, command)).collect();
            left.extend(later);
        }
        caused.sort_by_key(|(place, _)| *place);
        Some(caused.into_iter().map(|(_, event)| event).collect())
    }

    fn decide_as_one(
        &self,
        waiting: &[Waiting],
        later: &[(usize, Command)],
        now: Timestamp,
    ) -> Option<Vec<(usize, Event)>> {
        let may_wait =
            |(_, command, refusal): &Waiting| refusal.is_of_order() && !keeps_its_turn(command);
        if !waiting.iter().all(may_wait) {
            return None;
        }
        let follow: Vec<Command> = later.iter().map(|(_, command)| command.clone()).collect();
        let told = |command: &Command| {
            let Command { stamp, order } = command.clone();
            Event { stamp, fact: order.into() }
        };
        let add = |with: &mut Self, (_, command, _): &Waiting| with.apply(&told(command));
        let can_be = |others: &Self, (_, command, _): &Waiting| {
            others.decide_before(command.clone(), &follow, now).is_ok()
        };
        let are_one = are_one(self, waiting, add, |record| record.state.gaps(), can_be);
        let placed = waiting.iter().map(|(place, command, _)| (*place, told(command)));
        are_one.then(|| placed.collect())
    }

    fn apply_all<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        self.apply_page(events.into_iter().map(|event| (event, Timestamp::MAX)));
    }
}

/// Whether steps of which none can be the first are taken as one: each can be when the others were,
/// and with all of them no more is lacking than without.
pub(super) fn are_one<W: Clone, S>(
    without: &W,
    steps: &[S],
    add: impl Fn(&mut W, &S),
    lacks: impl Fn(&W) -> Gaps,
    can_be: impl Fn(&W, &S) -> bool,
) -> bool {
    let with_all_but = |left_out: Option<usize>| {
        let mut with = without.clone();
        let others = steps.iter().enumerate().filter(|(at, _)| Some(*at) != left_out);
        others.for_each(|(_, step)| add(&mut with, step));
        with
    };
    lacks(&with_all_but(None)) <= lacks(without)
        && steps.iter().enumerate().all(|(at, step)| can_be(&with_all_but(Some(at)), step))
}

/// Which correction holds, and what is said of a person, may depend on when it is told.
fn keeps_its_turn(command: &Command) -> bool {
    match command.order {
        Order::Identity(_) | Order::Correction(_) => true,
        Order::Encounter(..)
        | Order::TransferRequest(..)
        | Order::Referral(..)
        | Order::Case(..)
        | Order::Document(_) => false,
    }
}
