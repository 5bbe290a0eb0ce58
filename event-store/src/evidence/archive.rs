//! A data folder as an auditor reads it: without its lock, changing nothing, whether or not a
//! server has it open.

use std::path::{Path, PathBuf};

use tsunagi_bus::Region;

use super::key_file::{self, KeyFileError};
use super::note::PublicKey;
use super::tree_file::{self, SegmentTrees};
use crate::log::LogError;
use crate::log::segment::{Folder, Segment};
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
    #[error("{0} holds no checkpoint: there is nothing to compare with")]
    NothingKept(PathBuf),
    #[error(
        "the log has the segments 1 to {last}, and {first} is not among them: name some of these"
    )]
    NoSuchSegment { first: u32, last: u32 },
}

impl ArchiveError {
    /// Whether a file is not as it was written: that is found, and not that nothing could be
    /// looked at.
    pub fn is_finding(&self) -> bool {
        match self {
            Self::Region(error) => match error {
                RegionError::File(error) => error.is_finding(),
                RegionError::Malformed(_) | RegionError::Lost(_) => true,
                RegionError::Fixed { .. } => false,
            },
            Self::Key(error) => match error {
                KeyFileError::File(error) => error.is_finding(),
                KeyFileError::Malformed { .. }
                | KeyFileError::OtherRegion(_)
                | KeyFileError::Lost(_) => true,
            },
            Self::Log(error) => error.is_finding(),
            Self::NoKey(_) | Self::NothingKept(_) | Self::NoSuchSegment { .. } => false,
        }
    }
}

pub(crate) struct Archive {
    pub(crate) region: Region,
    folder: Folder,
    /// The numbers of its segments, in order. Some may be missing.
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
    /// Opens a folder in which no segment is missing.
    pub(crate) fn open(data: &Path) -> Result<Self, ArchiveError> {
        let archive = Self::open_as_it_is(data)?;
        archive.folder.numbers()?;
        Ok(archive)
    }

    /// Opens a folder from which segments may have been taken.
    pub(crate) fn open_as_it_is(data: &Path) -> Result<Self, ArchiveError> {
        let region = region_file::read(data)?;
        let folder = Folder::to_read(data.join("log"), region.id);
        let segments = folder.present()?;
        Ok(Self { region, folder, segments })
    }

    /// A segment, and where it ends if it is sealed.
    pub(crate) fn segment(&self, number: u32) -> Result<(Segment, Option<u32>), LogError> {
        Ok((self.open_segment(number)?, self.end(number)?))
    }

    pub(crate) fn open_segment(&self, number: u32) -> Result<Segment, LogError> {
        let path = self.folder.segment_path(number);
        if !path.exists() {
            return Err(LogError::Missing { path });
        }
        self.folder.open_segment_to_read(number)
    }

    /// Where a segment ends, as the next one says; none if it is the last.
    pub(crate) fn end(&self, number: u32) -> Result<Option<u32>, LogError> {
        let is_last = self.segments.last() == Some(&number);
        let next = (!is_last).then(|| self.open_segment(number + 1)).transpose()?;
        Ok(next.map(|next| next.previous_end))
    }

    /// What its file says of a sealed segment; none if there is no good one.
    pub(crate) fn trees(&self, segment: &Segment, end: u32) -> Option<SegmentTrees> {
        // A file that is damaged is as good as none: it can be made again.
        let trees = self.read_trees(segment.number).ok().flatten();
        trees.filter(|trees| trees.is_of(segment, end))
    }

    /// What the tree file of this number says, of whichever segment it was made.
    pub(crate) fn read_trees(&self, number: u32) -> Result<Option<SegmentTrees>, LogError> {
        let folder = tree_file::folder(&self.folder.path);
        SegmentTrees::read(&folder, number, self.region.slots)
    }

    pub(crate) fn tree_path(&self, segment: u32) -> PathBuf {
        tree_file::path(&tree_file::folder(&self.folder.path), segment)
    }

    pub(crate) fn segment_path(&self, number: u32) -> PathBuf {
        self.folder.segment_path(number)
    }

    pub(crate) fn log(&self) -> &Path {
        &self.folder.path
    }
}
