//! Reads whole segments and checks everything in them that checksums and order can tell.

use std::collections::BTreeMap;

use super::LogError;
use super::scan::{Next, Scanner};
use super::segment::{SEGMENT_HEADER_BYTES, Segment};

/// Goes through a log's segments one after the other.
#[derive(Debug, Default)]
pub struct Verifier {
    /// The last position of each slot.
    slots: BTreeMap<u16, u64>,
    /// Where the segment before ended.
    end: u32,
    pub events: u64,
}

impl Verifier {
    /// Checks the next segment, up to `end` if it is known where it ends, and otherwise up to
    /// the end of its last whole batch. Returns where that is.
    pub fn segment(&mut self, segment: &Segment, end: Option<u32>) -> Result<u32, LogError> {
        if segment.previous_end != self.end {
            return Err(segment.damaged(0, "it does not go on where the one before it ended"));
        }
        let limit = match end {
            Some(end) => end,
            None => segment.bytes()?,
        };
        let mut scanner = Scanner::new(segment, SEGMENT_HEADER_BYTES, limit);
        let (mut batch, mut events) = (self.slots.clone(), 0);
        self.end = SEGMENT_HEADER_BYTES;
        loop {
            let frame = match scanner.read_next()? {
                Next::Frame(frame) => frame,
                Next::End(_, _) if end.is_none_or(|end| end == self.end) => return Ok(self.end),
                Next::End(offset, reason) => {
                    return Err(segment.damaged(offset, reason.problem()));
                }
            };
            let last_n = batch.entry(frame.header.slot).or_default();
            if frame.header.n != *last_n + 1 {
                let problem = "its position does not follow the one before it";
                return Err(segment.damaged(frame.offset, problem));
            }
            *last_n = frame.header.n;
            events += 1;
            if frame.header.is_batch_end {
                self.slots.clone_from(&batch);
                self.events += events;
                events = 0;
                let bytes = u32::try_from(frame.header.frame_bytes()).unwrap_or(u32::MAX);
                self.end = frame.offset.saturating_add(bytes);
            }
        }
    }
}
