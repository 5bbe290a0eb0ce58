//! `tsunagi verify --accept-unsigned`: whoever answers for the log says that what was found
//! without anything signed of it is right as it is. That is signed, and told from then on.

use std::path::Path;

use super::archive::ArchiveError;
use super::audit::{Problem, Report};
use super::checkpoint_file::CheckpointFile;
use super::history::Said;
use super::key_file;
use crate::log::{Location, LogError};
use crate::region_file;
use crate::store::{OpenError, lock};

/// Why it cannot be accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    File(#[from] LogError),
    #[error("stop the server first: it writes the file that this is written to")]
    Open(#[source] Box<OpenError>),
    #[error("everything was signed when it was recorded: there is nothing to accept")]
    Nothing,
    #[error("something else is wrong, and comes first: `tsunagi verify` names it")]
    Others,
}

/// Accepts what was not signed, if nothing else is wrong. Up to where that is.
pub fn accept(data: &Path, report: &Report) -> Result<Location, AcceptError> {
    let to = match report.problems.as_slice() {
        [Problem::Unsigned { to, .. }] => *to,
        [] => return Err(AcceptError::Nothing),
        _ => return Err(AcceptError::Others),
    };
    let _lock = lock(data).map_err(|error| AcceptError::Open(Box::new(error)))?;
    let region = region_file::read(data).map_err(ArchiveError::from)?;
    let key = key_file::read(data, region.id).map_err(ArchiveError::from)?;
    let key = key.ok_or_else(|| ArchiveError::NoKey(data.join(key_file::NAME)))?;
    let (mut file, _) = CheckpointFile::open(data, &key.public())?;
    file.remark(region.id, Said::Accepted(to), &key)?;
    Ok(to)
}
