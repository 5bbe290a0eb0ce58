//! Reads the storage from time to time, takes what is new, and notes how far it came.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tsunagi_chassis::Config;
use tsunagi_chassis::config::Ssmix2;

use super::cursor::Cursor;
use super::storage::{Condition, Listing, Stored, list};
use super::transaction::{Processing, records};
use crate::adt::{Intake, Kind, Manner, Outcome, Refusal};

const DOOR: &str = "ssmix2";

/// Files this much older than the last that was taken are looked at again: they may have come
/// late, and taking one twice adds nothing. In the digits of a transaction time, one day.
const OVERLAP_DIGITS: usize = 8;

/// Reads one storage.
pub struct Reader {
    config: Ssmix2,
    folder: PathBuf,
    cursor_path: PathBuf,
    intake: Arc<Intake>,
}

/// The server cannot take anything at the moment: the rest is for the next time.
struct Later;

impl Reader {
    /// The reader that the settings ask for, if they ask for one.
    pub fn new(config: &Config, intake: Arc<Intake>) -> Option<Self> {
        let folder = config.ssmix2.folder.clone()?;
        let cursor_path = config.data.join("ssmix2-cursor.json");
        Some(Self { config: config.ssmix2.clone(), folder, cursor_path, intake })
    }

    /// Reads until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut cursor = Cursor::read(&self.cursor_path);
        // What came late while nobody read is found when reading begins.
        let mut look_back_to = String::new();
        loop {
            tokio::select! {
                // What was taken before the cursor says so is taken again, and adds nothing.
                () = self.sweep(&mut cursor, &look_back_to) => {}
                () = stop.cancelled() => return,
            }
            look_back_to = cursor.stored_until.chars().take(OVERLAP_DIGITS).collect();
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(self.config.poll_ms)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Takes what is there and was not taken.
    async fn sweep(&self, cursor: &mut Cursor, look_back_to: &str) {
        let folder = self.folder.clone();
        let listed = tokio::task::spawn_blocking(move || list(&folder)).await;
        let listing = match listed {
            Ok(Ok(listing)) => listing,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the SS-MIX2 storage cannot be read now");
                return;
            }
            Err(error) => {
                tracing::error!(%error, "listing the SS-MIX2 storage ended");
                return;
            }
        };
        let before = cursor.clone();
        // Either says later when the server is full: the next sweep goes on there.
        let transactions = self.take_transactions(&listing, cursor).await;
        if transactions.is_ok() {
            let _all_or_later = self.take_stored(&listing, cursor, look_back_to).await;
        }
        if *cursor != before
            && let Err(error) = cursor.write(&self.cursor_path)
        {
            tracing::warn!(%error, "how far the SS-MIX2 storage was read cannot be noted");
        }
    }

    async fn take_transactions(&self, listing: &Listing, cursor: &mut Cursor) -> Result<(), Later> {
        for path in &listing.transactions {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let taken = cursor.transactions.get(&name).copied().unwrap_or_default();
            let Some(bytes) = self.read(path) else { continue };
            let new = bytes.get(taken..).unwrap_or_default();
            let is_settled = self.is_settled(path);
            let records = records(new);
            let count = records.len();
            for (at, record) in records.into_iter().enumerate() {
                if at + 1 == count && !is_settled {
                    // It may still be being written.
                    break;
                }
                let manner = match record.processing {
                    Processing::Insert => Manner::AsSaid,
                    Processing::Delete => Manner::Withdrawn,
                };
                self.take(record.message, manner).await?;
                cursor.transactions.insert(name.clone(), taken + record.end);
            }
        }
        Ok(())
    }

    async fn take_stored(
        &self,
        listing: &Listing,
        cursor: &mut Cursor,
        look_back_to: &str,
    ) -> Result<(), Later> {
        for stored in &listing.stored {
            if stored.name.transaction.as_str() < look_back_to {
                continue;
            }
            if !self.is_settled(&stored.path) {
                // Those behind it are later: they are looked at when this one is there.
                return Ok(());
            }
            match stored.name.condition {
                Condition::Replaced => {}
                Condition::Valid => self.take_valid(stored, listing).await?,
                Condition::Deleted => {
                    if let Some(bytes) = self.read(&stored.path) {
                        self.take(&bytes, Manner::Withdrawn).await?;
                    }
                }
            }
            if stored.name.transaction > cursor.stored_until {
                cursor.stored_until.clone_from(&stored.name.transaction);
            }
        }
        Ok(())
    }

    /// Takes a message, and takes back what earlier messages said that it replaces.
    async fn take_valid(&self, stored: &Stored, listing: &Listing) -> Result<(), Later> {
        let Some(bytes) = self.read(&stored.path) else { return Ok(()) };
        let is_replaced = |other: &&Stored| {
            other.name.order == stored.name.order && other.name.condition == Condition::Replaced
        };
        for earlier in listing.stored.iter().filter(is_replaced) {
            if let Some(bytes) = self.read(&earlier.path) {
                self.take(&bytes, Manner::Replaced).await?;
            }
        }
        self.take(&bytes, Manner::AsSaid).await.map(|_| ())
    }

    async fn take(&self, message: &[u8], manner: Manner) -> Result<Outcome, Later> {
        let outcome = self.intake.take_as(message, DOOR, manner).await.outcome;
        match &outcome {
            Outcome::Refused(Refusal { kind: Kind::Unavailable, reason, .. }) => {
                tracing::error!(reason, "a message of the SS-MIX2 storage could not be stored");
                return Err(Later);
            }
            Outcome::Refused(Refusal { reason, field, .. }) => {
                tracing::info!(reason, field, "a message of the SS-MIX2 storage was refused");
            }
            Outcome::Stored | Outcome::Repeated | Outcome::NothingNew | Outcome::Ignored => {}
        }
        Ok(outcome)
    }

    /// The bytes of a file; none, told, if it cannot be read now or was moved meanwhile.
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let length = std::fs::metadata(path).map(|file| file.len()).ok()?;
        if length > self.config.file_bytes {
            tracing::warn!(
                length,
                "a file of the SS-MIX2 storage is larger than ssmix2-file-bytes"
            );
            return None;
        }
        let read = std::fs::read(path);
        read.inspect_err(
            |error| tracing::warn!(%error, "a file of the SS-MIX2 storage cannot be read"),
        )
        .ok()
    }

    /// Whether a file was left alone for a while.
    fn is_settled(&self, path: &Path) -> bool {
        let age = std::fs::metadata(path)
            .and_then(|file| file.modified())
            .ok()
            .and_then(|modified| modified.elapsed().ok());
        age.is_some_and(|age| age >= Duration::from_millis(self.config.settle_ms))
    }
}
