//! Whether the disk has room to go on. Writing stops before the disk is full: what else runs
//! there, and what is made of the log, needs some of it too.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// How long what was seen is taken for true.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// The room on the disk of a folder.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    floor_bytes: u64,
    looked: Option<Instant>,
    is_low: bool,
}

impl Room {
    pub(super) fn new(folder: PathBuf, floor_bytes: u64) -> Self {
        Self { folder, floor_bytes, looked: None, is_low: false }
    }

    /// Whether less is free than must be. Looks at most once a second.
    pub(super) fn is_low(&mut self) -> bool {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AFTER) {
            self.look();
        }
        self.is_low
    }

    /// The same, as it is now.
    pub(super) fn is_low_now(&mut self) -> bool {
        self.look();
        self.is_low
    }

    fn look(&mut self) {
        let free_bytes = match free_bytes(&self.folder) {
            Ok(free_bytes) => free_bytes,
            Err(error) => {
                tracing::warn!(%error, "the free space of the disk cannot be known");
                return;
            }
        };
        let floor_bytes = self.floor_bytes;
        let was_low = std::mem::replace(&mut self.is_low, free_bytes < floor_bytes);
        self.looked = Some(Instant::now());
        match (was_low, self.is_low) {
            (false, true) => {
                tracing::error!(free_bytes, floor_bytes, "the disk is full: writes are refused");
            }
            (true, false) => tracing::info!(free_bytes, "the disk has room: writes go on"),
            (true, true) | (false, false) => {}
        }
    }
}

/// The bytes that are free on the disk of a folder.
pub(crate) fn free_bytes(folder: &Path) -> Result<u64, Errno> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
