//! Opens the log: checks its last segment, finds where it ends, and loads the index of the
//! others; where there is none, it is made again.
//!
//! A batch that was being written when the power went leaves its frames torn, in any order of
//! pages. It was never acknowledged, and is cut. A batch can only have been torn if none was
//! begun after it: a frame of a later batch behind a broken place means that acknowledged
//! events are damaged, and then the log is not opened. Nor is it if events were signed that would
//! be cut: only what is durable is signed. Sealed segments are checked when they
//! are read.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::Patience;
use super::frame::{HEADER_BYTES, Header};
use super::index::Index;
use super::index_file::{self, IndexFile};
use super::indexer;
use super::scan::Frame;
use super::segment::{Folder, SEGMENT_HEADER_BYTES, Segment, create_folder, sync_folder};
use super::walk::walk_batches;
use super::{Location, LogError};

/// The log, open.
#[derive(Debug)]
pub struct Recovered {
    pub segments: Vec<Arc<Segment>>,
    pub index: Index,
    /// Where the next batch is written.
    pub end: Location,
    /// How many bytes of a torn batch were cut.
    pub cut_bytes: u32,
    /// Where the last batch of the last segment begins: each one before was flushed before the
    /// next was written.
    last_batch: u32,
}

/// Says where the log ended when it was closed in order.
const CLOSED: &str = "closed";

/// Opens the log of a folder. `signed` says how many events of each slot were signed: these are
/// never cut.
pub fn open(
    folder: &Folder,
    slots: u16,
    signed: &BTreeMap<u16, u64>,
) -> Result<Recovered, LogError> {
    let closed_at = read_closed(folder)?;
    let mut segments = open_segments(folder)?;
    if segments.is_empty() && closed_at.is_none() {
        segments.push(Arc::new(folder.begin_segment(1, 0)?));
    }
    let mut files = open_index_files(&indexer::folder(&folder.path), &segments, slots)?;
    let mut recovered = Recovered {
        end: Location { segment: 0, offset: 0 },
        index: Index::new(slots, 1),
        cut_bytes: 0,
        last_batch: SEGMENT_HEADER_BYTES,
        segments,
    };
    // What has no file comes last: once one could not be written, no other is.
    let mut writes_files = true;
    let segments = recovered.segments.clone();
    let mut rest = segments.as_slice();
    while let Some((segment, later)) = rest.split_first() {
        if files.front().is_some_and(|file| file.first == segment.number)
            && let Some(file) = files.pop_front()
            && recovered.add_file(&file)?
        {
            let covered = usize::try_from(file.last - file.first).unwrap_or(usize::MAX);
            rest = later.get(covered..).unwrap_or_default();
            continue;
        }
        rest = later;
        recovered.read_segment(segment, later.first(), closed_at.is_some(), signed)?;
        let sealed =
            later.first().map(|next| recovered.index.seal(segment.salt, next.previous_end));
        if let Some(sealed) = sealed.filter(|_| writes_files) {
            match indexer::write(&indexer::folder(&folder.path), &sealed) {
                Ok(file) => recovered.index.replace(&Arc::new(file)),
                // The disk may be full, and what is stored is to be read all the same.
                Err(error) => {
                    tracing::warn!(%error, "an index file could not be made");
                    files.clear();
                    writes_files = false;
                }
            }
        }
    }
    if let Some(closed_at) = closed_at
        && closed_at != recovered.end
    {
        return Err(LogError::Damaged {
            path: folder.segment_path(closed_at.segment),
            offset: recovered.end.offset.into(),
            problem: "the log was closed in order, and does not end where it ended then",
        });
    }
    // Whoever wrote the end may have been killed before its flush, or before that of a name. It
    // is read from now on, and who sends it again is told that it is stored (I2). If its flush
    // failed, the system may take its pages for written: they are written again.
    if let Some(last) = segments.last() {
        write_again(last, recovered.last_batch, recovered.end.offset)?;
        last.sync()?;
    }
    // Only now: had the log been found damaged, the next attempt must find it so too.
    remove_closed(folder)?;
    Ok(recovered)
}

/// Opens all segments: each must have its header, and none may be missing.
fn open_segments(folder: &Folder) -> Result<Vec<Arc<Segment>>, LogError> {
    let numbers = folder.numbers()?;
    numbers.into_iter().map(|number| folder.open_segment(number).map(Arc::new)).collect()
}

