//! One row for each patient and for each community resource, kept in sled: what `ListPatients` and
//! `FindResources` show without reading every stream. Folded from the log in the background, and made again from it when it is missing,
//! damaged or ahead of the log (I5).

use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::time::Duration;

use jiff::Timestamp;
use prost::Message as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tsunagi_bus::cursor::CursorError;
use tsunagi_bus::{Bus as _, Cursor, Delivery, Feed, Stored, StreamId, address};
use tsunagi_chassis::Refused;
use tsunagi_domain::{PatientId, ResourceId};
use tsunagi_proto::v1;

use crate::directory;
use crate::ingest;
use crate::keys;
use crate::log::LogError;
use crate::log::file::Patience;
use crate::records::Records;
use crate::store::Store;
use crate::timeline::{Other, Timeline, View};

/// Rows written at a time. A larger batch makes sled hold its garbage: one of 4,096 random
/// keys was seen to take 2.7 GB.
const BATCH_ENTRIES: usize = 64;
/// Bytes of rows after which no more are put on a page.
const PAGE_BYTES: usize = 1 << 20;

/// Why the rows cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    #[error("sled failed: {0}")]
    Sled(#[from] sled::Error),
    #[error(
        "the rows in {0} were made of events that the log has no more: it was cut, or an older one was put there; restore the data folder from a backup, or, to go on without these events, take the rows away and keep them"
    )]
    Ahead(PathBuf),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the feed ended: {0}")]
    Feed(#[from] tsunagi_bus::port::ReadError),
    #[error("a background task was lost")]
    Task(#[from] tokio::task::JoinError),
    #[error("{}", .0.message)]
    Away(Box<Refused>),
    #[error("it is time to stop")]
    Stopped,
}

/// What is written of a patient, if it could be made.
type Row = Result<Made, RowsError>;

struct Made {
    patient: PatientId,
    row: v1::PatientSummary,
    /// The organisations that ever had to do with the patient.
    ever: Vec<String>,
}

impl Made {
    fn of(timeline: &Timeline, patient: PatientId, store: &Store) -> Self {
        let ever = timeline.organisations().map(str::to_owned).collect();
        Self { patient, row: row(timeline, patient, store), ever }
    }
}

/// The rows, open.
#[derive(Clone)]
pub struct Patients {
    /// Replaced when they turn out to be damaged.
    rows: Arc<RwLock<sled::Db>>,
    path: PathBuf,
    store: Store,
    records: Records,
    /// How far the rows are made.
    made: watch::Sender<Cursor>,
    /// Which record of another shard is waited for.
    waits_for: watch::Sender<Option<StreamId>>,
}

impl Patients {
    /// Opens the rows in the data folder, putting aside what cannot be opened or cannot be true.
    pub fn open(records: Records, data: &Path) -> Result<Self, RowsError> {
        let store = records.store().clone();
        for earlier in keys::EARLIER_FOLDERS {
            // It may never have been there.
            let _removed = std::fs::remove_dir_all(data.join(earlier));
        }
        let path = data.join(keys::FOLDER);
        let slots = store.region().slots;
        let (rows, cursor) = match open_rows(&path, slots) {
            Some((rows, cursor)) if store.end().covers(&cursor) => (rows, cursor),
            // On NATS, the streams have what is missing.
            Some(_) if !ingest::is_fed(data) => return Err(RowsError::Ahead(path)),
            opened => {
                drop(opened);
                put_aside(&store, &path);
                (open_sled(&path)?, Cursor::start())
            }
        };
        let rows = Arc::new(RwLock::new(rows));
        let (made, waits_for) = (watch::Sender::new(cursor), watch::Sender::new(None));
        Ok(Self { rows, path, store, records, made, waits_for })
    }

    /// Makes rows of what is stored, until told to stop. Rows that turn out to be damaged on
    /// the way, or cannot be written, are made again, as often as need be: a full disk may have
    /// room again at any time. Where the log cannot be read in its order, all patients are read
    /// one by one; of whom that cannot be done, the row stays as it was.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), RowsError> {
        const AGAIN_AFTER: Duration = Duration::from_secs(1);
        let mut was_put_aside = false;
        loop {
            let error = match self.make_until(&stop).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            tracing::error!(%error, "the patients' rows are made again");
            let is_of_rows = matches!(error, RowsError::Sled(_) | RowsError::Task(_));
            let mut again = if is_of_rows {
                self.off_the_runtime(move |rows| rows.begin_again(!was_put_aside)).await
            } else {
                let stop = stop.clone();
                self.off_the_runtime(move |rows| rows.make_all(&stop)).await
            };
            was_put_aside |= is_of_rows;
            while let Err(error) = again {
                tracing::warn!(%error, "the patients' rows cannot be made");
                tokio::select! {
                    // Either may be cancelled.
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(AGAIN_AFTER) => {}
                }
                again = self.off_the_runtime(|rows| rows.begin_again(false)).await;
            }
        }
    }

    async fn off_the_runtime(
        &self,
        work: impl FnOnce(&Self) -> Result<(), RowsError> + Send + 'static,
    ) -> Result<(), RowsError> {
        let rows = self.clone();
        tokio::task::spawn_blocking(move || work(&rows)).await?
    }

    /// How far the rows are made.
    pub fn made(&self) -> Cursor {
        self.made.borrow().clone()
    }

    /// Makes the rows of all patients and resources, one by one.
    fn make_all(&self, stop: &CancellationToken) -> Result<(), RowsError> {
        let end = self.store.end();
        let streams = self.store.streams();
        let patients = streams.iter().copied().filter_map(StreamId::patient).collect();
        self.write_resources(&streams.into_iter().filter_map(StreamId::resource).collect())?;
        self.make_anew(&patients, &end, stop)?;
        self.made.send_replace(end);
        Ok(())
    }

    /// What was there is put aside to be looked at, but once: what comes after it was begun here.
    fn begin_again(&self, puts_aside: bool) -> Result<(), RowsError> {
        if puts_aside {
            put_aside(&self.store, &self.path);
        } else if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, "the patients' rows could not be removed");
        }
        let rows = open_sled(&self.path)?;
        *self.rows.write().unwrap_or_else(PoisonError::into_inner) = rows;
        self.made.send_replace(Cursor::start());
        Ok(())
    }

    fn rows(&self) -> sled::Db {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn make_until(&self, stop: &CancellationToken) -> Result<(), RowsError> {
        let mut cursor = self.made.borrow().clone();
        let mut feed = self.store.follow(cursor.clone());
        // While it catches up, a patient's row is made once, however often the patient changed.
        let mut changed = Some((BTreeSet::new(), BTreeSet::new()));
        let mut folded = Folded::default();
        loop {
            let delivery = tokio::select! {
                () = stop.cancelled() => break,
                // Safe to cancel: see `Feed::next`.
                delivery = feed.next() => delivery?,
            };
            let rows = self.clone();
            match (delivery, &mut changed) {
                (Delivery::Events(events), Some((patients, resources))) => {
                    advance(&mut cursor, &events);
                    patients.extend(events.iter().filter_map(|stored| stored.stream.patient()));
                    resources.extend(events.iter().filter_map(|stored| stored.stream.resource()));
                    continue;
                }
                (Delivery::Events(mut events), None) => {
                    gather(&mut feed, &mut events).await?;
                    advance(&mut cursor, &events);
                    let (end, stop) = (cursor.clone(), stop.clone());
                    let made = move || rows.make_of(&events, &end, folded, &stop);
                    folded = match tokio::task::spawn_blocking(made).await? {
                        Err(RowsError::Stopped) => break,
                        made => made?,
                    };
                }
                (Delivery::CaughtUp, changed) => {
                    let Some((patients, resources)) = changed.take() else { continue };
                    let (end, stop) = (cursor.clone(), stop.clone());
                    let made = move || {
                        rows.write_resources(&resources)?;
                        rows.make_anew(&patients, &end, &stop)
                    };
                    match tokio::task::spawn_blocking(made).await? {
                        Err(RowsError::Stopped) => break,
                        made => made?,
                    }
                }
            }
            self.made.send_replace(cursor.clone());
        }
        let rows = self.rows();
        tokio::task::spawn_blocking(move || rows.flush()).await??;
        Ok(())
    }

    /// Reads what the rows are made of.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Waits until the rows have seen what `wanted` has.
    pub(crate) async fn reach(&self, wanted: &Cursor, wait: Duration) -> Result<(), Refused> {
        let mut made = self.watch();
        let reached = made.wait_for(|cursor| cursor.covers(wanted));
        if let Ok(Ok(_reached)) = tokio::time::timeout(wait, reached).await {
            return Ok(());
        }
        let waits_for = *self.waits_for.borrow();
        Err(waits_for
            .map_or_else(|| CursorError::NotReached.into(), |patient| self.records.away(patient)))
    }

    /// The events of another stream that a row needs. Waits for those of other shards.
    fn other(&self, other: Other, stop: &CancellationToken) -> Result<Vec<Stored>, RowsError> {
        let tell = |stream| {
            if self.waits_for.send_replace(Some(stream)) != Some(stream) {
                tracing::warn!("the patients' rows wait for a record of another shard");
            }
        };
        let events = self.records.wait_for_other(other.into(), stop, tell)?;
        self.waits_for.send_if_modified(|waits_for| waits_for.take().is_some());
        events.ok_or(RowsError::Stopped)
    }

    /// Tells how far the rows are made.
    pub fn watch(&self) -> watch::Receiver<Cursor> {
        self.made.subscribe()
    }

    /// Patients after `after`, in the order of their ids, of which `filter` holds: `max` of them
    /// at most, and fewer if they are long. With them, whether there may be more.
    pub fn list(
        &self,
        after: Option<PatientId>,
        max: usize,
        filter: impl Fn(&v1::PatientSummary) -> bool,
    ) -> Result<(Vec<v1::PatientSummary>, bool), RowsError> {
        let rows = match after {
            None => self.rows().scan_prefix(keys::PATIENTS),
            Some(after) => {
                let from = keys::patient(after);
                self.rows().range((Bound::Excluded(from), Bound::Unbounded))
            }
        };
        let mut patients = Vec::new();
        let mut bytes = 0;
        for row in rows {
            let (key, value) = row?;
            let Some(patient) = keys::read_patient(&key) else { break };
            if !self.records.has(StreamId::Patient(patient)) {
                // It was this store's once.
                continue;
            }
            if patients.len() >= max || bytes >= PAGE_BYTES {
                return Ok((patients, true));
            }
            // All could be read when they were opened: one that cannot be is left out, as
            // better missing than wrong.
            let summary = v1::PatientSummary::decode(&*value).ok();
            if let Some(summary) = summary.filter(|summary| filter(summary)) {
                bytes += value.len();
                patients.push(summary);
            }
        }
        Ok((patients, false))
    }

    /// Makes the rows of these patients of all that is stored about them, on all cores.
    fn make_anew(
        &self,
        changed: &BTreeSet<PatientId>,
        end: &Cursor,
        stop: &CancellationToken,
    ) -> Result<(), RowsError> {
        let changed: Vec<PatientId> = changed.iter().copied().collect();
        let makers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = changed.len().div_ceil(makers).max(1);
        std::thread::scope(|scope| {
            let (made, rows) = mpsc::sync_channel(BATCH_ENTRIES);
            let start = |patients| {
                let made: mpsc::SyncSender<_> = made.clone();
                scope.spawn(move || self.make_each(patients, &made, stop))
            };
            let mut makers: Vec<_> = changed.chunks(share).map(start).collect();
            drop(made);
            // Before how far the rows are made is written: all of them must be.
            let are_all_made = std::iter::from_fn(|| {
                let panicked = makers.drain(..).find_map(|maker| maker.join().err());
                panicked.map(|panic| std::panic::resume_unwind(panic))
            });
            self.write(rows.into_iter().chain(are_all_made), end)
        })
    }

    fn make_each(
        &self,
        patients: &[PatientId],
        made: &mpsc::SyncSender<Row>,
        stop: &CancellationToken,
    ) {
        for patient in patients {
            if made.send(self.row(*patient, stop)).is_err() {
                // Nobody takes rows any more: writing them failed, and that is told.
                return;
            }
        }
    }

    /// The row of a patient, of all that is stored.
    fn row(&self, patient: PatientId, stop: &CancellationToken) -> Row {
        let mut timeline = Timeline::for_summary(&self.store.region().zone);
        let read = &mut |of| self.other(of, stop);
        for stored in &self.store.read_all(StreamId::Patient(patient), Patience::Wait)? {
            timeline.add_with(stored, View::default(), read)?;
        }
        Ok(Made::of(&timeline, patient, &self.store))
    }

    /// Makes the rows of the patients that these events are about.
    fn make_of(
        &self,
        events: &[Stored],
        end: &Cursor,
        mut folded: Folded,
        stop: &CancellationToken,
    ) -> Result<Folded, RowsError> {
        for stored in events {
            if let Err(error) = folded.add(self, stored, stop) {
                folded.forget(stored.stream);
                stays_as_it_was(error)?;
            }
        }
        self.write_resources(
            &events.iter().filter_map(|stored| stored.stream.resource()).collect(),
        )?;
        let changed: BTreeSet<PatientId> =
            events.iter().filter_map(|stored| stored.stream.patient()).collect();
        let row = |patient: &PatientId| folded.row(*patient, &self.store);
        let rows = changed.iter().filter_map(row).map(Ok);
        self.write(rows, end)?;
        folded.shrink();
        Ok(folded)
    }

    /// Makes and writes the rows of these resources, of all that is stored about them.
    fn write_resources(&self, changed: &BTreeSet<ResourceId>) -> Result<(), RowsError> {
        let (rows, zone) = (self.rows(), &self.store.region().zone);
        for resource in changed {
            let events = match self.store.read_all(StreamId::Resource(*resource), Patience::Wait) {
                Ok(events) => events,
                Err(error) => {
                    stays_as_it_was(error.into())?;
                    continue;
                }
            };
            if let Some(entry) = directory::entry(*resource, &events, zone) {
                rows.insert(keys::resource(*resource), entry.encode_to_vec())?;
            }
        }
        Ok(())
    }

    /// Writes rows, and with the last of them how far they are made.
    fn write(&self, made: impl Iterator<Item = Row>, end: &Cursor) -> Result<(), RowsError> {
        let rows = self.rows();
        let (mut batch, mut count) = (sled::Batch::default(), 0);
        for row in made {
            let made = match row {
                Ok(made) => made,
                Err(error) => {
                    stays_as_it_was(error)?;
                    continue;
                }
            };
            count += 1 + Self::index(&rows, &mut batch, &made)?;
            let Made { patient, row, .. } = made;
            batch.insert(&keys::patient(patient)[..], row.encode_to_vec());
            if count >= BATCH_ENTRIES {
                rows.apply_batch(std::mem::take(&mut batch))?;
                count = 0;
            }
        }
        batch.insert(keys::CHECKPOINT, end.encode().as_bytes());
        Ok(rows.apply_batch(batch)?)
    }
}

