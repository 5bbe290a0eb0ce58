//! The trees of all slots as they grow with the log, event by event.

use super::leaf;
use super::merkle::{CHUNK_LEAVES, Frontier, Hash};
use super::tree_file::{SegmentTrees, SlotTree};
use crate::log::frame::Header;
use crate::log::segment::Segment;

/// What is said of an event that does not follow the one before it in its slot.
pub const GAP: &str = "its position does not follow the one before it";

#[derive(Debug)]
pub struct Trees {
    slots: Vec<SlotTree>,
}

/// An event has another position than the next one of its slot, or no slot of the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfOrder;

/// The chunks of all segments so far, to check tree files by: what they say of a tree's large
/// subtrees follows from its chunks.
#[derive(Debug)]
pub struct Chunks(Vec<Frontier>);

impl Chunks {
    pub fn new(slots: u16) -> Self {
        Self(vec![Frontier::default(); usize::from(slots)])
    }

    /// Adds those of the next segment. Whether they lead to its trees.
    pub fn add(&mut self, trees: &SegmentTrees) -> bool {
        self.0.iter_mut().zip(&trees.slots).all(|(chunks, slot)| {
            for chunk in &slot.chunks {
                chunks.push(*chunk);
            }
            let is_complete = chunks.size() == slot.frontier.size() / CHUNK_LEAVES;
            is_complete && slot.frontier.subtrees().starts_with(chunks.subtrees())
        })
    }
}

impl Trees {
    pub fn new(slots: u16) -> Self {
        Self { slots: vec![SlotTree::default(); usize::from(slots)] }
    }

    /// Goes on behind a segment.
    pub fn after(trees: SegmentTrees) -> Self {
        let begun = |slot: SlotTree| SlotTree { frontier: slot.frontier, chunks: Vec::new() };
        Self { slots: trees.slots.into_iter().map(begun).collect() }
    }

    /// Enters an event. The hash of the chunk that it completes, if it does.
    pub fn enter(&mut self, header: &Header, record: &[u8]) -> Result<Option<Hash>, OutOfOrder> {
        let slot = self.slots.get_mut(usize::from(header.slot)).ok_or(OutOfOrder)?;
        if header.n != slot.frontier.size() + 1 {
            return Err(OutOfOrder);
        }
        let chunk = slot.frontier.push(leaf::hash(header, record));
        slot.chunks.extend(chunk);
        Ok(chunk)
    }

    /// What is to be kept of a segment at its end.
    pub fn sealed(&self, segment: &Segment, end: u32) -> SegmentTrees {
        let slots = self.slots.clone();
        SegmentTrees { segment: segment.number, salt: segment.salt, end, slots }
    }

    /// What was kept is forgotten.
    pub fn begin_segment(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.chunks.clear());
    }

    /// A slot's tree.
    pub fn get(&self, slot: u16) -> Option<&Frontier> {
        self.slots.get(usize::from(slot)).map(|slot| &slot.frontier)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u16, &Frontier)> {
        (0..).zip(self.slots.iter().map(|slot| &slot.frontier))
    }
}
