//! Opens the log: reads all of it, checks it, and finds where it ends.
//!
//! A batch that was being written when the power went leaves its frames torn, in any order of
//! pages. It was never acknowledged, and is cut. A batch can only have been torn if none was
//! begun after it: a frame of a later batch behind a broken place means that acknowledged
//! events are damaged, and then the log is not opened.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use super::frame::{HEADER_BYTES, Header};
use super::index::Index;
use super::scan::{Next, Scanner};
use super::segment::{Folder, SEGMENT_HEADER_BYTES, Segment, sync_folder};
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
}

/// Says where the log ended when it was closed in order.
const CLOSED: &str = "closed";

pub fn open(folder: &Folder, slots: u16) -> Result<Recovered, LogError> {
    let closed_at = read_closed(folder)?;
    let mut recovered = Recovered {
        segments: Vec::new(),
        index: Index::new(slots),
        end: Location { segment: 0, offset: 0 },
        cut_bytes: 0,
    };
    let mut segments = open_segments(folder)?.into_iter().peekable();
    while let Some(segment) = segments.next() {
        let torn_end = match (segments.peek(), closed_at) {
            (None, None) => TornEnd::Cut,
            (Some(_), _) | (None, Some(_)) => TornEnd::Leave,
        };
        recovered.read_segment(segment, torn_end)?;
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
    if recovered.segments.is_empty() {
        let segment = folder.begin_segment(1, 0)?;
        recovered.segments.push(Arc::new(segment));
        recovered.end = Location { segment: 1, offset: SEGMENT_HEADER_BYTES };
    }
    // Only now: had the log been found damaged, the next attempt must find it so too.
    remove_closed(folder)?;
    Ok(recovered)
}

/// What is done about a segment that does not end as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TornEnd {
    /// A batch was being written when the process ended: it is cut.
    Cut,
    /// No batch can have been torn here: where the segment should end is known, and compared.
    Leave,
}

fn open_segments(folder: &Folder) -> Result<Vec<Segment>, LogError> {
    let numbers = folder.numbers()?;
    let mut segments = Vec::with_capacity(numbers.len());
    for (number, expected) in numbers.iter().zip(1..) {
        if *number != expected {
            return Err(LogError::Missing { path: folder.segment_path(expected) });
        }
        segments.push(folder.open_segment(*number)?);
    }
    Ok(segments)
}

/// Notes that the log was closed in order, and where it ends.
pub fn write_closed(folder: &Folder, end: Location) -> Result<(), LogError> {
    let path = closed_path(folder);
    let text = format!("{} {}\n", end.segment, end.offset);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(LogError::io("writing", &path))?;
    sync_folder(&folder.path)
}

fn read_closed(folder: &Folder) -> Result<Option<Location>, LogError> {
    let path = closed_path(folder);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("reading", &path)(error)),
    };
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(segment)), Some(Ok(offset))) => Ok(Some(Location { segment, offset })),
        // A note that was itself torn says nothing.
        _ => Ok(None),
    }
}

/// Takes the note away: from now on, the log is open.
fn remove_closed(folder: &Folder) -> Result<(), LogError> {
    let path = closed_path(folder);
    match std::fs::remove_file(&path) {
        Ok(()) => sync_folder(&folder.path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LogError::io("removing", &path)(error)),
    }
}

fn closed_path(folder: &Folder) -> PathBuf {
    folder.path.join(CLOSED)
}

impl Recovered {
    fn read_segment(&mut self, segment: Segment, torn_end: TornEnd) -> Result<(), LogError> {
        if let Some(previous) = self.segments.last()
            && segment.previous_end != self.end.offset
        {
            return Err(previous.damaged(self.end.offset, "events are missing from here on"));
        }
        let size = segment.bytes()?;
        let mut scanner = Scanner::new(&segment, SEGMENT_HEADER_BYTES, size);
        let mut batch = Vec::new();
        let mut end = SEGMENT_HEADER_BYTES;
        let stopped_at = loop {
            let frame = match scanner.read_next()? {
                Next::Frame(frame) => frame,
                Next::End(offset, _) => break offset,
            };
            if frame.offset.checked_sub(frame.header.batch_distance) != Some(end) {
                break frame.offset;
            }
            let frame_end = frame.offset + u32::try_from(frame.header.frame_bytes()).unwrap_or(0);
            let is_batch_end = frame.header.is_batch_end;
            batch.push((frame.offset, frame.header));
            if is_batch_end {
                for (offset, header) in batch.drain(..) {
                    self.enter(&segment, offset, &header)?;
                }
                end = frame_end;
            }
        };
        if torn_end == TornEnd::Cut {
            self.cut(&segment, end, stopped_at, size)?;
        }
        self.end = Location { segment: segment.number, offset: end };
        self.segments.push(Arc::new(segment));
        Ok(())
    }

    fn enter(&mut self, segment: &Segment, offset: u32, header: &Header) -> Result<(), LogError> {
        if header.n != self.index.last_n(header.slot) + 1 {
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
        stopped_at: u32,
        size: u32,
    ) -> Result<(), LogError> {
        let rest = read_rest(segment, end, size)?;
        if has_later_batch(&rest, segment.salt, end) {
            return Err(segment.damaged(stopped_at, "an event is not intact, and later ones are"));
        }
        if !rest.is_empty() {
            segment.write(&vec![0; rest.len()], end)?;
            segment.sync()?;
        }
        self.cut_bytes = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        Ok(())
    }
}

/// Whether a batch was begun behind the one at `end`, of which `rest` is what is left. The
/// header of one of its frames is proof enough: no record can look like one.
fn has_later_batch(rest: &[u8], salt: u64, end: u32) -> bool {
    (end..).zip(rest.windows(HEADER_BYTES)).any(|(offset, bytes)| {
        // Zeros are no header, and much of the rest may be zeros.
        if bytes.first_chunk::<4>() == Some(&[0; 4]) {
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
    let read = segment.read(&mut rest, from)?;
    rest.truncate(read);
    while rest.ends_with(ZEROS) {
        rest.truncate(rest.len() - ZEROS.len());
    }
    let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    rest.truncate(written);
    Ok(rest)
}
