//! The order in which steps were taken, as far as their times leave it open.
//!
//! It is made of the steps alone, and not of how they were told. Best is one in which each can
//! follow the one before it; else one that lacks as little as possible: first, as few steps as
//! possible that nothing can explain; then, as few as possible that say by themselves that there
//! was something before them that is still to be told (`begins_again`). Of several such orders it
//! is the one in which what may have been earlier stands first, and of that what has the first id.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Step, Taken};

/// So many ways to go on are followed at a time. Steps whose times say little may stand in more
/// orders: then those that lack least so far are followed, and the best of these may not be the
/// best of all. With eight times as many, of 64 steps of one day that are told together, each judged
/// beside the others, the judgement took ten times as long; the order is no part of what is stored.
const WAYS_MAX: usize = 32;

/// So many steps at most may be of one time for their order to be looked for: of more, such as a
/// hundred leaves on one day, it is that of their ids. It is looked for again with each that is told.
const OF_ONE_TIME_MAX: usize = 32;

/// What lacks between the steps of an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gaps {
    unexplained: usize,
    to_be_told: usize,
}

impl Gaps {
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl std::ops::Add for Gaps {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            unexplained: self.unexplained + other.unexplained,
            to_be_told: self.to_be_told + other.to_be_told,
        }
    }
}

/// The best order of the steps, as places in `steps`, and what it lacks.
pub(super) fn best<S: Step>(steps: &[&Taken<S>]) -> (Vec<usize>, Gaps) {
    Search::of(steps, None).run()
}

/// What the best order lacks with a step that is told now. If it is told late, it does not count
/// what is still to be told right before or after it.
pub(super) fn gaps_with<S: Step>(steps: &[&Taken<S>], new: &Taken<S>) -> Gaps {
    let steps: Vec<&Taken<S>> = steps.iter().copied().chain([new]).collect();
    Search::of(&steps, Some(new)).run().1
}

struct Search<'a, S> {
    /// By the time at which they may have been taken first, with their places.
    steps: Vec<(usize, &'a Taken<S>)>,
    new: Option<&'a Taken<S>>,
    /// Whether it is known that something was taken after the new one.
    is_late: bool,
}

/// The first steps of an order: which, and not in which order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Taking<T> {
    /// All before this one, but it not.
    all_before: usize,
    /// And these.
    beyond: Vec<usize>,
    /// Where they lead.
    state: T,
    ends_with_new: bool,
}

#[derive(Debug)]
struct Way<T> {
    taking: Taking<T>,
    gaps: Gaps,
    /// The last step of it, and the way that it goes on from.
    last: (usize, usize),
}