impl Patients {
    /// Notes with which organisations the patient has to do now, no longer, and ever had. Returns
    /// how many entries that takes.
    fn index(rows: &sled::Db, batch: &mut sled::Batch, made: &Made) -> Result<usize, RowsError> {
        let Made { patient, row, ever } = made;
        let patient = *patient;
        let mut entries = 0;
        for organisation in ever {
            let key = keys::in_organisation(&keys::ever_of_organisation(organisation), patient);
            if !rows.contains_key(&key)? {
                batch.insert(key, &[][..]);
                entries += 1;
            }
        }
        let before = rows.get(keys::patient(patient))?;
        let before = before.and_then(|row| v1::PatientSummary::decode(&*row).ok());
        let before = before.as_ref().map(organisations).unwrap_or_default();
        let now = organisations(row);
        for gone in before.difference(&now) {
            batch.remove(keys::in_organisation(&keys::of_organisation(gone), patient));
        }
        for new in now.difference(&before) {
            batch.insert(keys::in_organisation(&keys::of_organisation(new), patient), &[][..]);
        }
        Ok(entries + before.symmetric_difference(&now).count())
    }

    /// The patients with whom an organisation has to do.
    pub fn of_organisation(
        &self,
        organisation: &str,
    ) -> Result<Vec<v1::PatientSummary>, RowsError> {
        let rows = self.rows();
        let prefix = keys::of_organisation(organisation);
        let mut patients = Vec::new();
        for key in rows.scan_prefix(&prefix).keys() {
            let Some(patient) = keys::read_in_organisation(&key?, &prefix) else { continue };
            if !self.records.has(StreamId::Patient(patient)) {
                continue;
            }
            let row = rows.get(keys::patient(patient))?;
            patients.extend(row.and_then(|row| v1::PatientSummary::decode(&*row).ok()));
        }
        Ok(patients)
    }

