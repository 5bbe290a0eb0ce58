//! The steps of something that has a course, in the order in which they were taken.
//!
//! News arrives late and out of order, and times are known to the minute or to the year. So the
//! order of the steps is made of their times and of what can follow what, and not of the order in
//! which they were told: the same steps make the same path, however they came.

use std::collections::BTreeSet;

use crate::id::EventId;
use crate::record::Stamp;
use crate::time::CareTime;

/// One kind of step, and where it leads.
pub(crate) trait Step {
    type State: Copy + PartialEq;

    /// Where every path begins.
    const BEGINNING: Self::State;

    /// Where this step leads from `state`; none if it cannot be taken there.
    fn leads_from(&self, state: Self::State) -> Option<Self::State>;

    /// Where it leads if it was taken all the same.
    fn leads_to(&self) -> Self::State;
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taken<S> {
    pub(crate) event: EventId,
    pub(crate) at: CareTime,
    pub(crate) step: S,
}

#[derive(Debug, Clone)]
pub(crate) struct Path<S> {
    /// In the order in which they were told.
    told: Vec<Taken<S>>,
    /// Their order, as places in `told`.
    order: Vec<usize>,
    /// Cancelled before they were told.
    cancelled: BTreeSet<EventId>,
}

/// Whether both have the same steps in the same order, however these were told.
impl<S: Step + PartialEq> PartialEq for Path<S> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter()) && self.cancelled == other.cancelled
    }
}

impl<S> Default for Path<S> {
    fn default() -> Self {
        Self { told: Vec::new(), order: Vec::new(), cancelled: BTreeSet::new() }
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

    /// Where it stands after all steps. A path of accepted steps is legal; if it is not, its
    /// last step still says more than nothing.
    pub(crate) fn state(&self) -> S::State {
        self.iter().fold(S::BEGINNING, |state, taken| {
            taken.step.leads_from(state).unwrap_or_else(|| taken.step.leads_to())
        })
    }

    /// Whether a step has a place among the others that agrees with its time and leaves the
    /// path legal.
    pub(crate) fn accepts(&self, stamp: &Stamp, step: S) -> bool {
        let new = Taken { event: stamp.event, at: stamp.occurred_at, step };
        self.goes_last(&new) || arrange(self.told.iter().chain([&new])).is_some()
    }

    /// Adds a step. One that has no place stands where its time puts it.
    pub(crate) fn insert(&mut self, stamp: &Stamp, step: S) {
        if self.cancelled.remove(&stamp.event) {
            return;
        }
        let new = Taken { event: stamp.event, at: stamp.occurred_at, step };
        if self.goes_last(&new) {
            self.order.push(self.told.len());
            self.told.push(new);
        } else {
            self.told.push(new);
            self.rearrange();
        }
    }

    /// Takes a step off the path, as though it had not been; also one that is still to be told.
    pub(crate) fn take_back(&mut self, event: EventId) {
        let before = self.told.len();
        self.told.retain(|taken| taken.event != event);
        if self.told.len() == before {
            self.cancelled.insert(event);
        } else {
            self.rearrange();
        }
    }

    /// The step of an event, and the one that follows it.
    pub(crate) fn find(&self, event: EventId) -> Option<(&Taken<S>, Option<&Taken<S>>)> {
        let mut steps = self.iter().skip_while(|taken| taken.event != event);
        Some((steps.next()?, steps.next()))
    }

    /// Whether the path is legal without the step of this event.
    pub(crate) fn can_do_without(&self, event: EventId) -> bool {
        arrange(self.told.iter().filter(|taken| taken.event != event)).is_some()
    }

    fn goes_last(&self, new: &Taken<S>) -> bool {
        self.told.iter().all(|taken| taken.at.latest() <= new.at.earliest())
            && new.step.leads_from(self.state()).is_some()
    }

    fn rearrange(&mut self) {
        self.order = arrange(&self.told).unwrap_or_else(|| by_time(&self.told));
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

/// The first legal order of the steps, as places in `steps`, if there is one. Of those that may
/// come next by their times, the one that may have been taken first is tried first, and of these
/// the one that was told first.
fn arrange<'a, S: Step + 'a>(steps: impl IntoIterator<Item = &'a Taken<S>>) -> Option<Vec<usize>> {
    let steps: Vec<&Taken<S>> = steps.into_iter().collect();
    let mut left: Vec<usize> = (0..steps.len()).collect();
    left.sort_by_key(|place| steps.get(*place).map(|taken| taken.at.earliest()));
    let mut search = Search { steps, left, order: Vec::new(), tries: 0 };
    search.extend(S::BEGINNING).then_some(search.order)
}

fn by_time<S>(steps: &[Taken<S>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_by_key(|place| steps.get(*place).map(|taken| taken.at.earliest()));
    order
}

struct Search<'a, S> {
    steps: Vec<&'a Taken<S>>,
    /// Not yet in `order`, by their earliest times.
    left: Vec<usize>,
    order: Vec<usize>,
    tries: usize,
}

impl<S: Step> Search<'_, S> {
    /// Steps whose times say little may stand in many orders: so many are tried.
    const TRIES_MAX: usize = 10_000;

    fn extend(&mut self, state: S::State) -> bool {
        let of = |place: &usize| self.steps.get(*place).copied();
        let Some(none_after) = self.left.iter().filter_map(of).map(|taken| taken.at.latest()).min()
        else {
            return true;
        };
        let next: Vec<usize> = self
            .left
            .iter()
            .copied()
            .take_while(|place| of(place).is_some_and(|taken| taken.at.earliest() <= none_after))
            .collect();
        for place in next {
            let taken = self.steps.get(place);
            let Some(state) = taken.and_then(|taken| taken.step.leads_from(state)) else {
                continue;
            };
            self.tries += 1;
            if self.tries > Self::TRIES_MAX {
                return false;
            }
            let Some(at) = self.left.iter().position(|left| *left == place) else { continue };
            self.left.remove(at);
            self.order.push(place);
            if self.extend(state) {
                return true;
            }
            self.order.pop();
            self.left.insert(at, place);
        }
        false
    }
}
