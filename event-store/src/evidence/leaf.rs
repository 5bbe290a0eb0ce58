//! What a tree's leaf is: everything that the log says of one event.
//!
//! | offset | bytes | what                                                          |
//! |--------|-------|---------------------------------------------------------------|
//! | 0      | 1     | the form of the leaf: 1                                       |
//! | 1      | 2     | the stream's slot                                             |
//! | 3      | 8     | position in the slot, from 1: the leaf's index and one        |
//! | 11     | 8     | time of recording, in microseconds since 1970-01-01T00:00:00Z |
//! | 19     | 1     | the stream's kind                                             |
//! | 20     | 16    | the stream's key                                              |
//! | 36     | 4     | version: place in the stream, from 1                          |
//! | 40     | 16    | the event's id                                                |
//! | 56     | …     | the record                                                    |
//!
//! Integers are big-endian. Left out are the frame's checksums, salt and place in its batch:
//! they say how an event was written, and not what. So two stores that hold the same slot have
//! the same tree, and no event can be given to another patient or another day.

use bytes::Bytes;

use crate::log::bytes::take;
use crate::log::frame::Header;

use super::merkle::{self, Hash};

const FORM: u8 = 1;
const FIXED_BYTES: usize = 56;

/// A leaf that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub slot: u16,
    pub n: u64,
    pub recorded_at_us: i64,
    pub stream_kind: u8,
    pub stream_key: [u8; 16],
    pub version: u32,
    pub event: [u8; 16],
    pub record: Bytes,
}

/// The hash of the leaf of a frame.
pub fn hash(header: &Header, record: &[u8]) -> Hash {
    merkle::leaf_hash(&[&fixed_part(header), record])
}

/// The leaf of a frame.
pub fn encode(header: &Header, record: &[u8]) -> Vec<u8> {
    [&fixed_part(header), record].concat()
}

fn fixed_part(header: &Header) -> [u8; FIXED_BYTES] {
    let mut bytes = [0; FIXED_BYTES];
    let parts: [&[u8]; 8] = [
        &[FORM],
        &header.slot.to_be_bytes(),
        &header.n.to_be_bytes(),
        &header.recorded_at_us.to_be_bytes(),
        &[header.stream_kind],
        &header.stream_key,
        &header.version.to_be_bytes(),
        &header.event,
    ];
    for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    bytes
}

impl Leaf {
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        if take(&mut rest)? != [FORM] {
            return None;
        }
        Some(Self {
            slot: take(&mut rest).map(u16::from_be_bytes)?,
            n: take(&mut rest).map(u64::from_be_bytes)?,
            recorded_at_us: take(&mut rest).map(i64::from_be_bytes)?,
            stream_kind: take(&mut rest).map(u8::from_be_bytes)?,
            stream_key: take(&mut rest)?,
            version: take(&mut rest).map(u32::from_be_bytes)?,
            event: take(&mut rest)?,
            record: Bytes::copy_from_slice(rest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            record_bytes: 5,
            record_crc: 7,
            is_batch_end: true,
            stream_kind: 1,
            slot: 0x0203,
            batch_distance: 9,
            n: 0x0a_0b0c_0d0e,
            recorded_at_us: 0x05_0607_0809_0a0b,
            version: 0x0c0d_0e0f,
            stream_key: [0x11; 16],
            event: [0x22; 16],
        }
    }

    #[test]
    fn the_bytes_of_a_leaf_never_change() {
        let mut expected = vec![1, 2, 3, 0, 0, 0, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e];
        expected.extend([0, 5, 6, 7, 8, 9, 0x0a, 0x0b, 1]);
        expected.extend([0x11; 16]);
        expected.extend([0x0c, 0x0d, 0x0e, 0x0f]);
        expected.extend([0x22; 16]);
        expected.extend(b"hello");
        assert_eq!(encode(&header(), b"hello"), expected);
    }

    #[test]
    fn a_leaf_reads_as_it_was_written() {
        let leaf = Leaf::decode(&encode(&header(), b"hello")).unwrap();
        assert_eq!((leaf.slot, leaf.n, leaf.version), (0x0203, 0x0a_0b0c_0d0e, 0x0c0d_0e0f));
        assert_eq!((leaf.stream_key, leaf.event), ([0x11; 16], [0x22; 16]));
        assert_eq!(&leaf.record[..], b"hello");
        assert_eq!(Leaf::decode(&[1; 40]), None);
        assert_eq!(Leaf::decode(&[2; 60]), None);
    }

    #[test]
    fn how_an_event_was_written_is_not_in_its_leaf() {
        let otherwise =
            Header { record_crc: 0, is_batch_end: false, batch_distance: 0, ..header() };
        assert_eq!(hash(&otherwise, b"hello"), hash(&header(), b"hello"));
        let moved = Header { stream_key: [0x12; 16], ..header() };
        assert_ne!(hash(&moved, b"hello"), hash(&header(), b"hello"));
    }
}
