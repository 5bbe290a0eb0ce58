//! Where each stream's events lie.
//!
//! What is sealed lies in files (`index_file`); the segment that is being written, and one that
//! is sealed and has no file yet, are in memory. How many events each stream has is in memory
//! for all of them: it is what a publisher's expected version is compared with. So memory grows
//! with the number of streams; with that of their events, only the filters of the files do, by 10
//! bits an event.
//!
//! The writer enters events before they are flushed; a reader looks only at what lies before
//! the durable end of the log, which it is told.

use std::collections::HashMap;
use std::sync::Arc;

use super::Location;
use super::bytes::to_u64;
use super::frame::Header;
use super::index_file::{IndexFile, Posting, SegmentRow, SlotState, tag};
use super::segment::SEGMENT_HEADER_BYTES;

/// A stream as it is named on disk: kind and key.
pub type StreamKey = (u8, [u8; 16]);

#[derive(Debug)]
pub struct Index {
    /// How many events each stream has.
    versions: HashMap<StreamKey, u32>,
    slots: Vec<SlotState>,
    /// What is sealed, oldest first, without gaps; what is in memory comes last.
    sealed: Vec<Part>,
    /// The segment that is being written.
    tail: MemoryPart,
}

/// A run of sealed segments.
#[derive(Debug, Clone)]
pub enum Part {
    File(Arc<IndexFile>),
    Memory(Arc<MemoryPart>),
}

/// The events of one segment.
#[derive(Debug, Default)]
pub struct MemoryPart {
    pub segment: u32,
    pub streams: HashMap<StreamKey, MemoryStream>,
    pub events: u64,
    /// How far the slots were before.
    before: Box<[SlotState]>,
    /// Where each slot's events lie.
    offsets: Vec<Vec<u32>>,
    /// What it is known by and how far the slots are at its end, once it is sealed.
    pub row: Option<SegmentRow>,
}

/// A stream's events in one segment.
#[derive(Debug, Default)]
pub struct MemoryStream {
    /// How many events the stream has in earlier segments.
    pub before: u32,
    events: Vec<MemoryEvent>,
    /// The place of each event in `events`, kept for long streams alone.
    by_event: Option<HashMap<[u8; 16], u32>>,
}

#[derive(Debug, Clone, Copy)]
struct MemoryEvent {
    offset: u32,
    event: [u8; 16],
}

/// The longest stream that is searched event by event.
const SEARCHED_EVENTS: usize = 256;

/// What the part in memory knows of a stream, and the files that know the rest.
#[derive(Debug, Default)]
pub struct Lookup {
    /// In files, newest first, as long as events are wanted that lie in files.
    pub files: Vec<Arc<IndexFile>>,
    /// Where the latest events lie, oldest first.
    pub latest: Vec<Location>,
    /// How many events the stream has before `latest`.
    pub before: u64,
}

impl Index {
    /// Of a log whose first segment is `segment`, without events.
    pub fn new(slots: u16, segment: u32) -> Self {
        let slots = vec![SlotState::default(); usize::from(slots)];
        let tail = MemoryPart::new(segment, &slots);
        Self { versions: HashMap::new(), slots, sealed: Vec::new(), tail }
    }

    /// Puts a file behind what is sealed already. The segment behind it is the next to be
    /// entered into. Its streams are told to `know`.
    pub fn add_file(&mut self, file: Arc<IndexFile>) {
        if let Some(row) = file.rows.last() {
            self.slots = row.slots.to_vec();
        }
        self.tail = MemoryPart::new(file.last + 1, &self.slots);
        self.sealed.push(Part::File(file));
    }

    /// Notes how many events a stream has in the files.
    pub fn know(&mut self, stream: StreamKey, version: u32) {
        self.versions.insert(stream, version);
    }

    /// All streams, in no order.
    pub fn streams(&self) -> impl Iterator<Item = StreamKey> {
        self.versions.keys().copied()
    }

    /// Room for so many streams more.
    pub fn reserve(&mut self, streams: u32) {
        self.versions.reserve(usize::try_from(streams).unwrap_or(0));
    }

