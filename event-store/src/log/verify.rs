//! Reads whole segments and checks everything in them that checksums and order can tell.

use std::collections::BTreeMap;

use super::LogError;
use super::segment::Segment;
use super::walk::walk;

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
        self.end = walk(segment, end, |frame| {
            let last_n = self.slots.entry(frame.header.slot).or_default();
            if frame.header.n != *last_n + 1 {
                let problem = "its position does not follow the one before it";
                return Err(segment.damaged(frame.offset, problem));
            }
            *last_n = frame.header.n;
            self.events += 1;
            Ok(())
        })?;
        Ok(self.end)
    }
}