/// Opens the index files that are about these segments as they are, and removes the others.
fn open_index_files(
    folder: &Path,
    segments: &[Arc<Segment>],
    slots: u16,
) -> Result<VecDeque<Arc<IndexFile>>, LogError> {
    create_folder(folder)?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(LogError::io("reading", folder))? {
        let name = entry.map_err(LogError::io("reading", folder))?.file_name();
        names.extend(name.to_str().and_then(index_file::read_name));
    }
    let path = |(first, last): (u32, u32)| folder.join(index_file::name(first, last));
    let mut files = Vec::new();
    let mut useless = Vec::new();
    for name in names {
        match IndexFile::open(&path(name)) {
            Ok(file) if is_about(&file, segments, slots) => files.push(Arc::new(file)),
            Ok(_) => useless.push(name),
            Err(LogError::Damaged { path, offset, problem }) => {
                tracing::warn!(path = %path.display(), offset, problem, "an index file is made again");
                useless.push(name);
            }
            Err(error) => return Err(error),
        }
    }
    let chosen = indexer::choose(files.iter().map(|file| (file.first, file.last)).collect());
    useless.extend(chosen.1);
    for name in useless {
        let path = path(name);
        std::fs::remove_file(&path).map_err(LogError::io("removing", &path))?;
    }
    files.retain(|file| chosen.0.contains(&(file.first, file.last)));
    files.sort_unstable_by_key(|file| file.first);
    Ok(files.into())
}

/// Whether an index file was made of these very segments, all of them sealed.
fn is_about(file: &IndexFile, segments: &[Arc<Segment>], slots: u16) -> bool {
    let first = usize::try_from(file.first.saturating_sub(1)).unwrap_or(usize::MAX);
    let count = file.rows.len();
    let covered = segments.get(first..first.saturating_add(count + 1));
    covered.is_some_and(|covered| {
        let nexts = covered.iter().skip(1);
        covered.iter().zip(nexts).zip(&file.rows).all(|((segment, next), row)| {
            (segment.salt, next.previous_end) == (row.salt, row.end)
                && row.slots.len() == usize::from(slots)
        })
    })
}

/// Notes that the log was closed in order, and where it ends.
pub fn write_closed(folder: &Folder, end: Location) -> Result<(), LogError> {
    let path = closed_path(folder);
    let text = note(end);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(LogError::io("writing", &path))?;
    sync_folder(&folder.path)
}

/// What the note says: where the log ends, and the CRC-32C of that.
fn note(end: Location) -> String {
    let place = format!("{} {}", end.segment, end.offset);
    format!("{place} {:08x}\n", crc32c::crc32c(place.as_bytes()))
}

fn read_closed(folder: &Folder) -> Result<Option<Location>, LogError> {
    let path = closed_path(folder);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("reading", &path)(error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
    let end = numbers.next().zip(numbers.next());
    let end = end.map(|(segment, offset)| Location { segment, offset });
    let end = end.filter(|end| text == note(*end));
    if end.is_none() {
        // It may have been torn. The log is checked as after a loss of power.
        tracing::warn!(path = %path.display(), "the note of an orderly end is damaged, and is not believed");
    }
    Ok(end)
}

/// Takes the note away: from now on, the log is open. Makes all names in its folder durable.
fn remove_closed(folder: &Folder) -> Result<(), LogError> {
    let path = closed_path(folder);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(LogError::io("removing", &path)(error)),
    }
    sync_folder(&folder.path)
}

fn closed_path(folder: &Folder) -> PathBuf {
    folder.path.join(CLOSED)
}

