//! Several event stores as one log: each has some of the slots.

use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tsunagi_chassis::{Config, Refused};
use tsunagi_domain::EventId;

use crate::cursor::Cursor;
use crate::port::{Delivery, Feed, Log, ReadError, Run, Stored};
use crate::refusals;
use crate::region::Region;
use crate::stream::{Position, Slot, StreamId};

/// Which of the region's slots a store has: those of the `index`th of `count` shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1 on.
    pub index: u16,
    pub count: u16,
}

impl Shard {
    pub fn of(config: &Config) -> Self {
        let (index, count) = config.shard;
        Self { index, count }
    }

    pub fn has(self, slot: Slot) -> bool {
        slot.0 % self.count == self.index - 1
    }

    /// The shard at a place, from 0.
    pub fn at(place: usize, count: u16) -> Self {
        Self { index: u16::try_from(place + 1).unwrap_or(u16::MAX), count }
    }

    /// Says that its store is needed and does not answer.
    pub fn away(self) -> Refused {
        refusals::away(&self.to_string())
    }

    /// The place among the shards of the one that has a slot.
    pub fn place_of(slot: Slot, count: u16) -> usize {
        usize::from(slot.0 % count.max(1))
    }

    /// What a cursor says of the shard's slots.
    pub fn part_of(self, cursor: &Cursor) -> Cursor {
        let mut part = Cursor::start();
        for position in cursor.positions().filter(|position| self.has(position.slot)) {
            part.advance(position);
        }
        part
    }
}

impl Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// The stores of all shards, in their order.
#[derive(Clone)]
pub struct Shards {
    region: Region,
    stores: Vec<Arc<dyn Log>>,
}

impl Shards {
    /// None if there are no stores.
    pub fn new(stores: Vec<Arc<dyn Log>>) -> Option<Self> {
        let region = stores.first()?.region().clone();
        Some(Self { region, stores })
    }

    fn of(&self, slot: Slot) -> Result<(Shard, &Arc<dyn Log>), ReadError> {
        let place = Shard::place_of(slot, self.count());
        let store = self.stores.get(place).map(|store| (self.shard(place), store));
        store.ok_or_else(|| ReadError::Log(format!("no event store has slot {}", slot.0)))
    }

    fn of_stream(&self, stream: StreamId) -> Result<(Shard, &Arc<dyn Log>), ReadError> {
        self.of(stream.slot(self.region.slots))
    }

    fn shard(&self, place: usize) -> Shard {
        Shard::at(place, self.count())
    }

    fn count(&self) -> u16 {
        u16::try_from(self.stores.len()).unwrap_or(u16::MAX)
    }
}

#[async_trait]
impl Log for Shards {
    fn region(&self) -> &Region {
        &self.region
    }

    async fn read(&self, stream: StreamId, after: u64) -> Result<Vec<Stored>, ReadError> {
        let (shard, store) = self.of_stream(stream)?;
        store.read(stream, after).await.map_err(|error| error.of(shard))
    }

    async fn find(&self, stream: StreamId, event: EventId) -> Result<Option<Stored>, ReadError> {
        let (shard, store) = self.of_stream(stream)?;
        store.find(stream, event).await.map_err(|error| error.of(shard))
    }

    fn end(&self) -> Cursor {
        let mut end = Cursor::start();
        for (place, store) in self.stores.iter().enumerate() {
            for position in self.shard(place).part_of(&store.end()).positions() {
                end.advance(position);
            }
        }
        end
    }

    async fn reach(&self, wanted: &Cursor) -> Result<(), ReadError> {
        for (place, store) in self.stores.iter().enumerate() {
            let shard = self.shard(place);
            store.reach(&shard.part_of(wanted)).await.map_err(|error| error.of(shard))?;
        }
        Ok(())
    }

    fn follow(&self, from: Cursor) -> Box<dyn Feed> {
        let (told, deliveries) = mpsc::channel(self.stores.len().max(1));
        let mut readers = JoinSet::new();
        for (place, store) in self.stores.iter().enumerate() {
            let shard = self.shard(place);
            let mut feed = store.follow(shard.part_of(&from));
            let told = told.clone();
            readers.spawn(async move {
                loop {
                    let delivery = feed.next().await.map_err(|error| error.of(shard));
                    let is_over = delivery.is_err();
                    if told.send((place, shard, delivery)).await.is_err() || is_over {
                        return;
                    }
                }
            });
        }
        let caught_up = vec![false; self.stores.len()];
        Box::new(MergedFeed { deliveries, _readers: readers, caught_up, is_told: false })
    }

    fn run(&self, slot: Slot) -> Option<Run> {
        self.of(slot).ok()?.1.run(slot)
    }

    async fn taken_in(&self, slot: Slot, sequence: u64) -> Result<(), ReadError> {
        let (shard, store) = self.of(slot)?;
        store.taken_in(slot, sequence).await.map_err(|error| error.of(shard))
    }
}

/// Readers of several stores, as one. Each reads by itself: one that has much to tell does not
/// hold up the others.
struct MergedFeed {
    deliveries: mpsc::Receiver<(usize, Shard, Result<Delivery, ReadError>)>,
    /// Ended when nobody reads this any more.
    _readers: JoinSet<()>,
    /// Of which stores all was read that they had.
    caught_up: Vec<bool>,
    /// Whether it was told that all were caught up, and nothing came since.
    is_told: bool,
}

#[async_trait]
impl Feed for MergedFeed {
    async fn next(&mut self) -> Result<Delivery, ReadError> {
        loop {
            let ended = || ReadError::Log("the event stores are not read any more".to_owned());
            let (place, shard, delivery) = self.deliveries.recv().await.ok_or_else(ended)?;
            match delivery? {
                Delivery::Events(mut events) => {
                    // A store may have more slots than are asked of it here.
                    events.retain(|Stored { placed, .. }| {
                        let Position { slot, .. } = placed.position;
                        shard.has(slot)
                    });
                    if !events.is_empty() {
                        self.set_caught_up(place, false);
                        self.is_told = false;
                        return Ok(Delivery::Events(events));
                    }
                }
                Delivery::Unreadable(of) => {
                    if of.is_none_or(|of| shard.has(of.placed.position.slot)) {
                        self.set_caught_up(place, false);
                        self.is_told = false;
                        return Ok(Delivery::Unreadable(of));
                    }
                }
                Delivery::CaughtUp => {
                    self.set_caught_up(place, true);
                    if !self.is_told && self.caught_up.iter().all(|caught_up| *caught_up) {
                        self.is_told = true;
                        return Ok(Delivery::CaughtUp);
                    }
                }
            }
        }
    }
}

impl MergedFeed {
    fn set_caught_up(&mut self, place: usize, is_caught_up: bool) {
        if let Some(caught_up) = self.caught_up.get_mut(place) {
            *caught_up = is_caught_up;
        }
    }
}

impl ReadError {
    /// The same, of a shard's store.
    fn of(self, shard: Shard) -> Self {
        match self {
            Self::Away { told, .. } => Self::Away { shard: shard.to_string(), told },
            Self::Log(told) => Self::Log(told),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_in_one_shard() {
        for count in 1..6u16 {
            for slot in (0..64).map(Slot) {
                let shards = (1..=count).map(|index| Shard { index, count });
                let has: Vec<u16> =
                    shards.filter(|shard| shard.has(slot)).map(|shard| shard.index).collect();
                assert_eq!(has.len(), 1);
                assert_eq!(usize::from(has[0]) - 1, Shard::place_of(slot, count));
            }
        }
    }
}
