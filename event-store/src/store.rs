//! The store as the others see it: open it, append, read, close it.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Cursor, Placed, Position, Region, Slot, Stored, StreamId};
use tsunagi_chassis::Config;
use tsunagi_domain::EventId;
use uuid::Uuid;

use crate::log::file::Patience;
use crate::log::frame::{HEADER_BYTES, Sealed};
use crate::log::scan::{Frame, Next, Scanner, read_frame};
use crate::log::segment::{Folder, SEGMENT_HEADER_BYTES, Segment, create_folder};
use crate::log::writer::{Append, AppendError, Appended, Entry, Limits, Shared, Writer};
use crate::log::{Location, LogError, indexer, recovery};
use crate::region_file::{self, RegionError};

/// Events read of one stream at a time.
const STREAM_PAGE_EVENTS: usize = 512;
/// Events read of one stream on a thread of the runtime, if they are in memory.
const STREAM_PAGE_EVENTS_AT_ONCE: usize = 128;
/// Bytes of records after which no more are read at a time.
const PAGE_BYTES: usize = 4 << 20;

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another process has the data folder {path} open{}", served_at(.address.as_deref()))]
    Locked { path: PathBuf, address: Option<String> },
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the thread that writes the log cannot be started")]
    Thread(#[source] std::io::Error),
}

fn served_at(address: Option<&str>) -> String {
    address.map(|address| format!(", and serves it at {address}")).unwrap_or_default()
}

/// An open data folder. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    region: Region,
    folder: Folder,
    shared: Arc<Shared>,
    appends: Mutex<Option<mpsc::Sender<Append>>>,
    writer: Mutex<Option<JoinHandle<Option<Location>>>>,
    indexer: Mutex<Option<JoinHandle<()>>>,
    /// How many bytes may wait for the writer.
    room: Arc<Semaphore>,
    room_bytes: u32,
    append_wait: Duration,
    subscribe_batch: usize,
    lock: Mutex<File>,
}

/// Where a reader of the whole log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPoint(Location);

impl Inner {
    /// Lets the writer finish what is queued, and waits for it. Where the log ends then, if
    /// that is known and was not told before.
    fn stop_writer(&self) -> Option<Location> {
        drop(self.appends.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let end = writer.map(JoinHandle::join).and_then(Result::ok).flatten();
        let indexer = self.indexer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It ends when the writer has: there is nobody any more to tell it anything.
        if let Some(Err(_)) = indexer.map(JoinHandle::join) {
            tracing::error!("the thread that makes index files panicked");
        }
        end
    }
}

impl Drop for Inner {
    /// The lock is given back after this: nothing may write any more.
    fn drop(&mut self) {
        self.stop_writer();
    }
}

impl Store {
    /// Opens a data folder, creating it if need be: checks the whole log and cuts a torn end.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        create_folder(&config.data)?;
        let lock = lock(&config.data)?;
        let region = region_file::open(config)?;
        let folder = Folder::open(config.data.join("log"), region.id, config.segment_bytes)?;
        let recovered = recovery::open(&folder, region.slots)?;
        if recovered.cut_bytes > 0 {
            tracing::warn!(
                bytes = recovered.cut_bytes,
                "cut a batch that was being written when the last process ended; it had not been acknowledged"
            );
        }
        let end = recovered.end;
        let missing = || LogError::Missing { path: folder.segment_path(end.segment) };
        let last = recovered.segments.last().cloned().ok_or_else(missing)?;
        let shared = Arc::new(Shared::new(recovered.index, recovered.segments, end));
        let limits = Limits {
            batch_events: config.batch_events,
            batch_bytes: config.batch_bytes,
            disk_floor_bytes: config.disk_floor_bytes,
        };
        let (sealed, to_index) = std::sync::mpsc::channel();
        let mut writer = Writer::new(folder.clone(), limits, Arc::clone(&shared), last, sealed);
        let (appends, queue) = mpsc::channel(config.append_queue);
        let thread = std::thread::Builder::new().name("log-writer".to_owned());
        let thread = thread.spawn(move || {
            writer.prepare_spare_aside();
            writer.run(queue)
        });
        let thread = thread.map_err(OpenError::Thread)?;
        let indexer = std::thread::Builder::new().name("log-indexer".to_owned());
        let indexed = (indexer::folder(&folder.path), Arc::clone(&shared));
        let indexer = indexer.spawn(move || indexer::run(&indexed.0, &indexed.1, &to_index));
        let indexer = indexer.map_err(OpenError::Thread)?;
        Ok(Self(Arc::new(Inner {
            region,
            folder,
            shared,
            appends: Mutex::new(Some(appends)),
            writer: Mutex::new(Some(thread)),
            indexer: Mutex::new(Some(indexer)),
            room: Arc::new(Semaphore::new(
                config.append_queue_bytes.try_into().unwrap_or(Semaphore::MAX_PERMITS),
            )),
            room_bytes: config.append_queue_bytes,
            append_wait: Duration::from_millis(config.append_wait_ms),
            subscribe_batch: config.subscribe_batch,
            lock: Mutex::new(lock),
        })))
    }

