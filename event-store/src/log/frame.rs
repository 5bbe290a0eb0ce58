//! One event as it lies on disk: a header of fixed size, and the record.
//!
//! | offset | bytes | what                                                            |
//! |--------|-------|-----------------------------------------------------------------|
//! | 0      | 3     | length of the record in bytes; never 0                          |
//! | 3      | 1     | bit 7 set on the last frame of a batch; the stream's kind       |
//! | 4      | 4     | CRC-32C of the segment's salt, bytes 0–3 and bytes 8–65         |
//! | 8      | 4     | CRC-32C of the record                                           |
//! | 12     | 4     | distance from the first frame of the batch in bytes             |
//! | 16     | 2     | the stream's slot                                               |
//! | 18     | 5     | position in the slot, from 1                                    |
//! | 23     | 7     | time of recording, in microseconds since 1970-01-01T00:00:00Z   |
//! | 30     | 4     | version: place in the stream, from 1                            |
//! | 34     | 16    | the stream's key                                                |
//! | 50     | 16    | the event's id                                                  |
//! | 66     | …     | the record                                                      |
//!
//! Integers are big-endian. A record cannot be mistaken for a frame, whoever wrote it: the
//! header's checksum begins with the segment's random salt.

use bytes::Bytes;

pub const HEADER_BYTES: usize = 66;
/// Bytes of the longest record.
pub const RECORD_BYTES_MAX: usize = (1 << 24) - 1;

/// The last frame of its batch: the frames of a batch were flushed together, or not at all.
const BATCH_END: u8 = 0x80;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub record_bytes: u32,
    pub record_crc: u32,
    pub is_batch_end: bool,
    pub stream_kind: u8,
    pub slot: u16,
    pub batch_distance: u32,
    /// At most 2^40 - 1.
    pub n: u64,
    /// From 0 to 2^56 - 1, which is the year 4253.
    pub recorded_at_us: i64,
    pub version: u32,
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
        let flag = if self.is_batch_end { BATCH_END } else { 0 };
        writer.put_low::<3>(self.record_bytes.into());
        writer.put([flag | self.stream_kind & !BATCH_END]);
        writer.put([0; 4]);
        writer.put(self.record_crc.to_be_bytes());
        writer.put(self.batch_distance.to_be_bytes());
        writer.put(self.slot.to_be_bytes());
        writer.put_low::<5>(self.n);
        writer.put_low::<7>(u64::try_from(self.recorded_at_us).unwrap_or(0));
        writer.put(self.version.to_be_bytes());
        writer.put(self.stream_key);
        writer.put(self.event);
        let crc = header_crc(&writer.bytes, salt).to_be_bytes();
        writer.at = 4;
        writer.put(crc);
        writer.bytes
    }

    pub fn decode(bytes: &[u8; HEADER_BYTES], salt: u64) -> Result<Self, FrameError> {
        let mut reader = Reader { bytes, at: 0 };
        let record_bytes = u32::try_from(reader.take_low::<3>()).unwrap_or(0);
        let [flag_and_kind] = reader.take();
        let crc = u32::from_be_bytes(reader.take());
        let header = Self {
            record_bytes,
            is_batch_end: flag_and_kind & BATCH_END != 0,
            stream_kind: flag_and_kind & !BATCH_END,
            record_crc: u32::from_be_bytes(reader.take()),
            batch_distance: u32::from_be_bytes(reader.take()),
            slot: u16::from_be_bytes(reader.take()),
            n: reader.take_low::<5>(),
            recorded_at_us: i64::try_from(reader.take_low::<7>()).unwrap_or(0),
            version: u32::from_be_bytes(reader.take()),
            stream_key: reader.take(),
            event: reader.take(),
        };
        if record_bytes == 0 && bytes.iter().all(|byte| *byte == 0) {
            return Err(FrameError::Empty);
        }
        if record_bytes == 0 || crc != header_crc(bytes, salt) {
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
    // In one piece: a call costs more than the bytes.
    let mut covered = [0; HEADER_BYTES + 4];
    let (salt_place, rest_place) = covered.split_at_mut(8);
    let (length_place, rest_place) = rest_place.split_at_mut(4);
    let (length, rest) = bytes.split_at(4);
    let (_crc, rest) = rest.split_at(4);
    salt_place.copy_from_slice(&salt.to_be_bytes());
    length_place.copy_from_slice(length);
    rest_place.copy_from_slice(rest);
    crc32c::crc32c(&covered)
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

    /// The low `N` bytes of a number.
    fn put_low<const N: usize>(&mut self, number: u64) {
        let bytes = number.to_be_bytes();
        self.put::<N>(bytes.last_chunk().copied().unwrap_or([0; N]));
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

    fn take_low<const N: usize>(&mut self) -> u64 {
        self.take::<N>().into_iter().fold(0, |number, byte| number << 8 | u64::from(byte))
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
            version: 3,
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
            "0000058162ee89f19a71bb4c00001000003f00000000070650bf7b6d4c0000000003",
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
            numbers in (1..1u32 << 24, any::<(u32, bool, u16, u32, u32)>(), 0..128u8, 0..1u64 << 40, 0..1i64 << 56),
            stream_key in any::<[u8; 16]>(),
            event in any::<[u8; 16]>(),
            salt in any::<u64>(),
        ) {
            let (record_bytes, others, stream_kind, n, recorded_at_us) = numbers;
            let (record_crc, is_batch_end, slot, batch_distance, version) = others;
            let header = Header {
                record_bytes,
                record_crc,
                is_batch_end,
                stream_kind,
                slot,
                batch_distance,
                n,
                recorded_at_us,
                version,
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
