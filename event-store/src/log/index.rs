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
    streams: HashMap<StreamKey, Vec<Posting>>,
    slots: Vec<SlotIndex>,
}

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
        let postings = self.streams.entry((header.stream_kind, header.stream_key)).or_default();
        postings.push(Posting { location, event: header.event });
        let version = count(postings.len());
        if let Some(slot) = self.slots.get_mut(usize::from(header.slot)) {
            slot.locations.push(location);
            slot.last_recorded_at_us = slot.last_recorded_at_us.max(header.recorded_at_us);
        }
        version
    }

    /// How many events the stream has.
    pub fn version(&self, stream: &StreamKey) -> u64 {
        self.streams.get(stream).map_or(0, |postings| count(postings.len()))
    }

    /// Where the event of the stream lies that has this id, and its version.
    pub fn find(&self, stream: &StreamKey, event: [u8; 16]) -> Option<(Location, u64)> {
        let postings = self.streams.get(stream)?;
        let mut versions = (1..).zip(postings);
        versions
            .find(|(_, posting)| posting.event == event)
            .map(|(version, posting)| (posting.location, version))
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
        let postings = self.streams.get(stream).and_then(|postings| postings.get(skip..));
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

    /// The keys of all streams of a kind, in no order.
    pub fn streams(&self, kind: u8) -> impl Iterator<Item = [u8; 16]> {
        self.streams.keys().filter(move |(of, _)| *of == kind).map(|(_, key)| *key)
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
