//! `Timeline` over gRPC.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tsunagi_bus::claims::Claims;
use tsunagi_bus::cursor::{CursorError, Progress};
use tsunagi_bus::desk::whole;
use tsunagi_bus::pages::{Pages, malformed};
use tsunagi_bus::{Bus as _, Cursor, Region, Shard, StreamId};
use tsunagi_chassis::{Config, Refused, answers, caller};
use tsunagi_domain::{CareTime, EncounterId, PatientId, Refusal, Zone, identity};
use tsunagi_proto::check::{Check, Path};
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_server::Timeline as TimelineApi;
use tsunagi_proto::v1::watch_timeline_response::Frame as Sign;

use crate::boards::day_text;
use crate::look_alikes;
use crate::patients::{Patients, RowsError};
use crate::records::{Lack, Records, bytes};
use crate::store::Store;
use crate::timeline::{Filter, Timeline, View, glance};

const PAGE_SIZE: u32 = 100;
/// Bytes of entries, and of what was told while merged, after which no more are put on a page.
const PAGE_BYTES: usize = 1 << 20;
/// Bytes of a patient's events that every reader may have in memory.
const SMALL_TIMELINE_BYTES: usize = 8 << 20;

/// The service.
#[derive(Clone)]
pub struct TimelineService {
    store: Store,
    patients: Patients,
    claims: Arc<Claims>,
    shard: Shard,
    read_wait: Duration,
    /// Patients of whom a page as known at a time is made.
    read_back_max: usize,
    heartbeat: Duration,
    /// Held by those who have a large timeline in memory.
    large: Arc<Semaphore>,
    open: answers::Open,
    stop: CancellationToken,
}

/// A timeline, and the right to have it in memory if it is large.
struct Held {
    timeline: Timeline,
    _large: Option<OwnedSemaphorePermit>,
}

/// Why a timeline is not folded.
enum Unfolded {
    Lack(Lack),
    /// Its events have more bytes than they may.
    Large,
}

impl From<Lack> for Unfolded {
    fn from(lack: Lack) -> Self {
        Self::Lack(lack)
    }
}

type Frames = Pin<Box<dyn Stream<Item = Result<v1::WatchTimelineResponse, Status>> + Send>>;

impl TimelineService {
    pub fn new(store: Store, patients: Patients, config: &Config, stop: CancellationToken) -> Self {
        let claims = Arc::new(Claims::new(Arc::new(store.clone()), config.claim_wait_ms));
        let read_wait = Duration::from_millis(config.read_wait_ms);
        let heartbeat = Duration::from_millis(config.heartbeat_ms);
        let large = Arc::new(Semaphore::new(config.large_timelines));
        let open = answers::Open::new(config.open_streams);
        let shard = Shard::of(config);
        let read_back_max = config.read_back_patients;
        Self {
            store,
            patients,
            claims,
            shard,
            read_wait,
            read_back_max,
            heartbeat,
            large,
            open,
            stop,
        }
    }

    /// Looks identifiers up on a bus that has the slots of other shards, too.
    #[must_use]
    pub fn with_claims(mut self, claims: Arc<Claims>) -> Self {
        self.claims = claims;
        self
    }
}

#[tonic::async_trait]
impl TimelineApi for TimelineService {
    type WatchTimelineStream = Frames;

    async fn read_timeline(
        &self,
        request: Request<v1::ReadTimelineRequest>,
    ) -> Result<Response<v1::ReadTimelineResponse>, Status> {
        let request = checked(request)?;
        Ok(Response::new(self.page(&request).await?))
    }

