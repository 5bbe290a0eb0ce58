//! `tsunagi verify`: reads the log with all its checksums, makes the trees anew, and compares
//! them with every checkpoint there is.
//!
//! Whoever changes an event can change its checksums too, but not the roots that were signed.
//! Where a root differs, the event lies among those since the last checkpoint that matches; the
//! tree files say among which 256, if whoever changed the event has let them be.
//!
//! What cannot be read is named once. Behind it, the trees go on as a tree file has them, if
//! what that says was signed; what could not be compared is counted.

mod gap;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::archive::Archive;
pub use super::archive::{ArchiveError, public_key};
use super::checkpoint_file::{self, Signed};
use super::merkle::{Frontier, Hash};
use super::note::{NoteError, PublicKey};
pub use super::problem::{Place, Problem, Span};
use super::tree_file::SegmentTrees;
use super::trees::{GAP, OutOfOrder, Trees};
use crate::log::scan::Frame;
use crate::log::segment::Segment;
use crate::log::walk::walk;
use crate::log::{Location, LogError};
use gap::Gap;

/// What to verify.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The first and the last segment; all of them if none.
    pub segments: Option<(u32, u32)>,
    /// The region's public key; that of the data folder if none.
    pub key: Option<PublicKey>,
    /// A file of checkpoints kept elsewhere, and its name.
    pub kept: Option<(PathBuf, Vec<u8>)>,
    /// Compare with each slot's newest checkpoint alone: it stands for all before it. What is
    /// wrong is found all the same, and located less well.
    pub newest_alone: bool,
}

/// What was verified, and what is wrong.
#[derive(Debug)]
pub struct Report {
    pub key: PublicKey,
    pub segments: u32,
    pub events: u64,
    pub bytes: u64,
    /// Checkpoints that the log matches.
    pub matched: u64,
    /// Events that no checkpoint covers yet.
    pub uncovered: u64,
    /// Up to where the log was not signed, and is accepted all the same.
    pub accepted: Option<Location>,
    /// Each cause once.
    pub problems: Vec<Problem>,
    /// Checkpoints that do not match, or could not be compared, because of these.
    pub follow_on: u64,
}

/// Verifies a data folder.
pub fn verify(data: &Path, options: &Options) -> Result<Report, ArchiveError> {
    let key = options.key.clone().map_or_else(|| public_key(data), Ok)?;
    // Read before the log, which may be growing: what is signed is in it.
    let own = checkpoint_file::read_file(data)?;
    let archive = Archive::open_as_it_is(data)?;
    let last = archive.segments.last().copied().unwrap_or(0);
    let (from, to) = options.segments.unwrap_or((1, last));
    if from > last.max(1) {
        return Err(ArchiveError::NoSuchSegment { first: from, last });
    }
    let mut audit = Audit::new(&archive, key);
    audit.newest_alone = options.newest_alone;
    let path = data.join(checkpoint_file::NAME);
    audit.expect(&path, &own, Whose::Own);
    if let Some((path, bytes)) = &options.kept {
        if bytes.trim_ascii().is_empty() {
            return Err(ArchiveError::NothingKept(path.clone()));
        }
        audit.expect(path, bytes, Whose::Kept);
    }
    audit.gap.path = path;
    if last == 0 {
        audit.report.problems.push(Problem::NoSegments(archive.log().to_owned()));
        audit.trees = None;
    }
    if from > 1 {
        audit.begin_behind(from - 1)?;
        if audit.trees.is_none() {
            return Ok(audit.finish(false));
        }
    }
    let mut expected = from;
    for number in archive.segments.iter().copied().filter(|number| (from..=to).contains(number)) {
        audit.note_missing(expected, number);
        audit.read_segment(number)?;
        expected = number.saturating_add(1);
    }
    Ok(audit.finish(to >= last))
}

/// Where what was signed was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    Kept,
}

struct Audit<'a> {
    archive: &'a Archive,
    /// The trees up to here; none behind what could not be read.
    trees: Option<Trees>,
    slots: BTreeMap<u16, SlotAudit>,
    report: Report,
    gap: Gap,
    newest_alone: bool,
    /// Of the segment that is being read: what its file says, and how many of its chunks have
    /// been met in each slot.
    stored: Option<SegmentTrees>,
    chunks: BTreeMap<u16, usize>,
    /// Tree files that do not match the log.
    wrong_trees: Vec<PathBuf>,
    /// Where the log was read to.
    end: Location,
}

