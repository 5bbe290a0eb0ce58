//! Where the events of sealed segments lie: one immutable file for one segment or for a run of
//! them, `index/0000000001-0000000008.idx`.
//!
//! Made from the segments and from nothing else, and made again when it is missing or damaged.
//! The content of its blocks (see `blocks`), all integers big-endian:
//!
//! | part     | what                                                                        |
//! |----------|-----------------------------------------------------------------------------|
//! | segments | for each: salt (8), end (4), and for each slot the last position (8) and time of recording (8) at its end |
//! | postings | for each event 8 bytes: segment within the file (1), offset (4), tag of the event's id (3) |
//! | entries  | for each stream 29 bytes: kind (1), key (16), events before (4), first posting (4), postings (4) |
//! | fan-out  | the first entry (4) of each bucket, and their number at the end             |
//! | filter   | see `filter`                                                                |
//! | footer   | a block of its own: magic `TSUNIDX1`, format (4), first and last segment (4 each), slots (2), bits of the fan-out (1), streams (4), postings (8), bytes of the filter (8) |
//!
//! Entries are sorted by the CRC-32C of kind and key, then by kind and key. Its first bits are
//! the bucket.

use std::path::{Path, PathBuf};

use super::blocks::{BlockWriter, Blocks, CONTENT_BYTES};
use super::bytes::{take, to_u64};
use super::file::Patience;
use super::filter::Filter;
use super::index::StreamKey;
use super::segment::sync_folder;
use super::{Location, LogError};

const MAGIC: &[u8; 8] = b"TSUNIDX1";
const FORMAT: u32 = 1;
const POSTING_BYTES: usize = 8;
const ENTRY_BYTES: usize = 29;
const FOOTER_BYTES: usize = 43;
/// Streams in a bucket, about.
const BUCKET_STREAMS: u32 = 8;
/// The most segments that one file can cover: a posting names them in one byte.
pub const SEGMENTS_MAX: u32 = 256;

/// An event of a stream, as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    pub location: Location,
    /// See `tag`.
    pub tag: u32,
}

/// What a segment is known by, and how far the slots are at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRow {
    pub salt: u64,
    pub end: u32,
    pub slots: Box<[SlotState]>,
}

/// How far a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotState {
    pub last_n: u64,
    pub last_recorded_at_us: i64,
}

/// A stream's part in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub stream: StreamKey,
    /// How many events the stream has before those in this file.
    pub before: u32,
    pub first_posting: u32,
    pub postings: u32,
}

/// 24 bits that tell most events of a stream apart.
pub fn tag(event: &[u8; 16]) -> u32 {
    crc32c::crc32c(event) >> 8
}

/// What a filter knows an event by.
pub fn filter_hash(stream: &StreamKey, tag: u32) -> u64 {
    let (kind, key) = stream;
    let (high, low) = key.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_be_bytes);
    let mut hash =
        number(high) ^ number(low).rotate_left(32) ^ u64::from(*kind) ^ u64::from(tag) << 24;
    // The end of MurmurHash3: every bit of the input changes half of the output.
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// By what entries are sorted.
pub fn order(stream: &StreamKey) -> (u32, StreamKey) {
    (crc32c::crc32c_append(crc32c::crc32c(&[stream.0]), &stream.1), *stream)
}

/// The name of the file that covers a run of segments.
pub fn name(first: u32, last: u32) -> String {
    format!("{first:010}-{last:010}.idx")
}

