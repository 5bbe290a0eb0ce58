//! Opens the rows, and puts aside what cannot be opened.

use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use prost::Message as _;
use tsunagi_bus::Cursor;
use tsunagi_proto::v1;

use crate::keys;
use crate::store::Store;

fn sled_config(path: &Path) -> sled::Config {
    /// Its default is a gigabyte, for rows that are read from disk as well.
    const CACHE_BYTES: u64 = 32 << 20;
    sled::Config::default().path(path).cache_capacity(CACHE_BYTES)
}

/// Opens sled, waiting a while for its lock: the folder is this process's own, but sled gives
/// the lock back some time after its last user has gone, from a thread of its own.
#[expect(clippy::disallowed_methods, reason = "the lock tells nobody when it is given back")]
pub(super) fn open_sled(path: &Path) -> Result<sled::Db, sled::Error> {
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
pub(super) fn open_rows(path: &Path, slots: u16) -> Option<(sled::Db, Cursor)> {
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

pub(super) fn put_aside(store: &Store, path: &Path) {
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