/// What is known of a slot.
#[derive(Debug, Default)]
struct SlotAudit {
    /// What was signed, by size. Those that were compared are taken out.
    expected: BTreeMap<u64, Vec<(Timestamp, Hash, Whose)>>,
    /// The events since the last checkpoint that matched, and since the last whole chunk.
    since_checkpoint: Option<Span>,
    since_chunk: Option<Span>,
    /// The first chunk that is not as its tree file says.
    suspect: Option<Span>,
    covered: u64,
    is_altered: bool,
}

impl<'a> Audit<'a> {
    fn new(archive: &'a Archive, key: PublicKey) -> Self {
        let report = Report {
            key,
            segments: 0,
            events: 0,
            bytes: 0,
            matched: 0,
            uncovered: 0,
            accepted: None,
            problems: Vec::new(),
            follow_on: 0,
        };
        Self {
            archive,
            trees: Some(Trees::new(archive.region.slots)),
            slots: BTreeMap::new(),
            report,
            gap: Gap::default(),
            newest_alone: false,
            stored: None,
            chunks: BTreeMap::new(),
            wrong_trees: Vec::new(),
            end: Location::default(),
        }
    }

    /// Takes in what was signed.
    fn expect(&mut self, path: &Path, text: &[u8], whose: Whose) {
        let mut contents = checkpoint_file::read(text);
        if self.newest_alone {
            contents.keep_newest();
        }
        let mut bad: Vec<_> =
            contents.bad.iter().map(|offset| (*offset, NoteError::Malformed)).collect();
        for one in contents.remarks {
            match self.report.key.verify(&one.note) {
                Ok(_) if whose == Whose::Own => self.gap.enter(&one.remark),
                Ok(_) => {}
                Err(reason) => bad.push((one.offset, reason)),
            }
        }
        for Signed { offset, note, checkpoint } in contents.signed {
            if let Err(reason) = self.report.key.verify(&note) {
                bad.push((offset, reason));
                continue;
            }
            if whose == Whose::Own {
                self.gap.enter_signed(&checkpoint);
            }
            let slot = self.slots.entry(checkpoint.slot).or_default();
            let expected = slot.expected.entry(checkpoint.size).or_default();
            expected.push((checkpoint.made_at, checkpoint.root, whose));
        }
        self.gap.has_bad |= whose == Whose::Own && !bad.is_empty();
        self.tell_of_bad(path, &bad);
    }

    /// Tells of notes that are not the region's: once for each reason, or for all of them.
    fn tell_of_bad(&mut self, path: &Path, bad: &[(usize, NoteError)]) {
        let is_other = |(_, reason): &&(usize, NoteError)| *reason == NoteError::OtherKey;
        let count = bad.iter().filter(is_other).count();
        let has_good = self.slots.values().any(|slot| !slot.expected.is_empty());
        let path = path.to_owned();
        if count > 0 && !has_good {
            let key = self.report.key.to_string();
            self.report.problems.push(Problem::OtherKey { path: path.clone(), count, key });
        }
        for reason in [NoteError::Malformed, NoteError::Forged, NoteError::OtherKey] {
            let mut offsets = bad.iter().filter(|(_, one)| *one == reason).map(|(at, _)| *at);
            let is_told = reason == NoteError::OtherKey && !has_good;
            if let Some(offset) = offsets.next().filter(|_| !is_told) {
                let (path, more) = (path.clone(), offsets.count());
                self.report.problems.push(Problem::Forged { path, offset, reason, more });
            }
        }
    }

    /// Begins behind a segment with the trees of its file, if what they say was signed.
    fn begin_behind(&mut self, number: u32) -> Result<(), LogError> {
        let (segment, end) = self.archive.segment(number)?;
        let trees = end.and_then(|end| self.archive.trees(&segment, end));
        let (Some(trees), Some(end)) = (trees, end) else {
            self.report.problems.push(Problem::NoTree(self.archive.tree_path(number)));
            self.trees = None;
            return Ok(());
        };
        let mut unanchored = 0;
        let trees = Trees::after(trees);
        for (slot, tree) in trees.iter() {
            let is_anchored = self.compare(slot, tree) || tree.size() == 0;
            unanchored += usize::from(!is_anchored);
            let audit = self.slots.entry(slot).or_default();
            audit.forget_before(tree.size());
            audit.covered = tree.size();
        }
        if unanchored > 0 {
            let (segment, slots) = (number + 1, unanchored);
            self.report.problems.push(Problem::Unanchored { segment, slots });
        }
        self.gap.pass_behind(Location { segment: number, offset: end }, &trees);
        self.trees = Some(trees);
        Ok(())
    }

