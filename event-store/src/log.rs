//! The record: an append-only log in segments, written by one thread, read by many.
//!
//! What must stay true: bytes in are the bytes out (I7); nothing is acknowledged before it is
//! flushed (I2); what a reader is given has been checked against its checksums; damage is
//! found and named, never repaired by guessing.

pub mod blocks;
pub mod bytes;
pub mod file;
pub mod filter;
pub mod frame;
pub mod index;
pub mod index_file;
pub mod indexer;
mod lookup;
pub mod past;
pub mod recovery;
pub(crate) mod room;
pub mod scan;
pub mod segment;
pub mod verify;
pub mod walk;
pub mod writer;

use std::path::PathBuf;

/// What the system says of a disk that fails.
const EIO: i32 = 5;

/// A place in the log: a segment and an offset in its file. Ordered as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Location {
    pub segment: u32,
    pub offset: u32,
}

impl Location {
    /// One number for an atomic; keeps the order.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.segment) << 32 | u64::from(self.offset)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Self { segment: half(bits >> 32), offset: half(bits) }
    }
}

/// Why the log cannot be opened, read or written. Each says where.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{action} {path} failed")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "{path} is damaged at offset {offset}: {problem}; restore the file from a backup, or tell whoever keeps the data"
    )]
    Damaged { path: PathBuf, offset: u64, problem: &'static str },
    #[error(
        "{path} was written in format {found}, and this version reads format {known}: use the version that wrote it, or a newer one"
    )]
    Format { path: PathBuf, found: u32, known: u32 },
    #[error(
        "{path} belongs to another region: it was put here from elsewhere, or exchanged; restore this region's file from a backup"
    )]
    OtherRegion { path: PathBuf },
    /// Only when reading from memory alone: ask again, where waiting for the disk is allowed.
    #[error("this is not in memory")]
    WouldWait,
    #[error(
        "{path}, offset {offset}: no whole batch is here, and it cannot have been one that was never acknowledged: {size} events of slot {slot} were signed, and {events} lie before it; restore the file from a backup. To go on without what is from here on, take checkpoints.txt out of the data folder and keep it: `tsunagi verify` tells of that from then on"
    )]
    Signed { path: PathBuf, offset: u32, slot: u16, size: u64, events: u64 },
    #[error("{path} is missing: the log has later parts; restore the file from a backup")]
    Missing { path: PathBuf },
}

impl LogError {
    /// Whether something is not as it was written, and not merely out of reach.
    pub fn is_finding(&self) -> bool {
        match self {
            Self::Damaged { .. }
            | Self::Format { .. }
            | Self::OtherRegion { .. }
            | Self::Signed { .. }
            | Self::Missing { .. } => true,
            // A disk that cannot give back what it was given.
            Self::Io { source, .. } => source.raw_os_error() == Some(EIO),
            Self::WouldWait => false,
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
