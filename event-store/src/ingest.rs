//! Step 4 on NATS: takes each slot's stream into the log, in the stream's order.
//!
//! What must stay true: every message of a stream takes exactly one position of its slot, so
//! the last position that is stored says which message comes next, and there is no second place
//! where that is noted; a message that is not the next one stops the slot until the stream was
//! read again; whether the stream is still the one that the log was made from is checked at
//! start, after a reconnect and every few seconds.

mod again;
mod append;
mod records;
mod slot;
mod standing;
mod streams_file;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tsunagi_bus::nats::{ReaderError, Streams, StreamsError};
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Log as _, Shard, Slot};
use tsunagi_chassis::Config;

use crate::log::LogError;
use crate::log::segment::SEGMENT_HEADER_BYTES;
use crate::store::{Failed, Store};
pub(crate) use streams_file::NAME as STREAMS;

use again::Carried;
use slot::SlotTask;
use standing::Standing;
use streams_file::StreamsFile;

/// Slots that are looked at at once.
const LOOKED_AT_ONCE: usize = 8;

/// Why a stream cannot be taken in, or not at the moment.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error(transparent)]
    Streams(#[from] StreamsError),
    #[error(transparent)]
    Reader(#[from] ReaderError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the log does not take the events of the stream: {0}")]
    Refused(String),
    #[error("the stream of slot {0} is not the one that the log was made from any more")]
    Changed(u16),
    #[error("the stream of slot {0} has messages that do not come")]
    Silent(u16),
    #[error(
        "the stream of slot {slot} has lost its messages {from} to {to}, and the log does not have them: begin with a backup of a store that has them; if there is none, say accept-lost once, and the slot goes on without them"
    )]
    Lost { slot: u16, from: u64, to: u64 },
    #[error(
        "position {n} of slot {slot}, which the stream lacks, cannot be read from the log: `tsunagi verify` says where it is damaged; begin with a backup, or start a store that has it"
    )]
    Unreadable { slot: u16, n: u64 },
    #[error(
        "position {n} of slot {slot} is to come before the stream's next message, and the store that has it has not published it again yet: start that store, or begin with a backup of it"
    )]
    Missing { slot: u16, n: u64 },
}

impl From<Failed> for IngestError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(error) => Self::Refused(error.to_string()),
            Failed::Full => Self::Refused("more is being written than it can take".to_owned()),
            Failed::Closed => Self::Refused("it is closed".to_owned()),
        }
    }
}

/// The limits of taking in.
#[derive(Debug, Clone, Copy)]
struct Limits {
    messages: usize,
    bytes: usize,
    /// Bytes that one append may have.
    append_bytes: usize,
    check_every: Duration,
    /// Events that are published again at once.
    window: usize,
    /// How long a start waits for a slot in which nothing moves.
    patience: Duration,
    /// Whether a slot may go on behind messages that its stream has lost.
    accepts_lost: bool,
}

/// What all slots share.
#[derive(Clone)]
struct Shared {
    store: Store,
    streams: Streams,
    file: Arc<StreamsFile>,
    limits: Limits,
}

/// The slots that are being taken in.
pub struct Ingest {
    tasks: TaskTracker,
    stop: DropGuard,
    /// How many events were carried into the streams before.
    pub carried: u64,
}

/// Whether the folder takes its events from NATS, and has no order of its own any more.
pub fn is_fed(data: &Path) -> bool {
    streams_file::is_there(data)
}

