//! The thread that makes index files of sealed segments, and one of many: off the way of those
//! who wait for an acknowledgement.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, mpsc};

use super::LogError;
use super::index::{MemoryPart, Part};
use super::index_file::{IndexFile, IndexWriter, SEGMENTS_MAX, merge, order};
use super::writer::Shared;

/// The first and the last segment that a file covers.
pub type Run = (u32, u32);

/// How many files of a size are made one.
const MERGED_FILES: usize = 8;

/// Makes the file of one sealed segment.
pub fn write(folder: &Path, part: &MemoryPart) -> Result<IndexFile, LogError> {
    let rows = part.row.as_slice();
    let mut writer = IndexWriter::create(folder, part.segment, rows, part.events)?;
    let mut streams: Vec<_> = part.streams.iter().collect();
    streams.sort_unstable_by_key(|(key, _)| order(key));
    for (key, stream) in streams {
        writer.put(*key, stream.before, part.postings(stream))?;
    }
    writer.finish()
}

/// Works until nobody seals any more: whenever it is told so, and once at the beginning.
pub fn run(folder: &Path, shared: &Shared, sealed: &mpsc::Receiver<()>) {
    loop {
        if let Err(error) = catch_up(folder, shared) {
            // What has no file stays in memory, and is tried again with the next segment.
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "an index file could not be made");
        }
        if sealed.recv().is_err() {
            return;
        }
    }
}

fn catch_up(folder: &Path, shared: &Shared) -> Result<(), LogError> {
    while let Some(part) = oldest_in_memory(shared) {
        put(shared, write(folder, &part)?, &[])?;
    }
    while let Some(run) = mergeable(shared) {
        put(shared, merge(folder, &run)?, &run)?;
    }
    Ok(())
}

/// Puts a new file in the place of what it covers, and removes the files that it covers.
fn put(shared: &Shared, file: IndexFile, covered: &[Arc<IndexFile>]) -> Result<(), LogError> {
    shared.index.write().unwrap_or_else(PoisonError::into_inner).replace(&Arc::new(file));
    for file in covered {
        // Those who read it have it open.
        std::fs::remove_file(file.path()).map_err(LogError::io("removing", file.path()))?;
    }
    Ok(())
}

fn oldest_in_memory(shared: &Shared) -> Option<Arc<MemoryPart>> {
    let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
    index.sealed().iter().find_map(|part| match part {
        Part::Memory(memory) => Some(Arc::clone(memory)),
        Part::File(_) => None,
    })
}

/// The oldest files that follow each other, cover as much each, and are enough to be made one.
fn mergeable(shared: &Shared) -> Option<Vec<Arc<IndexFile>>> {
    let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
    let mut run: Vec<Arc<IndexFile>> = Vec::new();
    for part in index.sealed() {
        let Part::File(file) = part else { return None };
        let segments = |file: &IndexFile| file.last - file.first + 1;
        if run.last().is_some_and(|last| segments(last) != segments(file)) {
            run.clear();
        }
        run.push(Arc::clone(file));
        let merged: u32 = run.iter().map(|file| segments(file)).sum();
        if run.len() == MERGED_FILES && merged <= SEGMENTS_MAX {
            return Some(run);
        }
    }
    None
}

/// The files of a folder that cover the log's segments from the first on, without gaps or
/// overlaps, as far as there are any: of two that cover a segment, the longer one. The others
/// are left over from a merge, or from one that did not come to its end.
pub fn choose(mut names: Vec<Run>) -> (Vec<Run>, Vec<Run>) {
    names.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
    let mut end = 0;
    names.into_iter().partition(|(first, last)| {
        let is_next = *first > end && last >= first;
        if is_next {
            end = *last;
        }
        is_next
    })
}

/// Where the index files of a log lie.
pub fn folder(log: &Path) -> PathBuf {
    log.join("index")
}
