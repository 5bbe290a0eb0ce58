//! The store as the others see it: open it, append, read, close it.

mod following;

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Cursor, Placed, Position, Region, Run, Slot, Stored, StreamId};
use tsunagi_chassis::Config;
use tsunagi_domain::EventId;
use uuid::Uuid;

use crate::backup;
use crate::evidence::checkpoint_file;
use crate::evidence::key_file::{self, KeyFileError};
use crate::evidence::notary::Notary;
use crate::keys;
use crate::log::file::Patience;
use crate::log::frame::{HEADER_BYTES, Header, Sealed};
use crate::log::scan::{Frame, Reader, Scanner};
use crate::log::segment::{Folder, SEGMENT_HEADER_BYTES, Segment, create_folder};
use crate::log::writer::{
    Append, AppendError, Appended, Entry, Intake, Limits, NoteRepeat, Request, Shared, Taken,
    Writer,
};
use crate::log::{Location, LogError, indexer, recovery};
use crate::region_file::{self, RegionError};
use crate::troubles::Troubles;

pub(crate) use following::{Delivered, LogPoint};

/// Events read of one stream at a time.
const STREAM_PAGE_EVENTS: usize = 512;
/// Events read of one stream on a thread of the runtime, if they are in memory.
const STREAM_PAGE_EVENTS_AT_ONCE: usize = 128;
/// Bytes of records after which no more are read at a time.
const PAGE_BYTES: usize = 4 << 20;
/// The same for a reader of the whole log, who keeps them until the subscriber takes them.
const FEED_BYTES: usize = 128 << 10;

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another process has the data folder {path} open{}", served_at(.address.as_deref()))]
    Locked { path: PathBuf, address: Option<String> },
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(
        "{0} has lost its segments: restore the data folder from a backup, or take another folder for a new region"
    )]
    LostLog(PathBuf),
    #[error(
        "{0} is a copy that `tsunagi backup` made: restore it into a folder of its own, and serve that"
    )]
    Copy(PathBuf),
    #[error(transparent)]
    Key(#[from] KeyFileError),
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
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    /// Whether the events come from NATS.
    is_fed: AtomicBool,
    runs: watch::Sender<Vec<Option<Run>>>,
    writer: Mutex<Option<JoinHandle<Option<Location>>>>,
    /// The threads that follow the writer: they make index files, trees and checkpoints.
    followers: Mutex<Vec<JoinHandle<()>>>,
    /// How many bytes may wait for the writer.
    room: Arc<Semaphore>,
    room_bytes: u32,
    append_wait: Duration,
    subscribe_batch: usize,
    damage_found: AtomicU64,
    rows_put_aside: AtomicU64,
    disk_floor_bytes: u64,
    troubles: Troubles,
    lock: Mutex<Lock>,
}

