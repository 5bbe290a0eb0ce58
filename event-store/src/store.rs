//! The store as the others see it: open it, append, read, close it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Cursor, Placed, Position, Region, Slot, Stored, StreamId};
use tsunagi_chassis::Config;
use tsunagi_domain::{EventId, PatientId};
use uuid::Uuid;

use crate::log::frame::Sealed;
use crate::log::scan::{Frame, Next, Patience, Scanner, read_frame};
use crate::log::segment::{Folder, SEGMENT_HEADER_BYTES, Segment, create_folder};
use crate::log::writer::{Append, AppendError, Appended, BatchLimits, Entry, Shared, Writer};
use crate::log::{Location, LogError, recovery};
use crate::region_file::{self, RegionError};

/// Events read of one stream at a time.
const STREAM_PAGE_EVENTS: usize = 512;

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another process has the data folder {path} open{}", served_at(.address.as_deref()))]
    Locked { path: PathBuf, address: Option<String> },
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error(transparent)]
    Log(#[from] LogError),
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
    append_wait: Duration,
    subscribe_batch: usize,
    lock: Mutex<File>,
}

/// Where a reader of the whole log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(Location);

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
        let shared = Arc::new(Shared::new(recovered.index, recovered.segments, recovered.end));
        let limits = BatchLimits { events: config.batch_events, bytes: config.batch_bytes };
        let writer = Writer::new(folder.clone(), limits, Arc::clone(&shared), recovered.end);
        let (appends, queue) = mpsc::channel(config.append_queue);
        let thread = writer.and_then(|writer| {
            writer.prepare_spare_aside();
            let name = "log-writer".to_owned();
            std::thread::Builder::new().name(name).spawn(move || writer.run(queue)).ok()
        });
        Ok(Self(Arc::new(Inner {
            region,
            folder,
            shared,
            appends: Mutex::new(Some(appends)),
            writer: Mutex::new(thread),
            append_wait: Duration::from_millis(config.append_wait_ms),
            subscribe_batch: config.subscribe_batch,
            lock: Mutex::new(lock),
        })))
    }

    /// Writes what waits and notes where the log ends. Waits for it; call it off the runtime.
    pub fn close(&self) -> Result<(), LogError> {
        // Without a sender, the writer finishes what is queued and ends.
        drop(self.0.appends.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        match writer.map(JoinHandle::join) {
            Some(Ok(Some(end))) => recovery::write_closed(&self.0.folder, end),
            // The writer failed, or it was closed before: there is nothing true to note.
            Some(Ok(None) | Err(_)) | None => Ok(()),
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
        answered.await.or(Err(Failed::Closed))?.map_err(Failed::Refused)
    }

    /// Whether a stream has events after the first `after` ones.
    pub(crate) fn has_more(&self, stream: StreamId, after: u64) -> bool {
        let durable = self.0.shared.durable();
        let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        !index.locations(&stream.to_parts(), after, durable, 1).is_empty()
    }

    /// The events of a stream after the first `after` ones, as many as are read at once.
    pub(crate) fn read_stream(
        &self,
        stream: StreamId,
        after: u64,
        patience: Patience,
    ) -> Result<Vec<Stored>, LogError> {
        let durable = self.0.shared.durable();
        let key = stream.to_parts();
        let locations = {
            let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            index.locations(&key, after, durable, STREAM_PAGE_EVENTS)
        };
        (after + 1..)
            .zip(locations)
            .map(|(version, location)| self.read_at(stream, version, location, patience))
            .collect()
    }

    /// The whole stream.
    pub fn read_all(&self, stream: StreamId, patience: Patience) -> Result<Vec<Stored>, LogError> {
        let mut events = Vec::new();
        loop {
            let after = u64::try_from(events.len()).unwrap_or(u64::MAX);
            let page = self.read_stream(stream, after, patience)?;
            let is_last = page.len() < STREAM_PAGE_EVENTS;
            events.extend(page);
            if is_last {
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
        let found = {
            let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            index.find(&stream.to_parts(), event.uuid().into_bytes())
        };
        match found {
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

    /// All patients of whom something is stored, in the order of their ids.
    pub fn patients(&self) -> Vec<PatientId> {
        let (patient_kind, _) = StreamId::Patient(PatientId::new(Uuid::nil())).to_parts();
        let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut patients: Vec<_> =
            index.streams(patient_kind).map(|key| PatientId::new(Uuid::from_bytes(key))).collect();
        patients.sort_unstable();
        patients
    }

    /// Everything that is durable.
    pub fn end(&self) -> Cursor {
        let durable = self.0.shared.durable();
        let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut end = Cursor::start();
        for slot in 0..self.0.region.slots {
            let mut n = index.last_n(slot);
            while index.position(slot, n).is_some_and(|location| location >= durable) {
                n -= 1;
            }
            if n > 0 {
                end.advance(Position { slot: Slot(slot), n });
            }
        }
        end
    }

    /// Where to begin reading the whole log to see everything that `cursor` has not seen.
    pub(crate) fn place_after(&self, cursor: &Cursor) -> Place {
        let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let unseen = (0..self.0.region.slots)
            .filter_map(|slot| index.position(slot, cursor.seen(Slot(slot)) + 1));
        let durable = self.0.shared.durable();
        Place(unseen.min().unwrap_or(durable).min(durable))
    }

    /// The events from `place` on, as many as are read at once, and the place behind them.
    pub(crate) fn read_log(&self, place: Place) -> Result<(Vec<Stored>, Place), LogError> {
        let durable = self.0.shared.durable();
        let mut at = place.0;
        let mut events = Vec::new();
        while at < durable && events.len() < self.0.subscribe_batch {
            let segment = self.segment(at.segment)?;
            let is_last = at.segment == durable.segment;
            let limit = if is_last { durable.offset } else { segment.bytes()? };
            let mut scanner = Scanner::new(&segment, at.offset, limit);
            let end = loop {
                if events.len() >= self.0.subscribe_batch {
                    return Ok((events, Place(at)));
                }
                match scanner.read_next()? {
                    Next::Frame(frame) => {
                        let bytes = u32::try_from(frame.header.frame_bytes()).unwrap_or(u32::MAX);
                        at.offset = frame.offset + bytes;
                        events.push(self.stored(&segment, frame)?);
                    }
                    Next::End(offset, _) => break offset,
                }
            };
            at = self.after_segment(&segment, end, durable)?;
        }
        Ok((events, Place(at)))
    }

    /// Where reading goes on when a segment was read to `end`, if that is its end.
    fn after_segment(
        &self,
        segment: &Segment,
        end: u32,
        durable: Location,
    ) -> Result<Location, LogError> {
        const PROBLEM: &str = "an event is not intact";
        if segment.number == durable.segment {
            return if end == durable.offset {
                Ok(durable)
            } else {
                Err(segment.damaged(end, PROBLEM))
            };
        }
        let next = self.segment(segment.number + 1)?;
        if next.previous_end != end {
            return Err(segment.damaged(end, PROBLEM));
        }
        Ok(Location { segment: next.number, offset: SEGMENT_HEADER_BYTES })
    }

    fn segment(&self, number: u32) -> Result<Arc<Segment>, LogError> {
        let segments = self.0.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
        let missing = || LogError::Missing { path: self.0.folder.segment_path(number) };
        segments.get(index).cloned().ok_or_else(missing)
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
        Ok(to_stored(stream, version, frame))
    }

    /// An event met while reading the whole log. Its version is counted in its stream's index.
    fn stored(&self, segment: &Segment, frame: Frame) -> Result<Stored, LogError> {
        let key = (frame.header.stream_kind, frame.header.stream_key);
        let stream = StreamId::from_parts(key.0, key.1)
            .ok_or_else(|| segment.damaged(frame.offset, "its stream is of an unknown kind"))?;
        let location = Location { segment: segment.number, offset: frame.offset };
        let version = {
            let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            index.find(&key, frame.header.event)
        };
        let version = match version {
            Some((at, version)) if at == location => version,
            Some(_) | None => return Err(segment.damaged(frame.offset, "it is not in the index")),
        };
        Ok(to_stored(stream, version, frame))
    }
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

fn to_stored(stream: StreamId, version: u64, frame: Frame) -> Stored {
    let Frame { header, record, .. } = frame;
    let recorded_at =
        Timestamp::from_microsecond(header.recorded_at_us).unwrap_or(Timestamp::UNIX_EPOCH);
    let position = Position { slot: Slot(header.slot), n: header.n };
    Stored {
        stream,
        placed: Placed { position, version, recorded_at },
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
    if file.try_lock().is_err() {
        let mut address = String::new();
        let read = file.read_to_string(&mut address);
        let address = (read.is_ok() && !address.is_empty()).then_some(address);
        return Err(OpenError::Locked { path: folder.to_owned(), address });
    }
    file.set_len(0).map_err(LogError::io("opening", &path))?;
    Ok(file)
}
