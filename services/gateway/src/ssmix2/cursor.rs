//! How far the storage was read: a small file in the data folder. Whatever it says was taken is
//! in the log; if it is lost, all is read again and nothing is stored twice.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// How many bytes of each transaction file were taken, by its name.
    #[serde(default)]
    pub(super) transactions: BTreeMap<String, usize>,
    /// The transaction time of the last file of the standard storage that was taken.
    #[serde(default)]
    pub(super) stored_until: String,
}

impl Cursor {
    /// Reads the cursor. One that is not there or cannot be read is the beginning.
    pub(super) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub(super) fn write(&self, path: &Path) -> std::io::Result<()> {
        let new: PathBuf = path.with_extension("new");
        let mut file = std::fs::File::create(&new)?;
        file.write_all(serde_json::to_string(self).unwrap_or_default().as_bytes())?;
        // A torn cursor would be read as the beginning: right, and slow.
        file.sync_all()?;
        std::fs::rename(&new, path)
    }
}
