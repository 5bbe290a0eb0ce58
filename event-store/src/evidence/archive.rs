//! A data folder as an auditor reads it: without its lock, changing nothing, whether or not a
//! server has it open.

use std::path::{Path, PathBuf};

use tsunagi_bus::Region;

use super::key_file::{self, KeyFileError};
use super::note::PublicKey;
use super::tree_file::{self, SegmentTrees};
use crate::log::LogError;
use crate::log::frame::FrameError;
use crate::log::recovery::has_later_events;
use crate::log::scan::{Frame, Next, Scanner};
use crate::log::segment::{Folder, SEGMENT_HEADER_BYTES, Segment};
use crate::region_file::{self, RegionError};

/// Why the folder cannot be audited.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error(transparent)]
    Key(#[from] KeyFileError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0} is missing: name the region's public key with --key")]
    NoKey(PathBuf),
}

pub(crate) struct Archive {
    pub(crate) region: Region,
    folder: Folder,
    /// The numbers of its segments, in order.
    pub(crate) segments: Vec<u32>,
}

/// The region's public key.
pub fn public_key(data: &Path) -> Result<PublicKey, ArchiveError> {
    let region = region_file::read(data)?;
    let key = key_file::read(data, region.id)?;
    let key = key.ok_or_else(|| ArchiveError::NoKey(data.join(key_file::NAME)))?;
    Ok(key.public())
}

impl Archive {
    pub(crate) fn open(data: &Path) -> Result<Self, ArchiveError> {
        let region = region_file::read(data)?;
        let folder = Folder::to_read(data.join("log"), region.id);
        let segments = folder.numbers()?;
        for (number, expected) in segments.iter().zip(1..) {
            if *number != expected {
                return Err(LogError::Missing { path: folder.segment_path(expected) }.into());
            }
        }
        Ok(Self { region, folder, segments })
    }

    /// A segment, and where it ends if it is sealed.
    pub(crate) fn segment(&self, number: u32) -> Result<(Segment, Option<u32>), LogError> {
        let segment = self.folder.open_segment_to_read(number)?;
        let is_last = self.segments.last() == Some(&number);
        let next = (!is_last).then(|| self.folder.open_segment_to_read(number + 1)).transpose()?;
        Ok((segment, next.map(|next| next.previous_end)))
    }

    /// What its file says of a sealed segment; none if there is no good one.
    pub(crate) fn trees(&self, segment: &Segment, end: u32) -> Option<SegmentTrees> {
        let folder = tree_file::folder(&self.folder.path);
        // A file that is damaged is as good as none: it can be made again.
        SegmentTrees::read(&folder, segment, end, self.region.slots).ok().flatten()
    }

    pub(crate) fn tree_path(&self, segment: u32) -> PathBuf {
        tree_file::path(&tree_file::folder(&self.folder.path), segment)
    }
}

/// Goes through all events of a segment, which ends at `end` if it is sealed. Returns where they
/// end.
pub(crate) fn walk(
    segment: &Segment,
    end: Option<u32>,
    mut each: impl FnMut(&Frame) -> Result<(), LogError>,
) -> Result<u32, LogError> {
    let Some(end) = end else { return walk_tail(segment, each) };
    let mut scanner = Scanner::new(segment, SEGMENT_HEADER_BYTES, end);
    let mut at = SEGMENT_HEADER_BYTES;
    while at < end {
        let frame = match scanner.read_next()? {
            Next::Frame(frame) => frame,
            Next::End(offset, reason) => return Err(segment.damaged(offset, reason.problem())),
        };
        at = end_of(&frame);
        each(&frame)?;
    }
    Ok(end)
}

/// Goes through the whole batches of the last segment. What is behind them may be being written.
fn walk_tail(
    segment: &Segment,
    mut each: impl FnMut(&Frame) -> Result<(), LogError>,
) -> Result<u32, LogError> {
    let mut end = SEGMENT_HEADER_BYTES;
    loop {
        let begin = end;
        let (stopped_at, reason) = walk_batches(segment, &mut end, &mut each)?;
        if !has_later_events(segment, end)? {
            return Ok(end);
        }
        // Either they were written while this was read, and then more can be read now.
        if end == begin {
            return Err(segment.damaged(stopped_at, reason.problem()));
        }
    }
}

/// Moves `end` on behind each whole batch. Returns where it stopped, and why.
fn walk_batches(
    segment: &Segment,
    end: &mut u32,
    each: &mut impl FnMut(&Frame) -> Result<(), LogError>,
) -> Result<(u32, FrameError), LogError> {
    let mut scanner = Scanner::new(segment, *end, segment.bytes()?);
    let mut batch = Vec::new();
    loop {
        let frame = match scanner.read_next()? {
            Next::Frame(frame) => frame,
            Next::End(offset, reason) => return Ok((offset, reason)),
        };
        if frame.offset.checked_sub(frame.header.batch_distance) != Some(*end) {
            return Ok((frame.offset, FrameError::Empty));
        }
        let is_batch_end = frame.header.is_batch_end;
        let behind = end_of(&frame);
        batch.push(frame);
        if is_batch_end {
            batch.drain(..).try_for_each(|frame| each(&frame))?;
            *end = behind;
        }
    }
}

fn end_of(frame: &Frame) -> u32 {
    frame.offset + u32::try_from(frame.header.frame_bytes()).unwrap_or(u32::MAX)
}
