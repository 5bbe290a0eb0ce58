//! `tsunagi verify`: reads the log with all its checksums, makes the trees anew, and compares
//! them with every checkpoint there is.
//!
//! Whoever changes an event can change its checksums too, but not the roots that were signed.
//! Where a root differs, the event lies among those since the last checkpoint that matches; the
//! tree files say among which 256, if whoever changed the event has let them be.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::archive::Archive;
pub use super::archive::{ArchiveError, public_key};
use super::checkpoint_file::{self, Signed};
use super::merkle::{Frontier, Hash};
use super::note::{NoteError, PublicKey};
use super::tree_file::SegmentTrees;
use super::trees::{GAP, OutOfOrder, Trees};
use crate::log::scan::Frame;
use crate::log::segment::Segment;
use crate::log::walk::walk;
use crate::log::{Location, LogError};

/// What to verify.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The first and the last segment; all of them if none.
    pub segments: Option<(u32, u32)>,
    /// The region's public key; that of the data folder if none.
    pub key: Option<PublicKey>,
    /// A file of checkpoints kept elsewhere, and its name.
    pub kept: Option<(PathBuf, Vec<u8>)>,
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
    pub problems: Vec<Problem>,
}

/// An event's position in its slot, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub n: u64,
    pub at: Location,
}

/// The first and the last event of some.
pub type Span = (Place, Place);

/// Something that is not as it was written or signed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    Log(LogError),
    #[error("behind the damaged part, the log cannot be compared with what was signed")]
    Unread,
    #[error(
        "slot {slot}: the log does not match what was signed at {made_at} (size {size}): among events {}, one was changed, exchanged or re-dated; compare with a backup, and tell whoever answers for the data", Spanned(.span)
    )]
    Altered { slot: u16, size: u64, made_at: Timestamp, span: Span },
    #[error(
        "slot {slot}: the log has {events} events, and {size} were signed at {made_at}: it was cut, or an old copy was put back"
    )]
    Missing { slot: u16, size: u64, made_at: Timestamp, events: u64 },
    #[error("{path}, offset {offset}: this is no checkpoint of this region: {reason}")]
    Forged { path: PathBuf, offset: usize, reason: NoteError },
    #[error(
        "nothing signed was found that is about this log, though it has sealed segments: checkpoints.txt was lost or removed, and whether the log was rewritten cannot be told; compare with checkpoints that are kept elsewhere (--checkpoint)"
    )]
    Unsigned,
    #[error(
        "slot {slot}: no checkpoint tells what the log was before segment {segment}: verify from an earlier one, or the whole log"
    )]
    Unanchored { slot: u16, segment: u32 },
    #[error(
        "{0} is missing or damaged, and nothing else tells what the log was up to there: verify from the first segment on"
    )]
    NoTree(PathBuf),
    #[error(
        "{0} does not match the log: remove it, and it is made again when the server starts; if no checkpoint covers those events yet, the log may have been changed instead"
    )]
    Tree(PathBuf),
}

struct Spanned<'a>(&'a Span);

impl fmt::Display for Spanned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.0;
        let place = |at: Location| format!("segment {} offset {}", at.segment, at.offset);
        let (from, to) = (place(first.at), place(last.at));
        write!(f, "{} to {} ({from} to {to})", first.n, last.n)
    }
}

/// Verifies a data folder.
pub fn verify(data: &Path, options: &Options) -> Result<Report, ArchiveError> {
    let key = options.key.clone().map_or_else(|| public_key(data), Ok)?;
    // Read before the log, which may be growing: what is signed is in it.
    let own = checkpoint_file::read_file(data)?;
    let archive = Archive::open(data)?;
    let mut audit = Audit::new(&archive, key);
    audit.expect(&data.join(checkpoint_file::NAME), &own);
    if let Some((path, bytes)) = &options.kept {
        if bytes.trim_ascii().is_empty() {
            return Err(ArchiveError::NothingKept(path.clone()));
        }
        audit.expect(path, bytes);
    }
    let last = archive.segments.last().copied().unwrap_or(0);
    let (from, to) = options.segments.unwrap_or((1, last));
    if from > 1 {
        audit.begin_behind(from - 1)?;
        if audit.report.problems.iter().any(|one| matches!(one, Problem::NoTree(_))) {
            return Ok(audit.finish(false));
        }
    }
    for number in from..=to.min(last) {
        if !audit.read_segment(number)? {
            break;
        }
    }
    let mut report = audit.finish(to >= last);
    // Each segment's end is signed when it is sealed.
    if report.matched == 0 && report.problems.is_empty() && last > 1 {
        report.problems.push(Problem::Unsigned);
    }
    Ok(report)
}

struct Audit<'a> {
    archive: &'a Archive,
    trees: Trees,
    slots: BTreeMap<u16, SlotAudit>,
    report: Report,
    /// Of the segment that is being read: what its file says, and how many of its chunks have
    /// been met in each slot.
    stored: Option<SegmentTrees>,
    chunks: BTreeMap<u16, usize>,
    /// Tree files that do not match the log.
    wrong_trees: Vec<PathBuf>,
}