/// The run that a file's name says it covers.
pub fn read_name(name: &str) -> Option<(u32, u32)> {
    let (first, last) = name.strip_suffix(".idx")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Writes one file: streams in the order of `order`, then the end.
pub struct IndexWriter {
    folder: PathBuf,
    first: u32,
    last: u32,
    slots: u16,
    blocks: BlockWriter,
    postings: u64,
    entries: Vec<Entry>,
    filter: Filter,
}

impl IndexWriter {
    /// `events` is how many postings will be put.
    pub fn create(
        folder: &Path,
        first: u32,
        rows: &[SegmentRow],
        events: u64,
    ) -> Result<Self, LogError> {
        let last = first + u32::try_from(rows.len()).unwrap_or(u32::MAX).saturating_sub(1);
        let slots = rows.first().map_or(0, |row| row.slots.len());
        let slots = u16::try_from(slots).unwrap_or(u16::MAX);
        let mut blocks = BlockWriter::create(&temporary(folder, first, last))?;
        for row in rows {
            blocks.put(&row.salt.to_be_bytes())?;
            blocks.put(&row.end.to_be_bytes())?;
            for slot in &row.slots {
                blocks.put(&slot.last_n.to_be_bytes())?;
                blocks.put(&slot.last_recorded_at_us.to_be_bytes())?;
            }
        }
        let filter = Filter::for_events(events);
        let (folder, entries) = (folder.to_owned(), Vec::new());
        Ok(Self { folder, first, last, slots, blocks, postings: 0, entries, filter })
    }

    pub fn put(
        &mut self,
        stream: StreamKey,
        before: u32,
        postings: impl IntoIterator<Item = Posting>,
    ) -> Result<(), LogError> {
        let first_posting = self.postings;
        for Posting { location, tag } in postings {
            let segment = u64::from(location.segment.saturating_sub(self.first));
            let coded = segment << 56 | u64::from(location.offset) << 24 | u64::from(tag);
            self.blocks.put(&coded.to_be_bytes())?;
            self.filter.add(filter_hash(&stream, tag));
            self.postings += 1;
        }
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let postings = narrow(self.postings - first_posting);
        let first_posting = narrow(first_posting);
        self.entries.push(Entry { stream, before, first_posting, postings });
        Ok(())
    }

    /// Writes the rest, gives the file its name, and opens it.
    pub fn finish(mut self) -> Result<IndexFile, LogError> {
        let streams = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let bits = fan_out_bits(streams);
        for entry in &self.entries {
            let (kind, key) = entry.stream;
            self.blocks.put(&[kind])?;
            self.blocks.put(&key)?;
            for number in [entry.before, entry.first_posting, entry.postings] {
                self.blocks.put(&number.to_be_bytes())?;
            }
        }
        let mut entries = (0u32..).zip(&self.entries).peekable();
        for bucket in 0..=1u32 << bits {
            while entries.next_if(|(_, entry)| bucket_of(&entry.stream, bits) < bucket).is_some() {}
            let first = entries.peek().map_or(streams, |(index, _)| *index);
            self.blocks.put(&first.to_be_bytes())?;
        }
        let filter = self.filter.to_bytes();
        self.blocks.put(&filter)?;
        self.blocks.end_block()?;
        self.blocks.put(MAGIC)?;
        self.blocks.put(&FORMAT.to_be_bytes())?;
        self.blocks.put(&self.first.to_be_bytes())?;
        self.blocks.put(&self.last.to_be_bytes())?;
        self.blocks.put(&self.slots.to_be_bytes())?;
        self.blocks.put(&[bits])?;
        self.blocks.put(&streams.to_be_bytes())?;
        self.blocks.put(&self.postings.to_be_bytes())?;
        self.blocks.put(&to_u64(filter.len()).to_be_bytes())?;
        self.blocks.finish()?;
        let path = self.folder.join(name(self.first, self.last));
        let temporary = temporary(&self.folder, self.first, self.last);
        std::fs::rename(&temporary, &path).map_err(LogError::io("naming", &path))?;
        sync_folder(&self.folder)?;
        IndexFile::open(&path)
    }
}

fn temporary(folder: &Path, first: u32, last: u32) -> PathBuf {
    folder.join(name(first, last)).with_extension("tmp")
}

fn fan_out_bits(streams: u32) -> u8 {
    let bits = (streams / BUCKET_STREAMS).checked_ilog2().unwrap_or(0);
    u8::try_from(bits).unwrap_or(0)
}

fn bucket_of(stream: &StreamKey, bits: u8) -> u32 {
    order(stream).0.checked_shr(32 - u32::from(bits)).unwrap_or(0)
}

/// One file, open. The parts but entries and postings are in memory.
#[derive(Debug)]
pub struct IndexFile {
    pub first: u32,
    pub last: u32,
    pub rows: Vec<SegmentRow>,
    pub events: u64,
    blocks: Blocks,
    streams: u32,
    bits: u8,
    fan_out: Box<[u32]>,
    filter: Filter,
    postings_at: u64,
    entries_at: u64,
}

impl IndexFile {
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let blocks = Blocks::open(path)?;
        let malformed = || LogError::Damaged {
            path: path.to_owned(),
            offset: 0,
            problem: "it is not an index as this version writes it",
        };
        let footer = blocks.read(blocks.last_block(), FOOTER_BYTES, Patience::Wait)?;
        let footer = Footer::read(&footer).ok_or_else(malformed)?;
        let segments = u64::from(footer.last.checked_sub(footer.first).ok_or_else(malformed)?) + 1;
        let row_bytes = 12 + 16 * u64::from(footer.slots);
        let postings_at = segments * row_bytes;
        let entries_at = postings_at + footer.postings * to_u64(POSTING_BYTES);
        let fan_out_at = entries_at + u64::from(footer.streams) * to_u64(ENTRY_BYTES);
        let fan_out_bytes = ((1u64 << footer.bits) + 1) * 4;
        let filter_at = fan_out_at + fan_out_bytes;
        let end = (filter_at + footer.filter_bytes).div_ceil(to_u64(CONTENT_BYTES));
        if end * to_u64(CONTENT_BYTES) != blocks.last_block() {
            return Err(malformed());
        }
        let part = |at: u64, bytes: u64| {
            blocks.read(at, usize::try_from(bytes).unwrap_or(0), Patience::Wait)
        };
        let rows = part(0, postings_at)?;
        let rows = rows.chunks_exact(usize::try_from(row_bytes).unwrap_or(1));
        let rows = rows.map(read_row).collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
        let fan_out = part(fan_out_at, fan_out_bytes)?;
        let fan_out = fan_out.as_chunks().0.iter().map(|number| u32::from_be_bytes(*number));
        let filter = part(filter_at, footer.filter_bytes)?;
        let filter = Filter::from_bytes(&filter).ok_or_else(malformed)?;
        Ok(Self {
            first: footer.first,
            last: footer.last,
            rows,
            events: footer.postings,
            streams: footer.streams,
            bits: footer.bits,
            fan_out: fan_out.collect(),
            filter,
            postings_at,
            entries_at,
            blocks,
        })
    }

    pub fn path(&self) -> &Path {
        self.blocks.path()
    }

    /// False only if the stream has no event with this tag here.
    pub fn may_have(&self, stream: &StreamKey, tag: u32) -> bool {
        self.filter.may_have(filter_hash(stream, tag))
    }

    /// The stream's entry, if it has events here.
    pub fn entry(&self, stream: &StreamKey, patience: Patience) -> Result<Option<Entry>, LogError> {
        let bucket = usize::try_from(bucket_of(stream, self.bits)).unwrap_or(usize::MAX);
        let (Some(first), Some(end)) = (self.fan_out.get(bucket), self.fan_out.get(bucket + 1))
        else {
            return Ok(None);
        };
        let entries = self.entries(*first, end.saturating_sub(*first), patience)?;
        Ok(entries.into_iter().find(|entry| entry.stream == *stream))
    }

    /// `count` entries from the one at `first` on.
    pub fn entries(
        &self,
        first: u32,
        count: u32,
        patience: Patience,
    ) -> Result<Vec<Entry>, LogError> {
        let count = count.min(self.streams.saturating_sub(first));
        let at = self.entries_at + u64::from(first) * to_u64(ENTRY_BYTES);
        let length = usize::try_from(count).unwrap_or(0) * ENTRY_BYTES;
        if length == 0 {
            return Ok(Vec::new());
        }
        let bytes = self.blocks.read(at, length, patience)?;
        Ok(bytes.chunks_exact(ENTRY_BYTES).filter_map(read_entry).collect())
    }

    /// An entry's postings after the first `skip` ones, `count` of them at most.
    pub fn postings(
        &self,
        entry: &Entry,
        skip: u32,
        count: u32,
        patience: Patience,
    ) -> Result<Vec<Posting>, LogError> {
        let count = entry.postings.saturating_sub(skip).min(count);
        let length = usize::try_from(count).unwrap_or(0) * POSTING_BYTES;
        if length == 0 {
            return Ok(Vec::new());
        }
        let first = u64::from(entry.first_posting) + u64::from(skip);
        let at = self.postings_at + first * to_u64(POSTING_BYTES);
        let bytes = self.blocks.read(at, length, patience)?;
        let postings = bytes.as_chunks().0.iter().map(|bytes| {
            let coded = u64::from_be_bytes(*bytes);
            let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            let segment = self.first.saturating_add(narrow(coded >> 56));
            let offset = narrow(coded >> 24 & u64::from(u32::MAX));
            Posting { location: Location { segment, offset }, tag: narrow(coded & 0xff_ffff) }
        });
        Ok(postings.collect())
    }

    pub fn streams(&self) -> u32 {
        self.streams
    }
}