    async fn watch_timeline(
        &self,
        request: Request<v1::WatchTimelineRequest>,
    ) -> Result<Response<Frames>, Status> {
        let request = checked(request)?;
        let patient = patient_id(&request.patient_id)?;
        let cursor = self.cursor(&request.cursor)?;
        let (records, stream) = (self.patients.records(), StreamId::Patient(patient));
        if !records.has(stream) {
            // The others are asked for theirs; here it would not go on.
            return Err(records.away(stream).into());
        }
        self.store.reach(&cursor, self.read_wait).await.map_err(Refused::from)?;
        let right = self.open.enter()?;
        let frames = self.follow(patient, cursor).await?;
        Ok(Response::new(Box::pin(answers::holding(frames, right))))
    }

    async fn find_patient(
        &self,
        request: Request<v1::FindPatientRequest>,
    ) -> Result<Response<v1::FindPatientResponse>, Status> {
        let request = checked(request)?;
        let as_known_at = request.as_known_at.as_ref().map(from_wire).transpose()?;
        let identifier = (&request.identifier.unwrap_or_default()).into();
        let unknown = || {
            let message = "the identifier belongs to no patient of this region: check system and value, or register the patient";
            Refused::new(Code::NotFound, "IDENTIFIER_UNKNOWN", message)
        };
        let owner = self.claims.owner(&identifier).await.map_err(Refused::from)?;
        let owner = owner.ok_or_else(unknown)?;
        let view = View { as_known_at, version_max: None };
        let Held { timeline, _large } = self.timeline(owner, view).await?;
        // A claim comes before the registration that it is for.
        if !timeline.record().patient().is_known() {
            return Err(unknown().into());
        }
        let mut patient = timeline.summary(owner);
        self.make_ready(&mut patient, as_known_at);
        Ok(Response::new(v1::FindPatientResponse { patient: Some(patient) }))
    }

    async fn list_patients(
        &self,
        request: Request<v1::ListPatientsRequest>,
    ) -> Result<Response<v1::ListPatientsResponse>, Status> {
        let request = checked(request)?;
        let pages = list_pages(&request);
        let after = pages.place(&request.page_token)?;
        let after = after.map(|place| PatientId::parse(&place).or(Err(malformed()))).transpose()?;
        // The rows are made behind the log: a caller sees all that was stored when it asked.
        let wanted = self.cursor(&request.at_least_cursor)?;
        self.patients.reach(&self.store.end(), self.read_wait).await?;
        self.patients.reach(&wanted, self.read_wait).await?;
        let as_known_at = request.as_known_at.as_ref().map(from_wire).transpose()?;
        let (rows, state) = (self.patients.clone(), request.state());
        let (max, read_max) = (page_size(request.page_size), self.read_back_max);
        let page = tokio::task::spawn_blocking(move || {
            let any = state == v1::PatientState::Unspecified;
            let number = request.identifier_value;
            let has_number = |summary: &v1::PatientSummary| {
                number.is_empty() || summary.identifiers.iter().any(|of| of.value == number)
            };
            let is_own = |summary: &v1::PatientSummary| summary.merged_into_patient_id.is_empty();
            let is_asked_for = |row: &v1::PatientSummary| {
                is_own(row) && (any || row.state() == state) && has_number(row)
            };
            if let Some(at) = as_known_at {
                return rows.list_at(after, (max, read_max), at, is_asked_for);
            }
            let (patients, has_more) = rows.list(after, max, is_asked_for)?;
            let last = patients.last().filter(|_| has_more);
            let next = last.and_then(|last| PatientId::parse(&last.patient_id).ok());
            Ok((patients, next))
        });
        let (mut patients, next) = match page.await {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => return Err(rows_refused(error).into()),
            Err(error) => return Err(rows_unreadable(&error).into()),
        };
        let next_page_token = next.map(|next| pages.token(&next.to_string())).unwrap_or_default();
        for patient in &mut patients {
            self.make_ready(patient, as_known_at);
        }
        Ok(Response::new(v1::ListPatientsResponse { patients, next_page_token }))
    }

