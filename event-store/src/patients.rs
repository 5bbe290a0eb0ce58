//! One row for each patient and for each community resource, kept in sled: what `ListPatients` and
//! `FindResources` show without reading every stream. Folded from the log in the background, and
//! made again from it when it is missing, damaged or ahead of the log (I5).

mod files;
mod making;
mod reading;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tsunagi_bus::cursor::CursorError;
use tsunagi_bus::{Cursor, StreamId, address};
use tsunagi_chassis::Refused;
use tsunagi_domain::PatientId;
use tsunagi_proto::v1;

use crate::ingest;
use crate::keys;
use crate::log::LogError;
use crate::records::Records;
use crate::store::Store;
use crate::timeline::Timeline;
use files::{open_rows, open_sled, put_aside};

pub(crate) use reading::organisations;

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

    /// Tells how far the rows are made.
    pub fn watch(&self) -> watch::Receiver<Cursor> {
        self.made.subscribe()
    }
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