    /// Tells of the segments from `expected` to before `found`, which are not there.
    fn note_missing(&mut self, expected: u32, found: u32) {
        if let Some(more) = found.checked_sub(expected).and_then(|count| count.checked_sub(1)) {
            let first = self.archive.segment_path(expected);
            self.report.problems.push(Problem::Missing { first, more });
            self.trees = None;
            self.take_up(found - 1);
        }
    }

    /// Reads a segment, and goes on behind it.
    fn read_segment(&mut self, number: u32) -> Result<(), LogError> {
        let archive = self.archive;
        let segment = match archive.open_segment(number) {
            Ok(segment) => segment,
            Err(error) => {
                self.note(error)?;
                self.take_up(number);
                return Ok(());
            }
        };
        // Where the next one is damaged, that is told when it is its turn.
        let end = archive.end(number).ok().flatten();
        self.stored = self.stored_trees(&segment, end);
        self.chunks.clear();
        match walk(&segment, end, |frame| self.enter(&segment, frame)) {
            Ok(end) => {
                self.report.segments += 1;
                self.report.bytes += u64::from(end);
                self.end = Location { segment: number, offset: end };
            }
            Err(error) => self.note(error)?,
        }
        match (&mut self.trees, self.stored.take()) {
            (None, _) => self.take_up(number),
            (Some(trees), stored) => {
                if let (Some(end), Some(stored)) = (end, stored)
                    && stored != trees.sealed(&segment, end)
                {
                    self.wrong_trees.push(archive.tree_path(number));
                }
                if let Some(offset) = end {
                    self.gap.pass_end(Location { segment: number, offset }, trees);
                }
                trees.begin_segment();
            }
        }
        Ok(())
    }

    /// Notes what cannot be read of the log; the trees end there.
    fn note(&mut self, error: LogError) -> Result<(), LogError> {
        if !error.is_finding() {
            return Err(error);
        }
        self.report.problems.push(Problem::Log(error));
        self.trees = None;
        Ok(())
    }

    /// What its file says of a segment. Notes the file if it is damaged.
    fn stored_trees(&mut self, segment: &Segment, end: Option<u32>) -> Option<SegmentTrees> {
        match self.archive.read_trees(segment.number) {
            Ok(trees) => end.and_then(|end| trees.filter(|trees| trees.is_of(segment, end))),
            Err(LogError::Damaged { path, offset, problem }) => {
                self.report.problems.push(Problem::DamagedTree { path, offset, problem });
                None
            }
            // It can be made again, and is not needed here.
            Err(_unread) => None,
        }
    }

    /// Goes on behind a segment that could not be read as its tree file has it, if what that
    /// says was signed.
    fn take_up(&mut self, number: u32) {
        let Some(stored) = self.archive.read_trees(number).ok().flatten() else { return };
        let trees = Trees::after(stored);
        let mut signed = 0;
        for (slot, tree) in trees.iter() {
            let expected = self.slots.get(&slot).and_then(|slot| slot.expected.get(&tree.size()));
            let root = tree.root();
            for (_, expected, _) in expected.into_iter().flatten() {
                if *expected != root {
                    self.wrong_trees.push(self.archive.tree_path(number));
                    return;
                }
                signed += 1;
            }
        }
        if signed == 0 {
            return;
        }
        for (slot, tree) in trees.iter() {
            self.compare(slot, tree);
            let audit = self.slots.entry(slot).or_default();
            self.report.follow_on += audit.forget_before(tree.size());
            (audit.since_checkpoint, audit.since_chunk, audit.suspect) = (None, None, None);
        }
        self.gap.pass_behind(Location { segment: number, offset: u32::MAX }, &trees);
        self.trees = Some(trees);
    }

    fn enter(&mut self, segment: &Segment, frame: &Frame) -> Result<(), LogError> {
        self.report.events += 1;
        let Some(trees) = &mut self.trees else { return Ok(()) };
        let chunk = trees.enter(&frame.header, &frame.record);
        let chunk = chunk.map_err(|OutOfOrder| segment.damaged(frame.offset, GAP))?;
        let (slot, n) = (frame.header.slot, frame.header.n);
        let at = Location { segment: segment.number, offset: frame.offset };
        self.gap.pass(at, slot, n);
        let audit = self.slots.entry(slot).or_default();
        let place = Place { n, at };
        for span in [&mut audit.since_checkpoint, &mut audit.since_chunk] {
            span.get_or_insert((place, place)).1 = place;
        }
        if let Some(chunk) = chunk {
            self.compare_chunk(slot, chunk);
        }
        let is_expected =
            self.slots.get(&slot).is_some_and(|audit| audit.expected.contains_key(&n));
        let tree = self.trees.as_ref().and_then(|trees| trees.get(slot));
        if is_expected && let Some(tree) = tree.cloned() {
            self.compare(slot, &tree);
        }
        Ok(())
    }

