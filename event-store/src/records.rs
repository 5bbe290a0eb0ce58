//! A patient's events, wherever they lie: a record that was merged into one of this store's may
//! be in another shard, and is read there.
//!
//! What must stay true: a record is never shown without what was merged into it. As long as that
//! cannot be read, nothing is shown, and it is said which store is needed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tsunagi_bus::handler::retirement;
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Cursor, Log, Shard, Stored, StreamId};
use tsunagi_chassis::{Config, Refused};
use tsunagi_domain::{EventId, PatientId};

use crate::log::LogError;
use crate::log::file::Patience;
use crate::store::Store;
use crate::timeline::Other;

/// Before a record is asked for again that was not there; each further time it is twice as long.
const RETRY_AFTER: Duration = Duration::from_millis(20);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(1);

/// Reads patients' records. Clones share it.
#[derive(Clone)]
pub struct Records {
    store: Store,
    shard: Shard,
    /// That of all shards.
    log: Arc<dyn Log>,
    /// Whether slots are taken in one beside the other: a merge may then be here before the end
    /// of the record that it names.
    is_fed: bool,
    read_wait: Duration,
    /// None if this was not made on one: nothing is waited for then.
    runtime: Option<Handle>,
}

/// A record that is needed, and the merge by which it became part of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) stream: StreamId,
    pub(crate) merge: Option<EventId>,
}

/// Why a record is not read.
#[derive(Debug)]
pub(crate) enum Lack {
    Log(LogError),
    /// It is not in this store, or not as far as it is needed: of no use if it has more than so
    /// many bytes.
    Wanted(Wanted, usize),
}

impl From<Other> for Wanted {
    fn from(other: Other) -> Self {
        match other {
            Other::Merged(patient, merge) => {
                Self { stream: StreamId::Patient(patient), merge: Some(merge) }
            }
            Other::Person(patient) => Self { stream: StreamId::Patient(patient), merge: None },
            Other::Resource(resource) => Self { stream: StreamId::Resource(resource), merge: None },
        }
    }
}

impl From<LogError> for Lack {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// A record that was fetched. None: it has more bytes than were asked for.
type Fetched = Option<Vec<Stored>>;

/// Reads records of this store, and those that were fetched.
pub(crate) struct Reader<'a> {
    pub(crate) store: &'a Store,
    records: &'a Records,
    patience: Patience,
    fetched: &'a HashMap<StreamId, Fetched>,
}

impl Reader<'_> {
    /// A patient's events, unless they have more than so many bytes.
    pub(crate) fn events(
        &self,
        patient: PatientId,
        bytes_max: usize,
    ) -> Result<Option<Vec<Stored>>, Lack> {
        let stream = StreamId::Patient(patient);
        if self.records.has(stream) {
            return Ok(self.store.read_up_to(stream, bytes_max, self.patience)?);
        }
        let fetched = self.fetched.get(&stream);
        let fetched = fetched.ok_or(Lack::Wanted(Wanted { stream, merge: None }, bytes_max))?;
        Ok(fetched.as_ref().filter(|events| bytes(events) <= bytes_max).cloned())
    }

    /// The events of another stream that a timeline needs.
    pub(crate) fn other(&self, other: Other) -> Result<Vec<Stored>, Lack> {
        Ok(self.other_up_to(other, usize::MAX)?.unwrap_or_default())
    }

    /// A patient's events, without those that are damaged.
    pub(crate) fn events_past_damage(&self, patient: PatientId) -> Result<Vec<Stored>, Lack> {
        let stream = StreamId::Patient(patient);
        if self.records.has(stream) {
            return Ok(self.store.read_past(stream, self.patience)?);
        }
        Ok(self.events(patient, usize::MAX)?.unwrap_or_default())
    }

    /// The events of another stream that a timeline needs, without those that are damaged.
    pub(crate) fn other_past_damage(&self, other: Other) -> Result<Vec<Stored>, Lack> {
        match self.other(other) {
            Err(Lack::Log(error)) if error.is_finding() => {
                Ok(self.store.read_past(Wanted::from(other).stream, self.patience)?)
            }
            read => read,
        }
    }

    /// The same, unless they have more than so many bytes.
    pub(crate) fn other_up_to(
        &self,
        other: Other,
        bytes_max: usize,
    ) -> Result<Option<Vec<Stored>>, Lack> {
        let wanted = Wanted::from(other);
        let Wanted { stream, merge } = wanted;
        let found = match self.fetched.get(&stream) {
            Some(fetched) => fetched.clone().filter(|events| bytes(events) <= bytes_max),
            None if self.records.has(stream) => {
                self.store.read_up_to(stream, bytes_max, self.patience)?
            }
            None => return Err(Lack::Wanted(wanted, bytes_max)),
        };
        match found {
            Some(events) if !self.records.is_whole(&events, merge) => {
                Err(Lack::Wanted(wanted, bytes_max))
            }
            found => Ok(found),
        }
    }
}

impl Records {
    /// `log` has all shards.
    pub fn new(store: Store, log: Arc<dyn Log>, config: &Config) -> Self {
        Self {
            store,
            shard: Shard::of(config),
            log,
            is_fed: config.is_on_nats(),
            read_wait: Duration::from_millis(config.read_wait_ms),
            runtime: Handle::try_current().ok(),
        }
    }

    /// Those of a store that has all slots, on the embedded bus.
    pub fn of_one_store(store: Store, config: &Config) -> Self {
        let log = Arc::new(store.clone());
        Self::new(store, log, config)
    }

