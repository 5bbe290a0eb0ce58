//! Finds events by way of the index, in memory and in files.

use std::sync::{Arc, PoisonError};

use super::file::Patience;
use super::index::StreamKey;
use super::index_file::{IndexFile, tag};
use super::scan::{Reader, Scanner};
use super::segment::{SEGMENT_HEADER_BYTES, Segment};
use super::writer::Shared;
use super::{Location, LogError};

/// Where some of a stream's events lie, oldest first, and how many it has before them.
struct Run {
    before: u64,
    locations: Vec<Location>,
}

impl Shared {
    /// A segment, open.
    pub fn segment(&self, number: u32) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
        segments.get(index).cloned()
    }

    /// Where the stream's durable events after the first `after` ones lie, up to `max` of them.
    pub fn locations(
        &self,
        stream: &StreamKey,
        after: u64,
        max: usize,
        patience: Patience,
    ) -> Result<Vec<Location>, LogError> {
        let lookup = {
            // Read before the index: an event must not be found that is not yet durable.
            let durable = self.durable();
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            index.look_up(stream, after, durable)
        };
        let mut runs = vec![Run { before: lookup.before, locations: lookup.latest }];
        let mut before = lookup.before;
        for file in &lookup.files {
            if before <= after {
                break;
            }
            if let Some(run) = self.run_in(file, stream, after, patience)? {
                before = run.before;
                runs.push(run);
            }
        }
        let skip = runs.last().map_or(0, |run| after.saturating_sub(run.before));
        let locations = runs.into_iter().rev().flat_map(|run| run.locations);
        Ok(locations.skip(usize::try_from(skip).unwrap_or(usize::MAX)).take(max).collect())
    }

    /// Where the stream's event with this id lies, and its version.
    pub fn find(
        &self,
        stream: &StreamKey,
        event: &[u8; 16],
        patience: Patience,
    ) -> Result<Option<(Location, u64)>, LogError> {
        let files = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = index.find_in_memory(stream, event) {
                return Ok(Some(found));
            }
            index.files_that_may_have(stream, event)
        };
        for file in &files {
            if let Some(found) = self.find_in(file, stream, event, patience)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn find_in(
        &self,
        file: &Arc<IndexFile>,
        stream: &StreamKey,
        event: &[u8; 16],
        patience: Patience,
    ) -> Result<Option<(Location, u64)>, LogError> {
        let candidates = match candidates(file, stream, tag(event), patience) {
            Err(damage @ LogError::Damaged { .. }) => {
                let run = self.do_without(file, &damage, stream, patience)?;
                run.map_or(Vec::new(), |run| run.locations)
            }
            candidates => candidates?,
        };
        for location in candidates {
            let Some(segment) = self.segment(location.segment) else { continue };
            let frame = Reader::new(segment, patience).read(location.offset, location.offset)?;
            let of = (frame.header.stream_kind, frame.header.stream_key);
            if of == *stream && frame.header.event == *event {
                return Ok(Some((location, frame.header.version.into())));
            }
        }
        Ok(None)
    }

    /// The stream's events in a file, those after the first `after` ones of the stream at
    /// least.
    fn run_in(
        &self,
        file: &Arc<IndexFile>,
        stream: &StreamKey,
        after: u64,
        patience: Patience,
    ) -> Result<Option<Run>, LogError> {
        match read_run(file, stream, after, patience) {
            Err(damage @ LogError::Damaged { .. }) => {
                self.do_without(file, &damage, stream, patience)
            }
            run => run,
        }
    }

    /// Does without a file that is damaged until it is made again: reads the segments that it was
    /// made of.
    fn do_without(
        &self,
        file: &Arc<IndexFile>,
        damage: &LogError,
        stream: &StreamKey,
        patience: Patience,
    ) -> Result<Option<Run>, LogError> {
        if patience == Patience::FromMemory {
            return Err(LogError::WouldWait);
        }
        let mut damaged = self.damaged_files.lock().unwrap_or_else(PoisonError::into_inner);
        if !damaged.iter().any(|known| Arc::ptr_eq(known, file)) {
            tracing::warn!(%damage, "the log itself is read until this index file is made again, with the next segment");
            damaged.push(Arc::clone(file));
        }
        drop(damaged);
        self.scan(file, stream)
    }

    fn scan(&self, file: &IndexFile, stream: &StreamKey) -> Result<Option<Run>, LogError> {
        let mut run: Option<Run> = None;
        for (number, row) in (file.first..).zip(&file.rows) {
            let Some(segment) = self.segment(number) else { continue };
            let mut scanner = Scanner::new(&segment, SEGMENT_HEADER_BYTES, row.end);
            // Behind damage, not finding an event proves nothing.
            while let Some(frame) = scanner.read_frame()? {
                if (frame.header.stream_kind, frame.header.stream_key) != *stream {
                    continue;
                }
                let before = u64::from(frame.header.version).saturating_sub(1);
                let run = run.get_or_insert(Run { before, locations: Vec::new() });
                run.locations.push(Location { segment: number, offset: frame.offset });
            }
        }
        Ok(run)
    }
}

fn read_run(
    file: &IndexFile,
    stream: &StreamKey,
    after: u64,
    patience: Patience,
) -> Result<Option<Run>, LogError> {
    let Some(entry) = file.entry(stream, patience)? else { return Ok(None) };
    let before = u64::from(entry.before);
    let skip = u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX);
    let skip = skip.min(entry.postings);
    let postings = file.postings(&entry, skip, u32::MAX, patience)?;
    let locations = postings.into_iter().map(|posting| posting.location).collect();
    Ok(Some(Run { before: before + u64::from(skip), locations }))
}

fn candidates(
    file: &IndexFile,
    stream: &StreamKey,
    tag: u32,
    patience: Patience,
) -> Result<Vec<Location>, LogError> {
    let Some(entry) = file.entry(stream, patience)? else { return Ok(Vec::new()) };
    let postings = file.postings(&entry, 0, u32::MAX, patience)?;
    let alike = postings.into_iter().filter(|posting| posting.tag == tag);
    Ok(alike.map(|posting| posting.location).collect())
}