    /// Enters an event of the segment that is being written.
    pub fn enter(&mut self, header: &Header, location: Location) {
        let stream = (header.stream_kind, header.stream_key);
        let version = self.versions.entry(stream).or_default();
        self.tail.enter(stream, *version, header, location.offset);
        *version += 1;
        if let Some(slot) = self.slots.get_mut(usize::from(header.slot)) {
            slot.last_n = header.n;
            slot.last_recorded_at_us = slot.last_recorded_at_us.max(header.recorded_at_us);
        }
    }

    /// Seals the segment that was written, and begins the next.
    pub fn seal(&mut self, salt: u64, end: u32) -> Arc<MemoryPart> {
        let next = MemoryPart::new(self.tail.segment + 1, &self.slots);
        let mut sealed = std::mem::replace(&mut self.tail, next);
        sealed.row = Some(SegmentRow { salt, end, slots: self.slots.clone().into() });
        let sealed = Arc::new(sealed);
        self.sealed.push(Part::Memory(Arc::clone(&sealed)));
        sealed
    }

    /// Puts a file in the place of the parts that it covers.
    pub fn replace(&mut self, file: &Arc<IndexFile>) {
        let is_covered = |part: &Part| part.first() >= file.first && part.last() <= file.last;
        if let Some(at) = self.sealed.iter().position(is_covered) {
            self.sealed.retain(|part| !is_covered(part));
            self.sealed.insert(at, Part::File(Arc::clone(file)));
        }
    }

    /// What is sealed, oldest first.
    pub fn sealed(&self) -> &[Part] {
        &self.sealed
    }

    /// How many events the stream has.
    pub fn version(&self, stream: &StreamKey) -> u32 {
        self.versions.get(stream).copied().unwrap_or(0)
    }

    /// How many events of the stream lie before `durable`.
    pub fn durable_version(&self, stream: &StreamKey, durable: Location) -> u64 {
        let latest = self.tail.streams.get(stream).map_or(&[][..], |stream| &stream.events);
        let is_pending = |event: &&MemoryEvent| self.tail.location(event.offset) >= durable;
        let pending = latest.iter().rev().take_while(is_pending).count();
        u64::from(self.version(stream)).saturating_sub(to_u64(pending))
    }

    /// Where the stream's durable events after the first `after` ones lie.
    pub fn look_up(&self, stream: &StreamKey, after: u64, durable: Location) -> Lookup {
        let mut lookup = Lookup { before: self.version(stream).into(), ..Lookup::default() };
        lookup.take(&self.tail, stream, durable);
        for part in self.sealed.iter().rev() {
            if lookup.before <= after {
                break;
            }
            match part {
                Part::File(file) => lookup.files.push(Arc::clone(file)),
                Part::Memory(memory) => lookup.take(memory, stream, durable),
            }
        }
        lookup
    }

    /// The event of the stream with this id, if it lies in memory.
    pub fn find_in_memory(&self, stream: &StreamKey, event: &[u8; 16]) -> Option<(Location, u64)> {
        let memory = self.sealed.iter().rev().filter_map(|part| match part {
            Part::Memory(memory) => Some(memory.as_ref()),
            Part::File(_) => None,
        });
        std::iter::once(&self.tail).chain(memory).find_map(|part| part.find(stream, event))
    }

    /// The files that may have an event of the stream with this id.
    pub fn files_that_may_have(&self, stream: &StreamKey, event: &[u8; 16]) -> Vec<Arc<IndexFile>> {
        let tag = tag(event);
        let files = self.sealed.iter().filter_map(|part| match part {
            Part::File(file) if file.may_have(stream, tag) => Some(Arc::clone(file)),
            Part::File(_) | Part::Memory(_) => None,
        });
        files.collect()
    }

    /// Where to begin reading to meet position `n` of a slot: its location, or the beginning of
    /// its segment. None if there is no such position yet.
    pub fn begin_of(&self, slot: u16, n: u64) -> Option<Location> {
        let index = usize::from(slot);
        if n > self.slots.get(index)?.last_n {
            return None;
        }
        let before = self.tail.before.get(index)?.last_n;
        if let Some(nth) = n.checked_sub(before + 1) {
            let offsets = self.tail.offsets.get(index)?;
            let offset = offsets.get(usize::try_from(nth).ok()?)?;
            return Some(self.tail.location(*offset));
        }
        let rows = self.sealed.iter().flat_map(Part::rows);
        let holds = |(_, row): &(u32, &SegmentRow)| {
            row.slots.get(index).is_some_and(|slot| slot.last_n >= n)
        };
        let (segment, _) = rows.into_iter().find(holds)?;
        Some(Location { segment, offset: SEGMENT_HEADER_BYTES })
    }

