//! The embedded bus: a publish is an append to the log, a feed is a reader of it.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use tsunagi_bus::cursor::CursorError;
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{
    Bus, Cursor, Delivery, Expected, Feed, Log, Placed, Position, Publication, PublishError,
    Region, Run, Slot, Stored, StreamId,
};
use tsunagi_domain::EventId;

use crate::log::Location;
use crate::log::writer::{AppendError, Appended};
use crate::store::{Delivered, Failed, LogPoint, Store};

#[async_trait]
impl Bus for Store {
    fn region(&self) -> &Region {
        Self::region(self)
    }

    async fn publish(&self, publication: Publication) -> Result<Vec<Placed>, PublishError> {
        let Publication { stream, expected, drafts } = publication;
        let expected = match expected {
            Expected::Any => None,
            Expected::Version(version) => Some(version),
        };
        let ids: Vec<EventId> = drafts.iter().map(|draft| draft.event).collect();
        let events = drafts.into_iter().map(|draft| (draft.event, draft.record)).collect();
        match self.append(stream, expected, events).await {
            Ok(appended) => Ok(self.placed(stream, &appended, ids.len())),
            Err(failed) => Err(self.explain(stream, &ids, failed).await),
        }
    }

    async fn read(&self, stream: StreamId, after: u64) -> Result<Vec<Stored>, ReadError> {
        self.reading(move |store, patience| store.read_stream(stream, after, patience)).await
    }

    async fn find(&self, stream: StreamId, event: EventId) -> Result<Option<Stored>, ReadError> {
        self.reading(move |store, patience| store.find(stream, event, patience)).await
    }

    fn end(&self) -> Cursor {
        Self::end(self)
    }

    async fn reach(&self, wanted: &Cursor, wait: Duration) -> Result<(), CursorError> {
        if !self.is_fed() {
            // What was told here is here, unless the log was put back.
            return wanted.clone().within(&Self::end(self)).map(drop);
        }
        let reached = tokio::time::timeout(wait, Log::reach(self, wanted)).await;
        if matches!(reached, Ok(Ok(()))) { Ok(()) } else { Err(CursorError::NotReached) }
    }

    fn follow(&self, from: Cursor) -> Box<dyn Feed> {
        Box::new(LogFeed {
            point: self.point_after(&from),
            seen: from,
            moved: self.watch_end(),
            is_caught_up: false,
            store: self.clone(),
        })
    }
}

/// The store as JetStream's bus sees it.
#[async_trait]
impl Log for Store {
    fn region(&self) -> &Region {
        Self::region(self)
    }

    async fn read(&self, stream: StreamId, after: u64) -> Result<Vec<Stored>, ReadError> {
        Bus::read(self, stream, after).await
    }

    async fn find(&self, stream: StreamId, event: EventId) -> Result<Option<Stored>, ReadError> {
        Bus::find(self, stream, event).await
    }

    fn end(&self) -> Cursor {
        Self::end(self)
    }

    async fn reach(&self, wanted: &Cursor) -> Result<(), ReadError> {
        let mut moved = self.watch_end();
        while !Self::end(self).covers(wanted) {
            let moved = moved.changed().await;
            moved.map_err(|_closed| ReadError::Log("the store is closed".to_owned()))?;
        }
        Ok(())
    }

    fn follow(&self, from: Cursor) -> Box<dyn Feed> {
        Bus::follow(self, from)
    }

    fn run(&self, slot: Slot) -> Option<Run> {
        self.runs().borrow().get(usize::from(slot.0)).copied().flatten()
    }

