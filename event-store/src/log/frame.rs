//! One event as it lies on disk: a header of fixed size, and the record.
//!
//! | offset | bytes | what                                                           |
//! |--------|-------|----------------------------------------------------------------|
//! | 0      | 4     | length of the record in bytes; never 0                         |
//! | 4      | 4     | CRC-32C of the segment's salt, bytes 0–3 and bytes 8–67        |
//! | 8      | 4     | CRC-32C of the record                                          |
//! | 12     | 1     | flags: bit 0 set on the last frame of a batch                  |
//! | 13     | 1     | the stream's kind                                              |
//! | 14     | 2     | the stream's slot                                              |
//! | 16     | 4     | distance from the first frame of the batch in bytes            |
//! | 20     | 8     | position in the slot, from 1                                   |
//! | 28     | 8     | time of recording, in microseconds since 1970-01-01T00:00:00Z  |
//! | 36     | 16    | the stream's key                                               |
//! | 52     | 16    | the event's id                                                 |
//! | 68     | …     | the record                                                     |
//!
//! Integers are big-endian. A record cannot be mistaken for a frame, whoever wrote it: the
//! header's checksum begins with the segment's random salt.

use bytes::Bytes;

pub const HEADER_BYTES: usize = 68;

/// The last frame of its batch: the frames of a batch were flushed together, or not at all.
const BATCH_END: u8 = 1;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub record_bytes: u32,
    pub record_crc: u32,
    pub is_batch_end: bool,
    pub stream_kind: u8,
    pub slot: u16,
    pub batch_distance: u32,
    pub n: u64,
    pub recorded_at_us: i64,
    pub stream_key: [u8; 16],
    pub event: [u8; 16],
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("there is no frame here")]
    Empty,
    #[error("the header does not match its checksum")]
    Header,
    #[error("the record does not match its checksum")]
    Record,
}

impl FrameError {
    /// What is said of an event that should have been there.
    pub fn problem(self) -> &'static str {
        match self {
            Self::Empty => "an event is missing",
            Self::Header => "an event's header does not match its checksum",
            Self::Record => "an event's record does not match its checksum",
        }
    }
}

impl Header {
    /// Bytes of the whole frame.
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + usize::try_from(self.record_bytes).unwrap_or(usize::MAX - HEADER_BYTES)
    }

    pub fn encode(&self, salt: u64) -> [u8; HEADER_BYTES] {
        let mut writer = Writer { bytes: [0; HEADER_BYTES], at: 0 };
        writer.put(self.record_bytes.to_be_bytes());
        writer.put([0; 4]);
        writer.put(self.record_crc.to_be_bytes());
        writer.put([if self.is_batch_end { BATCH_END } else { 0 }]);
        writer.put([self.stream_kind]);
        writer.put(self.slot.to_be_bytes());
        writer.put(self.batch_distance.to_be_bytes());
        writer.put(self.n.to_be_bytes());
        writer.put(self.recorded_at_us.to_be_bytes());
        writer.put(self.stream_key);
        writer.put(self.event);
        let crc = header_crc(&writer.bytes, salt).to_be_bytes();
        writer.at = 4;
        writer.put(crc);
        writer.bytes
    }

    pub fn decode(bytes: &[u8; HEADER_BYTES], salt: u64) -> Result<Self, FrameError> {
        let mut reader = Reader { bytes, at: 0 };
        let record_bytes = u32::from_be_bytes(reader.take());
        let crc = u32::from_be_bytes(reader.take());
        let record_crc = u32::from_be_bytes(reader.take());
        let [flags] = reader.take();
        let header = Self {
            record_bytes,
            record_crc,
            is_batch_end: flags & BATCH_END != 0,
            stream_kind: u8::from_be_bytes(reader.take()),
            slot: u16::from_be_bytes(reader.take()),
            batch_distance: u32::from_be_bytes(reader.take()),
            n: u64::from_be_bytes(reader.take()),
            recorded_at_us: i64::from_be_bytes(reader.take()),
            stream_key: reader.take(),
            event: reader.take(),
        };
        if record_bytes == 0 && bytes.iter().all(|byte| *byte == 0) {
            return Err(FrameError::Empty);
        }
        if record_bytes == 0 || flags & !BATCH_END != 0 || crc != header_crc(bytes, salt) {
            return Err(FrameError::Header);
        }
        Ok(header)
    }

    /// Checks the record that stands behind this header.
    pub fn check(&self, record: &[u8]) -> Result<(), FrameError> {
        if crc32c::crc32c(record) == self.record_crc { Ok(()) } else { Err(FrameError::Record) }
    }
}

