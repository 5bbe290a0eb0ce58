//! The steps of something that has a course, in the order in which they were taken.
//!
//! News arrives late and out of order, and times are known to the minute or to the year. So the
//! order of the steps is made of their times and of what can follow what, and not of the order in
//! which they were told: the same steps make the same path, however they came. Steps whose times
//! and whose nature leave their order open stand by the ids of their events: these are the same in
//! every telling, and ids that sort by time (UUID version 7) sort as they were made.
//!
//! What can be cancelled is decided on what had happened before it, as it then stood: what came
//! later does not speak against it, and neither does a cancel that came later. So whatever was
//! accepted when it happened is accepted whenever it comes; until all has come that belongs to it,
//! the last step still says where it stands.
//!
//! What cannot be cancelled must also leave what is known of later times possible: of two steps
//! that exclude each other one is taken, whichever comes first. So that two late steps that need
//! each other do not wait for each other for ever, one that begins something again says by itself
//! that it had stopped: a case that is reopened was closed, also if that is still to be told.

mod order;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::id::EventId;
use crate::record::Stamp;
use crate::time::CareTime;

pub(crate) use self::order::Gaps;
use self::order::{best, gaps_with};

/// One kind of step, and where it leads.
pub(crate) trait Step: PartialEq {
    type State: Copy + Ord;

    /// Where every path begins.
    const BEGINNING: Self::State;

    /// Where this step leads from `state`; none if it cannot be taken there.
    fn leads_from(&self, state: Self::State) -> Option<Self::State>;

    /// Where it leads if it was taken all the same.
    fn leads_to(&self) -> Self::State;

    /// Whether it says once more what `later` says, as long as nothing between the two undoes it:
    /// then it is no late news.
    fn repeats(&self, later: &Self) -> bool;

    /// Whether it begins again what goes on in `state`: then it had stopped in between, and that
    /// is still to be told.
    fn begins_again(&self, _state: Self::State) -> bool {
        false
    }
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taken<S> {
    pub(crate) event: EventId,
    pub(crate) at: CareTime,
    pub(crate) step: S,
    /// When it was cancelled, if it was: it counts no more from then on.
    cancelled_at: Option<CareTime>,
}

/// A cancel of a step that is still to be told, if that turns out to be what is cancelled.
#[derive(Debug, Clone)]
struct Ahead<S> {
    at: CareTime,
    is_meant: fn(&S) -> bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Path<S> {
    /// In the order in which they were told; also those that were cancelled.
    told: Vec<Taken<S>>,
    /// The order of those that count, as places in `told`.
    order: Vec<usize>,
    /// What that order lacks.
    gaps: Gaps,
    /// Cancelled before they were told.
    ahead: BTreeMap<EventId, Ahead<S>>,
}

/// Whether both have the same steps in the same order, however these were told. What is still to
/// be told makes no difference.
impl<S: Step> PartialEq for Path<S> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<S> Default for Path<S> {
    fn default() -> Self {
        let (told, order, gaps) = (Vec::new(), Vec::new(), Gaps::default());
        Self { told, order, gaps, ahead: BTreeMap::new() }
    }
}

impl<S: Step> Path<S> {
    /// The steps in their order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Taken<S>> {
        self.order.iter().filter_map(|place| self.told.get(*place))
    }

    pub(crate) fn first(&self) -> Option<&Taken<S>> {
        self.iter().next()
    }

    pub(crate) fn last(&self) -> Option<&Taken<S>> {
        self.iter().next_back()
    }

    /// Where it stands after all steps. If not all of them can follow one another, because some
    /// are still to be told, the last one says it.
    pub(crate) fn state(&self) -> S::State {
        state(self.iter())
    }

    /// Where it stood at a time, by what had happened then.
    pub(crate) fn state_at(&self, at: &CareTime) -> S::State {
        Self::state_after(self.as_of(at))
    }

    /// The same, by what had certainly happened before.
    pub(crate) fn state_before(&self, at: &CareTime) -> S::State {
        Self::state_after(self.as_of(at).filter(|taken| taken.at.is_before(at)))
    }

    /// Whether it may have stood so at a time, also between steps of which nobody can say whether
    /// they were taken before it.
    pub(crate) fn may_be(&self, at: &CareTime, is_so: impl Fn(S::State) -> bool) -> bool {
        let mut since = None;
        let mut stood = S::BEGINNING;
        let mut until_end = self.iter().map(Some).chain([None]);
        until_end.any(|next| {
            let has_begun = since.is_none_or(|since: CareTime| !at.is_before(&since));
            let has_ended = next.is_some_and(|next| next.at.is_before(at));
            let was_so = has_begun && !has_ended && is_so(stood);
            if let Some(next) = next {
                stood = next.step.leads_from(stood).unwrap_or_else(|| next.step.leads_to());
                since = Some(next.at);
            }
            was_so
        })
    }