impl<'a, S: Step> Search<'a, S> {
    fn of(steps: &[&'a Taken<S>], new: Option<&'a Taken<S>>) -> Self {
        let mut placed: Vec<_> = steps.iter().copied().enumerate().collect();
        placed.sort_by_key(|(_, taken)| taken.place());
        let is_late = new.is_some_and(|new| steps.iter().any(|taken| new.at.is_before(&taken.at)));
        Self { steps: placed, new, is_late }
    }

    fn run(&self) -> (Vec<usize>, Gaps) {
        let mut by_time = self.steps.iter().map(|(_, taken)| &taken.step);
        if by_time.try_fold(S::BEGINNING, |state, step| step.leads_from(state)).is_some() {
            return (self.steps.iter().map(|(place, _)| *place).collect(), Gaps::default());
        }
        let taking =
            Taking { all_before: 0, beyond: Vec::new(), state: S::BEGINNING, ends_with_new: false };
        let first = Way { taking, gaps: Gaps::default(), last: (0, 0) };
        if self.of_one_time() > OF_ONE_TIME_MAX {
            let steps = self.steps.iter().map(|(_, taken)| *taken).enumerate();
            let way = steps.fold(first, |way, step| self.with(0, &way, step));
            return (self.steps.iter().map(|(place, _)| *place).collect(), way.gaps);
        }
        let mut ways = vec![first];
        let mut taken = Vec::with_capacity(self.steps.len());
        for _ in &self.steps {
            let further = ways.iter().enumerate().flat_map(|(from, way)| self.further(from, way));
            ways = least_lacking(further.collect());
            taken.push(ways.iter().map(|way| way.last).collect::<Vec<_>>());
        }
        let best = ways.iter().enumerate().min_by_key(|(_, way)| way.gaps);
        let (mut at, gaps) = best.map_or((0, Gaps::default()), |(at, way)| (at, way.gaps));
        let mut order = Vec::with_capacity(taken.len());
        for ways in taken.iter().rev() {
            let Some((step, from)) = ways.get(at) else { break };
            order.extend(self.steps.get(*step).map(|(place, _)| *place));
            at = *from;
        }
        order.reverse();
        (order, gaps)
    }

    /// How many steps there are at most of which any may have been taken at the time of another.
    fn of_one_time(&self) -> usize {
        let mut ends = BinaryHeap::new();
        let counts = self.steps.iter().map(|(_, taken)| {
            ends.push(Reverse(taken.at.latest()));
            while ends.peek().is_some_and(|Reverse(end)| *end < taken.at.earliest()) {
                ends.pop();
            }
            ends.len()
        });
        counts.max().unwrap_or_default()
    }

    /// The ways on from a way, by one step.
    fn further(&self, from: usize, way: &Way<S::State>) -> Vec<Way<S::State>> {
        self.next(&way.taking).into_iter().map(|step| self.with(from, way, step)).collect()
    }

    fn with(
        &self,
        from: usize,
        way: &Way<S::State>,
        (step, taken): (usize, &Taken<S>),
    ) -> Way<S::State> {
        let state = taken.step.leads_from(way.taking.state);
        let gaps = if state.is_some() { Gaps::default() } else { self.gap(way, taken) };
        Way {
            taking: Taking {
                state: state.unwrap_or_else(|| taken.step.leads_to()),
                ends_with_new: self.is_new(taken),
                ..way.taking.with(step)
            },
            gaps: way.gaps + gaps,
            last: (step, from),
        }
    }

    /// The steps that may come next by their times. Of those that say the same of one time, the
    /// first.
    fn next(&self, taking: &Taking<S::State>) -> Vec<(usize, &'a Taken<S>)> {
        let mut next: Vec<(usize, &Taken<S>)> = Vec::new();
        let mut none_after = None;
        for (step, (_, taken)) in self.steps.iter().enumerate().skip(taking.all_before) {
            if taking.beyond.contains(&step) {
                continue;
            }
            if none_after.is_some_and(|latest| latest < taken.at.earliest()) {
                break;
            }
            let latest = taken.at.latest();
            none_after = Some(none_after.map_or(latest, |of| latest.min(of)));
            let says_the_same = |(_, other): &(usize, &Taken<S>)| {
                other.at == taken.at && other.step == taken.step && !self.is_new(other)
            };
            if self.is_new(taken) || !next.iter().any(says_the_same) {
                next.push((step, *taken));
            }
        }
        next
    }

    /// What lacks before a step that does not follow.
    fn gap(&self, way: &Way<S::State>, taken: &Taken<S>) -> Gaps {
        if !taken.step.begins_again(way.taking.state) {
            return Gaps { unexplained: 1, to_be_told: 0 };
        }
        let follows_new =
            way.taking.ends_with_new && self.new.is_some_and(|new| new.at.is_before(&taken.at));
        let is_told_late = self.is_new(taken) && self.is_late || follows_new;
        Gaps { unexplained: 0, to_be_told: usize::from(!is_told_late) }
    }

    fn is_new(&self, taken: &Taken<S>) -> bool {
        self.new.is_some_and(|new| std::ptr::eq(new, taken))
    }
}

impl<T: Copy> Taking<T> {
    fn with(&self, step: usize) -> Self {
        let mut with = self.clone();
        if step == with.all_before {
            with.all_before += 1;
            while let Some(at) = with.beyond.iter().position(|of| *of == with.all_before) {
                with.beyond.remove(at);
                with.all_before += 1;
            }
        } else {
            let at = with.beyond.partition_point(|of| *of < step);
            with.beyond.insert(at, step);
        }
        with
    }
}

/// Of the ways that took the same and lead to the same, the one that lacks least. Those that come
/// first, stand first.
fn least_lacking<T: Ord>(ways: Vec<Way<T>>) -> Vec<Way<T>> {
    let mut ways: Vec<(usize, Way<T>)> = ways.into_iter().enumerate().collect();
    ways.sort_by(|(at, one), (of, other)| {
        (&one.taking, one.gaps, at).cmp(&(&other.taking, other.gaps, of))
    });
    ways.dedup_by(|(_, other), (_, one)| one.taking == other.taking);
    if ways.len() > WAYS_MAX {
        ways.sort_by_key(|(at, way)| (way.gaps, *at));
        ways.truncate(WAYS_MAX);
    }
    ways.sort_by_key(|(at, _)| *at);
    ways.into_iter().map(|(_, way)| way).collect()
}