    /// The last position of a slot.
    pub fn last_n(&self, slot: u16) -> u64 {
        self.slots.get(usize::from(slot)).map_or(0, |slot| slot.last_n)
    }

    /// The last position of a slot that lies before `durable`.
    pub fn durable_n(&self, slot: u16, durable: Location) -> u64 {
        let offsets = self.tail.offsets.get(usize::from(slot));
        let is_pending = |offset: &&u32| self.tail.location(**offset) >= durable;
        let pending =
            offsets.map_or(0, |offsets| offsets.iter().rev().take_while(is_pending).count());
        self.last_n(slot).saturating_sub(to_u64(pending))
    }

    pub fn last_recorded_at_us(&self, slot: u16) -> i64 {
        self.slots.get(usize::from(slot)).map_or(0, |slot| slot.last_recorded_at_us)
    }
}

impl Part {
    pub fn first(&self) -> u32 {
        match self {
            Self::File(file) => file.first,
            Self::Memory(memory) => memory.segment,
        }
    }

    pub fn last(&self) -> u32 {
        match self {
            Self::File(file) => file.last,
            Self::Memory(memory) => memory.segment,
        }
    }

    /// The segments and how far the slots are at the end of each.
    fn rows(&self) -> Vec<(u32, &SegmentRow)> {
        match self {
            Self::File(file) => (file.first..).zip(&file.rows).collect(),
            Self::Memory(memory) => memory.row.iter().map(|row| (memory.segment, row)).collect(),
        }
    }
}

impl Lookup {
    fn take(&mut self, part: &MemoryPart, stream: &StreamKey, durable: Location) {
        let Some(stream) = part.streams.get(stream) else { return };
        let locations = stream.events.iter().map(|event| part.location(event.offset));
        let mut earlier: Vec<_> = locations.take_while(|location| *location < durable).collect();
        earlier.append(&mut self.latest);
        self.latest = earlier;
        self.before = stream.before.into();
    }
}

impl MemoryPart {
    pub(super) fn new(segment: u32, slots: &[SlotState]) -> Self {
        let offsets = vec![Vec::new(); slots.len()];
        Self { segment, before: slots.into(), offsets, ..Self::default() }
    }

    pub(super) fn enter(&mut self, stream: StreamKey, before: u32, header: &Header, offset: u32) {
        let fresh = || MemoryStream { before, ..MemoryStream::default() };
        self.streams.entry(stream).or_insert_with(fresh).enter(offset, header.event);
        if let Some(offsets) = self.offsets.get_mut(usize::from(header.slot)) {
            offsets.push(offset);
        }
        self.events += 1;
    }

    fn find(&self, stream: &StreamKey, event: &[u8; 16]) -> Option<(Location, u64)> {
        let stream = self.streams.get(stream)?;
        let place = stream.find(event)?;
        let location = self.location(stream.events.get(place)?.offset);
        Some((location, u64::from(stream.before) + to_u64(place) + 1))
    }

    fn location(&self, offset: u32) -> Location {
        Location { segment: self.segment, offset }
    }

    /// A stream's events as a file has them.
    pub fn postings<'a>(&'a self, stream: &'a MemoryStream) -> impl Iterator<Item = Posting> + 'a {
        stream
            .events
            .iter()
            .map(|event| Posting { location: self.location(event.offset), tag: tag(&event.event) })
    }
}

impl MemoryStream {
    fn enter(&mut self, offset: u32, event: [u8; 16]) {
        let place = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        self.events.push(MemoryEvent { offset, event });
        match &mut self.by_event {
            Some(by_event) => drop(by_event.insert(event, place)),
            None if self.events.len() > SEARCHED_EVENTS => {
                let places = (0..).zip(&self.events).map(|(place, event)| (event.event, place));
                self.by_event = Some(places.collect());
            }
            None => {}
        }
    }

    fn find(&self, event: &[u8; 16]) -> Option<usize> {
        match &self.by_event {
            Some(by_event) => usize::try_from(*by_event.get(event)?).ok(),
            None => self.events.iter().position(|entered| entered.event == *event),
        }
    }
}
