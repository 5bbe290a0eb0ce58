//! The one thread that writes: it gathers what waits, writes it with one flush, and answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::file::Patience;
use super::frame::{HEADER_BYTES, Header, RECORD_BYTES_MAX, Sealed};
use super::index::{Index, StreamKey};
use super::index_file::IndexFile;
use super::room::Room;
use super::scan::Reader;
use super::segment::{Folder, SEGMENT_HEADER_BYTES, Segment};
use super::{Location, LogError};

/// One event to be appended.
#[derive(Debug, Clone)]
pub struct Entry {
    pub event: [u8; 16],
    pub sealed: Sealed,
}

impl Entry {
    /// Bytes of its frame.
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.sealed.record.len()
    }
}

/// Events for one stream, all or none.
#[derive(Debug)]
pub struct Append {
    pub stream: StreamKey,
    pub slot: u16,
    /// How many events the stream must have; any number if none.
    pub expected: Option<u64>,
    pub entries: Vec<Entry>,
    pub answer: oneshot::Sender<Result<Appended, AppendError>>,
    /// The memory that it takes while it waits.
    pub room: OwnedSemaphorePermit,
}

/// Events whose places their slot's stream on NATS has given them, all or none. An event that is
/// stored already takes its place all the same, with a note in its stead.
pub struct Intake {
    pub slot: u16,
    /// The position of the first of them; the others follow.
    pub first_n: u64,
    pub taken: Vec<Taken>,
    pub note_repeat: NoteRepeat,
    pub answer: oneshot::Sender<Result<Appended, AppendError>>,
    /// The memory that it takes while it waits.
    pub room: OwnedSemaphorePermit,
}

/// Makes the note that takes the place of an event whose id its stream has already.
pub type NoteRepeat = Box<dyn Fn(Repeat<'_>) -> Taken + Send>;

/// An event of an intake whose id its stream has already.
#[derive(Debug, Clone, Copy)]
pub struct Repeat<'a> {
    /// The how manieth of the intake it is, from 0.
    pub index: usize,
    /// Its position.
    pub n: u64,
    pub taken: &'a Taken,
    /// Whether it is the same event, byte for byte.
    pub is_same: bool,
}

/// One event of an intake.
#[derive(Debug, Clone)]
pub struct Taken {
    pub stream: StreamKey,
    /// When the stream took it.
    pub recorded_at_us: i64,
    pub entry: Entry,
}

/// What the writer is asked for.
pub enum Request {
    Append(Append),
    Intake(Intake),
}

impl Request {
    fn events(&self) -> usize {
        match self {
            Self::Append(append) => append.entries.len(),
            Self::Intake(intake) => intake.taken.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.entries.iter().map(Entry::frame_bytes).sum(),
            Self::Intake(intake) => {
                intake.taken.iter().map(|taken| taken.entry.frame_bytes()).sum()
            }
        }
    }

    fn has_long_record(&self) -> bool {
        let is_long = |entry: &Entry| entry.sealed.record.len() > RECORD_BYTES_MAX;
        match self {
            Self::Append(append) => append.entries.iter().any(is_long),
            Self::Intake(intake) => intake.taken.iter().any(|taken| is_long(&taken.entry)),
        }
    }

    fn into_answer(self) -> oneshot::Sender<Result<Appended, AppendError>> {
        match self {
            Self::Append(append) => append.answer,
            Self::Intake(intake) => intake.answer,
        }
    }
}

/// Where the events of one append came to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The position of the first of them in its slot; the others follow.
    pub first_n: u64,
    /// The version of the first of them; the others follow.
    pub first_version: u64,
    pub recorded_at_us: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the stream has {version} events")]
    Conflict { version: u64 },
    /// Read the stream again from there: the slot has so many events.
    #[error("the slot has {last_n} events, and these do not follow them")]
    Gap { last_n: u64 },
    /// The events of this log come from NATS alone.
    #[error("this data folder takes its events from NATS: start the server with --nats")]
    Fed,
    /// Some of the events, or all, are there already.
    #[error("events with these ids are stored already")]
    Repeated,
    #[error("the append is larger than the {limit} bytes that a segment holds")]
    TooLarge { limit: usize },
    /// The disk is too full, or the next segment cannot be made. Nothing was written, and it is
    /// tried again.
    #[error("the log has no room: {0}")]
    NoRoom(String),
    /// Whether the events are there already cannot be known. Nothing was written.
    #[error("the stream cannot be read: {0}")]
    Unreadable(String),
    #[error("the log can no longer be written: {0}")]
    Broken(String),
}