    async fn taken_in(&self, slot: Slot, sequence: u64) -> Result<(), ReadError> {
        let (mut moved, mut runs) = (self.watch_end(), self.runs().subscribe());
        loop {
            // Marked as seen before looking: what moves from here on wakes the wait below.
            moved.mark_unchanged();
            runs.mark_unchanged();
            // What lies before the run is not waited for: it is of a stream that is no more.
            let is_stored = |run: Run| run.n_of(sequence).is_none_or(|n| self.durable_n(slot) >= n);
            if Log::run(self, slot).is_some_and(is_stored) {
                return Ok(());
            }
            let is_open = tokio::select! {
                // Either may be cancelled: both are only waited for.
                moved = moved.changed() => moved.is_ok(),
                changed = runs.changed() => changed.is_ok(),
            };
            if !is_open {
                return Err(ReadError::Log("the store is closed".to_owned()));
            }
        }
    }
}

impl Store {
    fn placed(&self, stream: StreamId, appended: &Appended, events: usize) -> Vec<Placed> {
        let slot = stream.slot(Self::region(self).slots);
        let recorded_at =
            Timestamp::from_microsecond(appended.recorded_at_us).unwrap_or(Timestamp::UNIX_EPOCH);
        (appended.first_n..)
            .zip(appended.first_version..)
            .take(events)
            .map(|(n, version)| Placed { position: Position { slot, n }, version, recorded_at })
            .collect()
    }

    async fn explain(&self, stream: StreamId, ids: &[EventId], failed: Failed) -> PublishError {
        let unknown =
            |error: &dyn std::fmt::Display| PublishError::OutcomeUnknown(error.to_string());
        match failed {
            Failed::Refused(AppendError::Conflict { version }) => {
                PublishError::Conflict { version }
            }
            Failed::Refused(AppendError::TooLarge { limit }) => PublishError::TooLarge { limit },
            Failed::Refused(AppendError::NoRoom(_)) => {
                PublishError::NoRoom("the server's disk is full".to_owned())
            }
            Failed::Refused(
                error @ (AppendError::Unreadable(_)
                | AppendError::Broken(_)
                | AppendError::Gap { .. }
                | AppendError::Fed),
            ) => unknown(&error),
            Failed::Refused(AppendError::Repeated) => {
                let mut stored = Vec::new();
                for id in ids {
                    match Bus::find(self, stream, *id).await {
                        Ok(found) => stored.extend(found),
                        Err(error) => return unknown(&error),
                    }
                }
                PublishError::Repeated { stored }
            }
            Failed::Full => PublishError::Full,
            Failed::Closed => unknown(&"the store is closed"),
        }
    }
}

/// A reader of the log at its place.
struct LogFeed {
    store: Store,
    point: LogPoint,
    seen: Cursor,
    moved: watch::Receiver<Location>,
    is_caught_up: bool,
}

#[async_trait]
impl Feed for LogFeed {
    async fn next(&mut self) -> Result<Delivery, ReadError> {
        loop {
            // Marked as seen before reading: what moves from here on wakes the wait below.
            self.moved.mark_unchanged();
            let point = self.point;
            let read = self.store.reading(move |store, patience| store.read_log(point, patience));
            let (delivered, point) = read.await?;
            self.point = point;
            let mut events = match delivered {
                Delivered::Events(events) => events,
                Delivered::Unreadable(of) => {
                    if of.is_some_and(|of| self.seen.has_seen(of.placed.position)) {
                        continue;
                    }
                    if let Some(of) = of {
                        self.seen.advance(of.placed.position);
                    }
                    self.is_caught_up = false;
                    return Ok(Delivery::Unreadable(of));
                }
            };
            let is_at_end = events.is_empty();
            // Reading begins where the first unseen event of any slot lies; other slots may
            // have been seen further.
            events.retain(|stored| !self.seen.has_seen(stored.placed.position));
            if !events.is_empty() {
                for stored in &events {
                    self.seen.advance(stored.placed.position);
                }
                self.is_caught_up = false;
                return Ok(Delivery::Events(events));
            }
            if !is_at_end {
                continue;
            }
            if !self.is_caught_up {
                self.is_caught_up = true;
                return Ok(Delivery::CaughtUp);
            }
            if self.moved.changed().await.is_err() {
                return Err(ReadError::Log("the store is closed".to_owned()));
            }
        }
    }
}
