//! The thread that makes trees and signs checkpoints: it follows the durable log, off the way of
//! those who wait for an acknowledgement.
//!
//! It reads on when a segment is sealed, when a time has passed, and when the log is closed. It
//! never signs a tree that does not contain the one it signed before: where the log does not
//! match a checkpoint, it says so, and signs nothing more for that slot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, mpsc};
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::checkpoint::Checkpoint;
use super::checkpoint_file::CheckpointFile;
use super::history::Said;
use super::merkle::Frontier;
use super::note::SigningKey;
use super::tree_file::{self, SegmentTrees};
use super::trees::{Chunks, GAP, OutOfOrder, Trees};
use crate::log::scan::Scanner;
use crate::log::segment::{Folder, SEGMENT_HEADER_BYTES, Segment, create_folder};
use crate::log::writer::Shared;
use crate::log::{Location, LogError};

/// The first checkpoint of a region is not waited for any longer.
const FIRST_WAIT: Duration = Duration::from_millis(500);

pub(crate) struct Notary {
    region: Uuid,
    key: SigningKey,
    shared: Arc<Shared>,
    log: PathBuf,
    /// Where the tree files lie.
    folder: PathBuf,
    trees: Trees,
    /// Up to where the log is in the trees.
    at: Location,
    file: CheckpointFile,
    /// What the trees must come by: each slot's newest checkpoint when the log was opened.
    expected: BTreeMap<u16, Checkpoint>,
    /// Slots for which nothing is signed any more, because their events are not what was signed.
    /// An entry of `expected` stands for a slot of which that is not known yet.
    refused: Vec<u16>,
}

impl Notary {
    /// Reads the checkpoints. The trees are caught up with by `run`.
    pub(crate) fn open(
        data: &Path,
        folder: &Folder,
        shared: Arc<Shared>,
        key: SigningKey,
        slots: u16,
    ) -> Result<Self, LogError> {
        let (mut file, forged) = CheckpointFile::open(data, &key.public())?;
        for slot in &forged {
            tracing::error!(
                slot,
                "the newest checkpoint is not signed by this region's key; nothing more is signed for this slot"
            );
        }
        remark_beginning(folder, &mut file, &shared, &key)?;
        Ok(Self {
            region: folder.region,
            key,
            shared,
            log: folder.path.clone(),
            folder: tree_file::folder(&folder.path),
            trees: Trees::new(slots),
            at: Location { segment: 1, offset: SEGMENT_HEADER_BYTES },
            expected: file.newest().clone(),
            file,
            refused: forged,
        })
    }