/// What readers share with the writer.
#[derive(Debug)]
pub struct Shared {
    pub index: RwLock<Index>,
    pub segments: RwLock<Vec<Arc<Segment>>>,
    /// Index files that are to be made again.
    pub damaged_files: Mutex<Vec<Arc<IndexFile>>>,
    /// Everything before this location is on disk.
    durable: AtomicU64,
    moved: watch::Sender<Location>,
    /// Cancelled when nothing can be written any more.
    pub broken: CancellationToken,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How much goes into one flush.
    pub batch_events: usize,
    pub batch_bytes: usize,
    /// How much of the disk stays free.
    pub disk_floor_bytes: u64,
}

pub struct Writer {
    folder: Folder,
    limits: Limits,
    room: Room,
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    end: Location,
    /// The frames of the batch that is being gathered.
    buffer: Vec<u8>,
    /// Where in `buffer` its last frame begins.
    last_frame: usize,
    answers: Vec<Answer>,
    broken: Option<String>,
    /// Tells the threads that make index files and trees of each segment that is sealed.
    sealed: [std::sync::mpsc::Sender<()>; 2],
    /// The thread that fills the spare file.
    spare: Option<JoinHandle<()>>,
    no_room_since: Option<Instant>,
}

type Answer = (oneshot::Sender<Result<Appended, AppendError>>, Result<Appended, AppendError>);

impl Shared {
    pub fn new(index: Index, segments: Vec<Arc<Segment>>, end: Location) -> Self {
        Self {
            index: RwLock::new(index),
            segments: RwLock::new(segments),
            damaged_files: Mutex::new(Vec::new()),
            durable: AtomicU64::new(end.to_bits()),
            moved: watch::Sender::new(end),
            broken: CancellationToken::new(),
        }
    }

    pub fn durable(&self) -> Location {
        Location::from_bits(self.durable.load(Ordering::Acquire))
    }

    /// Tells whenever more is durable.
    pub fn watch(&self) -> watch::Receiver<Location> {
        self.moved.subscribe()
    }

    fn advance(&self, end: Location) {
        self.durable.store(end.to_bits(), Ordering::Release);
        self.moved.send_replace(end);
    }
}

impl Writer {
    /// Goes on in `segment`, the last one.
    pub fn new(
        folder: Folder,
        limits: Limits,
        shared: Arc<Shared>,
        segment: Arc<Segment>,
        sealed: [std::sync::mpsc::Sender<()>; 2],
    ) -> Self {
        let end = shared.durable();
        Self {
            room: Room::new(folder.path.clone(), limits.disk_floor_bytes),
            folder,
            limits,
            shared,
            segment,
            end,
            buffer: Vec::new(),
            last_frame: 0,
            answers: Vec::new(),
            broken: None,
            sealed,
            spare: None,
            no_room_since: None,
        }
    }

    /// Writes until no more can come. Returns where the log ends, unless writing failed.
    pub fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Option<Location> {
        while let Some(request) = requests.blocking_recv() {
            let mut events = request.events();
            self.take(request);
            while events < self.limits.batch_events && self.buffer.len() < self.limits.batch_bytes {
                let Ok(request) = requests.try_recv() else { break };
                events += request.events();
                self.take(request);
            }
            self.flush();
        }
        // Nothing of this log is written any more when its lock is given back.
        if let Some(Err(_)) = self.spare.take().map(JoinHandle::join) {
            tracing::error!("the thread that prepares segments panicked");
        }
        self.broken.is_none().then_some(self.end)
    }

