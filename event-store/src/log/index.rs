//! Where each stream's events lie: in memory, made from the log when it is opened.
//!
//! The writer enters events before they are flushed; a reader looks only at what lies before
//! the durable end of the log, which it is told.

use std::collections::HashMap;

use super::Location;
use super::frame::Header;

/// A stream as it is named on disk: kind and key.
pub type StreamKey = (u8, [u8; 16]);

#[derive(Debug, Default)]
pub struct Index {
    streams: HashMap<StreamKey, Stream>,
    slots: Vec<SlotIndex>,
}

#[derive(Debug, Default)]
struct Stream {
    /// In the order of their locations.
    postings: Vec<Posting>,
    /// The version of each event, kept for long streams alone.
    by_event: Option<HashMap<[u8; 16], u64>>,
}

/// The longest stream that is searched event by event.
const SEARCHED_EVENTS: usize = 256;

#[derive(Debug, Clone, Copy)]
struct Posting {
    location: Location,
    event: [u8; 16],
}

#[derive(Debug, Default)]
struct SlotIndex {
    /// The location of position n at n - 1.
    locations: Vec<Location>,
    last_recorded_at_us: i64,
}

impl Index {
    pub fn new(slots: u16) -> Self {
        Self { streams: HashMap::new(), slots: (0..slots).map(|_| SlotIndex::default()).collect() }
    }

    /// Enters an event. Returns its version in its stream.
    pub fn enter(&mut self, header: &Header, location: Location) -> u64 {
        let stream = self.streams.entry((header.stream_kind, header.stream_key)).or_default();
        let version = stream.enter(Posting { location, event: header.event });
        if let Some(slot) = self.slots.get_mut(usize::from(header.slot)) {
            slot.locations.push(location);
            slot.last_recorded_at_us = slot.last_recorded_at_us.max(header.recorded_at_us);
        }
        version
    }

    /// How many events the stream has.
    pub fn version(&self, stream: &StreamKey) -> u64 {
        self.streams.get(stream).map_or(0, |stream| count(stream.postings.len()))
    }

    /// Where the event of the stream lies that has this id, and its version.
    pub fn find(&self, stream: &StreamKey, event: [u8; 16]) -> Option<(Location, u64)> {
        self.streams.get(stream)?.find(event)
    }

    /// The version of the stream's event that lies at `location`.
    pub fn version_at(&self, stream: &StreamKey, location: Location) -> Option<u64> {
        let postings = &self.streams.get(stream)?.postings;
        let index = postings.binary_search_by_key(&location, |posting| posting.location).ok()?;
        Some(count(index + 1))
    }

    /// Where the stream's events after the first `after` ones lie, up to `max` of them.
    pub fn locations(
        &self,
        stream: &StreamKey,
        after: u64,
        durable: Location,
        max: usize,
    ) -> Vec<Location> {
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        let postings = self.streams.get(stream).and_then(|stream| stream.postings.get(skip..));
        postings
            .unwrap_or_default()
            .iter()
            .map(|posting| posting.location)
            .take_while(|location| *location < durable)
            .take(max)
            .collect()
    }

    /// Where position `n` of a slot lies.
    pub fn position(&self, slot: u16, n: u64) -> Option<Location> {
        let index = usize::try_from(n.checked_sub(1)?).ok()?;
        self.slots.get(usize::from(slot))?.locations.get(index).copied()
    }

    /// How many positions of a slot there are.
    pub fn last_n(&self, slot: u16) -> u64 {
        self.slots.get(usize::from(slot)).map_or(0, |slot| count(slot.locations.len()))
    }

    pub fn last_recorded_at_us(&self, slot: u16) -> i64 {
        self.slots.get(usize::from(slot)).map_or(0, |slot| slot.last_recorded_at_us)
    }
}

impl Stream {
    fn enter(&mut self, posting: Posting) -> u64 {
        self.postings.push(posting);
        let version = count(self.postings.len());
        match &mut self.by_event {
            Some(by_event) => drop(by_event.insert(posting.event, version)),
            None if self.postings.len() > SEARCHED_EVENTS => {
                let versions = (1..).zip(&self.postings);
                let by_event = versions.map(|(version, posting)| (posting.event, version));
                self.by_event = Some(by_event.collect());
            }
            None => {}
        }
        version
    }

    fn find(&self, event: [u8; 16]) -> Option<(Location, u64)> {
        if let Some(by_event) = &self.by_event {
            let version = *by_event.get(&event)?;
            let index = usize::try_from(version.checked_sub(1)?).ok()?;
            return self.postings.get(index).map(|posting| (posting.location, version));
        }
        let mut versions = (1..).zip(&self.postings);
        versions
            .find(|(_, posting)| posting.event == event)
            .map(|(version, posting)| (posting.location, version))
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
