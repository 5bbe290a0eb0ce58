//! Makes the rows: of everybody's whole streams when they are begun, and then of what comes, each
//! patient's once for all that comes together.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::time::Duration;

use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Bus as _, Cursor, Delivery, Feed, Stored, StreamId};
use tsunagi_domain::{PatientId, ResourceId};
use tsunagi_proto::v1;

use super::reading::organisations;
use super::{Patients, RowsError, row};
use crate::directory;
use crate::keys;
use crate::log::file::Patience;
use crate::store::Store;
use crate::timeline::{Other, Timeline, View};

/// Rows written at a time. A larger batch makes sled hold its garbage: one of 4,096 random
/// keys was seen to take 2.7 GB.
const BATCH_ENTRIES: usize = 64;

/// What is written of a patient, if it could be made.
type Row = Result<Made, RowsError>;

struct Made {
    patient: PatientId,
    row: v1::PatientSummary,
    /// The organisations that ever had to do with the patient.
    ever: Vec<String>,
    /// Whether events were moved to the record from another.
    is_moved_to: bool,
}

impl Made {
    fn of(timeline: &Timeline, patient: PatientId, store: &Store) -> Self {
        let ever = timeline.organisations().map(str::to_owned).collect();
        let is_moved_to = timeline.is_moved_to();
        Self { patient, row: row(timeline, patient, store), ever, is_moved_to }
    }
}

impl Patients {
    /// Makes the rows of all patients and resources, one by one.
    pub(super) fn make_all(&self, stop: &CancellationToken) -> Result<(), RowsError> {
        let end = self.store.end();
        let streams = self.store.streams();
        let patients = streams.iter().copied().filter_map(StreamId::patient).collect();
        self.write_resources(&streams.into_iter().filter_map(StreamId::resource).collect())?;
        self.make_anew(&patients, &end, stop)?;
        self.made.send_replace(end);
        Ok(())
    }

    pub(super) async fn make_until(&self, stop: &CancellationToken) -> Result<(), RowsError> {
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
                // All patients are read one by one: see `run`.
                (Delivery::Unreadable(_), _) => return Err(unreadable()),
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

    /// Notes with which organisations the patient has to do now, no longer, and ever had. Returns
    /// how many entries that takes.
    fn index(rows: &sled::Db, batch: &mut sled::Batch, made: &Made) -> Result<usize, RowsError> {
        let Made { patient, row, ever, is_moved_to } = made;
        let patient = *patient;
        let mut entries = 0;
        if *is_moved_to {
            batch.insert(&keys::moved_to(patient)[..], &[][..]);
            entries += 1;
        }
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

/// Whose row would have to be made is not known, or cannot be.
fn unreadable() -> RowsError {
    RowsError::Feed(ReadError::Log("an event cannot be read".to_owned()))
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
            Ok(delivery) => match delivery? {
                Delivery::Events(more) => events.extend(more),
                Delivery::Unreadable(_) => return Err(unreadable()),
                Delivery::CaughtUp => {}
            },
            Err(_elapsed) => break,
        }
    }
    Ok(())
}