    async fn find_look_alikes(
        &self,
        request: Request<v1::FindLookAlikesRequest>,
    ) -> Result<Response<v1::FindLookAlikesResponse>, Status> {
        let request = checked(request)?;
        let patient = patient_id(&request.patient_id)?;
        let as_known_at = request.as_known_at.as_ref().map(from_wire).transpose()?;
        let view = View { as_known_at, version_max: None };
        let Held { timeline, _large } = self.timeline(patient, view).await?;
        if !timeline.record().patient().is_known() {
            return Err(patient_unknown(as_known_at.is_some()).into());
        }
        if let Some(into) = timeline.record().patient().retired_into() {
            return Err(patient_merged(into).into());
        }
        let of = timeline.summary(patient);
        let end = self.store.end();
        self.patients.reach(&end, self.read_wait).await?;
        let (rows, max) = (self.patients.clone(), request.max);
        let known_at = as_known_at.map(|at| (at, self.read_back_max));
        let find = move || look_alikes::find(&rows, &of, max, known_at);
        let mut candidates = match tokio::task::spawn_blocking(find).await {
            Ok(Ok(Some(candidates))) => candidates,
            Ok(Ok(None)) => return Err(too_many_to_read_back(self.read_back_max).into()),
            Ok(Err(error)) => return Err(rows_refused(error).into()),
            Err(error) => return Err(rows_unreadable(&error).into()),
        };
        for patient in candidates.iter_mut().filter_map(|candidate| candidate.patient.as_mut()) {
            self.make_ready(patient, as_known_at);
        }
        Ok(Response::new(v1::FindLookAlikesResponse { candidates }))
    }
}

impl TimelineService {
    /// Makes a summary what is sent: as of the day of a moment, or of today.
    fn make_ready(&self, summary: &mut v1::PatientSummary, as_known_at: Option<Timestamp>) {
        glance::on_day(summary, &day_text(as_known_at, &self.store.region().zone));
        // The rows' own: it changes from one server to the next, and the patient does not.
        summary.newest_cursor.clear();
    }

    async fn page(
        &self,
        request: &v1::ReadTimelineRequest,
    ) -> Result<v1::ReadTimelineResponse, Refused> {
        let patient = patient_id(&request.patient_id)?;
        let wanted = self.cursor(&request.at_least_cursor)?;
        self.wait_for_log(&wanted).await?;
        let pages = read_pages(request);
        let page = pages.place(&request.page_token)?.map(|place| Page::read(&place)).transpose()?;
        let as_known_at = request.as_known_at.as_ref().map(from_wire).transpose()?;
        let view = View { as_known_at, version_max: page.map(|page| page.version) };
        let Held { timeline, _large } = self.timeline(patient, view).await?;
        if !timeline.record().patient().is_known() {
            return Err(patient_unknown(as_known_at.is_some()));
        }
        let mut summary = timeline.summary(patient);
        self.make_ready(&mut summary, as_known_at);
        let skip = page.map_or(0, |page| page.skip);
        // Up to a thousand events each, the same on every page.
        let told_while_merged = match page {
            None => timeline.told_while_merged().to_vec(),
            Some(_) => Vec::new(),
        };
        let mut bytes: usize = told_while_merged.iter().map(prost::Message::encoded_len).sum();
        let mut is_first = true;
        let mut fits = |entry: &v1::TimelineEntry| {
            bytes += entry.encoded_len();
            std::mem::take(&mut is_first) || bytes <= PAGE_BYTES
        };
        let filter = filter(request, &self.store.region().zone)?;
        let mut all = timeline.entries_after(skip, request.order(), &filter).peekable();
        let mut entries = Vec::new();
        while entries.len() < page_size(request.page_size)
            && let Some(entry) = all.next_if(&mut fits)
        {
            entries.push(entry);
        }
        let shown = skip.saturating_add(entries.len());
        let next = Page { version: timeline.version(), skip: shown };
        let next_page_token = all.peek().map(|_| pages.token(&next.place())).unwrap_or_default();
        drop(all);
        Ok(v1::ReadTimelineResponse {
            told_while_merged,
            patient: Some(summary),
            entries,
            next_page_token,
            cursor: timeline
                .last()
                .map(|last| self.store.region().cursor_text(&Cursor::at(last.position)))
                .unwrap_or_default(),
        })
    }

