//! One row for each patient, kept in sled: what `ListPatients` shows without reading every
//! stream. Folded from the log in the background, and made again from it when it is missing,
//! damaged or ahead of the log (I5).

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use prost::Message as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tsunagi_bus::{Bus as _, Cursor, Delivery, Stored, StreamId};
use tsunagi_domain::PatientId;
use tsunagi_proto::v1;

use crate::keys;
use crate::log::LogError;
use crate::log::file::Patience;
use crate::store::Store;
use crate::timeline::{Timeline, View};

/// Rows written at a time. A larger batch makes sled hold its garbage: one of 4,096 random
/// keys was seen to take 2.7 GB.
const BATCH_ROWS: usize = 64;
/// Bytes of rows after which no more are put on a page.
const PAGE_BYTES: usize = 1 << 20;

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
    /// Replaced when they turn out to be damaged.
    rows: Arc<RwLock<sled::Db>>,
    path: PathBuf,
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
                (open_sled(&path)?, Cursor::start())
            }
        };
        let rows = Arc::new(RwLock::new(rows));
        Ok(Self { rows, path, store, made: watch::Sender::new(cursor) })
    }

    /// Makes rows of what is stored, until told to stop. Rows that turn out to be damaged on
    /// the way, or cannot be written, are made again, as often as need be: a full disk may have
    /// room again at any time.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), RowsError> {
        const AGAIN_AFTER: Duration = Duration::from_secs(1);
        let mut was_put_aside = false;
        loop {
            let error = match self.make_until(&stop).await {
                Err(error @ (RowsError::Sled(_) | RowsError::Task(_))) => error,
                ended => return ended,
            };
            tracing::warn!(%error, "the patients' rows are made again");
            while let Err(error) = self.begin_again(!was_put_aside) {
                was_put_aside = true;
                tracing::warn!(%error, "the patients' rows cannot be made");
                tokio::select! {
                    // Either may be cancelled.
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(AGAIN_AFTER) => {}
                }
            }
            was_put_aside = true;
        }
    }

    /// What was there is put aside to be looked at, but once: what comes after it was begun here.
    fn begin_again(&self, puts_aside: bool) -> Result<(), RowsError> {
        if puts_aside {
            put_aside(&self.path);
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
        let rows = self.rows();
        tokio::task::spawn_blocking(move || rows.flush()).await??;
        Ok(())
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
            if keys::read_patient(&key).is_none() {
                break;
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
        let rows = self.rows();
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
            rows.apply_batch(batch)?;
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