/// What is known of a slot.
#[derive(Debug, Default)]
struct SlotAudit {
    /// What was signed, by size. Those that were compared are taken out.
    expected: BTreeMap<u64, Vec<(Timestamp, Hash)>>,
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
            problems: Vec::new(),
        };
        Self {
            archive,
            trees: Trees::new(archive.region.slots),
            slots: BTreeMap::new(),
            report,
            stored: None,
            chunks: BTreeMap::new(),
            wrong_trees: Vec::new(),
        }
    }

    /// Takes in what was signed.
    fn expect(&mut self, path: &Path, text: &[u8]) {
        let contents = checkpoint_file::read(text);
        let forged = |offset, reason| Problem::Forged { path: path.to_owned(), offset, reason };
        let bad = contents.bad.iter().map(|offset| forged(*offset, NoteError::Malformed));
        self.report.problems.extend(bad);
        for Signed { offset, note, checkpoint } in contents.signed {
            if let Err(reason) = self.report.key.verify(&note) {
                self.report.problems.push(forged(offset, reason));
                continue;
            }
            let slot = self.slots.entry(checkpoint.slot).or_default();
            let expected = slot.expected.entry(checkpoint.size).or_default();
            expected.push((checkpoint.made_at, checkpoint.root));
        }
    }

    /// Begins behind a segment with the trees of its file, if what they say was signed.
    fn begin_behind(&mut self, number: u32) -> Result<(), LogError> {
        let (segment, end) = self.archive.segment(number)?;
        let Some(trees) = end.and_then(|end| self.archive.trees(&segment, end)) else {
            self.report.problems.push(Problem::NoTree(self.archive.tree_path(number)));
            return Ok(());
        };
        self.trees = Trees::after(trees);
        let begin: Vec<_> = self.trees.iter().map(|(slot, tree)| (slot, tree.clone())).collect();
        for (slot, tree) in begin {
            if !self.compare(slot, &tree) && tree.size() > 0 {
                self.report.problems.push(Problem::Unanchored { slot, segment: number + 1 });
            }
            let audit = self.slots.entry(slot).or_default();
            audit.expected = audit.expected.split_off(&(tree.size() + 1));
            audit.covered = tree.size();
        }
        Ok(())
    }

    /// Reads a segment. False if those behind it cannot be compared with anything.
    fn read_segment(&mut self, number: u32) -> Result<bool, LogError> {
        let archive = self.archive;
        let (segment, end) = archive.segment(number)?;
        self.stored = end.and_then(|end| archive.trees(&segment, end));
        self.chunks.clear();
        match walk(&segment, end, |frame| self.enter(&segment, frame)) {
            Ok(end) => {
                self.report.segments += 1;
                self.report.bytes += u64::from(end);
            }
            Err(error @ LogError::Damaged { .. }) => {
                self.report.problems.push(Problem::Log(error));
                return Ok(self.skip_damaged());
            }
            Err(error) => return Err(error),
        }
        if let (Some(end), Some(stored)) = (end, self.stored.take())
            && stored != self.trees.sealed(&segment, end)
        {
            self.wrong_trees.push(archive.tree_path(number));
        }
        self.trees.begin_segment();
        Ok(true)
    }

    /// Goes on behind a damaged segment as its tree file has it, if it has one.
    fn skip_damaged(&mut self) -> bool {
        let Some(stored) = self.stored.take() else {
            self.report.problems.push(Problem::Unread);
            return false;
        };
        self.trees = Trees::after(stored);
        for (slot, tree) in self.trees.iter() {
            let audit = self.slots.entry(slot).or_default();
            audit.expected = audit.expected.split_off(&tree.size());
        }
        true
    }

    fn enter(&mut self, segment: &Segment, frame: &Frame) -> Result<(), LogError> {
        let chunk = self.trees.enter(&frame.header, &frame.record);
        let chunk = chunk.map_err(|OutOfOrder| segment.damaged(frame.offset, GAP))?;
        let (slot, n) = (frame.header.slot, frame.header.n);
        let at = Location { segment: segment.number, offset: frame.offset };
        let audit = self.slots.entry(slot).or_default();
        let place = Place { n, at };
        for span in [&mut audit.since_checkpoint, &mut audit.since_chunk] {
            span.get_or_insert((place, place)).1 = place;
        }
        if let Some(chunk) = chunk {
            self.compare_chunk(slot, chunk);
        }
        self.report.events += 1;
        let is_expected =
            self.slots.get(&slot).is_some_and(|audit| audit.expected.contains_key(&n));
        if is_expected && let Some(tree) = self.trees.get(slot).cloned() {
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
        let other = expected.iter().find(|(_, expected)| *expected != root);
        let span = audit.suspect.or(audit.since_checkpoint);
        match (other, span) {
            (None, _) => {
                self.report.matched += u64::try_from(expected.len()).unwrap_or(u64::MAX);
                audit.covered = tree.size();
                audit.since_checkpoint = None;
                audit.suspect = None;
            }
            // All later roots differ too.
            (Some((made_at, _)), Some(span)) if !audit.is_altered => {
                audit.is_altered = true;
                let (size, made_at) = (tree.size(), *made_at);
                self.report.problems.push(Problem::Altered { slot, size, made_at, span });
            }
            (Some(_), _) => {}
        }
        other.is_none()
    }

    fn finish(mut self, is_whole: bool) -> Report {
        let was_read = !self.report.problems.iter().any(|one| matches!(one, Problem::Unread));
        for (slot, audit) in &self.slots {
            let events = self.trees.get(*slot).map_or(0, Frontier::size);
            self.report.uncovered += events.saturating_sub(audit.covered);
            let newest = audit.expected.last_key_value().filter(|_| is_whole && was_read);
            if let Some((&size, expected)) = newest
                && let Some(&(made_at, _)) = expected.first()
            {
                let slot = *slot;
                self.report.problems.push(Problem::Missing { slot, size, made_at, events });
            }
        }
        // Once events are known to have been changed, it is not their trees that are wrong.
        if self.report.problems.is_empty() {
            self.report.problems.extend(self.wrong_trees.into_iter().map(Problem::Tree));
        }
        self.report
    }
}