    /// Writes what waits and notes where the log ends. Waits for it; call it off the runtime.
    pub fn close(&self) -> Result<(), LogError> {
        match self.0.stop_writer() {
            Some(end) => recovery::write_closed(&self.0.folder, end),
            // Writing failed, or it was closed before: there is nothing true to note.
            None => Ok(()),
        }
    }

    /// Lets other processes know where this folder is served.
    pub fn announce(&self, address: &str) -> std::io::Result<()> {
        let mut lock = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.set_len(0)?;
        write!(lock, "{address}")?;
        lock.flush()
    }

    pub fn region(&self) -> &Region {
        &self.0.region
    }

    /// Cancelled when the log can no longer be written: what is stored can still be read.
    pub fn broken(&self) -> &CancellationToken {
        &self.0.shared.broken
    }

    /// Tells whenever more is durable.
    pub(crate) fn watch_end(&self) -> watch::Receiver<Location> {
        self.0.shared.watch()
    }

    pub(crate) async fn append(
        &self,
        stream: StreamId,
        expected: Option<u64>,
        events: Vec<(EventId, Bytes)>,
    ) -> Result<Appended, Failed> {
        let bytes = events.iter().map(|(_, record)| HEADER_BYTES + record.len()).sum::<usize>();
        // One that is larger than all the room there is has to wait for all of it.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.0.room_bytes);
        let room = Arc::clone(&self.0.room).acquire_many_owned(bytes);
        let room = tokio::time::timeout(self.0.append_wait, room).await;
        let room = room.or(Err(Failed::Full))?.or(Err(Failed::Closed))?;
        let entry = |(event, record): (EventId, Bytes)| Entry {
            event: event.uuid().into_bytes(),
            sealed: Sealed::new(record),
        };
        let (answer, answered) = oneshot::channel();
        let append = Append {
            stream: stream.to_parts(),
            slot: stream.slot(self.0.region.slots).0,
            expected,
            entries: events.into_iter().map(entry).collect(),
            answer,
            room,
        };
        let appends = self.0.appends.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let appends = appends.ok_or(Failed::Closed)?;
        match appends.try_send(append) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Failed::Closed),
            Err(mpsc::error::TrySendError::Full(append)) => {
                let sent = appends.send_timeout(append, self.0.append_wait).await;
                sent.or(Err(Failed::Full))?;
            }
        }
        // A sender that is kept would keep the writer from ending.
        drop(appends);
        answered.await.or(Err(Failed::Closed))?.map_err(Failed::Refused)
    }

    /// Whether a stream has events after the first `after` ones.
    pub(crate) fn has_more(&self, stream: StreamId, after: u64) -> bool {
        let durable = self.0.shared.durable();
        let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        index.durable_version(&stream.to_parts(), durable) > after
    }

    /// The events of a stream after the first `after` ones, as many as are read at once.
    pub(crate) fn read_stream(
        &self,
        stream: StreamId,
        after: u64,
        patience: Patience,
    ) -> Result<Vec<Stored>, LogError> {
        let (key, max) = (stream.to_parts(), STREAM_PAGE_EVENTS);
        let locations = self.0.shared.locations(&key, after, max, patience)?;
        if patience == Patience::FromMemory && locations.len() > STREAM_PAGE_EVENTS_AT_ONCE {
            return Err(LogError::WouldWait);
        }
        let mut events = Vec::with_capacity(locations.len());
        let mut bytes = 0;
        for (version, location) in (after + 1..).zip(locations) {
            let stored = self.read_at(stream, version, location, patience)?;
            bytes += stored.record.len();
            events.push(stored);
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(events)
    }

    /// The whole stream.
    pub fn read_all(&self, stream: StreamId, patience: Patience) -> Result<Vec<Stored>, LogError> {
        let mut events = Vec::new();
        loop {
            let after = u64::try_from(events.len()).unwrap_or(u64::MAX);
            events.extend(self.read_stream(stream, after, patience)?);
            let version = u64::try_from(events.len()).unwrap_or(u64::MAX);
            if version == after || !self.has_more(stream, version) {
                return Ok(events);
            }
        }
    }

    /// One event of a stream, if it is there.
    pub(crate) fn find(
        &self,
        stream: StreamId,
        event: EventId,
        patience: Patience,
    ) -> Result<Option<Stored>, LogError> {
        let durable = self.0.shared.durable();
        let id = event.uuid().into_bytes();
        match self.0.shared.find(&stream.to_parts(), &id, patience)? {
            Some((location, version)) if location < durable => {
                self.read_at(stream, version, location, patience).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Does reading work where it is cheapest: at once if everything is in memory, and off the
    /// runtime's threads if it has to wait for the disk.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        work: impl Fn(&Self, Patience) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, ReadError> {
        match work(self, Patience::FromMemory) {
            Err(LogError::WouldWait) => {}
            done => return done.map_err(|error| ReadError(error.to_string())),
        }
        let store = self.clone();
        off_the_runtime(move || work(&store, Patience::Wait)).await
    }

    /// Everything that is durable.
    pub fn end(&self) -> Cursor {
        let durable = self.0.shared.durable();
        let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut end = Cursor::start();
        for slot in 0..self.0.region.slots {
            let n = index.durable_n(slot, durable);
            if n > 0 {
                end.advance(Position { slot: Slot(slot), n });
            }
        }
        end
    }

    /// Where to begin reading the whole log to see everything that `cursor` has not seen.
    pub(crate) fn point_after(&self, cursor: &Cursor) -> LogPoint {
        let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let unseen = (0..self.0.region.slots)
            .filter_map(|slot| index.begin_of(slot, cursor.seen(Slot(slot)).saturating_add(1)));
        let durable = self.0.shared.durable();
        LogPoint(unseen.min().unwrap_or(durable).min(durable))
    }

    /// The events from `point` on, as many as are read at once, and the point behind them.
    pub(crate) fn read_log(&self, point: LogPoint) -> Result<(Vec<Stored>, LogPoint), LogError> {
        let durable = self.0.shared.durable();
        let mut at = point.0;
        let mut events = Vec::new();
        let mut bytes = 0;
        while at < durable {
            let segment = self.segment(at.segment)?;
            let (limit, next) = self.end_of(&segment, durable)?;
            let mut scanner = Scanner::new(&segment, at.offset, limit);
            while at.offset < limit {
                if events.len() >= self.0.subscribe_batch || bytes >= PAGE_BYTES {
                    return Ok((events, LogPoint(at)));
                }
                let frame = match scanner.read_next()? {
                    Next::Frame(frame) => frame,
                    Next::End(offset, reason) => {
                        return Err(segment.damaged(offset, reason.problem()));
                    }
                };
                let length = frame.header.frame_bytes();
                bytes += length;
                at.offset = frame.offset + u32::try_from(length).unwrap_or(u32::MAX);
                events.push(stored(&segment, frame)?);
            }
            at = next;
        }
        Ok((events, LogPoint(at)))
    }

    /// Where a segment's events end, and where reading goes on then.
    fn end_of(&self, segment: &Segment, durable: Location) -> Result<(u32, Location), LogError> {
        if segment.number == durable.segment {
            return Ok((durable.offset, durable));
        }
        let next = self.segment(segment.number + 1)?;
        let begin = Location { segment: next.number, offset: SEGMENT_HEADER_BYTES };
        Ok((next.previous_end, begin))
    }

    fn segment(&self, number: u32) -> Result<Arc<Segment>, LogError> {
        let missing = || LogError::Missing { path: self.0.folder.segment_path(number) };
        self.0.shared.segment(number).ok_or_else(missing)
    }

    fn read_at(
        &self,
        stream: StreamId,
        version: u64,
        location: Location,
        patience: Patience,
    ) -> Result<Stored, LogError> {
        let segment = self.segment(location.segment)?;
        let frame = read_frame(&segment, location.offset, patience)?;
        if (frame.header.stream_kind, frame.header.stream_key) != stream.to_parts() {
            return Err(segment.damaged(location.offset, "another event is here than expected"));
        }
        if u64::from(frame.header.version) != version {
            return Err(segment.damaged(location.offset, "another version is here than expected"));
        }
        Ok(to_stored(stream, frame))
    }
}

/// An event met while reading the whole log.
fn stored(segment: &Segment, frame: Frame) -> Result<Stored, LogError> {
    let stream = StreamId::from_parts(frame.header.stream_kind, frame.header.stream_key)
        .ok_or_else(|| segment.damaged(frame.offset, "its stream is of an unknown kind"))?;
    Ok(to_stored(stream, frame))
}

/// Runs work that may wait for the disk where it does not hold up the runtime's threads.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, ReadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| ReadError(error.to_string())),
        Err(error) => Err(ReadError(error.to_string())),
    }
}

/// Why an append came to nothing.
#[derive(Debug)]
pub(crate) enum Failed {
    Refused(AppendError),
    /// The queue stayed full.
    Full,
    /// The store is closed, or its writer is gone: what was sent may or may not be there.
    Closed,
}

fn to_stored(stream: StreamId, frame: Frame) -> Stored {
    let Frame { header, record, .. } = frame;
    let recorded_at =
        Timestamp::from_microsecond(header.recorded_at_us).unwrap_or(Timestamp::UNIX_EPOCH);
    let position = Position { slot: Slot(header.slot), n: header.n };
    Stored {
        stream,
        placed: Placed { position, version: header.version.into(), recorded_at },
        event: EventId::new(Uuid::from_bytes(header.event)),
        record,
    }
}

/// Takes the folder for this process alone, until the process ends.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).map_err(LogError::io("opening", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut address = String::new();
            let read = file.read_to_string(&mut address);
            let address = (read.is_ok() && !address.is_empty()).then_some(address);
            return Err(OpenError::Locked { path: folder.to_owned(), address });
        }
        Err(TryLockError::Error(error)) => return Err(LogError::io("locking", &path)(error).into()),
    }
    file.set_len(0).map_err(LogError::io("opening", &path))?;
    Ok(file)
}
