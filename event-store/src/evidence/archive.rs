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