    /// Whether an organisation has, or ever had, to do with a patient.
    pub(crate) fn ever_had_to_do(
        &self,
        organisation: &str,
        patient: PatientId,
    ) -> Result<bool, RowsError> {
        let key = keys::in_organisation(&keys::ever_of_organisation(organisation), patient);
        Ok(self.rows().contains_key(key)?)
    }

    /// As `of_organisation`, as it was known at a time. None if they are more than `max` who ever had to do
    /// with it.
    pub(crate) fn of_organisation_at(
        &self,
        organisation: &str,
        as_known_at: Timestamp,
        max: usize,
    ) -> Result<Option<Vec<v1::PatientSummary>>, RowsError> {
        let prefix = keys::ever_of_organisation(organisation);
        let mut patients = Vec::new();
        for (count, key) in self.rows().scan_prefix(&prefix).keys().enumerate() {
            if count == max {
                return Ok(None);
            }
            let Some(patient) = keys::read_in_organisation(&key?, &prefix) else { continue };
            if !self.records.has(StreamId::Patient(patient)) {
                continue;
            }
            let row = self.row_at(patient, as_known_at)?;
            patients.extend(row.filter(|row| row.merged_into_patient_id.is_empty()));
        }
        Ok(Some(patients))
    }

    /// The row of a patient as it was known at a time, if the patient was registered by then.
    fn row_at(
        &self,
        patient: PatientId,
        as_known_at: Timestamp,
    ) -> Result<Option<v1::PatientSummary>, RowsError> {
        let view = View { as_known_at: Some(as_known_at), version_max: None };
        let read = &mut |other: Other| {
            let events = self.records.wait_for(other.into())?;
            events.map_err(|away| RowsError::Away(Box::new(away)))
        };
        let events = self.store.read_all(StreamId::Patient(patient), Patience::Wait)?;
        let timeline = Timeline::fold_with(&events, &self.store.region().zone, view, read)?;
        let is_known = timeline.record().patient().is_known();
        Ok(is_known.then(|| row(&timeline, patient, &self.store)))
    }