    /// What a cursor says of this store's slots.
    pub(crate) fn part_of(&self, cursor: &Cursor) -> Cursor {
        self.shard.part_of(cursor)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Whether the stream's slot is one of this store's. The log may have others, from when they
    /// were this store's, and is then behind in them.
    pub(crate) fn has(&self, stream: StreamId) -> bool {
        self.shard.has(stream.slot(self.store.region().slots))
    }

    fn is_whole(&self, events: &[Stored], merge: Option<EventId>) -> bool {
        let Some(merge) = merge.filter(|_| self.is_fed) else { return true };
        let end = retirement(merge);
        events.iter().any(|stored| stored.event == end)
    }

    /// Does reading work for which records of other stores may be needed: these are fetched when
    /// it turns out that they are, and the work is done again.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        work: impl Fn(&Reader<'_>) -> Result<T, Lack> + Send + Sync + 'static,
    ) -> Result<T, Refused> {
        let (work, mut fetched) = (Arc::new(work), HashMap::new());
        loop {
            let (work, records, known) = (Arc::clone(&work), self.clone(), fetched.clone());
            let read = self.store.reading(move |store, patience| {
                let reader = Reader { store, records: &records, patience, fetched: &known };
                match work(&reader) {
                    Ok(done) => Ok(Ok(done)),
                    Err(Lack::Wanted(wanted, bytes_max)) => Ok(Err((wanted, bytes_max))),
                    Err(Lack::Log(error)) => Err(error),
                }
            });
            match read.await? {
                Ok(done) => return Ok(done),
                Err((wanted, bytes_max)) => {
                    let events = self.fetch(wanted, bytes_max).await?;
                    fetched.insert(wanted.stream, events);
                }
            }
        }
    }

    /// A record, as soon as it is there as far as it is needed. None if it has more than so many
    /// bytes.
    async fn fetch(&self, wanted: Wanted, bytes_max: usize) -> Result<Fetched, Refused> {
        let read = async {
            let mut pause = RETRY_AFTER;
            loop {
                let Some(events) = self.read(wanted.stream, bytes_max).await? else {
                    return Ok::<_, ReadError>(None);
                };
                if self.is_whole(&events, wanted.merge) {
                    return Ok(Some(events));
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_AFTER_MAX);
            }
        };
        match tokio::time::timeout(self.read_wait, read).await {
            Ok(Ok(events)) => Ok(events),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a record of another shard cannot be read");
                Err(self.away(wanted.stream))
            }
            Err(_elapsed) => Err(self.away(wanted.stream)),
        }
    }

    /// A stream's events, unless they have more than so many bytes.
    async fn read(&self, stream: StreamId, bytes_max: usize) -> Result<Fetched, ReadError> {
        let mut events: Vec<Stored> = Vec::new();
        let mut room = bytes_max;
        loop {
            let version = events.last().map_or(0, |last| last.placed.version);
            let page = self.log.read(stream, version).await?;
            if page.is_empty() {
                return Ok(Some(events));
            }
            let Some(left) = room.checked_sub(bytes(&page)) else { return Ok(None) };
            room = left;
            events.extend(page);
        }
    }

    /// The events of another stream, waiting for them as long as it takes:
    /// `tell` is told for whom. None when it is time to stop. Not to be called on the runtime.
    pub(crate) fn wait_for_other(
        &self,
        wanted: Wanted,
        stop: &CancellationToken,
        tell: impl Fn(StreamId),
    ) -> Result<Option<Vec<Stored>>, LogError> {
        if let Some(events) = self.here(wanted)? {
            return Ok(Some(events));
        }
        let read = async {
            let mut pause = RETRY_AFTER;
            loop {
                match self.read(wanted.stream, usize::MAX).await {
                    Ok(Some(events)) if self.is_whole(&events, wanted.merge) => return events,
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "a record is waited for"),
                }
                tell(wanted.stream);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_AFTER_MAX);
            }
        };
        let waited = stop.clone().run_until_cancelled_owned(read);
        Ok(self.runtime.as_ref().and_then(|runtime| runtime.block_on(waited)))
    }

    /// A record of this store, if it is here as far as it is needed.
    fn here(&self, wanted: Wanted) -> Result<Option<Vec<Stored>>, LogError> {
        if !self.has(wanted.stream) {
            return Ok(None);
        }
        let events = self.store.read_all(wanted.stream, Patience::Wait)?;
        Ok(self.is_whole(&events, wanted.merge).then_some(events))
    }

    /// The same, waiting for it no longer than a reader does.
    pub(crate) fn wait_for(
        &self,
        wanted: Wanted,
    ) -> Result<Result<Vec<Stored>, Refused>, LogError> {
        if let Some(events) = self.here(wanted)? {
            return Ok(Ok(events));
        }
        let fetch = |runtime: &Handle| runtime.block_on(self.fetch(wanted, usize::MAX));
        let fetched = self.runtime.as_ref().map_or_else(|| Err(self.away(wanted.stream)), fetch);
        Ok(fetched.map(Option::unwrap_or_default))
    }

    /// Says that the store is needed that has a stream's events.
    pub(crate) fn away(&self, stream: StreamId) -> Refused {
        let slot = stream.slot(self.store.region().slots);
        Shard::at(Shard::place_of(slot, self.shard.count), self.shard.count).away()
    }
}

pub(crate) fn bytes(events: &[Stored]) -> usize {
    events.iter().map(|stored| stored.record.len()).sum()
}
