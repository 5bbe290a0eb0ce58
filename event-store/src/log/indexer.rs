//! The thread that makes index files of sealed segments, and one of many: off the way of those
//! who wait for an acknowledgement.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, mpsc};

use super::LogError;
use super::index::{MemoryPart, Part};
use super::index_file::{IndexFile, IndexWriter, SEGMENTS_MAX, SegmentRow, merge, order};
use super::scan::{Frame, Scanner};
use super::segment::{SEGMENT_HEADER_BYTES, Segment};
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
    make_damaged_again(folder, shared)?;
    while let Some(run) = mergeable(shared) {
        match merge(folder, &run) {
            Ok(file) => put(shared, file, &run)?,
            Err(LogError::Damaged { path, offset, problem }) => {
                let damaged = run.iter().find(|file| file.path() == path);
                let Some(damaged) = damaged else {
                    return Err(LogError::Damaged { path, offset, problem });
                };
                tracing::warn!(path = %path.display(), offset, problem, "an index file is made again");
                make_again(folder, shared, damaged)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes those files again that readers found damaged.
fn make_damaged_again(folder: &Path, shared: &Shared) -> Result<(), LogError> {
    loop {
        let damaged = shared.damaged_files.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(damaged) = damaged else { return Ok(()) };
        // It may be part of a larger one by now.
        let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let is_used = |part: &Part| matches!(part, Part::File(file) if Arc::ptr_eq(file, &damaged));
        let is_used = index.sealed().iter().any(is_used);
        drop(index);
        if is_used {
            make_again(folder, shared, &damaged)?;
        }
    }
}

/// Makes a file again, of the segments that it covers.
fn make_again(folder: &Path, shared: &Shared, file: &IndexFile) -> Result<(), LogError> {
    let mut files = Vec::new();
    for (number, row) in (file.first..).zip(&file.rows) {
        let Some(segment) = shared.segment(number) else { continue };
        files.push(Arc::new(write(folder, &read(&segment, row)?)?));
    }
    match files.as_slice() {
        [file] => {
            shared.index.write().unwrap_or_else(PoisonError::into_inner).replace(file);
            Ok(())
        }
        files => put(shared, merge(folder, files)?, files),
    }
}

/// Reads a sealed segment, for its index file alone.
fn read(segment: &Segment, row: &SegmentRow) -> Result<MemoryPart, LogError> {
    let mut part = MemoryPart::new(segment.number, &[]);
    let mut scanner = Scanner::new(segment, SEGMENT_HEADER_BYTES, row.end);
    while let Some(Frame { header, offset, .. }) = scanner.read_frame()? {
        let before = header.version.saturating_sub(1);
        part.enter((header.stream_kind, header.stream_key), before, &header, offset);
    }
    part.row = Some(row.clone());
    Ok(part)
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
