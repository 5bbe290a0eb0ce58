//! What a bus can do: take events of one stream, read them back, and be followed.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tsunagi_domain::EventId;

use crate::cursor::{Cursor, CursorError};
use crate::region::Region;
use crate::stream::{Position, Slot, StreamId};

/// One event to be published. The bus never looks into the record (I7).
#[derive(Debug, Clone)]
pub struct Draft {
    pub event: EventId,
    pub record: Bytes,
}

/// How many events the stream must have for a publication to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Any number: the events do not depend on those before them.
    Any,
    Version(u64),
}

/// Events for one stream, of which all or none are taken.
#[derive(Debug, Clone)]
pub struct Publication {
    pub stream: StreamId,
    pub expected: Expected,
    pub drafts: Vec<Draft>,
}

/// Where an event came to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    pub position: Position,
    /// Its place in its stream: 1 for the first, without gaps.
    pub version: u64,
    pub recorded_at: Timestamp,
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub stream: StreamId,
    pub placed: Placed,
    pub event: EventId,
    pub record: Bytes,
}

/// Why a publication was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Decide again: the stream has another version than expected.
    #[error("the stream has {version} events")]
    Conflict { version: u64 },
    /// Compare: these events of the publication had been stored before, and nothing was added.
    #[error("events with these ids are stored already")]
    Repeated { stored: Vec<Stored> },
    /// Send less at once.
    #[error("the publication is larger than the {limit} bytes that the log takes at once")]
    TooLarge { limit: usize },
    /// Send fewer at once.
    #[error("the publication has more than the {limit} events that the bus takes at once")]
    TooMany { limit: usize },
    /// Try later: nothing was added.
    #[error("more is being written than the log can take")]
    Full,
    /// Try later: nothing was added, and nothing is before somebody makes room. It says where.
    #[error("{0}")]
    NoRoom(String),
    /// Send again with the same event ids: it is not known whether the events were added.
    #[error("it is not known whether the events were stored: {0}")]
    OutcomeUnknown(String),
}

/// Why events cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Tell whoever runs the store.
    #[error("the log cannot be read: {0}")]
    Log(String),
    /// Try again when it runs: the store that has them does not answer. Of which shard that is,
    /// as 2/3, is empty where it is not known.
    #[error("the event store{} does not answer: {told}", of_shard(.shard))]
    Away { shard: String, told: String },
}

fn of_shard(shard: &str) -> String {
    if shard.is_empty() { String::new() } else { format!(" of shard {shard}") }
}

/// An event that is stored, and of which the record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable {
    pub stream: StreamId,
    pub placed: Placed,
    pub event: EventId,
}

/// What a feed hands over.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Events that come next, in the order of each slot.
    Events(Vec<Stored>),
    /// Damage: an event that comes next, or, where not even that is known, any number of them. It
    /// is told to whoever runs the store. Those behind it follow.
    Unreadable(Option<Unreadable>),
    /// All that was stored has been handed over; what follows is live.
    CaughtUp,
}

/// A bus.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    fn region(&self) -> &Region;

    /// Takes events; answers when they are durable (I2).
    async fn publish(&self, publication: Publication) -> Result<Vec<Placed>, PublishError>;

    /// The events of a stream after the first `after` ones, as many as are conveniently read
    /// at once; empty if there are no more.
    async fn read(&self, stream: StreamId, after: u64) -> Result<Vec<Stored>, ReadError>;

    /// One event of a stream.
    async fn find(&self, stream: StreamId, event: EventId) -> Result<Option<Stored>, ReadError>;

    /// Everything that is durable.
    fn end(&self) -> Cursor;

    /// Makes sure that everything is readable here that a cursor has seen: waits for it as long
    /// as is said where it may still come, and not where it never will.
    async fn reach(&self, wanted: &Cursor, wait: Duration) -> Result<(), CursorError>;

    /// Follows all streams from a cursor on.
    fn follow(&self, from: Cursor) -> Box<dyn Feed>;
}

/// A reader of the bus at its place. It passes over what is damaged, and says so: one event does
/// not hold up all that come after it.
#[async_trait]
pub trait Feed: Send {
    /// What comes next; waits for it. Cancelling the wait loses nothing.
    async fn next(&mut self) -> Result<Delivery, ReadError>;
}

/// Positions of a slot that follow one another as the sequences of its stream on NATS do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first position of the run.
    pub n: u64,
    /// The sequence of the message that is stored there.
    pub sequence: u64,
}

impl Run {
    /// Of a stream that has been stored from its first message on.
    pub const WHOLE: Self = Self { n: 1, sequence: 1 };

    /// The position at which the message with `sequence` is stored.
    pub fn n_of(&self, sequence: u64) -> Option<u64> {
        Some(self.n + sequence.checked_sub(self.sequence)?)
    }

    /// The sequence of the message that is stored at position `n`.
    pub fn sequence_of(&self, n: u64) -> Option<u64> {
        Some(self.sequence + n.checked_sub(self.n)?)
    }
}

/// A store that takes in what a bus carries, near or far: it is read, and tells how far it is.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    fn region(&self) -> &Region;

    /// As `Bus::read`.
    async fn read(&self, stream: StreamId, after: u64) -> Result<Vec<Stored>, ReadError>;

    /// As `Bus::find`.
    async fn find(&self, stream: StreamId, event: EventId) -> Result<Option<Stored>, ReadError>;

    /// As `Bus::end`.
    fn end(&self) -> Cursor;

    /// Waits until everything is stored that a cursor has seen.
    async fn reach(&self, wanted: &Cursor) -> Result<(), ReadError>;

    /// As `Bus::follow`.
    fn follow(&self, from: Cursor) -> Box<dyn Feed>;

    /// The run that the slot is in now. None if the slot's stream was not looked at yet.
    fn run(&self, slot: Slot) -> Option<Run>;

    /// Waits until the message with `sequence` of the slot's stream is stored.
    async fn taken_in(&self, slot: Slot, sequence: u64) -> Result<(), ReadError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_follow_sequences_within_a_run() {
        assert_eq!(Run::WHOLE.n_of(7), Some(7));
        let run = Run { n: 100, sequence: 3 };
        assert_eq!((run.n_of(3), run.n_of(10), run.n_of(2)), (Some(100), Some(107), None));
        assert_eq!((run.sequence_of(107), run.sequence_of(99)), (Some(10), None));
    }
}