    /// Checks a request and lays its frames down behind those of the batch.
    fn take(&mut self, mut request: Request) {
        let noted = match &mut request {
            Request::Append(_) => Ok(()),
            Request::Intake(intake) => self.note_repeats(intake),
        };
        let size = request.bytes();
        if let Err(error) = noted.and_then(|()| self.check(&request, size)) {
            self.answers.push((request.into_answer(), Err(error)));
            return;
        }
        let offset = usize::try_from(self.end.offset).unwrap_or(usize::MAX);
        let segment_bytes = usize::try_from(self.folder.segment_bytes).unwrap_or(usize::MAX);
        if offset + self.buffer.len() + size > segment_bytes {
            self.flush();
            if let Err(error) = self.roll() {
                self.answers.push((request.into_answer(), Err(error)));
                return;
            }
        }
        match request {
            Request::Append(append) => {
                let outcome = self.lay_down(&append);
                self.answers.push((append.answer, outcome));
            }
            Request::Intake(intake) => {
                let outcome = self.take_in(&intake);
                self.answers.push((intake.answer, outcome));
            }
        }
    }

    /// What can be said of a request before its events are looked at.
    fn check(&mut self, request: &Request, size: usize) -> Result<(), AppendError> {
        if let Some(error) = &self.broken {
            return Err(AppendError::Broken(error.clone()));
        }
        let room = self.room_in_a_segment();
        if size > room {
            return Err(AppendError::TooLarge { limit: room });
        }
        if request.has_long_record() {
            return Err(AppendError::TooLarge { limit: RECORD_BYTES_MAX });
        }
        if self.room.is_low() { Err(no_room()) } else { Ok(()) }
    }

    fn lay_down(&mut self, append: &Append) -> Result<Appended, AppendError> {
        let shared = Arc::clone(&self.shared);
        let Append { stream, slot, entries, .. } = append;
        for entry in entries {
            // Nobody else enters events: what is not there now is not there below either.
            if self.is_stored(stream, &entry.event)? {
                return Err(AppendError::Repeated);
            }
        }
        let mut index = shared.index.write().unwrap_or_else(PoisonError::into_inner);
        let first_version = index.version(stream) + 1;
        let version = u64::from(first_version) - 1;
        if append.expected.is_some_and(|expected| expected != version) {
            return Err(AppendError::Conflict { version });
        }
        let first_n = index.last_n(*slot) + 1;
        let now = Timestamp::now().as_microsecond();
        let mut recorded_at_us = now;
        for entry in entries {
            recorded_at_us = self.put(&mut index, (*slot, *stream), now, entry);
        }
        Ok(Appended { first_n, first_version: first_version.into(), recorded_at_us })
    }

    fn take_in(&mut self, intake: &Intake) -> Result<Appended, AppendError> {
        let shared = Arc::clone(&self.shared);
        let mut index = shared.index.write().unwrap_or_else(PoisonError::into_inner);
        let last_n = index.last_n(intake.slot);
        if intake.first_n != last_n + 1 {
            return Err(AppendError::Gap { last_n });
        }
        for Taken { stream, recorded_at_us, entry } in &intake.taken {
            self.put(&mut index, (intake.slot, *stream), *recorded_at_us, entry);
        }
        Ok(Appended { first_n: intake.first_n, first_version: 0, recorded_at_us: 0 })
    }

    /// Puts notes in the place of events whose ids their streams have already.
    fn note_repeats(&self, intake: &mut Intake) -> Result<(), AppendError> {
        let mut within: HashMap<(StreamKey, [u8; 16]), &Bytes> = HashMap::new();
        let mut notes = Vec::new();
        for ((index, n), taken) in (0..).zip(intake.first_n..).zip(&intake.taken) {
            let (id, record) = ((taken.stream, taken.entry.event), &taken.entry.sealed.record);
            let before = match within.get(&id) {
                Some(before) => Some(Bytes::clone(before)),
                None => self.stored(&taken.stream, &taken.entry.event)?,
            };
            let Some(before) = before else {
                within.insert(id, record);
                continue;
            };
            let is_same = before == record;
            notes.push((index, (intake.note_repeat)(Repeat { index, n, taken, is_same })));
        }
        for (index, note) in notes {
            if let Some(place) = intake.taken.get_mut(index) {
                *place = note;
            }
        }
        Ok(())
    }

