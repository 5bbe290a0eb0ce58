//! What `tsunagi verify` finds wrong: each cause once, with its file and offset, what it means
//! and what to do.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

use super::note::NoteError;
use crate::log::{Location, LogError};

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
    #[error(
        "{} missing: events that were acknowledged are gone; restore from a backup", named(.first, *.more)
    )]
    Missing { first: PathBuf, more: u32 },
    #[error(
        "{0} holds no segment: the log was lost or removed; restore the data folder from a backup"
    )]
    NoSegments(PathBuf),
    #[error(
        "slot {slot}: the log does not match what was signed at {made_at} (size {size}): among events {}, one was changed, exchanged or re-dated; compare with a backup, and tell whoever answers for the data", Spanned(.span)
    )]
    Altered { slot: u16, size: u64, made_at: Timestamp, span: Span },
    #[error(
        "{path}, offset {offset}: the log ends here, and more was signed in {slots} slots, such as {size} events at {made_at} in slot {slot}, which has {events}: it was cut, or an old copy was put back; restore from a newer backup, and tell whoever answers for the data"
    )]
    Cut {
        path: PathBuf,
        offset: u32,
        slots: usize,
        slot: u16,
        size: u64,
        made_at: Timestamp,
        events: u64,
    },
    #[error(
        "{path}, offset {offset}: this is no checkpoint of this region: {reason}{}; restore the file from a backup", and_more(*.more)
    )]
    Forged { path: PathBuf, offset: usize, reason: NoteError, more: usize },
    #[error(
        "{path}: none of its {count} checkpoints was signed by the key that was compared with, {key}: take the public key of this region (--key), as `tsunagi key` printed it when the region began; if it is that one, somebody has signed with a key of their own"
    )]
    OtherKey { path: PathBuf, count: usize, key: String },
    #[error(
        "{path}: {events} events, up to segment {} offset {}, were not signed when they were recorded, or what was signed of them was removed: whether they were rewritten cannot be told; compare with checkpoints that are kept elsewhere (--checkpoint), or, if they are right, stop the server and say so with --accept-unsigned", .to.segment, .to.offset
    )]
    Unsigned { path: PathBuf, to: Location, events: u64 },
    #[error(
        "no checkpoint tells what the log was before segment {segment}, in {slots} slots: verify from an earlier one, or the whole log"
    )]
    Unanchored { segment: u32, slots: usize },
    #[error(
        "{0} is missing or damaged, and nothing else tells what the log was up to there: verify from the first segment on"
    )]
    NoTree(PathBuf),
    #[error(
        "{0} does not match the log: it was damaged or forged; remove it, and it is made again from the log when the server starts; if no checkpoint covers those events yet, the log may have been changed instead"
    )]
    Tree(PathBuf),
    #[error(
        "{path}, offset {offset}: {problem}; nothing is lost: the file is made again from the log when the server starts"
    )]
    DamagedTree { path: PathBuf, offset: u64, problem: &'static str },
}

impl Problem {
    /// Whether the log, whole as it may be, is not what was signed.
    pub fn is_against_signatures(&self) -> bool {
        match self {
            Self::Altered { .. }
            | Self::Cut { .. }
            | Self::Forged { .. }
            | Self::OtherKey { .. } => true,
            Self::Log(_)
            | Self::Missing { .. }
            | Self::NoSegments(_)
            | Self::Unsigned { .. }
            | Self::Unanchored { .. }
            | Self::NoTree(_)
            | Self::Tree(_)
            | Self::DamagedTree { .. } => false,
        }
    }
}

struct Spanned<'a>(&'a Span);

impl fmt::Display for Spanned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.0;
        let place = |at: Location| format!("{:010}.seg offset {}", at.segment, at.offset);
        let (from, to) = (place(first.at), place(last.at));
        write!(f, "{} to {} ({from} to {to})", first.n, last.n)
    }
}

fn named(first: &std::path::Path, more: u32) -> String {
    let first = first.display();
    if more == 0 { format!("{first} is") } else { format!("{first} and the {more} behind it are") }
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" ({more} more of them in this file)") }
}