    /// As `list`, of what was known at a time. Looks at `read_max` patients at most, and says at
    /// which it stopped: a page may have fewer than there are.
    pub(crate) fn list_at(
        &self,
        after: Option<PatientId>,
        (max, read_max): (usize, usize),
        as_known_at: Timestamp,
        filter: impl Fn(&v1::PatientSummary) -> bool,
    ) -> Result<(Vec<v1::PatientSummary>, Option<PatientId>), RowsError> {
        let from = match after {
            None => Bound::Included(keys::PATIENTS.to_vec()),
            Some(after) => Bound::Excluded(keys::patient(after).to_vec()),
        };
        let (mut patients, mut bytes, mut last) = (Vec::new(), 0, None);
        for (count, key) in self.rows().range((from, Bound::Unbounded)).keys().enumerate() {
            let Some(patient) = keys::read_patient(&key?) else { return Ok((patients, None)) };
            if count == read_max || patients.len() >= max || bytes >= PAGE_BYTES {
                return Ok((patients, last));
            }
            last = Some(patient);
            if !self.records.has(StreamId::Patient(patient)) {
                continue;
            }
            if let Some(row) = self.row_at(patient, as_known_at)?.filter(&filter) {
                bytes += row.encoded_len();
                patients.push(row);
            }
        }
        Ok((patients, None))
    }