    fn compare_chunk(&mut self, slot: u16, chunk: Hash) {
        let met = self.chunks.entry(slot).or_default();
        let stored = self.stored.as_ref().and_then(|stored| stored.slots.get(usize::from(slot)));
        let stored = stored.and_then(|stored| stored.chunks.get(*met));
        *met += 1;
        let audit = self.slots.entry(slot).or_default();
        let span = audit.since_chunk.take();
        if stored.is_some_and(|stored| *stored != chunk) {
            audit.suspect = audit.suspect.or(span);
        }
    }

    /// Compares a slot's tree with what was signed of that size. Whether something was, and is
    /// the same.
    fn compare(&mut self, slot: u16, tree: &Frontier) -> bool {
        let audit = self.slots.entry(slot).or_default();
        let Some(expected) = audit.expected.remove(&tree.size()) else { return false };
        let root = tree.root();
        let other = expected.iter().find(|(_, expected, _)| *expected != root);
        let span = audit.suspect.or(audit.since_checkpoint);
        match (other, span) {
            (None, _) => {
                self.report.matched += to_u64(expected.len());
                audit.covered = tree.size();
                audit.since_checkpoint = None;
                audit.suspect = None;
                let kept = expected.iter().filter(|(_, _, whose)| *whose == Whose::Kept);
                kept.for_each(|(made_at, _, _)| self.gap.match_kept(slot, tree.size(), *made_at));
            }
            (Some((made_at, _, _)), Some(span)) if !audit.is_altered => {
                audit.is_altered = true;
                let (size, made_at) = (tree.size(), *made_at);
                self.report.problems.push(Problem::Altered { slot, size, made_at, span });
            }
            // All later roots differ too.
            (Some(_), _) => self.report.follow_on += to_u64(expected.len()),
        }
        other.is_none()
    }

    fn finish(mut self, is_whole: bool) -> Report {
        let mut cut = Vec::new();
        for (slot, audit) in &self.slots {
            let trees = self.trees.as_ref();
            let events = trees.and_then(|trees| trees.get(*slot)).map_or(0, Frontier::size);
            self.report.uncovered += events.saturating_sub(audit.covered);
            let newest = audit.expected.last_key_value().filter(|_| is_whole);
            if let Some((&size, expected)) = newest
                && let Some(&(made_at, _, _)) = expected.first()
            {
                if trees.is_none() || audit.is_altered {
                    self.report.follow_on += audit.left();
                } else {
                    cut.push((*slot, size, made_at, events));
                    self.report.follow_on += audit.left() - 1;
                }
            }
        }
        if let Some(&(slot, size, made_at, events)) = cut.first() {
            let (path, offset) = (self.archive.segment_path(self.end.segment), self.end.offset);
            let slots = cut.len();
            let cut = Problem::Cut { path, offset, slots, slot, size, made_at, events };
            self.report.problems.push(cut);
        }
        // Once events are known to have been changed, it is not their trees that are wrong.
        let is_altered = |problem: &Problem| matches!(problem, Problem::Altered { .. });
        if !self.report.problems.iter().any(is_altered) {
            self.report.problems.extend(self.wrong_trees.drain(..).map(Problem::Tree));
        }
        let is_known = |slot: u16| self.slots.get(&slot).is_some_and(|slot| slot.is_altered);
        let (unsigned, accepted) = self.gap.found(self.end, is_known);
        self.report.accepted = accepted;
        self.report.problems.extend(unsigned.filter(|_| is_whole));
        self.report
    }
}

impl SlotAudit {
    /// Forgets what was signed of trees of up to this size. How many checkpoints that were.
    fn forget_before(&mut self, size: u64) -> u64 {
        let later = self.expected.split_off(&size.saturating_add(1));
        let forgotten = std::mem::replace(&mut self.expected, later);
        forgotten.values().map(|expected| to_u64(expected.len())).sum()
    }

    /// How many checkpoints were not compared.
    fn left(&self) -> u64 {
        self.expected.values().map(|expected| to_u64(expected.len())).sum()
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