    /// The record of an event, if it is stored or in the batch.
    fn stored(&self, stream: &StreamKey, event: &[u8; 16]) -> Result<Option<Bytes>, AppendError> {
        let unreadable = |error: &LogError| AppendError::Unreadable(explain(error));
        let found = self.shared.find(stream, event, Patience::Wait);
        let Some((location, _)) = found.map_err(|error| unreadable(&error))? else {
            return Ok(None);
        };
        if location >= self.end {
            return Ok(Some(self.in_batch(location)));
        }
        let missing = || LogError::Missing { path: self.folder.segment_path(location.segment) };
        let segment = self.shared.segment(location.segment).ok_or_else(missing);
        let read = segment.and_then(|segment| {
            Reader::new(segment, Patience::Wait).read(location.offset, location.offset)
        });
        Ok(Some(read.map_err(|error| unreadable(&error))?.record))
    }

    /// The record of an event that is not written yet.
    fn in_batch(&self, location: Location) -> Bytes {
        let offset = usize::try_from(location.offset - self.end.offset).unwrap_or(usize::MAX);
        let frame = self.buffer.get(offset..).unwrap_or_default();
        let header = frame.first_chunk();
        let header = header.and_then(|bytes| Header::decode(bytes, self.segment.salt).ok());
        let end = header.map_or(0, |header| header.frame_bytes());
        Bytes::copy_from_slice(frame.get(HEADER_BYTES..end).unwrap_or_default())
    }

    fn is_stored(&self, stream: &StreamKey, event: &[u8; 16]) -> Result<bool, AppendError> {
        let found = self.shared.find(stream, event, Patience::Wait);
        let found = found.map_err(|error| AppendError::Unreadable(explain(&error)))?;
        Ok(found.is_some())
    }

    /// Lays an event's frame down at the next position of its slot. Returns when it counts as
    /// recorded: time never runs backwards within a slot, whatever the clock does.
    fn put(
        &mut self,
        index: &mut Index,
        (slot, stream): (u16, StreamKey),
        at_us: i64,
        entry: &Entry,
    ) -> i64 {
        let recorded_at_us = at_us.max(index.last_recorded_at_us(slot));
        let header = Header {
            record_bytes: u32::try_from(entry.sealed.record.len()).unwrap_or(u32::MAX),
            record_crc: entry.sealed.crc,
            is_batch_end: false,
            stream_kind: stream.0,
            slot,
            batch_distance: u32::try_from(self.buffer.len()).unwrap_or(u32::MAX),
            n: index.last_n(slot) + 1,
            recorded_at_us,
            version: index.version(&stream) + 1,
            stream_key: stream.1,
            event: entry.event,
        };
        let location = Location { offset: self.end.offset + header.batch_distance, ..self.end };
        index.enter(&header, location);
        self.last_frame = self.buffer.len();
        self.buffer.extend_from_slice(&header.encode(self.segment.salt));
        self.buffer.extend_from_slice(&entry.sealed.record);
        recorded_at_us
    }

