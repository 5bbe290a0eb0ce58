//! Goes through the events of a segment, in the order of the log.

use super::LogError;
use super::frame::FrameError;
use super::recovery::has_later_events;
use super::scan::{Frame, Next, Scanner};
use super::segment::{SEGMENT_HEADER_BYTES, Segment};

/// Goes through all events of a segment, which ends at `end` if it is sealed. Returns where they
/// end.
pub fn walk(
    segment: &Segment,
    end: Option<u32>,
    mut each: impl FnMut(&Frame) -> Result<(), LogError>,
) -> Result<u32, LogError> {
    let Some(end) = end else { return walk_tail(segment, each) };
    let mut scanner = Scanner::new(segment, SEGMENT_HEADER_BYTES, end);
    while let Some(frame) = scanner.read_frame()? {
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
    let mut is_second_look = false;
    loop {
        let begin = end;
        let (stopped_at, reason) = walk_batches(segment, &mut end, &mut each)?;
        if !has_later_events(segment, end)? {
            return Ok(end);
        }
        // They may have been written since this stopped: then a second look gets further.
        if end == begin && is_second_look {
            return Err(segment.damaged(stopped_at, reason.problem()));
        }
        is_second_look = end == begin;
    }
}

/// Moves `end` on behind each whole batch. Returns where it stopped, and why.
pub fn walk_batches(
    segment: &Segment,
    end: &mut u32,
    mut each: impl FnMut(&Frame) -> Result<(), LogError>,
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
        let behind = frame.end();
        batch.push(frame);
        if is_batch_end {
            batch.drain(..).try_for_each(|frame| each(&frame))?;
            *end = behind;
        }
    }
}
