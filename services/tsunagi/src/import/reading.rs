//! Reading the files, ahead of the work on what is in them.

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tsunagi_gateway::fhir::{Item, NotRead, reader};

/// Reads the files on a thread of its own, as far ahead as the queue lets it.
pub(super) fn read_files(
    files: Vec<PathBuf>,
    items: &mpsc::Sender<Result<Item, NotRead>>,
    progress: &ProgressBar,
) {
    for file in files {
        let read = reader::read(&file, |item| items.blocking_send(Ok(item)).is_ok());
        if let Err(not_read) = read
            && items.blocking_send(Err(not_read)).is_err()
        {
            return;
        }
        progress.inc(bytes(&file));
    }
}

/// The length of a file, for the progress bar alone.
pub(super) fn bytes(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |file| file.len())
}
