//! How far the trees are at the end of a sealed segment, and what the segment completed:
//! `log/tree/0000000001.tree` and so on.
//!
//! Made from the log and from nothing else, and made again when missing or damaged. The content
//! of its blocks (see `log::blocks`), all integers big-endian:
//!
//! | part    | what                                                                         |
//! |---------|------------------------------------------------------------------------------|
//! | header  | magic `TSUNTRE1`, format (4), the segment's number (4), salt (8) and end (4), slots (2) |
//! | slots   | for each: leaves at the segment's end (8), chunks completed in it (4)        |
//! | hashes  | for each slot: the tree's complete subtrees at the segment's end, the largest first, one (32) for each bit of its size; then the chunks (32 each) |
//!
//! A chunk is a complete subtree of 256 leaves. With 64 slots and segments of 64 MiB, this is
//! about a quarter of a byte an event.

use std::path::{Path, PathBuf};

use super::merkle::{Frontier, Hash};
use crate::log::LogError;
use crate::log::blocks::{BlockWriter, Blocks};
use crate::log::bytes::take;
use crate::log::file::Patience;
use crate::log::segment::{Segment, sync_folder};

const MAGIC: &[u8; 8] = b"TSUNTRE1";
const FORMAT: u32 = 1;

/// A slot's tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlotTree {
    pub frontier: Frontier,
    /// The chunks that the segment completed.
    pub chunks: Vec<Hash>,
}

/// What such a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentTrees {
    pub segment: u32,
    pub salt: u64,
    pub end: u32,
    pub slots: Vec<SlotTree>,
}

/// Where the files of a log lie.
pub fn folder(log: &Path) -> PathBuf {
    log.join("tree")
}

pub(crate) fn path(folder: &Path, segment: u32) -> PathBuf {
    folder.join(format!("{segment:010}.tree"))
}

impl SegmentTrees {
    /// Reads the file of this number; none if there is none, or if it is of another number or
    /// of a region of other slots.
    pub fn read(folder: &Path, number: u32, slots: u16) -> Result<Option<Self>, LogError> {
        let path = path(folder, number);
        if !path.exists() {
            return Ok(None);
        }
        let blocks = Blocks::open(&path)?;
        let content = usize::try_from(blocks.content_bytes()).unwrap_or(0);
        let bytes = blocks.read(0, content, Patience::Wait)?;
        let problem = "it is not a tree as this version writes it";
        let read = decode(&bytes).ok_or(LogError::Damaged { path, offset: 0, problem })?;
        let is_named = read.segment == number && read.slots.len() == usize::from(slots);
        Ok(is_named.then_some(read))
    }

    /// Whether it was made of this very segment, which ends there.
    pub fn is_of(&self, segment: &Segment, end: u32) -> bool {
        (self.segment, self.salt, self.end) == (segment.number, segment.salt, end)
    }

    pub fn write(&self, folder: &Path) -> Result<(), LogError> {
        let path = path(folder, self.segment);
        let temporary = path.with_extension("tmp");
        let mut blocks = BlockWriter::create(&temporary)?;
        blocks.put(&self.encode())?;
        blocks.finish()?;
        std::fs::rename(&temporary, &path).map_err(LogError::io("naming", &path))?;
        sync_folder(folder)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_be_bytes());
        bytes.extend(self.segment.to_be_bytes());
        bytes.extend(self.salt.to_be_bytes());
        bytes.extend(self.end.to_be_bytes());
        bytes.extend(u16::try_from(self.slots.len()).unwrap_or(u16::MAX).to_be_bytes());
        for slot in &self.slots {
            bytes.extend(slot.frontier.size().to_be_bytes());
            bytes.extend(u32::try_from(slot.chunks.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        for slot in &self.slots {
            bytes.extend(slot.frontier.subtrees().iter().chain(&slot.chunks).flatten());
        }
        bytes
    }
}

fn decode(bytes: &[u8]) -> Option<SegmentTrees> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    if take(&mut rest).map(u32::from_be_bytes)? != FORMAT {
        return None;
    }
    let segment = take(&mut rest).map(u32::from_be_bytes)?;
    let salt = take(&mut rest).map(u64::from_be_bytes)?;
    let end = take(&mut rest).map(u32::from_be_bytes)?;
    let count = take(&mut rest).map(u16::from_be_bytes)?;
    let mut sizes = Vec::with_capacity(count.into());
    for _slot in 0..count {
        let leaves = take(&mut rest).map(u64::from_be_bytes)?;
        sizes.push((leaves, take(&mut rest).map(u32::from_be_bytes)?));
    }
    let mut slots = Vec::with_capacity(count.into());
    for (leaves, chunks) in sizes {
        let mut hashes = |count: u32| (0..count).map(|_| take(&mut rest)).collect();
        let subtrees: Option<Vec<Hash>> = hashes(leaves.count_ones());
        let frontier = Frontier::new(leaves, subtrees?)?;
        slots.push(SlotTree { frontier, chunks: hashes(chunks)? });
    }
    Some(SegmentTrees { segment, salt, end, slots })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_as_it_was_written() {
        let mut trees = SegmentTrees {
            segment: 3,
            salt: 0x1234,
            end: 5678,
            slots: vec![SlotTree::default(); 3],
        };
        for number in 0..600u32 {
            let slot = &mut trees.slots[usize::try_from(number % 2).unwrap()];
            slot.chunks.extend(slot.frontier.push([number.to_be_bytes()[3]; 32]));
        }
        assert_eq!(trees.slots[0].chunks.len(), 1);
        // Behind its content, a block is zeros.
        let bytes = [trees.encode(), vec![0; 100]].concat();
        assert_eq!(decode(&bytes), Some(trees.clone()));
        assert_eq!(decode(&bytes[..200]), None);
        assert_eq!(bytes[..12], *b"TSUNTRE1\0\0\0\x01");
    }

    #[test]
    fn a_file_takes_less_than_half_a_byte_an_event() {
        // A full segment of 64 slots in a log of 64 million events, at its worst.
        let frontier = Frontier::new((1 << 20) - 1, vec![[7; 32]; 20]).unwrap();
        let slot = SlotTree { frontier, chunks: vec![[7; 32]; 10] };
        let trees = SegmentTrees { segment: 3, salt: 0, end: 0, slots: vec![slot; 64] };
        assert!(2 * trees.encode().len() < 64 * 10 * 256);
    }
}
