//! Reads frames one after the other, in large pieces.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};

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
    /// Where what is left of `piece` begins in the file.
    offset: u32,
    /// Where to stop at the latest.
    limit: u32,
    patience: Patience,
    /// What was read, and is not handed out yet. The records share its memory.
    piece: Bytes,
}

impl<'a> Scanner<'a> {
    pub fn new(segment: &'a Segment, offset: u32, limit: u32) -> Self {
        Self { segment, offset, limit, patience: Patience::Wait, piece: Bytes::new() }
    }

    /// One that may not wait for the disk.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    pub fn read_next(&mut self) -> Result<Next, LogError> {
        if !self.fill(HEADER_BYTES)? {
            let is_empty = self.piece.iter().all(|byte| *byte == 0);
            let reason = if is_empty { FrameError::Empty } else { FrameError::Header };
            return Ok(Next::End(self.offset, reason));
        }
        let header = match self.piece.first_chunk().map(|h| Header::decode(h, self.segment.salt)) {
            Some(Ok(header)) => header,
            Some(Err(reason)) => return Ok(Next::End(self.offset, reason)),
            None => return Ok(Next::End(self.offset, FrameError::Empty)),
        };
        if !self.fill(header.frame_bytes())? {
            return Ok(Next::End(self.offset, FrameError::Record));
        }
        let record = self.piece.slice(HEADER_BYTES..header.frame_bytes());
        if let Err(reason) = header.check(&record) {
            return Ok(Next::End(self.offset, reason));
        }
        self.piece.advance(header.frame_bytes());
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
        let have = self.piece.len();
        if have >= wanted {
            return Ok(true);
        }
        let begin = self.offset.saturating_add(u32::try_from(have).unwrap_or(u32::MAX));
        let left = usize::try_from(self.limit.saturating_sub(begin)).unwrap_or(usize::MAX);
        let more = wanted.saturating_sub(have).max(PIECE_BYTES).min(left);
        let mut piece = Vec::with_capacity(have + more);
        piece.extend_from_slice(&self.piece);
        piece.resize(have + more, 0);
        let read = match piece.get_mut(have..) {
            Some(place) => self.segment.read(place, begin, self.patience)?,
            None => 0,
        };
        piece.truncate(have + read);
        self.piece = Bytes::from(piece);
        // From memory, less may come than there is.
        if self.piece.len() < wanted && read < more && self.patience == Patience::FromMemory {
            return Err(LogError::WouldWait);
        }
        Ok(self.piece.len() >= wanted)
    }
}

/// Reads frames whose places are known: those that lie close together with one read.
pub struct Reader {
    segment: Arc<Segment>,
    patience: Patience,
    /// Where `piece` begins in the file.
    begin: u32,
    piece: Bytes,
}

impl Reader {
    pub fn new(segment: Arc<Segment>, patience: Patience) -> Self {
        Self { segment, patience, begin: 0, piece: Bytes::new() }
    }

    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The frame at `offset`. All up to the one at `last` is read with it, for those that are
    /// asked for next.
    pub fn read(&mut self, offset: u32, last: u32) -> Result<Frame, LogError> {
        /// Most records are shorter: one read is enough for them.
        const GUESS_BYTES: usize = 1024;
        let ahead = usize::try_from(last.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = GUESS_BYTES.saturating_add(ahead);
        let header = {
            let header = self.at(offset, HEADER_BYTES, wanted)?;
            match header.first_chunk() {
                Some(header) => Header::decode(header, self.segment.salt),
                None => Err(FrameError::Empty),
            }
        };
        let header = header.map_err(|reason| self.segment.damaged(offset, reason.problem()))?;
        let mut frame = self.at(offset, header.frame_bytes(), wanted)?;
        let record = frame.split_off(HEADER_BYTES.min(frame.len()));
        let damaged = |reason: FrameError| self.segment.damaged(offset, reason.problem());
        header.check(&record).map_err(damaged)?;
        Ok(Frame { offset, header, record })
    }

    /// So many bytes at `offset`, or fewer if there are no more: what was read before, or else
    /// `wanted` bytes at least are read.
    fn at(&mut self, offset: u32, bytes: usize, wanted: usize) -> Result<Bytes, LogError> {
        let skip = offset.checked_sub(self.begin).and_then(|skip| usize::try_from(skip).ok());
        let end = |skip: usize| skip.saturating_add(bytes);
        if let Some(skip) = skip.filter(|skip| end(*skip) <= self.piece.len()) {
            return Ok(self.piece.slice(skip..end(skip)));
        }
        let mut piece = vec![0; bytes.max(wanted)];
        let length = self.segment.read(&mut piece, offset, self.patience)?;
        // From memory, less may come than there is.
        if length < bytes && self.patience == Patience::FromMemory {
            return Err(LogError::WouldWait);
        }
        piece.truncate(length);
        self.begin = offset;
        self.piece = Bytes::from(piece);
        Ok(self.piece.slice(..bytes.min(length)))
    }
}