impl Inner {
    /// Lets the writer finish what is queued, and waits for it. Where the log ends then, if
    /// that is known and was not told before.
    fn stop_writer(&self) -> Option<Location> {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let end = writer.map(JoinHandle::join).and_then(Result::ok).flatten();
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        // They end when the writer has: there is nobody any more to tell them anything.
        for follower in followers.drain(..) {
            let name = follower.thread().name().unwrap_or_default().to_owned();
            if follower.join().is_err() {
                tracing::error!(name, "a thread that follows the log panicked");
            }
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
    /// Opens a data folder, creating it if need be: checks the end of the log, and cuts what is torn of
    /// it.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        if backup::is_copy(&config.data) {
            return Err(OpenError::Copy(config.data.clone()));
        }
        create_folder(&config.data)?;
        let lock = lock(&config.data)?;
        // On NATS, the events lie in the streams: a node that joins begins without a log.
        if !config.is_on_nats() {
            refuse_lost_log(&config.data)?;
        }
        // The log's folder comes first: a region without it has lost it.
        create_folder(&config.data.join("log"))?;
        let region = region_file::open(config)?;
        let folder = Folder::open(config.data.join("log"), region.id, config.segment_bytes)?;
        let key = key_file::open(&config.data, region.id)?;
        let signed = checkpoint_file::signed(&config.data, &key.public())?;
        let recovered = recovery::open(&folder, region.slots, &signed)?;
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
        let notary = Notary::open(&config.data, &folder, Arc::clone(&shared), key, region.slots)?;
        let (to_indexer, to_index) = std::sync::mpsc::channel();
        let (to_notary, to_sign) = std::sync::mpsc::channel();
        let sealed = [to_indexer, to_notary];
        let mut writer = Writer::new(folder.clone(), limits, Arc::clone(&shared), last, sealed);
        let (requests, queue) = mpsc::channel(config.append_queue);
        let thread = std::thread::Builder::new().name("log-writer".to_owned());
        let thread = thread.spawn(move || {
            writer.prepare_spare_aside();
            writer.run(queue)
        });
        let thread = thread.map_err(OpenError::Thread)?;
        let indexed = (indexer::folder(&folder.path), Arc::clone(&shared));
        let index = move || indexer::run(&indexed.0, &indexed.1, &to_index);
        let interval = Duration::from_millis(config.checkpoint_interval_ms);
        let sign = move || notary.run(region.slots, &to_sign, interval);
        let followers = vec![follow("log-indexer", index)?, follow("log-notary", sign)?];
        Ok(Self(Arc::new(Inner {
            region,
            folder,
            shared,
            requests: Mutex::new(Some(requests)),
            is_fed: AtomicBool::new(false),
            runs: watch::Sender::new(Vec::new()),
            writer: Mutex::new(Some(thread)),
            followers: Mutex::new(followers),
            room: Arc::new(Semaphore::new(
                config.append_queue_bytes.try_into().unwrap_or(Semaphore::MAX_PERMITS),
            )),
            room_bytes: config.append_queue_bytes,
            append_wait: Duration::from_millis(config.append_wait_ms),
            subscribe_batch: config.subscribe_batch,
            damage_found: AtomicU64::new(0),
            rows_put_aside: AtomicU64::new(0),
            disk_floor_bytes: config.disk_floor_bytes,
            troubles: Troubles::default(),
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
        lock.file.set_len(0)?;
        write!(lock.file, "{address}")?;
        lock.file.flush()
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
        if self.is_fed() {
            return Err(Failed::Refused(AppendError::Fed));
        }
        let bytes = events.iter().map(|(_, record)| HEADER_BYTES + record.len()).sum::<usize>();
        let entry = |(event, record): (EventId, Bytes)| Entry {
            event: event.uuid().into_bytes(),
            sealed: Sealed::new(record),
        };
        let entries = events.into_iter().map(entry).collect();
        let (stream, slot) = (stream.to_parts(), stream.slot(self.0.region.slots).0);
        let append = |answer, room| Append { stream, slot, expected, entries, answer, room };
        self.ask_writer(bytes, |answer, room| Request::Append(append(answer, room))).await
    }

    /// Takes in events whose positions their slot's stream on NATS has given them.
    pub(crate) async fn take_in(
        &self,
        slot: Slot,
        first_n: u64,
        taken: Vec<Taken>,
        note_repeat: NoteRepeat,
    ) -> Result<(), Failed> {
        let bytes = taken.iter().map(|taken| taken.entry.frame_bytes()).sum();
        let slot = slot.0;
        let intake = |answer, room| Intake { slot, first_n, taken, note_repeat, answer, room };
        let done = self.ask_writer(bytes, |answer, room| Request::Intake(intake(answer, room)));
        done.await.map(|_appended| ())
    }

    async fn ask_writer(
        &self,
        bytes: usize,
        request: impl FnOnce(
            oneshot::Sender<Result<Appended, AppendError>>,
            OwnedSemaphorePermit,
        ) -> Request,
    ) -> Result<Appended, Failed> {
        // One that is larger than all the room there is has to wait for all of it.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.0.room_bytes);
        let room = Arc::clone(&self.0.room).acquire_many_owned(bytes);
        let room = tokio::time::timeout(self.0.append_wait, room).await;
        let room = room.or(Err(Failed::Full))?.or(Err(Failed::Closed))?;
        let (answer, answered) = oneshot::channel();
        let request = request(answer, room);
        let requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let requests = requests.ok_or(Failed::Closed)?;
        match requests.try_send(request) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Failed::Closed),
            Err(mpsc::error::TrySendError::Full(request)) => {
                let sent = requests.send_timeout(request, self.0.append_wait).await;
                sent.or(Err(Failed::Full))?;
            }
        }
        // A sender that is kept would keep the writer from ending.
        drop(requests);
        answered.await.or(Err(Failed::Closed))?.map_err(Failed::Refused)
    }

    /// From now on, events come from NATS alone.
    pub(crate) fn feed_from_nats(&self) {
        self.0.is_fed.store(true, Ordering::Release);
    }

    pub(crate) fn is_fed(&self) -> bool {
        self.0.is_fed.load(Ordering::Acquire)
    }

    /// The runs of positions that the slots are in, by slot.
    pub(crate) fn runs(&self) -> &watch::Sender<Vec<Option<Run>>> {
        &self.0.runs
    }

    /// How many events of a slot are durable.
    pub(crate) fn durable_n(&self, slot: Slot) -> u64 {
        let durable = self.0.shared.durable();
        let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        index.durable_n(slot.0, durable)
    }

    /// The event at a position. Reads from the beginning of its segment, if that is sealed.
    pub(crate) fn at(&self, position: Position) -> Result<Option<Stored>, LogError> {
        let begin = {
            let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            index.begin_of(position.slot.0, position.n)
        };
        let (durable, Some(begin)) = (self.0.shared.durable(), begin) else { return Ok(None) };
        if begin >= durable {
            return Ok(None);
        }
        let segment = self.segment(begin.segment)?;
        let (limit, _) = self.end_of(&segment, durable)?;
        let mut scanner = Scanner::new(&segment, begin.offset, limit);
        while let Some(frame) = scanner.read_frame()? {
            if frame.header.slot == position.slot.0 && frame.header.n == position.n {
                return stored(&segment, frame).map(Some);
            }
        }
        Ok(None)
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
        self.read_page(stream, (after, STREAM_PAGE_EVENTS), patience)
    }

    fn read_page(
        &self,
        stream: StreamId,
        (after, max): (u64, usize),
        patience: Patience,
    ) -> Result<Vec<Stored>, LogError> {
        let key = stream.to_parts();
        let locations = self.0.shared.locations(&key, after, max, patience)?;
        if patience == Patience::FromMemory && locations.len() > STREAM_PAGE_EVENTS_AT_ONCE {
            return Err(LogError::WouldWait);
        }
        let mut events = Vec::with_capacity(locations.len());
        let mut bytes = 0;
        let mut version = after;
        for run in locations.chunk_by(|one, next| are_read_together(*one, *next)) {
            let ([first, .., last] | [first @ last]) = run else { continue };
            let mut reader = Reader::new(self.segment(first.segment)?, patience);
            for location in run {
                version += 1;
                let stored = read_at(&mut reader, location.offset, last.offset, (stream, version))?;
                bytes += stored.record.len();
                events.push(stored);
                if bytes >= PAGE_BYTES {
                    return Ok(events);
                }
            }
        }
        Ok(events)
    }

    /// The whole stream.
    pub fn read_all(&self, stream: StreamId, patience: Patience) -> Result<Vec<Stored>, LogError> {
        Ok(self.read_up_to(stream, usize::MAX, patience)?.unwrap_or_default())
    }

    /// The whole stream, unless it has more than so many bytes.
    pub(crate) fn read_up_to(
        &self,
        stream: StreamId,
        bytes_max: usize,
        patience: Patience,
    ) -> Result<Option<Vec<Stored>>, LogError> {
        let mut events: Vec<Stored> = Vec::new();
        let mut bytes = 0;
        loop {
            let after = u64::try_from(events.len()).unwrap_or(u64::MAX);
            events.extend(self.read_stream(stream, after, patience)?);
            let fresh = events.iter().skip(usize::try_from(after).unwrap_or(usize::MAX));
            bytes += fresh.map(|stored| stored.record.len()).sum::<usize>();
            if bytes > bytes_max {
                return Ok(None);
            }
            let version = u64::try_from(events.len()).unwrap_or(u64::MAX);
            if version == after || !self.has_more(stream, version) {
                return Ok(Some(events));
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
                let mut reader = Reader::new(self.segment(location.segment)?, patience);
                let offset = location.offset;
                read_at(&mut reader, offset, offset, (stream, version)).map(Some)
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
            done => {
                return done.map_err(|error| {
                    self.count_damage(&error);
                    ReadError::Log(error.to_string())
                });
            }
        }
        let store = self.clone();
        off_the_runtime(move || {
            work(&store, Patience::Wait).inspect_err(|error| store.count_damage(error))
        })
        .await
    }

    /// All streams, in no order.
    pub(crate) fn streams(&self) -> Vec<StreamId> {
        let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        index.streams().filter_map(|(kind, key)| StreamId::from_parts(kind, key)).collect()
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

    /// The folder of the log.
    pub(crate) fn log_folder(&self) -> &Path {
        &self.0.folder.path
    }

    /// The number of the segment that is being written.
    pub(crate) fn newest_segment(&self) -> u32 {
        self.0.shared.durable().segment
    }

    /// A segment that is not written any more, and where it ends. None if there is none with
    /// this number.
    pub(crate) fn sealed_segment(
        &self,
        number: u32,
    ) -> Result<Option<(Arc<Segment>, u32)>, LogError> {
        let durable = self.0.shared.durable();
        if number >= durable.segment {
            return Ok(None);
        }
        let segment = self.segment(number)?;
        let (end, _) = self.end_of(&segment, durable)?;
        Ok(Some((segment, end)))
    }

    /// Reads a segment's header as if the log were opened.
    pub(crate) fn read_again(&self, number: u32) -> Result<(), LogError> {
        self.0.folder.open_segment_to_read(number).map(drop)
    }

    /// Counts and tells of damage that was found without anybody asking for what is damaged.
    pub(crate) fn note_damage(&self, error: &LogError) {
        self.0.damage_found.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%error, "the scrub found damage");
    }

    /// How often damage was met, by the scrub or by readers, since the folder was opened.
    pub fn damage_found(&self) -> u64 {
        self.0.damage_found.load(Ordering::Relaxed)
    }

    pub(crate) fn note_rows_put_aside(&self) {
        self.0.rows_put_aside.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the patients' rows were unusable since the folder was opened.
    pub fn rows_put_aside(&self) -> u64 {
        self.0.rows_put_aside.load(Ordering::Relaxed)
    }

    /// Bytes that are free on the disk of the log.
    pub fn disk_free_bytes(&self) -> std::io::Result<u64> {
        Ok(crate::log::room::free_bytes(&self.0.folder.path)?)
    }

    /// Bytes of free disk below which writes are refused.
    pub fn disk_floor_bytes(&self) -> u64 {
        self.0.disk_floor_bytes
    }

    /// Counts damage that a reader met, who is told where it is.
    fn count_damage(&self, error: &LogError) {
        if error.is_finding() {
            self.0.damage_found.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What keeps this store from telling all that it should.
    pub fn troubles(&self) -> &Troubles {
        &self.0.troubles
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
}

/// Whether two events lie so close together that one read for both is cheaper than two.
fn are_read_together(one: Location, next: Location) -> bool {
    const NEAR_BYTES: u32 = 2048;
    one.segment == next.segment && next.offset.saturating_sub(one.offset) <= NEAR_BYTES
}

/// Reads the event that must be at `offset`, knowing that those up to `last` are read next.
fn read_at(
    reader: &mut Reader,
    offset: u32,
    last: u32,
    (stream, version): (StreamId, u64),
) -> Result<Stored, LogError> {
    let frame = reader.read(offset, last)?;
    if (frame.header.stream_kind, frame.header.stream_key) != stream.to_parts() {
        return Err(reader.segment().damaged(offset, "another event is here than expected"));
    }
    if u64::from(frame.header.version) != version {
        return Err(reader.segment().damaged(offset, "another version is here than expected"));
    }
    Ok(to_stored(stream, frame))
}

/// Starts a thread that follows the writer.
fn follow(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map_err(OpenError::Thread)
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
        Ok(done) => done.map_err(|error| ReadError::Log(error.to_string())),
        Err(error) => Err(ReadError::Log(error.to_string())),
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
    Stored { stream, placed: placed(&header), event: event(&header), record }
}

fn placed(header: &Header) -> Placed {
    let recorded_at =
        Timestamp::from_microsecond(header.recorded_at_us).unwrap_or(Timestamp::UNIX_EPOCH);
    let position = Position { slot: Slot(header.slot), n: header.n };
    Placed { position, version: header.version.into(), recorded_at }
}

fn event(header: &Header) -> EventId {
    EventId::new(Uuid::from_bytes(header.event))
}

/// A region whose log was there once must not begin a new one.
fn refuse_lost_log(data: &Path) -> Result<(), OpenError> {
    let log = data.join("log");
    // The rows are made of a log that is open.
    let was_open = !log.is_dir() || data.join(keys::FOLDER).exists();
    if region_file::has_region(data) && !region_file::has_log(data) && was_open {
        return Err(OpenError::LostLog(log));
    }
    Ok(())
}

/// A data folder that this process alone has.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Says where it is served.
    file: File,
    _folder: File,
}

/// Takes the folder for this process alone, until the process ends.
pub(crate) fn lock(folder: &Path) -> Result<Lock, OpenError> {
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
    // Somebody may take the file away under a server: the folder itself is held too.
    let held = File::open(folder).map_err(LogError::io("opening", folder))?;
    match held.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::Locked { path: folder.to_owned(), address: None });
        }
        Err(TryLockError::Error(error)) => {
            return Err(LogError::io("locking", folder)(error).into());
        }
    }
    file.set_len(0).map_err(LogError::io("opening", &path))?;
    Ok(Lock { file, _folder: held })
}