    /// Works until nobody seals any more; a last time then.
    pub(crate) fn run(mut self, slots: u16, sealed: &mpsc::Receiver<()>, interval: Duration) {
        // What was written before this process is checked against the checkpoints at once.
        let checked = self.resume(slots).and_then(|()| self.catch_up());
        if checked.is_ok() {
            self.tell_of_missing_events();
        }
        tell(checked);
        loop {
            // A log of which nothing is signed yet looks like one whose checkpoints were removed.
            let is_first = self.file.newest().is_empty();
            let wait = if is_first { interval.min(FIRST_WAIT) } else { interval };
            let told = sealed.recv_timeout(wait);
            let done = self.catch_up();
            let is_read = done.is_ok();
            tell(done);
            // Segments' ends have checkpoints of their own.
            if is_read && told.is_err() {
                tell(self.sign(None));
            }
            if told == Err(mpsc::RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    /// Takes up the trees behind the last segment that has its file and all before it too, but
    /// not behind a checkpoint that is still to be compared.
    fn resume(&mut self, slots: u16) -> Result<(), LogError> {
        create_folder(&self.folder)?;
        let mut last = None;
        let mut chunks = Chunks::new(slots);
        for number in 1.. {
            let (Some(segment), Some(next)) =
                (self.shared.segment(number), self.shared.segment(number + 1))
            else {
                break;
            };
            let is_of = |trees: &SegmentTrees| trees.is_of(&segment, next.previous_end);
            match SegmentTrees::read(&self.folder, number, slots).map(|read| read.filter(is_of)) {
                Ok(Some(trees)) if !chunks.add(&trees) || !self.is_good(&trees) => {
                    let path = tree_file::path(&self.folder, number);
                    tracing::warn!(path = %path.display(), "a tree file is not what was signed, and is made again from the log");
                    break;
                }
                Ok(Some(trees)) if self.is_before_expected(&trees) => last = Some(trees),
                Err(LogError::Damaged { path, offset, problem }) => {
                    tracing::warn!(path = %path.display(), offset, problem, "a tree file is made again");
                    break;
                }
                Ok(_) => break,
                Err(error) => return Err(error),
            }
        }
        if let Some(trees) = last {
            let segment = trees.segment;
            self.at = Location { segment: segment + 1, offset: SEGMENT_HEADER_BYTES };
            self.trees = Trees::after(trees);
            let slots: Vec<u16> = self.expected.keys().copied().collect();
            for slot in slots {
                self.compare(slot);
            }
            // The last process may have ended between a tree file and its checkpoints.
            self.sign(Some(segment))?;
        }
        Ok(())
    }

    /// Whether trees are what was signed of them; where nothing was, whether they have as many
    /// events as the log. Whose signature it is does not matter: what is in doubt is made again.
    fn is_good(&self, trees: &SegmentTrees) -> bool {
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        (0..).zip(&trees.slots).all(|(slot, tree)| {
            let size = tree.frontier.size();
            if let Some(root) = self.file.root_of_end(slot, size) {
                return root == tree.frontier.root();
            }
            let lies_behind =
                |n| index.begin_of(slot, n).is_none_or(|at| at.segment > trees.segment);
            lies_behind(size + 1) && (size == 0 || !lies_behind(size))
        })
    }

    fn is_before_expected(&self, trees: &SegmentTrees) -> bool {
        (0..).zip(&trees.slots).all(|(slot, tree)| {
            self.expected.get(&slot).is_none_or(|expected| tree.frontier.size() <= expected.size)
        })
    }

    /// Reads the log up to its durable end.
    fn catch_up(&mut self) -> Result<(), LogError> {
        let durable = self.shared.durable();
        while self.at < durable {
            let missing = |number: u32| LogError::Missing {
                path: self.log.join(format!("{number:010}.seg")),
            };
            let number = self.at.segment;
            let segment = self.shared.segment(number).ok_or_else(|| missing(number))?;
            if number == durable.segment {
                return self.read(&segment, durable.offset);
            }
            let next = self.shared.segment(number + 1).ok_or_else(|| missing(number + 1))?;
            self.read(&segment, next.previous_end)?;
            self.trees.sealed(&segment, next.previous_end).write(&self.folder)?;
            self.sign(Some(number))?;
            self.trees.begin_segment();
            self.at = Location { segment: next.number, offset: SEGMENT_HEADER_BYTES };
        }
        Ok(())
    }

    /// Enters what lies in a segment before `limit`.
    fn read(&mut self, segment: &Segment, limit: u32) -> Result<(), LogError> {
        let mut scanner = Scanner::new(segment, self.at.offset, limit);
        while let Some(frame) = scanner.read_frame()? {
            let entered = self.trees.enter(&frame.header, &frame.record);
            entered.map_err(|OutOfOrder| segment.damaged(frame.offset, GAP))?;
            self.compare(frame.header.slot);
            self.at.offset = frame.end();
        }
        Ok(())
    }

    /// Compares a slot's tree with the checkpoint that it has come to, if it has.
    fn compare(&mut self, slot: u16) {
        let Some(expected) = self.expected.get(&slot) else { return };
        let Some(tree) = self.trees.get(slot).filter(|tree| tree.size() == expected.size) else {
            return;
        };
        if tree.root() != expected.root {
            tracing::error!(
                slot,
                size = expected.size,
                made_at = %expected.made_at,
                "the log does not match its signed checkpoint: events were changed after they were signed; run `tsunagi verify`; nothing more is signed for this slot"
            );
            self.refused.push(slot);
        }
        self.expected.remove(&slot);
    }

    fn tell_of_missing_events(&self) {
        for (slot, expected) in &self.expected {
            tracing::error!(
                slot,
                size = expected.size,
                events = self.trees.get(*slot).map_or(0, Frontier::size),
                made_at = %expected.made_at,
                "the log has fewer events than were signed: it was cut, or an old copy was put back; nothing more is signed for this slot"
            );
        }
    }

    /// Signs the trees that have grown.
    fn sign(&mut self, sealed: Option<u32>) -> Result<(), LogError> {
        // A segment's end is signed when it is sealed. Signed later, it would tell nothing of
        // what the log was then, and look as if it did.
        if sealed.is_some_and(|segment| segment < self.file.sealed_from()) {
            return Ok(());
        }
        let made_at = Timestamp::now();
        let is_new = |(slot, tree): &(u16, &Frontier)| {
            tree.size() > self.file.covered(*slot, sealed.is_some())
                && !self.refused.contains(slot)
                && !self.expected.contains_key(slot)
        };
        let checkpoint = |(slot, tree): (u16, &Frontier)| Checkpoint {
            region: self.region,
            slot,
            size: tree.size(),
            root: tree.root(),
            made_at,
            sealed,
        };
        let new: Vec<_> = self.trees.iter().filter(is_new).map(checkpoint).collect();
        self.file.append(&new, &self.key)
    }
}

/// Remarks where the log begins, or that it was found with nothing signed of it: for ever, as
/// what is signed from now on does not tell of it.
fn remark_beginning(
    folder: &Folder,
    file: &mut CheckpointFile,
    shared: &Shared,
    key: &SigningKey,
) -> Result<(), LogError> {
    if !file.newest().is_empty() {
        return Ok(());
    }
    let end = shared.durable();
    let begin = Location { segment: 1, offset: SEGMENT_HEADER_BYTES };
    if end <= begin {
        let is_new = !file.is_from_the_beginning();
        return if is_new { file.remark(folder.region, Said::Begun, key) } else { Ok(()) };
    }
    // What was stored just before a power loss may be unsigned: in the segment of a remark, and
    // of no tree.
    let has_trees = || tree_file::path(&tree_file::folder(&folder.path), end.segment).exists();
    let remarked = file.sealed_from().max(u32::from(file.is_from_the_beginning()));
    if remarked == end.segment && !has_trees() {
        return Ok(());
    }
    tracing::error!(
        segment = end.segment,
        offset = end.offset,
        "nothing was signed of the log up to here: checkpoints.txt was lost or removed, or the log is older than checkpoints; that is remarked in it, and `tsunagi verify` says what can be done"
    );
    file.remark(folder.region, Said::Unsigned(end), key)
}

fn tell(done: Result<(), LogError>) {
    if let Err(error) = done {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(%error, cause, "trees and checkpoints are behind the log");
    }
}