    /// Resources after `after`, in the order of their ids, that `show` shows: `max` of them at
    /// most, and fewer if they are long. With them, whether there may be more.
    pub fn resources(
        &self,
        after: Option<ResourceId>,
        max: usize,
        mut show: impl FnMut(v1::DirectoryEntry) -> Option<v1::DirectoryEntry>,
    ) -> Result<(Vec<v1::DirectoryEntry>, bool), RowsError> {
        let rows = match after {
            None => self.rows().scan_prefix(keys::RESOURCES),
            Some(after) => {
                let from = keys::resource(after);
                self.rows().range((Bound::Excluded(from), Bound::Unbounded))
            }
        };
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for row in rows {
            let (key, value) = row?;
            if keys::read_resource(&key).is_none() {
                break;
            }
            let Some(entry) = v1::DirectoryEntry::decode(&*value).ok().and_then(&mut show) else {
                continue;
            };
            if entries.len() >= max || bytes >= PAGE_BYTES {
                return Ok((entries, true));
            }
            bytes += value.len();
            entries.push(entry);
        }
        Ok((entries, false))
    }

    /// The records that say that they were merged into another, which does not say so, as far as is
    /// known here: half of a merge, or of its end, is missing.
    pub fn half_merged(&self) -> Result<Vec<PatientId>, RowsError> {
        let rows = self.rows();
        let mut half = Vec::new();
        for retired in self.all(|row| !row.merged_into_patient_id.is_empty())? {
            let survivor = PatientId::parse(&retired.merged_into_patient_id).ok();
            let row = survivor.map(|of| rows.get(keys::patient(of))).transpose()?.flatten();
            let row = row.and_then(|row| v1::PatientSummary::decode(&*row).ok());
            if row.is_none_or(|row| !row.merged_patient_ids.contains(&retired.patient_id)) {
                half.extend(PatientId::parse(&retired.patient_id).ok());
            }
        }
        Ok(half)
    }