    async fn timeline(&self, patient: PatientId, view: View) -> Result<Held, Refused> {
        if let Some(timeline) = self.folded(patient, view, SMALL_TIMELINE_BYTES).await? {
            return Ok(Held { timeline, _large: None });
        }
        let large = Arc::clone(&self.large).acquire_owned();
        let large = tokio::time::timeout(self.read_wait, large).await;
        let large = large.or(Err(many_large()))?.or(Err(answers::stops()))?;
        let timeline = self.folded(patient, view, usize::MAX).await?.ok_or_else(many_large)?;
        Ok(Held { timeline, _large: Some(large) })
    }

    /// A patient's timeline, unless its events and those of the records that were merged into it
    /// have more than so many bytes.
    async fn folded(
        &self,
        patient: PatientId,
        view: View,
        bytes_max: usize,
    ) -> Result<Option<Timeline>, Refused> {
        let folded = self.patients.records().reading(move |reader| {
            let Some(events) = reader.events(patient, bytes_max)? else { return Ok(None) };
            let mut room = bytes_max.saturating_sub(bytes(&events));
            let read = &mut |of| {
                let events = reader.other_up_to(of, room)?.ok_or(Unfolded::Large)?;
                room = room.saturating_sub(bytes(&events));
                Ok::<_, Unfolded>(events)
            };
            match Timeline::fold_with(&events, &reader.store.region().zone, view, read) {
                Ok(timeline) => Ok(Some(timeline)),
                Err(Unfolded::Large) => Ok(None),
                Err(Unfolded::Lack(lack)) => Err(lack),
            }
        });
        folded.await
    }

    /// One patient's entries from a cursor on, then live.
    async fn follow(
        &self,
        patient: PatientId,
        cursor: Cursor,
    ) -> Result<impl Stream<Item = Result<v1::WatchTimelineResponse, Status>> + Send + use<>, Refused>
    {
        let seen = Progress::from(cursor);
        let mut watched = Watched {
            moved: self.store.watch_end(),
            timeline: Timeline::new(&self.store.region().zone),
            store: self.store.clone(),
            records: self.patients.records().clone(),
            patient,
            shown: 0,
            seen: seen.clone(),
            is_caught_up: false,
        };
        watched.catch_up().await?;
        if !watched.timeline.record().patient().is_known() {
            return Err(patient_unknown(false));
        }
        let frames = stream::try_unfold(watched, |mut watched| async move {
            Ok(Some((watched.next().await?, watched)))
        });
        let store = self.store.clone();
        let heartbeat = move || sign(Sign::Heartbeat(v1::Heartbeat {}), &seen, store.region());
        Ok(answers::follow(frames, heartbeat, self.heartbeat, self.stop.clone()))
    }

    fn cursor(&self, text: &str) -> Result<Cursor, Refused> {
        // What lies in other shards is not waited for here: it never comes.
        Ok(self.shard.part_of(&self.store.region().read_cursor(text)?))
    }

    async fn wait_for_log(&self, wanted: &Cursor) -> Result<(), Refused> {
        let reached =
            tokio::time::timeout(self.read_wait, tsunagi_bus::Log::reach(&self.store, wanted))
                .await;
        Ok(reached.or(Err(CursorError::NotReached))??)
    }
}

