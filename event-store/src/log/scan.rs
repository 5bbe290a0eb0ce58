//! Reads frames one after the other, in large pieces.

use bytes::{Bytes, BytesMut};

use super::LogError;
use super::frame::{FrameError, HEADER_BYTES, Header};
use super::segment::Segment;

/// Bytes read from disk at a time, at least.
const PIECE_BYTES: usize = 1 << 18;

/// A frame that has been checked.
#[derive(Debug, Clone)]
pub struct Frame {
    pub offset: u32,
    pub header: Header,
    pub record: Bytes,
}

/// What a scan came to.
#[derive(Debug)]
pub enum Next {
    Frame(Frame),
    /// At this offset is no frame, for this reason.
    End(u32, FrameError),
}

/// A place in a segment from which frames are read on.
pub struct Scanner<'a> {
    segment: &'a Segment,
    /// Where `buffer` begins in the file.
    offset: u32,
    /// Where to stop at the latest.
    limit: u32,
    buffer: BytesMut,
}

impl<'a> Scanner<'a> {
    pub fn new(segment: &'a Segment, offset: u32, limit: u32) -> Self {
        Self { segment, offset, limit, buffer: BytesMut::new() }
    }

    pub fn read_next(&mut self) -> Result<Next, LogError> {
        if !self.fill(HEADER_BYTES)? {
            let is_empty = self.buffer.iter().all(|byte| *byte == 0);
            let reason = if is_empty { FrameError::Empty } else { FrameError::Header };
            return Ok(Next::End(self.offset, reason));
        }
        let header = match self.buffer.first_chunk().map(|h| Header::decode(h, self.segment.salt)) {
            Some(Ok(header)) => header,
            Some(Err(reason)) => return Ok(Next::End(self.offset, reason)),
            None => return Ok(Next::End(self.offset, FrameError::Empty)),
        };
        if !self.fill(header.frame_bytes())? {
            return Ok(Next::End(self.offset, FrameError::Record));
        }
        let mut frame = self.buffer.split_to(header.frame_bytes()).freeze();
        let record = frame.split_off(HEADER_BYTES);
        if let Err(reason) = header.check(&record) {
            return Ok(Next::End(self.offset, reason));
        }
        let offset = self.offset;
        self.offset += u32::try_from(header.frame_bytes()).unwrap_or(u32::MAX);
        Ok(Next::Frame(Frame { offset, header, record }))
    }

    /// Whether `wanted` bytes could be had.
    fn fill(&mut self, wanted: usize) -> Result<bool, LogError> {
        if self.buffer.len() >= wanted {
            return Ok(true);
        }
        let have = self.buffer.len();
        let begin = self.offset.saturating_add(u32::try_from(have).unwrap_or(u32::MAX));
        let left = usize::try_from(self.limit.saturating_sub(begin)).unwrap_or(usize::MAX);
        let more = wanted.saturating_sub(have).max(PIECE_BYTES).min(left);
        self.buffer.resize(have + more, 0);
        let read = match self.buffer.get_mut(have..) {
            Some(place) => self.segment.read(place, begin)?,
            None => 0,
        };
        self.buffer.truncate(have + read);
        Ok(self.buffer.len() >= wanted)
    }
}

/// Reads one frame whose place is known.
pub fn read_frame(segment: &Segment, offset: u32) -> Result<Frame, LogError> {
    /// Most records are shorter: one read is enough for them.
    const GUESS_BYTES: usize = 1024;
    let mut buffer = BytesMut::zeroed(GUESS_BYTES);
    let read = segment.read(&mut buffer, offset)?;
    let header = match buffer.first_chunk() {
        Some(header) if read >= HEADER_BYTES => Header::decode(header, segment.salt),
        Some(_) | None => Err(FrameError::Empty),
    };
    let header = header.map_err(|reason| segment.damaged(offset, reason.problem()))?;
    if header.frame_bytes() > read {
        buffer.resize(header.frame_bytes(), 0);
        segment.read(&mut buffer, offset)?;
    }
    buffer.truncate(header.frame_bytes());
    let record = buffer.freeze().split_off(HEADER_BYTES);
    header.check(&record).map_err(|reason| segment.damaged(offset, reason.problem()))?;
    Ok(Frame { offset, header, record })
}