/// Makes one file of several that follow each other.
pub fn merge(folder: &Path, files: &[std::sync::Arc<IndexFile>]) -> Result<IndexFile, LogError> {
    let first = files.first().map_or(1, |file| file.first);
    let rows: Vec<_> = files.iter().flat_map(|file| file.rows.iter().cloned()).collect();
    let events = files.iter().map(|file| file.events).sum();
    let mut writer = IndexWriter::create(folder, first, &rows, events)?;
    let mut walks = files.iter().map(|file| Walk::begin(file)).collect::<Result<Vec<_>, _>>()?;
    while let Some(next) =
        walks.iter().filter_map(|walk| walk.entry).map(|e| order(&e.stream)).min()
    {
        let (_, stream) = next;
        let mut before = None;
        let mut postings = Vec::new();
        for walk in &mut walks {
            if let Some(entry) = walk.entry.filter(|entry| entry.stream == stream) {
                before.get_or_insert(entry.before);
                postings.extend(walk.take(&entry)?);
            }
        }
        writer.put(stream, before.unwrap_or(0), postings)?;
    }
    writer.finish()
}

/// Goes through a file from its first stream to its last, reading large pieces.
struct Walk<'a> {
    file: &'a IndexFile,
    /// The stream that comes next.
    entry: Option<Entry>,
    entries: std::vec::IntoIter<Entry>,
    next_entry: u32,
    postings: Vec<Posting>,
    /// Which posting of the file is the first of `postings`.
    first_posting: u32,
}