/// Which entries a request asks for.
fn filter(request: &v1::ReadTimelineRequest, zone: &Zone) -> Result<Filter, Refused> {
    let time = |field: &'static str, text: &str| match text {
        "" => Ok(None),
        text => CareTime::parse(text, zone)
            .map(Some)
            .map_err(|error| Refused::fields(vec![Path::ROOT.field(field).violation(error)])),
    };
    Ok(Filter {
        families: request.families().collect(),
        roles: request.roles.clone(),
        episode: EncounterId::parse(&request.episode_id).ok(),
        from: time("from_at", &request.from_at)?.map(|from| from.earliest()),
        to: time("to_at", &request.to_at)?.map(|to| to.latest()),
    })
}

/// A patient's timeline that is being watched.
struct Watched {
    store: Store,
    records: Records,
    patient: PatientId,
    /// Folded so far.
    timeline: Timeline,
    /// How many of its entries were looked at.
    shown: u64,
    /// What the watcher has seen, before and now.
    seen: Progress,
    moved: watch::Receiver<crate::log::Location>,
    is_caught_up: bool,
}

impl Watched {
    /// The next frame; waits for it.
    async fn next(&mut self) -> Result<v1::WatchTimelineResponse, Refused> {
        loop {
            // Marked as seen before reading: what moves from here on wakes the wait below.
            self.moved.mark_unchanged();
            // An entry is shown when all is read: what it withholds, a later event may say.
            self.catch_up().await?;
            if let Some(entry) = self.unseen_entry() {
                return Ok(self.frame(Sign::Entry(entry)));
            }
            if !self.is_caught_up {
                self.is_caught_up = true;
                return Ok(self.frame(Sign::CaughtUp(v1::CaughtUp {})));
            }
            if self.moved.changed().await.is_err() {
                return Err(answers::stops());
            }
        }
    }

    /// A frame that says where the timeline goes on, if not here.
    fn frame(&self, frame: Sign) -> v1::WatchTimelineResponse {
        let into = self.timeline.record().patient().retired_into();
        v1::WatchTimelineResponse {
            merged_into_patient_id: into.map(|into| into.to_string()).unwrap_or_default(),
            ..sign(frame, &self.seen, self.store.region())
        }
    }

    /// Folds all that is stored of the patient.
    async fn catch_up(&mut self) -> Result<(), Refused> {
        let stream = StreamId::Patient(self.patient);
        // Most of what moves the log is about other patients.
        while self.store.has_more(stream, self.timeline.version()) {
            for stored in &self.store.read(stream, self.timeline.version()).await? {
                self.timeline.add(stored);
            }
        }
        if !self.timeline.record().wanted().is_empty() || self.timeline.wants_person() {
            let patient = self.patient;
            let folded = self.records.reading(move |reader| {
                let events = reader.events(patient, usize::MAX)?.unwrap_or_default();
                let read = &mut |of| reader.other(of);
                Timeline::fold_with(&events, &reader.store.region().zone, View::default(), read)
            });
            self.timeline = folded.await?;
        }
        Ok(())
    }

    /// The next entry that the watcher has not seen.
    fn unseen_entry(&mut self) -> Option<v1::TimelineEntry> {
        while let Some(placed) = self.timeline.placed(self.shown + 1) {
            self.shown += 1;
            if !self.seen.has_seen(placed.position) {
                self.seen.advance(placed.position);
                // Not every event is one that people read.
                if let Some(entry) = self.timeline.entry(self.shown) {
                    return Some(entry);
                }
            }
        }
        None
    }
}

fn sign(frame: Sign, seen: &Progress, region: &Region) -> v1::WatchTimelineResponse {
    let (frame, cursor) = (Some(frame), seen.text(region));
    v1::WatchTimelineResponse { frame, cursor, merged_into_patient_id: String::new() }
}

/// Which page comes next: of the timeline as it was at a version, behind so many entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Page {
    version: u64,
    skip: usize,
}

impl Page {
    fn place(self) -> String {
        format!("{} {}", self.version, self.skip)
    }