    /// All patients of whom `filter` holds.
    pub fn all(
        &self,
        filter: impl Fn(&v1::PatientSummary) -> bool,
    ) -> Result<Vec<v1::PatientSummary>, RowsError> {
        let mut patients = Vec::new();
        for row in self.rows().scan_prefix(keys::PATIENTS) {
            let (key, row) = row?;
            if keys::read_patient(&key)
                .is_none_or(|patient| !self.records.has(StreamId::Patient(patient)))
            {
                continue;
            }
            let summary = v1::PatientSummary::decode(&*row).ok();
            patients.extend(summary.filter(|summary| filter(summary)));
        }
        Ok(patients)
    }
}

/// The organisations that have to do with a patient now: on the team, where the patient is or is
/// expected, or asked for something.
pub(crate) fn organisations(row: &v1::PatientSummary) -> BTreeSet<String> {
    let facility = |place: &Option<v1::Place>| place.as_ref().and_then(|at| at.facility.clone());
    let of = |who: &Option<v1::Participant>| who.as_ref().and_then(|of| of.organisation.clone());
    let requests = row.transfer_requests.iter().chain(&row.referrals);
    let parties = requests.flat_map(|asked| [asked.requester.clone(), asked.receiver.clone()]);
    let called = row.contacts_asked.iter().map(|asked| asked.receiver.clone());
    let all = parties
        .chain(called)
        .chain(row.team.iter().map(|member| of(&member.member)))
        .chain(row.stays.iter().map(|stay| facility(&stay.place)))
        .chain(row.planned_stays.iter().map(|stay| facility(&stay.place)))
        .chain(row.cases.iter().map(|case| of(&case.link_worker)));
    // A record that was merged into another is no longer anybody's.
    let is_own = row.merged_into_patient_id.is_empty();
    all.flatten().map(|of| of.id).filter(|id| is_own && !id.is_empty()).collect()
}

/// A patient's row, and up to where it is made.
fn row(timeline: &Timeline, patient: PatientId, store: &Store) -> v1::PatientSummary {
    let newest = timeline.last().map(|last| Cursor::at(last.position));
    let newest_cursor = newest.map(|newest| store.region().cursor_text(&newest));
    let mut row = timeline.summary(patient);
    if !row.merged_into_patient_id.is_empty() {
        // The row is not made again when the other record says that the address is confidential.
        let address = row.demographics.as_mut().and_then(|known| known.address.as_mut());
        address.into_iter().for_each(address::withhold);
    }
    v1::PatientSummary { newest_cursor: newest_cursor.unwrap_or_default(), ..row }
}

/// What summaries are made of, for patients who changed lately: a row is not made of the whole
/// stream each time.
#[derive(Default)]
struct Folded {
    timelines: HashMap<PatientId, Timeline>,
    /// How many patients they hold, and events these were made of.
    weight: usize,
}

/// A patient whose events cannot be read keeps the row of before; everybody else's is made.
fn stays_as_it_was(error: RowsError) -> Result<(), RowsError> {
    if matches!(&error, RowsError::Log(damage) if damage.is_finding()) {
        tracing::error!(%error, "a row stays as it was");
        return Ok(());
    }
    Err(error)
}

impl Folded {
    fn forget(&mut self, stream: StreamId) {
        if let Some(patient) = stream.patient() {
            self.timelines.remove(&patient);
        }
    }

    fn add(
        &mut self,
        rows: &Patients,
        stored: &Stored,
        stop: &CancellationToken,
    ) -> Result<(), RowsError> {
        let Some(patient) = stored.stream.patient() else { return Ok(()) };
        let store = &rows.store;
        let timeline = self.timelines.entry(patient).or_insert_with(|| {
            self.weight += 1;
            Timeline::for_summary(&store.region().zone)
        });
        let before = timeline.version();
        let read = &mut |of| rows.other(of, stop);
        if timeline.version() + 1 < stored.placed.version {
            for earlier in &store.read_all(StreamId::Patient(patient), Patience::Wait)? {
                if earlier.placed.version > timeline.version() {
                    timeline.add_with(earlier, View::default(), read)?;
                }
            }
        }
        if timeline.version() < stored.placed.version {
            timeline.add_with(stored, View::default(), read)?;
        }
        self.weight += usize::try_from(timeline.version() - before).unwrap_or(usize::MAX);
        Ok(())
    }