    fn state_after<'a>(steps: impl Iterator<Item = &'a Taken<S>>) -> S::State
    where
        S: 'a,
    {
        let steps: Vec<&Taken<S>> = steps.collect();
        let (order, _) = best(&steps);
        state(order.iter().filter_map(|place| steps.get(*place).copied()))
    }

    /// Whether a step has a place among the others that agrees with its time and leaves the
    /// path legal; or had one then, if it is told late.
    pub(crate) fn accepts(&self, stamp: &Stamp, step: S) -> bool {
        if self.is_cancelled_ahead(stamp, &step) {
            return true;
        }
        let new = Taken::new(stamp, step);
        let gaps = || gaps_with(&self.iter().collect::<Vec<_>>(), &new);
        self.goes_last(&new) || gaps().is_none() || self.accepted_then(&new)
    }

    /// Whether a step has a place among the others that agrees with its time, and leaves possible
    /// what is known of later times. If only a later step speaks against it, its event.
    pub(crate) fn fits(&self, stamp: &Stamp, step: S) -> Result<(), Option<EventId>> {
        let new = Taken::new(stamp, step);
        if self.goes_last(&new) {
            return Ok(());
        }
        let steps: Vec<&Taken<S>> = self.iter().collect();
        if gaps_with(&steps, &new) <= self.gaps {
            return Ok(());
        }
        let blocks = |place: usize| {
            let (before, after) = steps.split_at(place);
            let is_in_time = before.iter().all(|earlier| !new.at.is_before(&earlier.at))
                && after.iter().all(|later| !later.at.is_before(&new.at));
            let next = *after.first()?;
            let follows = is_in_time && new.follows(state(before.iter().copied()), next);
            follows.then_some(next.event)
        };
        Err((0..steps.len()).rev().find_map(blocks))
    }

    /// What its order lacks.
    pub(crate) fn gaps(&self) -> Gaps {
        self.gaps
    }

    /// Whether the step was cancelled before it is told: it then leads nowhere.
    pub(crate) fn is_cancelled_ahead(&self, stamp: &Stamp, step: &S) -> bool {
        self.ahead.get(&stamp.event).is_some_and(|ahead| (ahead.is_meant)(step))
    }

    /// Adds a step. One that has no place stands where its time puts it.
    pub(crate) fn insert(&mut self, stamp: &Stamp, step: S) {
        let mut new = Taken::new(stamp, step);
        if self.is_cancelled_ahead(stamp, &new.step) {
            new.cancelled_at = self.ahead.remove(&stamp.event).map(|ahead| ahead.at);
            self.told.push(new);
        } else if self.goes_last(&new) {
            self.order.push(self.told.len());
            self.told.push(new);
        } else {
            self.told.push(new);
            self.rearrange();
        }
    }

    /// With steps of which each has a place, or stands where its time puts it.
    pub(crate) fn with_also(mut self, steps: impl Iterator<Item = (EventId, CareTime, S)>) -> Self {
        let taken = |(event, at, step)| Taken { event, at, step, cancelled_at: None };
        self.told.extend(steps.map(taken));
        self.rearrange();
        self
    }

    /// Takes a step off the path, as though it had not been; also one that is still to be told.
    pub(crate) fn take_back(&mut self, event: EventId, at: CareTime, is_meant: fn(&S) -> bool) {
        match self.told.iter_mut().find(|taken| taken.event == event) {
            Some(taken) if is_meant(&taken.step) => {
                let earlier = taken.cancelled_at.filter(|before| before.earliest() < at.earliest());
                taken.cancelled_at = Some(earlier.unwrap_or(at));
                self.rearrange();
            }
            Some(_) => {}
            None => {
                self.ahead.insert(event, Ahead { at, is_meant });
            }
        }
    }

    /// The step of an event, and the one that follows it.
    pub(crate) fn find(&self, event: EventId) -> Option<(&Taken<S>, Option<&Taken<S>>)> {
        let mut steps = self.iter().skip_while(|taken| taken.event != event);
        Some((steps.next()?, steps.next()))
    }

    /// Whether the path is legal without the step of this event, or was at the time at which that
    /// is cancelled.
    pub(crate) fn can_do_without(&self, event: EventId, at: &CareTime) -> bool {
        let without = |taken: &&Taken<S>| taken.event != event;
        let then = || {
            let rest: Vec<&Taken<S>> = self.as_of(at).filter(without).collect();
            self.as_of(at).any(|taken| taken.event == event) && best(&rest).1.is_none()
        };
        best(&self.iter().filter(without).collect::<Vec<_>>()).1.is_none() || then()
    }

