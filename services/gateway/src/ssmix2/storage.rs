//! Files of a standard storage: what their names say, and which of them there are.

use std::path::{Path, PathBuf};

/// Whether a file's message is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// `1`.
    Valid,
    /// `2`: a later message has taken its place.
    Replaced,
    /// `0`.
    Deleted,
}

/// The name of a file: patient, day, data type, order number, transaction time, department,
/// condition flag, with `_` between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// What a later message of the same order replaces: patient, data type, order number.
    pub(super) order: String,
    pub(super) data_type: String,
    /// When it was written, to the millisecond.
    pub(super) transaction: String,
    pub(super) condition: Condition,
}

/// A file of the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) name: Name,
    pub(super) path: PathBuf,
}

impl Name {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let name = name.strip_suffix(".hl7").unwrap_or(name);
        let parts: Vec<&str> = name.split('_').collect();
        // An order may be replaced on another day.
        let [patient, _day, data_type, order, transaction, _department, flag] = parts.as_slice()
        else {
            return None;
        };
        let condition = match *flag {
            "1" => Condition::Valid,
            "2" => Condition::Replaced,
            "0" => Condition::Deleted,
            _ => return None,
        };
        let is_time = transaction.len() >= 8 && transaction.bytes().all(|b| b.is_ascii_digit());
        is_time.then(|| Self {
            order: format!("{patient}_{data_type}_{order}"),
            data_type: (*data_type).to_owned(),
            transaction: (*transaction).to_owned(),
            condition,
        })
    }

    /// Whether the gateway has a use for it: who the patient is, and visits and stays.
    pub(super) fn is_adt(&self) -> bool {
        self.data_type.starts_with("ADT-")
    }
}

/// What lies under a folder: transaction files, and files of a standard storage.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) transactions: Vec<PathBuf>,
    pub(super) stored: Vec<Stored>,
}

/// Lists a folder, the oldest first. A folder within it that cannot be read is told and passed
/// over.
pub(super) fn list(root: &Path) -> std::io::Result<Listing> {
    let mut listing = Listing::default();
    let mut folders = vec![root.to_owned()];
    let mut is_root = true;
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if is_root => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a folder of the SS-MIX2 storage cannot be read");
                continue;
            }
        };
        is_root = false;
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("TR_") && name.to_ascii_uppercase().ends_with(".DAT") {
                listing.transactions.push(path);
            } else if let Some(name) = Name::parse(&name).filter(Name::is_adt) {
                listing.stored.push(Stored { name, path });
            }
        }
    }
    listing.transactions.sort_by_key(|path| path.file_name().map(std::ffi::OsStr::to_owned));
    let by_time = |one: &Stored| (one.name.transaction.clone(), one.path.clone());
    listing.stored.sort_by_cached_key(by_time);
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_the_file_is() {
        let name =
            Name::parse("9999013_20111120_ADT-22_999999999999999_20111220224447339_01_1").unwrap();
        assert_eq!(name.transaction, "20111220224447339");
        assert_eq!(name.condition, Condition::Valid);
        assert!(name.is_adt());
        let patient = Name::parse("9999013_-_ADT-00_999999999999999_20111220224447339_-_2.hl7");
        assert_eq!(patient.unwrap().condition, Condition::Replaced);
        for other in
            ["TR_20260501.DAT", "a_b_c", "1_2_ADT-22_3_later_01_1", "1_2_ADT-22_3_20260501_01_7"]
        {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