    fn row(&self, patient: PatientId, store: &Store) -> Option<Made> {
        self.timelines.get(&patient).map(|timeline| Made::of(timeline, patient, store))
    }

    /// Forgets everything when it has become much: who changes is read again.
    fn shrink(&mut self) {
        const WEIGHT_MAX: usize = 50_000;
        if self.weight > WEIGHT_MAX {
            *self = Self::default();
        }
    }
}

fn advance(cursor: &mut Cursor, events: &[Stored]) {
    for stored in events {
        cursor.advance(stored.placed.position);
    }
}

/// Adds what comes within a short while: a patient who changes often gets one row for it.
async fn gather(feed: &mut Box<dyn Feed>, events: &mut Vec<Stored>) -> Result<(), RowsError> {
    const WHILE: Duration = Duration::from_millis(50);
    const EVENTS_MAX: usize = 4096;
    let until = tokio::time::Instant::now() + WHILE;
    while events.len() < EVENTS_MAX {
        // Safe to cancel: see `Feed::next`.
        match tokio::time::timeout_at(until, feed.next()).await {
            Ok(delivery) => {
                if let Delivery::Events(more) = delivery? {
                    events.extend(more);
                }
            }
            Err(_elapsed) => break,
        }
    }
    Ok(())
}

fn sled_config(path: &Path) -> sled::Config {
    /// Its default is a gigabyte, for rows that are read from disk as well.
    const CACHE_BYTES: u64 = 32 << 20;
    sled::Config::default().path(path).cache_capacity(CACHE_BYTES)
}

/// Opens sled, waiting a while for its lock: the folder is this process's own, but sled gives
/// the lock back some time after its last user has gone, from a thread of its own.
#[expect(clippy::disallowed_methods, reason = "the lock tells nobody when it is given back")]
fn open_sled(path: &Path) -> Result<sled::Db, sled::Error> {
    const ATTEMPTS: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(20);
    let is_locked = |error: &sled::Error| matches!(error, sled::Error::Io(error) if error.kind() == ErrorKind::Other);
    for _ in 1..ATTEMPTS {
        match sled_config(path).open() {
            Err(error) if is_locked(&error) => std::thread::sleep(PAUSE),
            opened => return opened,
        }
    }
    sled_config(path).open()
}

/// Opens the rows, reads all of them, and how far they are made. None if any of it cannot be
/// done: sled panics on some damage, and finds some only when it reads the row.
fn open_rows(path: &Path, slots: u16) -> Option<(sled::Db, Cursor)> {
    let open = || {
        let rows = open_sled(path)?;
        let checkpoint = rows.get(keys::CHECKPOINT)?;
        for row in rows.scan_prefix(keys::PATIENTS) {
            let (_, value) = row?;
            let read = v1::PatientSummary::decode(&*value);
            read.map_err(|error| sled::Error::Unsupported(error.to_string()))?;
        }
        for row in rows.scan_prefix(keys::RESOURCES) {
            let (_, value) = row?;
            let read = v1::DirectoryEntry::decode(&*value);
            read.map_err(|error| sled::Error::Unsupported(error.to_string()))?;
        }
        Ok::<_, sled::Error>((rows, checkpoint))
    };
    let (rows, checkpoint) = std::panic::catch_unwind(AssertUnwindSafe(open)).ok()?.ok()?;
    let Some(checkpoint) = checkpoint else { return Some((rows, Cursor::start())) };
    let text = std::str::from_utf8(&checkpoint).ok()?;
    let cursor = Cursor::decode(text, slots).ok()?;
    Some((rows, cursor))
}

fn put_aside(store: &Store, path: &Path) {
    if !path.exists() {
        return;
    }
    store.note_rows_put_aside();
    let aside: PathBuf = path.with_extension(format!("damaged-{}", Timestamp::now().as_second()));
    match std::fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(
            aside = %aside.display(),
            "the patients' rows could not be used and were put aside; they are made again from the log"
        ),
        Err(error) => tracing::warn!(%error, "the patients' rows could not be put aside"),
    }
}