    /// Whether the path lacks no more without the step of this event than with it.
    pub(crate) fn is_whole_without(&self, event: EventId) -> bool {
        let rest: Vec<&Taken<S>> = self.iter().filter(|taken| taken.event != event).collect();
        best(&rest).1 <= self.gaps
    }

    /// Whether the event may be one that is still to be told, of before the time: something else
    /// is known already that did not happen before that time, so news overtake each other.
    pub(crate) fn may_come_late(&self, event: EventId, at: &CareTime) -> bool {
        !self.ahead.contains_key(&event) && self.told.iter().any(|taken| !taken.at.is_before(at))
    }

    pub(crate) fn knows(&self, event: EventId) -> bool {
        self.told.iter().any(|taken| taken.event == event)
    }

    fn goes_last(&self, new: &Taken<S>) -> bool {
        self.iter().all(|taken| taken.at.latest() < new.at.earliest())
            && new.step.leads_from(self.state()).is_some()
    }

    /// Whether it could be said when it happened, and is not said again.
    fn accepted_then(&self, new: &Taken<S>) -> bool {
        let is_said =
            |later: &Taken<S>| !later.at.is_before(&new.at) && new.step.repeats(&later.step);
        let then: Vec<&Taken<S>> = self.as_of(&new.at).collect();
        !self.iter().any(is_said) && gaps_with(&then, new).is_none()
    }

    /// The steps that had been taken by a time and were not cancelled by then, also those of that
    /// very time.
    pub(crate) fn as_of(&self, at: &CareTime) -> impl Iterator<Item = &Taken<S>> {
        self.told.iter().filter(|taken| {
            let is_cancelled = taken.cancelled_at.is_some_and(|cancel| !at.is_before(&cancel));
            !at.is_before(&taken.at) && !is_cancelled
        })
    }

    /// The steps that had been taken by a time, and were not cancelled before it.
    pub(crate) fn before_cancels(&self, at: &CareTime) -> impl Iterator<Item = &Taken<S>> {
        self.told.iter().filter(|taken| {
            let is_cancelled = taken.cancelled_at.is_some_and(|cancel| cancel.is_before(at));
            !at.is_before(&taken.at) && !is_cancelled
        })
    }

    /// Whether a step had certainly been cancelled before a time.
    pub(crate) fn was_cancelled_before(&self, at: &CareTime) -> bool {
        let is_cancelled = |taken: &Taken<S>| {
            taken.cancelled_at.is_some_and(|cancelled_at| cancelled_at.is_before(at))
        };
        self.told.iter().any(is_cancelled)
    }

    fn rearrange(&mut self) {
        let is_in_effect =
            |place: &usize| self.told.get(*place).is_some_and(|taken| taken.cancelled_at.is_none());
        let places: Vec<usize> = (0..self.told.len()).filter(is_in_effect).collect();
        let steps: Vec<&Taken<S>> =
            places.iter().filter_map(|place| self.told.get(*place)).collect();
        let (order, gaps) = best(&steps);
        self.order = order.iter().filter_map(|place| places.get(*place).copied()).collect();
        self.gaps = gaps;
    }
}

impl<S> Taken<S> {
    fn new(stamp: &Stamp, step: S) -> Self {
        Self { event: stamp.event, at: stamp.occurred_at, step, cancelled_at: None }
    }

    /// By which steps stand in their order, where what can follow what leaves it open.
    pub(crate) fn place(&self) -> (Timestamp, EventId) {
        (self.at.earliest(), self.event)
    }
}

impl<S: Step> Taken<S> {
    /// Whether it can be taken in `state`, before the step that is next; also if something between
    /// the two is still to be told.
    fn follows(&self, state: S::State, next: &Self) -> bool {
        let is_late = self.at.is_before(&next.at);
        self.step.leads_from(state).is_some() || is_late && self.step.begins_again(state)
    }
}

#[cfg(test)]
impl<S: Step> Path<S> {
    /// Whether each step can follow those before it, in the order of time.
    pub(crate) fn is_legal(&self) -> bool {
        let steps: Vec<_> = self.iter().collect();
        let in_time = steps.iter().enumerate().all(|(place, taken)| {
            steps.iter().take(place).all(|earlier| !taken.at.is_before(&earlier.at))
        });
        let end = steps.iter().try_fold(S::BEGINNING, |state, taken| taken.step.leads_from(state));
        in_time && end.is_some()
    }
}

fn state<'a, S: Step + 'a>(steps: impl Iterator<Item = &'a Taken<S>>) -> S::State {
    steps.fold(S::BEGINNING, |state, taken| {
        taken.step.leads_from(state).unwrap_or_else(|| taken.step.leads_to())
    })
}
