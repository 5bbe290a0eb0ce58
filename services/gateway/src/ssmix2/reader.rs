//! Reads the storage from time to time, takes what is new, and notes how far it came.

mod stored;
mod transactions;

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tsunagi_chassis::Config;
use tsunagi_chassis::config::Ssmix2;

use super::cursor::Cursor;
use super::storage::{Listing, Odd, Seen, list};
use super::told::Told;
use crate::adt::{Intake, Kind, Manner, Outcome, Refusal, SSMIX2};

/// Reads one storage.
pub struct Reader {
    config: Ssmix2,
    folder: PathBuf,
    cursor_path: PathBuf,
    intake: Arc<Intake>,
    told: Told,
    /// Those of the last time, and of this.
    ahead: [Ahead; 2],
}

/// Files that were modified in the future, by this machine's clock: as they were seen, and since
/// when they are so.
type Ahead = HashMap<PathBuf, (Seen, Instant)>;

/// The server cannot take anything at the moment: the rest is for the next time.
struct Later;

impl Reader {
    /// The reader that the settings ask for, if they ask for one.
    pub fn new(config: &Config, intake: Arc<Intake>) -> Option<Self> {
        let folder = config.ssmix2.folder.clone()?;
        let cursor_path = config.data.join("ssmix2-cursor.json");
        let config = config.ssmix2.clone();
        let (told, ahead) = (Told::default(), [Ahead::new(), Ahead::new()]);
        Some(Self { config, folder, cursor_path, intake, told, ahead })
    }

    /// Reads until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let path = self.cursor_path.clone();
        let mut cursor = spawn_blocking(move || Cursor::read(&path)).await.unwrap_or_default();
        while !stop.is_cancelled() {
            let before = cursor.clone();
            tokio::select! {
                // What was taken before the cursor says so is taken again.
                () = self.sweep(&mut cursor) => {}
                () = stop.cancelled() => {}
            }
            if cursor != before {
                self.note(&cursor).await;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(self.config.poll_ms)) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn note(&self, cursor: &Cursor) {
        let (cursor, path) = (cursor.clone(), self.cursor_path.clone());
        let noted = spawn_blocking(move || cursor.write(&path)).await;
        if let Err(error) = noted.map_err(std::io::Error::from).flatten() {
            tracing::warn!(%error, "how far the SS-MIX2 storage was read cannot be noted");
        }
    }

    /// Takes what is there and was not taken.
    async fn sweep(&mut self, cursor: &mut Cursor) {
        let folder = self.folder.clone();
        let listed = spawn_blocking(move || list(&folder)).await;
        let listing: Listing = match listed.map_err(std::io::Error::from).flatten() {
            Ok(listing) => listing,
            Err(error) => {
                tracing::warn!(%error, "the SS-MIX2 storage cannot be read now");
                return;
            }
        };
        self.told.begin();
        for Odd { path, why, error } in &listing.odd {
            if self.told.is_news(path, why) {
                let error = error.as_ref().map(tracing::field::display);
                tracing::warn!(why, error, "something in the SS-MIX2 storage is passed over");
            }
        }
        cursor.adopt_names(&listing.transactions);
        // Either says later when the server is full: the next sweep goes on there.
        let transactions = self.take_transactions(&listing, cursor).await;
        if transactions.is_ok() {
            let _all_or_later = self.take_stored(&listing, cursor).await;
        }
        let [_, now] = std::mem::take(&mut self.ahead);
        self.ahead = [now, Ahead::new()];
    }

    async fn take(
        &self,
        message: &[u8],
        replaced: &[Vec<u8>],
        manner: Manner,
    ) -> Result<Outcome, Later> {
        let taken = self.intake.take_instead(message, replaced, SSMIX2, manner).await;
        let outcome = taken.outcome;
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

    /// What a file is at the moment. None if it is gone.
    async fn look(&self, path: &Path) -> Option<Seen> {
        let path = path.to_owned();
        spawn_blocking(move || Seen::of(&path)).await.ok().flatten()
    }

    /// The bytes of a file from some place on. None, told, if it cannot be read now.
    async fn read(&self, path: &Path, from: u64) -> Option<Vec<u8>> {
        let (own, limit) = (path.to_owned(), self.config.file_bytes);
        let read = spawn_blocking(move || read_from(&File::open(own)?, from, limit)).await;
        self.or_told(path, read)
    }

    /// What was read of a file. None, told, if it could not be.
    fn or_told<T>(
        &self,
        path: &Path,
        read: Result<std::io::Result<Option<T>>, JoinError>,
    ) -> Option<T> {
        match read.map_err(std::io::Error::from).flatten() {
            Ok(Some(read)) => return Some(read),
            Ok(None) => {
                if self.told.is_news(path, "too large") {
                    tracing::warn!(
                        "a file of the SS-MIX2 storage is larger than ssmix2-file-bytes"
                    );
                }
            }
            // Renamed meanwhile: it is seen under its other name the next time.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                if self.told.is_news(path, "cannot be read") {
                    tracing::warn!(%error, "a file of the SS-MIX2 storage cannot be read");
                }
            }
        }
        None
    }

    /// Whether a file was left alone for a while. The clock of the machine that has the storage
    /// may run ahead: then, whether the file stayed as it is.
    fn is_settled(&mut self, path: &Path, seen: Seen) -> bool {
        let settle = Duration::from_millis(self.config.settle_ms);
        if let Some(age) = seen.age() {
            return age >= settle;
        }
        let [last, now] = &mut self.ahead;
        let before = last.get(path).filter(|(before, _)| *before == seen);
        let since = before.map_or_else(Instant::now, |(_, since)| *since);
        now.insert(path.to_owned(), (seen, since));
        before.is_some() && since.elapsed() >= settle
    }
}

/// None if there is more than `limit`.
fn read_from(mut file: &File, from: u64, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    let is_whole = u64::try_from(bytes.len()).is_ok_and(|length| length <= limit);
    Ok(is_whole.then_some(bytes))
}
