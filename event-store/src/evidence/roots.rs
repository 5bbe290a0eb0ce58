//! The roots of the slots' trees as they were at some positions, to compare stores that have the
//! same slots.

use std::collections::BTreeMap;

use tsunagi_bus::{Cursor, Slot};

use super::merkle::{Frontier, Hash};
use super::tree_file::{self, SegmentTrees};
use super::trees::Trees;
use crate::log::LogError;
use crate::store::{LogPoint, Store};

/// The roots at `wanted`, for the slots that have come so far. Reads from the last segment on
/// that ends before all of them: waits for the disk.
pub(crate) fn at(store: &Store, wanted: &Cursor) -> Result<BTreeMap<u16, Hash>, LogError> {
    let slots = store.region().slots;
    let (mut trees, mut point) = begin(store, wanted)?;
    let mut roots = BTreeMap::new();
    let mut note = |trees: &Trees, slot: u16| {
        let size = wanted.seen(Slot(slot));
        if let Some(tree) = trees.get(slot).filter(|tree| size > 0 && tree.size() == size) {
            roots.insert(slot, tree.root());
        }
    };
    (0..slots).for_each(|slot| note(&trees, slot));
    let has_come = |trees: &Trees, slot: u16| {
        let size = wanted.seen(Slot(slot));
        trees.get(slot).map_or(0, Frontier::size) >= size
    };
    loop {
        let frames = store.read_frames(point)?;
        if frames.0.is_empty() || (0..slots).all(|slot| has_come(&trees, slot)) {
            return Ok(roots);
        }
        for frame in frames.0 {
            // What is damaged is told by whoever reads it; here, the roots are not known then.
            if trees.enter(&frame.header, &frame.record).is_err() {
                return Ok(roots);
            }
            note(&trees, frame.header.slot);
        }
        point = frames.1;
    }
}

/// The trees behind the last sealed segment that has its file and is not beyond `wanted`.
fn begin(store: &Store, wanted: &Cursor) -> Result<(Trees, LogPoint), LogError> {
    let slots = store.region().slots;
    let folder = tree_file::folder(store.log_folder());
    let is_before = |trees: &SegmentTrees| {
        (0..).zip(&trees.slots).all(|(slot, tree)| {
            let size = wanted.seen(Slot(slot));
            size == 0 || tree.frontier.size() <= size
        })
    };
    for number in (1..store.newest_segment()).rev() {
        let Some((segment, end)) = store.sealed_segment(number)? else { continue };
        let Ok(Some(trees)) = SegmentTrees::read(&folder, number, slots) else { continue };
        if trees.is_of(&segment, end) && is_before(&trees) {
            let point = LogPoint::at_segment(trees.segment + 1);
            return Ok((Trees::after(trees), point));
        }
    }
    Ok((Trees::new(slots), LogPoint::at_segment(1)))
}
