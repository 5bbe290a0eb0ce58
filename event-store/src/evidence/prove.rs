//! `tsunagi prove`: finds an event, and makes the proof that it was signed.
//!
//! The event is looked for in the whole log. For the proof, the tree files give the hashes of
//! whole chunks; the leaves of the event's own chunk, and of the last one, are made from the log
//! again.

use std::collections::BTreeMap;
use std::path::Path;

use tsunagi_bus::StreamId;

use super::archive::{Archive, ArchiveError, public_key};
use super::checkpoint_file::{self, Signed};
use super::growth::{self, Growth, GrowthError};
use super::leaf;
use super::merkle::{CHUNK_LEAVES, Subtrees, is_consistent};
use super::proof::Proof;
use crate::log::LogError;
use crate::log::frame::Header;
use crate::log::scan::Frame;
use crate::log::walk::walk;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("no event in the log has this id: check it, and the patient if one was named")]
    NotFound,
    #[error("several events have this id: name the patient with --patient")]
    Several,
    #[error(
        "the event is stored, and not signed yet: that is done within checkpoint-interval-ms while the server runs, and when it stops"
    )]
    NotSigned,
    #[error("the checkpoints to begin with cannot be taken")]
    Kept(#[from] GrowthError),
    #[error(
        "nothing newer was signed of slot {slot} than the {size} events of the checkpoint that was kept: the log was cut, or an old copy was put back"
    )]
    Behind { slot: u16, size: u64 },
    #[error(
        "the log does not match what was signed of slot {slot} (size {size}): run `tsunagi verify`"
    )]
    Altered { slot: u16, size: u64 },
}

/// The proofs that each slot begins with what was signed when `kept` was kept.
pub fn prove_growth(data: &Path, kept: &[u8]) -> Result<Vec<Growth>, ProveError> {
    let key = public_key(data)?;
    let signed = checkpoint_file::read(&checkpoint_file::read_file(data)?);
    let archive = Archive::open(data)?;
    let mut proofs = Vec::new();
    for (slot, old) in growth::newest(kept, &key)? {
        let covers = |one: &&Signed| {
            (one.checkpoint.slot == slot && one.checkpoint.size >= old.size)
                && key.verify(&one.note).is_ok()
        };
        let newest = signed.signed.iter().rev().find(covers);
        let newest = newest.ok_or(ProveError::Behind { slot, size: old.size })?;
        let (size, root) = (newest.checkpoint.size, newest.checkpoint.root);
        let path = subtrees(&archive, slot, old.size, size)?.consistency_proof(old.size, size);
        let grown = |path: &Vec<_>| is_consistent((old.size, old.root), (size, root), path);
        let path = path.filter(grown).ok_or(ProveError::Altered { slot, size })?;
        proofs.push(Growth { old: old.size, path, note: newest.note.clone() });
    }
    Ok(proofs)
}

/// The proof of an event, of any patient or of one.
pub fn prove(data: &Path, event: [u8; 16], patient: Option<StreamId>) -> Result<Proof, ProveError> {
    let key = public_key(data)?;
    // Read before the log, which may be growing: what is signed is in it.
    let signed = checkpoint_file::read(&checkpoint_file::read_file(data)?);
    let archive = Archive::open(data)?;
    let frame = find(&archive, event, patient)?;
    let Header { slot, n, .. } = frame.header;
    let covers = |one: &Signed| {
        (one.checkpoint.slot == slot && one.checkpoint.size >= n) && key.verify(&one.note).is_ok()
    };
    let newest = signed.signed.into_iter().rev().find(covers).ok_or(ProveError::NotSigned)?;
    let (index, size) = (n.saturating_sub(1), newest.checkpoint.size);
    let known = subtrees(&archive, slot, index, size)?;
    let path = known.inclusion_proof(index, size);
    let path = path.filter(|_| known.root(size) == Some(newest.checkpoint.root));
    let path = path.ok_or(ProveError::Altered { slot, size })?;
    let leaf = leaf::encode(&frame.header, &frame.record);
    let proof = Proof { leaf, index, path, note: newest.note };
    // Of a complete chunk, the root is known without its leaves: one of them may be another now.
    match proof.check(&key) {
        Ok(_) => Ok(proof),
        Err(_) => Err(ProveError::Altered { slot, size }),
    }
}

fn find(
    archive: &Archive,
    event: [u8; 16],
    patient: Option<StreamId>,
) -> Result<Frame, ProveError> {
    let patient = patient.map(StreamId::to_parts);
    let mut found = Vec::new();
    for number in &archive.segments {
        let (segment, end) = archive.segment(*number)?;
        walk(&segment, end, |frame| {
            let of = (frame.header.stream_kind, frame.header.stream_key);
            if frame.header.event == event && patient.is_none_or(|patient| patient == of) {
                found.push(frame.clone());
            }
            Ok(())
        })?;
    }
    let frame = found.pop().ok_or(ProveError::NotFound)?;
    if found.is_empty() { Ok(frame) } else { Err(ProveError::Several) }
}

/// What is needed of a slot's tree to prove its leaf at `index`, or that it begins with the tree
/// of `index` leaves.
fn subtrees(archive: &Archive, slot: u16, index: u64, size: u64) -> Result<Subtrees, LogError> {
    let mut known = Subtrees::default();
    let mut ends = BTreeMap::new();
    for number in &archive.segments {
        let (segment, end) = archive.segment(*number)?;
        let trees = end.and_then(|end| archive.trees(&segment, end));
        let Some(tree) = trees.and_then(|trees| trees.slots.into_iter().nth(slot.into())) else {
            break;
        };
        known.chunks.extend(tree.chunks);
        ends.insert(*number, tree.frontier.size());
    }
    // A chunk that was completed after the checkpoint is no part of what was signed.
    let chunks = u64::try_from(known.chunks.len()).unwrap_or(u64::MAX).min(size / CHUNK_LEAVES);
    let is_needed = |leaf: u64| {
        leaf < size
            && (leaf / CHUNK_LEAVES == index / CHUNK_LEAVES || leaf / CHUNK_LEAVES >= chunks)
    };
    let mut begin = 0;
    for number in &archive.segments {
        let end = ends.get(number).copied();
        if end.is_none_or(|end| (begin..end).any(is_needed)) {
            let (segment, limit) = archive.segment(*number)?;
            walk(&segment, limit, |frame| {
                let leaf = frame.header.n.saturating_sub(1);
                if frame.header.slot == slot && is_needed(leaf) {
                    known.leaves.insert(leaf, leaf::hash(&frame.header, &frame.record));
                }
                Ok(())
            })?;
        }
        begin = end.unwrap_or(begin);
    }
    Ok(known)
}
