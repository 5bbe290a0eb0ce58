//! Reads frames one after the other, in large pieces.

use bytes::{Bytes, BytesMut};

use super::LogError;
use super::file::Patience;
use super::frame::{FrameError, HEADER_BYTES, Header};
use super::segment::Segment;

/// Bytes read from disk at a time, at least.
const PIECE_BYTES: usize = 1 << 17;

/// A frame that has been checked.
#[derive(Debug, Clone)]
pub struct Frame {
    pub offset: u32,
    pub header: Header,
    pub record: Bytes,
}

impl Frame {
    /// Where it ends.
    pub fn end(&self) -> u32 {
        let bytes = u32::try_from(self.header.frame_bytes()).unwrap_or(u32::MAX);
        self.offset.saturating_add(bytes)
    }
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
        let frame = Frame { offset: self.offset, header, record };
        self.offset = frame.end();
        Ok(Next::Frame(frame))
    }

    /// The next frame, where up to the limit there must be frames and nothing else; none at the
    /// limit.
    pub fn read_frame(&mut self) -> Result<Option<Frame>, LogError> {
        if self.offset >= self.limit {
            return Ok(None);
        }
        match self.read_next()? {
            Next::Frame(frame) => Ok(Some(frame)),
            Next::End(offset, reason) => Err(self.segment.damaged(offset, reason.problem())),
        }
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
            Some(place) => self.segment.read(place, begin, Patience::Wait)?,
            None => 0,
        };
        self.buffer.truncate(have + read);
        Ok(self.buffer.len() >= wanted)
    }
}

/// Reads one frame whose place is known.
pub fn read_frame(segment: &Segment, offset: u32, patience: Patience) -> Result<Frame, LogError> {
    /// Most records are shorter: one read is enough for them.
    const GUESS_BYTES: usize = 1024;
    let read = |buffer: &mut [u8]| segment.read(buffer, offset, patience);
    let mut buffer = BytesMut::zeroed(GUESS_BYTES);
    let mut length = read(&mut buffer)?;
    // From memory, less may come than there is.
    let is_short =
        |length: usize, wanted: usize| length < wanted && patience == Patience::FromMemory;
    if is_short(length, HEADER_BYTES) {
        return Err(LogError::WouldWait);
    }
    let header = match buffer.first_chunk() {
        Some(header) if length >= HEADER_BYTES => Header::decode(header, segment.salt),
        Some(_) | None => Err(FrameError::Empty),
    };
    let header = header.map_err(|reason| segment.damaged(offset, reason.problem()))?;
    if header.frame_bytes() > length {
        buffer.resize(header.frame_bytes(), 0);
        length = read(&mut buffer)?;
        if is_short(length, header.frame_bytes()) {
            return Err(LogError::WouldWait);
        }
    }
    buffer.truncate(header.frame_bytes());
    let record = buffer.freeze().split_off(HEADER_BYTES);
    header.check(&record).map_err(|reason| segment.damaged(offset, reason.problem()))?;
    Ok(Frame { offset, header, record })
}
