//! The beginning of a log of which nothing was signed when it was recorded, or of which what was
//! signed is gone.
//!
//! A remark tells of it (`history`). Whoever takes the remark away has to take the checkpoints of
//! before with it, and then the ends of segments are missing that are signed whenever one ends.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use super::super::checkpoint::Checkpoint;
use super::super::history::{Remark, Said};
use super::super::problem::Problem;
use super::super::trees::Trees;
use crate::log::Location;

#[derive(Debug, Default)]
pub(super) struct Gap {
    /// The region's own file of checkpoints.
    pub(super) path: PathBuf,
    /// Whether it has notes that are not the region's: it is these that are told of then.
    pub(super) has_bad: bool,
    has_remark: bool,
    unsigned: Option<(Location, Timestamp)>,
    accepted: Option<Location>,
    /// What the region itself has signed of each slot, by size.
    own: BTreeMap<u16, BTreeMap<u64, Timestamp>>,
    /// The last segment whose end was signed.
    sealed_last: u32,
    /// What matches of each slot that was kept elsewhere, by size.
    kept: BTreeMap<u16, BTreeMap<u64, Timestamp>>,
    /// Each slot's events up to where the log was found unsigned, and up to where it was read.
    before: BTreeMap<u16, u64>,
    sizes: BTreeMap<u16, u64>,
    /// Each slot's events at the ends of the segments in which it has some.
    ends: Vec<(Location, u16, u64)>,
}

/// That so many events of a slot should have been signed before a time.
struct Demand {
    slot: u16,
    size: u64,
    before: Timestamp,
}

impl Gap {
    /// Takes in a remark of the region's own.
    pub(super) fn enter(&mut self, remark: &Remark) {
        self.has_remark = true;
        match remark.said {
            Said::Begun => {}
            Said::Unsigned(at) => {
                let later = self.unsigned.filter(|(known, _)| *known >= at);
                self.unsigned = Some(later.unwrap_or((at, remark.made_at)));
            }
            Said::Accepted(at) => self.accepted = self.accepted.max(Some(at)),
        }
    }

    /// Takes in a checkpoint of the region's own.
    pub(super) fn enter_signed(&mut self, checkpoint: &Checkpoint) {
        let Checkpoint { slot, size, made_at, sealed, .. } = *checkpoint;
        let first = self.own.entry(slot).or_default().entry(size).or_insert(made_at);
        *first = made_at.min(*first);
        self.sealed_last = self.sealed_last.max(sealed.unwrap_or(0));
    }

    /// The log matches a checkpoint that was kept elsewhere.
    pub(super) fn match_kept(&mut self, slot: u16, size: u64, made_at: Timestamp) {
        self.kept.entry(slot).or_default().insert(size, made_at);
    }

    /// An event was read.
    pub(super) fn pass(&mut self, at: Location, slot: u16, n: u64) {
        self.sizes.insert(slot, n);
        if self.unsigned.is_some_and(|(to, _)| at < to) {
            self.before.insert(slot, n);
        }
    }

    /// All up to here was passed over.
    pub(super) fn pass_behind(&mut self, at: Location, trees: &Trees) {
        self.sizes = trees.iter().map(|(slot, tree)| (slot, tree.size())).collect();
        if self.unsigned.is_some_and(|(to, _)| at <= to) {
            self.before.clone_from(&self.sizes);
        }
    }

    /// A sealed segment was read to its end.
    pub(super) fn pass_end(&mut self, at: Location, trees: &Trees) {
        let last = |ends: &[(Location, u16, u64)], slot| {
            ends.iter().rev().find(|(_, of, _)| *of == slot).map_or(0, |(_, _, size)| *size)
        };
        for (slot, size) in trees.iter().map(|(slot, tree)| (slot, tree.size())) {
            if size > last(&self.ends, slot) {
                self.ends.push((at, slot, size));
            }
        }
    }

    /// Up to where the log was not signed, and up to where that is accepted. Slots that are
    /// `known` to be wrong are not told of again.
    pub(super) fn found(
        &self,
        end: Location,
        is_known: impl Fn(u16) -> bool,
    ) -> (Option<Problem>, Option<Location>) {
        let (to, demands) = self.demands(end, is_known);
        if self.accepted.is_some_and(|accepted| accepted >= to) {
            return (None, self.accepted);
        }
        let mut missing: BTreeMap<u16, u64> = BTreeMap::new();
        for demand in demands {
            let kept = self.kept.get(&demand.slot).into_iter().flatten();
            let kept = kept.filter(|(_, made_at)| **made_at < demand.before).map(|(size, _)| *size);
            let left = demand.size.saturating_sub(kept.max().unwrap_or(0));
            let most = missing.entry(demand.slot).or_default();
            *most = left.max(*most);
        }
        let (path, events) = (self.path.clone(), missing.values().sum());
        let unsigned = Problem::Unsigned { path, to, events };
        (Some(unsigned).filter(|_| events > 0 && !self.has_bad), self.accepted)
    }

    fn demands(&self, end: Location, is_known: impl Fn(u16) -> bool) -> (Location, Vec<Demand>) {
        let mut to = self.accepted.unwrap_or_default();
        let mut demands = Vec::new();
        // Of a region that has just begun, nothing need be signed yet.
        let may_be_young = self.has_remark && end.segment <= 1;
        if self.own.is_empty() && !may_be_young {
            let demand =
                |(&slot, &size): (&u16, &u64)| Demand { slot, size, before: Timestamp::MAX };
            return (end, self.sizes.iter().map(demand).collect());
        }
        if let Some((at, before)) = self.unsigned.filter(|(at, _)| *at > to) {
            to = at;
            demands.extend(self.before.iter().map(|(&slot, &size)| Demand { slot, size, before }));
        }
        for &(at, slot, size) in &self.ends {
            let own = self.own.get(&slot);
            let is_signed = own.is_some_and(|own| own.contains_key(&size));
            let is_due = at.segment < self.sealed_last && Some(at) > self.accepted;
            if !is_signed && is_due && !is_known(slot) {
                let mut later = own.into_iter().flat_map(|own| own.range(size..));
                let before = later.next().map_or(Timestamp::MAX, |(_, made_at)| *made_at);
                to = to.max(at);
                demands.push(Demand { slot, size, before });
            }
        }
        (to, demands)
    }
}