impl Ingest {
    /// Compares the streams with the log, carries into them what they lack of it, and begins to
    /// take them in. Comes back when everything is stored that is in the streams now: who reads
    /// here then sees what was acknowledged before, by whomever. A slot in which nothing moves
    /// is waited for no longer than NATS may take to answer; health tells of it.
    pub async fn start(
        store: &Store,
        streams: &Streams,
        config: &Config,
    ) -> Result<Self, IngestError> {
        store.feed_from_nats();
        let file = Arc::new(StreamsFile::open(&config.data)?);
        let append_bytes = config.segment_bytes.saturating_sub(SEGMENT_HEADER_BYTES);
        let limits = Limits {
            messages: config.ingest_batch,
            bytes: config.batch_bytes,
            append_bytes: usize::try_from(append_bytes).unwrap_or(usize::MAX),
            check_every: Duration::from_millis(config.nats_check_ms),
            window: config.nats_window,
            patience: Duration::from_millis(config.nats_start_ms),
            accepts_lost: config.accept_lost,
        };
        let shared = Shared { store: store.clone(), streams: streams.clone(), file, limits };
        let all = store.region().slots;
        let shard = Shard::of(config);
        let slots: Vec<Slot> = (0..all).map(Slot).filter(|slot| shard.has(*slot)).collect();
        store.runs().send_replace(vec![None; usize::from(all)]);
        let Carried { events: carried, unreadable } = shared.carry(&slots).await?;
        if let Some(error) = unreadable {
            // That slot's task waits for it, and tells of it.
            tracing::error!(%error, "a slot is carried so far, and the others whole");
        }
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        for slot in &slots {
            let task = SlotTask::new(shared.clone(), *slot);
            tasks.spawn(stop.clone().run_until_cancelled_owned(task.run()));
        }
        tasks.close();
        let ingest = Self { tasks, stop: stop.drop_guard(), carried };
        shared.catch_up(&slots).await?;
        Ok(ingest)
    }

    /// Stops taking in. What was taken is stored.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.wait().await;
    }
}

impl Shared {
    /// Waits until the streams are stored as far as they go now.
    async fn catch_up(&self, slots: &[Slot]) -> Result<(), IngestError> {
        let caught_up = futures_util::stream::iter(slots.to_vec())
            .map(|slot| async move {
                let state = self.streams.state(slot).await?;
                if state.missing > 0 {
                    tracing::error!(
                        slot = slot.0,
                        messages = state.missing,
                        "messages are missing within the stream of a slot: make further stores from a backup of one that has them"
                    );
                }
                self.catch_up_slot(slot, state.last).await
            })
            // One that does not move must not keep others waiting.
            .buffer_unordered(slots.len().max(1));
        caught_up.try_collect().await
    }

    async fn catch_up_slot(&self, slot: Slot, last: u64) -> Result<(), IngestError> {
        let mut before = self.store.durable_n(slot);
        loop {
            let taken_in = self.store.taken_in(slot, last);
            if let Ok(taken_in) = tokio::time::timeout(self.limits.patience, taken_in).await {
                return Ok(taken_in?);
            }
            let n = self.store.durable_n(slot);
            if std::mem::replace(&mut before, n) == n {
                tracing::error!(slot = slot.0, "a slot is served as far as it is taken in");
                return Ok(());
            }
        }
    }

    /// Brings streams that lack the end of what the log has, or all of it, to where the log is.
    /// Can be broken off, and goes on where it was.
    async fn carry(&self, slots: &[Slot]) -> Result<Carried, IngestError> {
        let looked = futures_util::stream::iter(slots.to_vec())
            .map(|slot| async move { Ok((slot, self.standing(slot).await?)) })
            .buffer_unordered(LOOKED_AT_ONCE);
        let standings: Vec<(Slot, Standing)> =
            looked.try_collect::<Vec<_>>().await.map_err(|error: IngestError| error)?;
        let mut sources = Vec::new();
        let mut behind = Vec::new();
        for (slot, standing) in standings {
            match standing {
                Standing::Same { source, .. } => sources.push((slot, source)),
                Standing::Behind { source, lacks } => {
                    sources.push((slot, source.clone()));
                    behind.push((slot, source.run, lacks));
                }
                // Its own task mends it, and tells of it.
                Standing::Parted { .. }
                | Standing::Untold { .. }
                | Standing::Before { .. }
                | Standing::Lost { .. } => {}
            }
        }
        // A folder of which nothing is carried yet is a folder of its own until this is written.
        self.note(sources).await?;
        if behind.is_empty() {
            return Ok(Carried::default());
        }
        let lacking: u64 = behind.iter().map(|(_, _, lacks)| lacks.end() - lacks.start() + 1).sum();
        tracing::info!(events = lacking, "carrying events of the log into the streams on NATS");
        self.publish_behind(behind).await
    }

    async fn note(&self, sources: Vec<(Slot, streams_file::Source)>) -> Result<(), IngestError> {
        let file = Arc::clone(&self.file);
        crate::store::off_the_runtime(move || file.set(sources)).await?;
        Ok(())
    }
}
