//! Goes past what is damaged: finds out what can still be known of it, and where the next event
//! begins. For those who follow the log, and must not stop at one event for ever.
//!
//! What must stay true: it always gets further, and what is intact is not passed over.

use bytes::Bytes;

use super::LogError;
use super::file::Patience;
use super::frame::{HEADER_BYTES, Header};
use super::scan::Frame;
use super::segment::Segment;

/// A disk gives back or fails as much as this at a time.
const BLOCK_BYTES: u32 = 4096;
/// Bytes searched at a time for the next event.
const PIECE_BYTES: u32 = 1 << 16;

/// What lies at a place where reading stopped.
#[derive(Debug)]
pub enum Found {
    /// It is intact: what was read with it is not.
    Frame(Frame),
    /// Damage up to `end`. The header is known if that is intact.
    Damage { header: Option<Header>, end: u32 },
}

/// Looks at `offset`, where a frame must begin, of a segment whose frames end at `limit`. Waits for
/// the disk.
pub fn look(segment: &Segment, offset: u32, limit: u32) -> Result<Found, LogError> {
    let length = limit.saturating_sub(offset);
    let header = read(segment, offset, length.min(bytes_of(HEADER_BYTES)))?;
    let header = header.first_chunk().and_then(|bytes| Header::decode(bytes, segment.salt).ok());
    let header = header.filter(|header| bytes_of(header.frame_bytes()) <= length);
    let Some(header) = header else {
        let end = next_header(segment, offset.saturating_add(1), limit)?;
        return Ok(Found::Damage { header: None, end });
    };
    let end = offset.saturating_add(bytes_of(header.frame_bytes()));
    let record = read(segment, offset.saturating_add(bytes_of(HEADER_BYTES)), header.record_bytes)?;
    Ok(match header.check(&record) {
        Ok(()) => Found::Frame(Frame { offset, header, record: Bytes::from(record) }),
        Err(_damaged) => Found::Damage { header: Some(header), end },
    })
}

/// Where the next header lies, or `limit`. No record can look like one.
fn next_header(segment: &Segment, from: u32, limit: u32) -> Result<u32, LogError> {
    let mut begin = from;
    while begin < limit {
        // Pieces overlap by all but one byte of a header.
        let wanted = PIECE_BYTES.saturating_add(bytes_of(HEADER_BYTES) - 1);
        let piece = read(segment, begin, wanted.min(limit - begin))?;
        let found = (begin..).zip(piece.windows(HEADER_BYTES)).find(|(_, bytes)| {
            // Zeros are no header, and much may be zeros.
            bytes.first_chunk::<3>() != Some(&[0; 3])
                && bytes.first_chunk().is_some_and(|h| Header::decode(h, segment.salt).is_ok())
        });
        if let Some((offset, _)) = found {
            return Ok(offset);
        }
        begin = begin.saturating_add(PIECE_BYTES);
    }
    Ok(limit)
}

/// Reads so many bytes, or fewer if there are no more. What the disk cannot give back is zeros.
fn read(segment: &Segment, offset: u32, length: u32) -> Result<Vec<u8>, LogError> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    match segment.read(&mut bytes, offset, Patience::Wait) {
        Ok(count) => {
            bytes.truncate(count);
            Ok(bytes)
        }
        Err(error) if error.is_finding() => read_in_blocks(segment, offset, bytes),
        Err(error) => Err(error),
    }
}

fn read_in_blocks(segment: &Segment, offset: u32, mut bytes: Vec<u8>) -> Result<Vec<u8>, LogError> {
    let mut at = offset;
    let mut left = bytes.as_mut_slice();
    while !left.is_empty() {
        let in_block = usize::try_from(BLOCK_BYTES - at % BLOCK_BYTES).unwrap_or(usize::MAX);
        let (block, behind) = left.split_at_mut(in_block.min(left.len()));
        match segment.read(block, at, Patience::Wait) {
            Ok(_count) => {}
            Err(error) if error.is_finding() => block.fill(0),
            Err(error) => return Err(error),
        }
        at = at.saturating_add(bytes_of(block.len()));
        left = behind;
    }
    Ok(bytes)
}

fn bytes_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