    /// Writes the batch with one flush, and answers everybody in it.
    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.mark_batch_end();
            let written = self
                .segment
                .write(&self.buffer, self.end.offset)
                .and_then(|()| self.segment.sync());
            match written {
                Ok(()) => {
                    let bytes = u32::try_from(self.buffer.len()).unwrap_or(u32::MAX);
                    self.end.offset += bytes;
                    self.shared.advance(self.end);
                }
                // What a failed flush left on disk is not known, and a second flush would not
                // tell: the pages may have been dropped. Nothing is acknowledged any more.
                Err(error) => drop(self.fail(&error)),
            }
            self.buffer.clear();
        }
        for (answer, mut outcome) in self.answers.drain(..) {
            // A conflict or a repeat may be one with what was just lost.
            if let Some(error) = &self.broken {
                outcome = Err(AppendError::Broken(error.clone()));
            }
            // Whoever does not wait any more will ask again under the same event id.
            let _gone = answer.send(outcome);
        }
    }

    fn mark_batch_end(&mut self) {
        let Some(frame) = self.buffer.get_mut(self.last_frame..) else { return };
        let Some(bytes) = frame.first_chunk_mut() else { return };
        if let Ok(header) = Header::decode(bytes, self.segment.salt) {
            *bytes = Header { is_batch_end: true, ..header }.encode(self.segment.salt);
        }
    }

    /// Goes on in the next segment.
    fn roll(&mut self) -> Result<(), AppendError> {
        if let Some(error) = &self.broken {
            return Err(AppendError::Broken(error.clone()));
        }
        self.make_room()?;
        let number = self.end.segment + 1;
        let named = match self.folder.head_spare(number, self.end.offset) {
            Ok(headed) => headed.name(),
            // Too many files may be open. Nothing has changed, and it is tried again.
            Err(error) => return Err(wait_for_room(&mut self.no_room_since, &error)),
        };
        let segment = match named {
            Ok(segment) => Arc::new(segment),
            // It may have its name already, and says where this segment ends: nothing may be
            // written behind that.
            Err(error) => return Err(AppendError::Broken(self.fail(&error))),
        };
        self.no_room_since = None;
        let salt = std::mem::replace(&mut self.segment, Arc::clone(&segment)).salt;
        let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        index.seal(salt, self.end.offset);
        drop(index);
        let mut segments = self.shared.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.push(segment);
        drop(segments);
        self.end = Location { segment: number, offset: SEGMENT_HEADER_BYTES };
        self.shared.advance(self.end);
        let unheard = self.sealed.iter().filter(|told| told.send(()).is_err()).count();
        if unheard > 0 {
            tracing::warn!("no more index files or trees are made: the thread has ended");
        }
        self.prepare_spare_aside();
        Ok(())
    }

    /// Makes sure that there is a spare file. When the disk is full, that is found out at most
    /// once a second, whatever is asked for.
    fn make_room(&mut self) -> Result<(), AppendError> {
        const RETRY_AFTER: Duration = Duration::from_secs(1);
        if self.room.is_low_now() {
            return Err(no_room());
        }
        if self.no_room_since.is_some_and(|since| since.elapsed() < RETRY_AFTER) {
            return Err(AppendError::NoRoom("the next segment could not be made".to_owned()));
        }
        match self.folder.prepare_spare() {
            Ok(()) => Ok(()),
            Err(error) => Err(wait_for_room(&mut self.no_room_since, &error)),
        }
    }

    /// Fills the next spare file while this thread goes on writing.
    pub fn prepare_spare_aside(&mut self) {
        let folder = self.folder.clone();
        let spawned = std::thread::Builder::new().name("log-spare".to_owned()).spawn(move || {
            // If it fails, the writer makes the file itself when it needs it, and says so.
            if let Err(error) = folder.prepare_spare() {
                tracing::warn!(%error, "the next segment could not be prepared");
            }
        });
        match spawned {
            // The one before is long done: its file is the segment that was just begun.
            Ok(spare) => self.spare = Some(spare),
            Err(error) => tracing::warn!(%error, "the next segment could not be prepared"),
        }
    }

    fn fail(&mut self, error: &LogError) -> String {
        let told = explain(error);
        tracing::error!(error = told, "the log can no longer be written");
        self.broken = Some(told.clone());
        self.shared.broken.cancel();
        told
    }

    fn room_in_a_segment(&self) -> usize {
        let room = self.folder.segment_bytes.saturating_sub(SEGMENT_HEADER_BYTES);
        usize::try_from(room).unwrap_or(usize::MAX)
    }
}

/// Notes since when the next segment cannot be made, and says why.
fn wait_for_room(since: &mut Option<Instant>, error: &LogError) -> AppendError {
    let told = explain(error);
    tracing::error!(error = told, "the next segment cannot be made");
    *since = Some(Instant::now());
    AppendError::NoRoom(told)
}

fn no_room() -> AppendError {
    AppendError::NoRoom("less of the disk is free than must be".to_owned())
}

fn explain(error: &LogError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {cause}")
}