impl Recovered {
    /// Takes over what an index file says. False if it is damaged: then it is removed, and is to
    /// be made again.
    fn add_file(&mut self, file: &Arc<IndexFile>) -> Result<bool, LogError> {
        const PIECE: u32 = 4096;
        let pieces = (0..file.streams()).step_by(usize::try_from(PIECE).unwrap_or(1));
        let entries = pieces.map(|first| file.entries(first, PIECE, Patience::Wait));
        let entries = match entries.collect::<Result<Vec<_>, _>>() {
            Ok(entries) => entries,
            Err(LogError::Damaged { path, offset, problem }) => {
                tracing::warn!(path = %path.display(), offset, problem, "an index file is made again");
                std::fs::remove_file(&path).map_err(LogError::io("removing", &path))?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.index.reserve(file.streams());
        for entry in entries.into_iter().flatten() {
            self.index.know(entry.stream, entry.before + entry.postings);
        }
        let offset = file.rows.last().map_or(0, |row| row.end);
        self.end = Location { segment: file.last, offset };
        self.index.add_file(Arc::clone(file));
        Ok(true)
    }

    /// Reads a segment from its first event to its last, and enters them. What is torn at the
    /// end of the log is cut, unless the log was closed in order.
    fn read_segment(
        &mut self,
        segment: &Segment,
        next: Option<&Arc<Segment>>,
        was_closed: bool,
        signed: &BTreeMap<u16, u64>,
    ) -> Result<(), LogError> {
        let size = segment.bytes()?;
        let mut end = SEGMENT_HEADER_BYTES;
        let mut last_batch = end;
        let (stopped_at, _) = walk_batches(segment, &mut end, |frame| {
            last_batch = frame.offset.saturating_sub(frame.header.batch_distance);
            self.enter(segment, frame)
        })?;
        self.last_batch = last_batch;
        match next {
            Some(next) if next.previous_end != end => {
                return Err(segment.damaged(end, "events are missing from here on"));
            }
            // Where it should end is compared with the note.
            None if was_closed => {}
            None => {
                let rest = read_rest(segment, end, size)?;
                if has_later_batch(&rest, segment.salt, end) {
                    let problem = "an event is not intact, and later ones are";
                    return Err(segment.damaged(stopped_at, problem));
                }
                self.cut(segment, end, &rest, signed)?;
            }
            Some(_) => {}
        }
        self.end = Location { segment: segment.number, offset: end };
        Ok(())
    }

    fn enter(&mut self, segment: &Segment, frame: &Frame) -> Result<(), LogError> {
        let (offset, header) = (frame.offset, &frame.header);
        let stream = (header.stream_kind, header.stream_key);
        if header.n != self.index.last_n(header.slot) + 1
            || header.version != self.index.version(&stream) + 1
        {
            return Err(segment.damaged(offset, "its position does not follow the one before it"));
        }
        self.index.enter(header, Location { segment: segment.number, offset });
        Ok(())
    }

    /// Cuts what lies behind the last whole batch, having made sure that it is a torn one and
    /// no more. Zeros prove nothing: a page of zeros may stand where events were.
    fn cut(
        &mut self,
        segment: &Segment,
        end: u32,
        rest: &[u8],
        signed: &BTreeMap<u16, u64>,
    ) -> Result<(), LogError> {
        // Nothing is signed that was not flushed before.
        for (&slot, &size) in signed {
            let events = self.index.last_n(slot);
            if events < size {
                return Err(segment.signed(end, slot, size, events));
            }
        }
        if !rest.is_empty() {
            segment.write(&vec![0; rest.len()], end)?;
        }
        self.cut_bytes = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        Ok(())
    }
}

/// Writes what lies in a segment where it lies.
fn write_again(segment: &Segment, from: u32, to: u32) -> Result<(), LogError> {
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
    let read = segment.read(&mut bytes, from, Patience::Wait)?;
    segment.write(bytes.get(..read).unwrap_or_default(), from)
}

/// Whether acknowledged events lie behind `end`, where a batch should begin and none does: then
/// what is there was not torn, but damaged.
pub fn has_later_events(segment: &Segment, end: u32) -> Result<bool, LogError> {
    let rest = read_rest(segment, end, segment.bytes()?)?;
    Ok(has_later_batch(&rest, segment.salt, end))
}

/// Whether a batch was begun behind the one at `end`, of which `rest` is what is left. The
/// header of one of its frames is proof enough: no record can look like one.
fn has_later_batch(rest: &[u8], salt: u64, end: u32) -> bool {
    (end..).zip(rest.windows(HEADER_BYTES)).any(|(offset, bytes)| {
        // Zeros are no header, and much of the rest may be zeros.
        if bytes.first_chunk::<3>() == Some(&[0; 3]) {
            return false;
        }
        let header = bytes.first_chunk().and_then(|bytes| Header::decode(bytes, salt).ok());
        header.is_some_and(|header| offset.saturating_sub(header.batch_distance) > end)
    })
}

/// What lies behind `from`, up to its last byte that is not zero.
fn read_rest(segment: &Segment, from: u32, size: u32) -> Result<Vec<u8>, LogError> {
    const ZEROS: &[u8] = &[0; 1 << 12];
    let length = usize::try_from(size.saturating_sub(from)).unwrap_or(0);
    let mut rest = vec![0; length];
    let read = segment.read(&mut rest, from, Patience::Wait)?;
    rest.truncate(read);
    while rest.ends_with(ZEROS) {
        rest.truncate(rest.len() - ZEROS.len());
    }
    let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    rest.truncate(written);
    Ok(rest)
}