impl<'a> Walk<'a> {
    fn begin(file: &'a IndexFile) -> Result<Self, LogError> {
        let (entries, postings) = (Vec::new().into_iter(), Vec::new());
        let mut walk =
            Self { file, entry: None, entries, next_entry: 0, postings, first_posting: 0 };
        walk.step()?;
        Ok(walk)
    }

    fn step(&mut self) -> Result<(), LogError> {
        const PIECE: u32 = 2048;
        self.entry = self.entries.next();
        if self.entry.is_none() && self.next_entry < self.file.streams {
            let entries = self.file.entries(self.next_entry, PIECE, Patience::Wait)?;
            self.next_entry += u32::try_from(entries.len()).unwrap_or(u32::MAX);
            self.entries = entries.into_iter();
            self.entry = self.entries.next();
        }
        Ok(())
    }

    /// The postings of the stream at which the walk is; the walk goes on to the next.
    fn take(&mut self, entry: &Entry) -> Result<Vec<Posting>, LogError> {
        const PIECE: u32 = 8192;
        let have = u32::try_from(self.postings.len()).unwrap_or(u32::MAX);
        let wanted_end = entry.first_posting.saturating_add(entry.postings);
        if entry.first_posting < self.first_posting
            || wanted_end > self.first_posting.saturating_add(have)
        {
            let all = u32::try_from(self.file.events).unwrap_or(u32::MAX);
            let rest = all.saturating_sub(entry.first_posting);
            let piece = Entry { postings: rest, ..*entry };
            let count = PIECE.max(entry.postings);
            self.postings = self.file.postings(&piece, 0, count, Patience::Wait)?;
            self.first_posting = entry.first_posting;
        }
        let skip = usize::try_from(entry.first_posting - self.first_posting).unwrap_or(0);
        let count = usize::try_from(entry.postings).unwrap_or(0);
        let postings = self.postings.get(skip..skip + count).unwrap_or_default().to_vec();
        self.step()?;
        Ok(postings)
    }
}

struct Footer {
    first: u32,
    last: u32,
    slots: u16,
    bits: u8,
    streams: u32,
    postings: u64,
    filter_bytes: u64,
}

impl Footer {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let format = take(&mut rest).map(u32::from_be_bytes)?;
        let footer = Self {
            first: take(&mut rest).map(u32::from_be_bytes)?,
            last: take(&mut rest).map(u32::from_be_bytes)?,
            slots: take(&mut rest).map(u16::from_be_bytes)?,
            bits: take(&mut rest).map(u8::from_be_bytes)?,
            streams: take(&mut rest).map(u32::from_be_bytes)?,
            postings: take(&mut rest).map(u64::from_be_bytes)?,
            filter_bytes: take(&mut rest).map(u64::from_be_bytes)?,
        };
        (format == FORMAT && footer.bits < 32).then_some(footer)
    }
}

fn read_row(bytes: &[u8]) -> Option<SegmentRow> {
    let mut rest = bytes;
    let salt = take(&mut rest).map(u64::from_be_bytes)?;
    let end = take(&mut rest).map(u32::from_be_bytes)?;
    let slots = rest.chunks_exact(16).map(|slot| {
        let mut rest = slot;
        Some(SlotState {
            last_n: take(&mut rest).map(u64::from_be_bytes)?,
            last_recorded_at_us: take(&mut rest).map(i64::from_be_bytes)?,
        })
    });
    Some(SegmentRow { salt, end, slots: slots.collect::<Option<_>>()? })
}

fn read_entry(bytes: &[u8]) -> Option<Entry> {
    let mut rest = bytes;
    let kind = take(&mut rest).map(u8::from_be_bytes)?;
    let key = take(&mut rest)?;
    let mut number = || take(&mut rest).map(u32::from_be_bytes);
    Some(Entry {
        stream: (kind, key),
        before: number()?,
        first_posting: number()?,
        postings: number()?,
    })
}