    fn read(place: &str) -> Result<Self, Refused> {
        let (version, skip) = place.split_once(' ').ok_or_else(malformed)?;
        let version = version.parse().or(Err(malformed()))?;
        let skip = skip.parse().or(Err(malformed()))?;
        Ok(Self { version, skip })
    }
}

fn read_pages(request: &v1::ReadTimelineRequest) -> Pages {
    Pages::of(&v1::ReadTimelineRequest {
        page_size: 0,
        page_token: String::new(),
        at_least_cursor: String::new(),
        ..request.clone()
    })
}

pub(crate) fn list_pages(request: &v1::ListPatientsRequest) -> Pages {
    Pages::of(&v1::ListPatientsRequest {
        page_size: 0,
        page_token: String::new(),
        at_least_cursor: String::new(),
        ..request.clone()
    })
}

/// The request, if its caller says who it is and its fields are what they must be.
pub(crate) fn checked<R: Check>(request: Request<R>) -> Result<R, Refused> {
    caller(request.metadata())?;
    whole(request.into_inner())
}

fn patient_id(text: &str) -> Result<PatientId, Refused> {
    PatientId::parse(text)
        .map_err(|error| Refused::fields(vec![Path::ROOT.field("patient_id").violation(error)]))
}

pub(crate) fn from_wire(moment: &prost_types::Timestamp) -> Result<Timestamp, Refused> {
    Timestamp::new(moment.seconds, moment.nanos).map_err(|_out_of_range| {
        let at = Path::ROOT.field("as_known_at");
        Refused::fields(vec![at.violation("must be a time that exists")])
    })
}

pub(crate) fn page_size(asked: u32) -> usize {
    usize::try_from(if asked == 0 { PAGE_SIZE } else { asked }).unwrap_or(usize::MAX)
}

fn patient_unknown(as_known_before: bool) -> Refused {
    let message = if as_known_before {
        "the patient was not registered at the time asked for"
    } else {
        "the patient is not registered: check the patient id, or find the patient by an identifier"
    };
    Refused::new(Code::NotFound, "PATIENT_UNKNOWN", message)
}

fn patient_merged(into: PatientId) -> Refused {
    let merged = Refusal::from(identity::Refusal::Retired(into));
    let message = merged.to_string();
    Refused::new(Code::FailedPrecondition, merged.reason(), message).with("patient_id", &into)
}

fn many_large() -> Refused {
    let message = "several very long timelines are being read already: try again";
    Refused::new(Code::ResourceExhausted, "SERVER_FULL", message)
}

/// What is said when the patients' rows cannot be read.
pub(crate) fn rows_refused(error: RowsError) -> Refused {
    match error {
        RowsError::Away(refused) => *refused,
        RowsError::Sled(_)
        | RowsError::Ahead(_)
        | RowsError::Log(_)
        | RowsError::Feed(_)
        | RowsError::Task(_)
        | RowsError::Stopped => rows_unreadable(&error),
    }
}

pub(crate) fn rows_unreadable(error: &dyn std::fmt::Display) -> Refused {
    tracing::error!(%error, "the patients' rows could not be read");
    let message = "the server cannot list patients now: try again later, and tell whoever runs it";
    Refused::new(Code::Unavailable, "ROWS_UNREADABLE", message)
}
fn too_many_to_read_back(max: usize) -> Refused {
    let message = format!(
        "the region has more than {max} patients, and of no more is it found who was alike at a time: ask without `as_known_at`, or have `read-back-patients` raised"
    );
    Refused::new(Code::ResourceExhausted, "TOO_MANY_TO_READ_BACK", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_cannot_be_read_are_worth_another_try_and_nothing_of_them_is_told() {
        let damage = RowsError::Ahead("/where/the/rows/lie".into());
        let refused = rows_refused(damage);
        assert_eq!((refused.code, refused.reason), (Code::Unavailable, "ROWS_UNREADABLE"));
        assert!(!refused.message.contains("/where"), "{}", refused.message);
    }
}
