//! One row for each patient, kept in sled: what `ListPatients` shows without reading every
//! stream. Folded from the log in the background, and made again from it when it is missing,
//! damaged or ahead of the log (I5).

use std::collections::BTreeSet;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use prost::Message as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tsunagi_bus::{Bus as _, Cursor, Delivery, Stored, StreamId};
use tsunagi_domain::PatientId;
use tsunagi_proto::v1;

use crate::keys;
use crate::log::LogError;
use crate::log::scan::Patience;
use crate::store::Store;
use crate::timeline::{Timeline, View};

/// Rows written at a time. A larger batch makes sled hold its garbage: one of 4,096 random
/// keys was seen to take 2.7 GB.
const BATCH_ROWS: usize = 64;

/// Why the rows cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    #[error("sled failed")]
    Sled(#[from] sled::Error),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the feed ended: {0}")]
    Feed(#[from] tsunagi_bus::port::ReadError),
    #[error("a background task was lost")]
    Task(#[from] tokio::task::JoinError),
}

/// The rows, open.
#[derive(Clone)]
pub struct Patients {
    rows: sled::Db,
    store: Store,
    /// How far the rows are made.
    made: watch::Sender<Cursor>,
}

impl Patients {
    /// Opens the rows in the data folder, putting aside what cannot be opened or cannot be true.
    pub fn open(store: Store, data: &Path) -> Result<Self, RowsError> {
        let path = data.join(keys::FOLDER);
        let slots = store.region().slots;
        let (rows, cursor) = match open_rows(&path, slots) {
            Some((rows, cursor)) if store.end().covers(&cursor) => (rows, cursor),
            opened => {
                drop(opened);
                put_aside(&path);
                (sled_config(&path).open()?, Cursor::start())
            }
        };
        Ok(Self { rows, store, made: watch::Sender::new(cursor) })
    }

    /// Makes rows of what is stored, until told to stop.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), RowsError> {
        let mut cursor = self.made.borrow().clone();
        let mut feed = self.store.follow(cursor.clone());
        loop {
            let delivery = tokio::select! {
                () = stop.cancelled() => break,
                // Safe to cancel: see `Feed::next`.
                delivery = feed.next() => delivery?,
            };
            if let Delivery::Events(events) = delivery {
                for stored in &events {
                    cursor.advance(stored.placed.position);
                }
                let (rows, end) = (self.clone(), cursor.clone());
                tokio::task::spawn_blocking(move || rows.make(&events, &end)).await??;
                self.made.send_replace(cursor.clone());
            }
        }
        let rows = self.rows.clone();
        tokio::task::spawn_blocking(move || rows.flush()).await??;
        Ok(())
    }

    /// Tells how far the rows are made.
    pub fn watch(&self) -> watch::Receiver<Cursor> {
        self.made.subscribe()
    }

    /// Patients after `after`, in the order of their ids, at most `max` of which `filter` holds.
    pub fn list(
        &self,
        after: Option<PatientId>,
        max: usize,
        filter: impl Fn(&v1::PatientSummary) -> bool,
    ) -> Result<Vec<v1::PatientSummary>, RowsError> {
        let rows = match after {
            None => self.rows.scan_prefix(keys::PATIENTS),
            Some(after) => {
                let from = keys::patient(after);
                self.rows.range((Bound::Excluded(from), Bound::Unbounded))
            }
        };
        let mut patients = Vec::new();
        for row in rows {
            let (key, value) = row?;
            if keys::read_patient(&key).is_none() || patients.len() >= max {
                break;
            }
            // A row that cannot be read is made again when the patient next changes, and is
            // not shown until then: better missing than wrong.
            let summary = v1::PatientSummary::decode(&*value).ok();
            patients.extend(summary.filter(|summary| filter(summary)));
        }
        Ok(patients)
    }

    /// Makes the rows of all patients that these events are about.
    fn make(&self, events: &[Stored], end: &Cursor) -> Result<(), RowsError> {
        let changed: BTreeSet<PatientId> = events
            .iter()
            .filter_map(|stored| match stored.stream {
                StreamId::Patient(patient) => Some(patient),
                StreamId::Identifier(_) | StreamId::Quarantine => None,
            })
            .collect();
        let changed: Vec<PatientId> = changed.into_iter().collect();
        let mut batches = changed.chunks(BATCH_ROWS).peekable();
        while let Some(patients) = batches.next() {
            let mut batch = sled::Batch::default();
            for patient in patients {
                let row = self.row(*patient)?;
                batch.insert(&keys::patient(*patient)[..], row.encode_to_vec());
            }
            if batches.peek().is_none() {
                batch.insert(keys::CHECKPOINT, end.encode().as_bytes());
            }
            self.rows.apply_batch(batch)?;
        }
        Ok(())
    }

    fn row(&self, patient: PatientId) -> Result<v1::PatientSummary, RowsError> {
        let events = self.store.read_all(StreamId::Patient(patient), Patience::Wait)?;
        let timeline = Timeline::fold(&events, &self.store.region().zone, View::default());
        Ok(timeline.summary(patient))
    }
}

fn sled_config(path: &Path) -> sled::Config {
    /// Its default is a gigabyte, for rows that are read from disk as well.
    const CACHE_BYTES: u64 = 32 << 20;
    sled::Config::default().path(path).cache_capacity(CACHE_BYTES)
}

/// Opens the rows and reads how far they are made. None if either cannot be done: sled panics
/// on some damage.
fn open_rows(path: &Path, slots: u16) -> Option<(sled::Db, Cursor)> {
    let open = || {
        let rows = sled_config(path).open()?;
        let checkpoint = rows.get(keys::CHECKPOINT)?;
        Ok::<_, sled::Error>((rows, checkpoint))
    };
    let (rows, checkpoint) = std::panic::catch_unwind(AssertUnwindSafe(open)).ok()?.ok()?;
    let Some(checkpoint) = checkpoint else { return Some((rows, Cursor::start())) };
    let text = std::str::from_utf8(&checkpoint).ok()?;
    let cursor = Cursor::decode(text, slots).ok()?;
    Some((rows, cursor))
}

fn put_aside(path: &Path) {
    let aside: PathBuf = path.with_extension(format!("damaged-{}", Timestamp::now().as_second()));
    match std::fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(
            aside = %aside.display(),
            "the patients' rows could not be used and were put aside; they are made again from the log"
        ),
        Err(error) => tracing::warn!(%error, "the patients' rows could not be put aside"),
    }
}