/// A record and its checksum, made where the record is made and not by the writer.
#[derive(Debug, Clone)]
pub struct Sealed {
    pub record: Bytes,
    pub crc: u32,
}

impl Sealed {
    pub fn new(record: Bytes) -> Self {
        let crc = crc32c::crc32c(&record);
        Self { record, crc }
    }
}

fn header_crc(bytes: &[u8; HEADER_BYTES], salt: u64) -> u32 {
    let (length, rest) = bytes.split_at(4);
    let (_crc, rest) = rest.split_at(4);
    let crc = crc32c::crc32c(&salt.to_be_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, length), rest)
}

struct Writer {
    bytes: [u8; HEADER_BYTES],
    at: usize,
}

impl Writer {
    fn put<const N: usize>(&mut self, field: [u8; N]) {
        if let Some(place) = self.bytes.get_mut(self.at..self.at + N) {
            place.copy_from_slice(&field);
        }
        self.at += N;
    }
}

struct Reader<'a> {
    bytes: &'a [u8; HEADER_BYTES],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let field = self.bytes.get(self.at..self.at + N).and_then(|field| field.try_into().ok());
        self.at += N;
        field.unwrap_or([0; N])
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            record_bytes: 5,
            record_crc: crc32c::crc32c(b"hello"),
            is_batch_end: true,
            stream_kind: 1,
            slot: 63,
            batch_distance: 4096,
            n: 7,
            recorded_at_us: 1_777_633_200_000_000,
            stream_key: [0xaa; 16],
            event: [0xbb; 16],
        }
    }

    #[test]
    fn the_written_form_never_changes() {
        // Golden: other bytes would make every existing log unreadable.
        let hex = header().encode(42).iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let expected = [
            "00000005eaa3d4de9a71bb4c0101003f0000100000000000000000070006",
            "50bf7b6d4c00",
            &"aa".repeat(16),
            &"bb".repeat(16),
        ];
        assert_eq!(hex, expected.concat());
    }

    #[test]
    fn nothing_is_there_where_all_is_zero() {
        assert_eq!(Header::decode(&[0; HEADER_BYTES], 42), Err(FrameError::Empty));
    }

    #[test]
    fn a_header_of_another_segment_is_none() {
        assert_eq!(Header::decode(&header().encode(42), 43), Err(FrameError::Header));
    }

    proptest! {
        #[test]
        fn a_header_reads_as_it_was_written(
            numbers in any::<(u32, u32, bool, u8, u16, u32, u64, i64)>(),
            stream_key in any::<[u8; 16]>(),
            event in any::<[u8; 16]>(),
            salt in any::<u64>(),
        ) {
            let (length, record_crc, is_batch_end, stream_kind, slot, batch_distance, n, at) = numbers;
            let header = Header {
                record_bytes: length.max(1),
                record_crc,
                is_batch_end,
                stream_kind,
                slot,
                batch_distance,
                n,
                recorded_at_us: at,
                stream_key,
                event,
            };
            prop_assert_eq!(Header::decode(&header.encode(salt), salt), Ok(header));
        }

        #[test]
        fn one_flipped_bit_is_found(bit in 0..HEADER_BYTES * 8) {
            let mut bytes = header().encode(42);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Header::decode(&bytes, 42), Err(FrameError::Header));
        }
    }
}
