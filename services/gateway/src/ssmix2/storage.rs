//! Files of a standard storage: what their names say, and which of them there are.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::cursor::recent_from;

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

/// A file of the standard storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) name: Name,
    /// Its path under the folder, as a text.
    pub(super) file: String,
    pub(super) path: PathBuf,
    /// What it was when it was listed, if it is of the last days.
    pub(super) seen: Option<Seen>,
}

/// A transaction file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transactions {
    pub(super) file: String,
    pub(super) path: PathBuf,
}

/// The files of the standard storage that were written on one day.
#[derive(Debug, Default)]
pub(super) struct Day {
    pub(super) files: Vec<Stored>,
    pub(super) sum: Sum,
}

/// The files of a day: all of them, whatever their condition; and those that are no longer in
/// force, by their condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) files: u64,
    pub(super) withdrawn: u64,
}

/// By what a file is seen to be another one than it was: its size, and when it was modified, in
/// nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) bytes: u64,
    pub(super) modified: u64,
}

impl Stored {
    /// Its path without the condition, which is the last part of its name.
    pub(super) fn without_condition(&self) -> &str {
        self.file.rsplit_once('_').map_or(&*self.file, |(before, _)| before)
    }
}

impl Sum {
    fn of(files: &[Stored]) -> Self {
        let mut sum = Self::default();
        for stored in files {
            sum.files = sum.files.wrapping_add(mixed(stored.without_condition().bytes()));
            if stored.name.condition != Condition::Valid {
                sum.withdrawn = sum.withdrawn.wrapping_add(mixed(stored.file.bytes()));
            }
        }
        sum
    }
}

/// FNV-1a: the same for ever, which the standard library's hashes are not.
pub(super) fn mixed(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

impl Seen {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        let modified = file.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified = u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX);
        Some(Self { bytes: file.len(), modified })
    }

    /// How long ago it was modified. None if that lies ahead.
    pub(super) fn age(self) -> Option<Duration> {
        let modified = UNIX_EPOCH + Duration::from_nanos(self.modified);
        SystemTime::now().duration_since(modified).ok()
    }
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

    /// The day on which it was written.
    pub(super) fn day(&self) -> &str {
        self.transaction.get(..8).unwrap_or(&self.transaction)
    }

    /// Whether the gateway has a use for it: who the patient is, and visits and stays.
    pub(super) fn is_adt(&self) -> bool {
        self.data_type.starts_with("ADT-")
    }
}

/// What lies under a folder: transaction files, and files of a standard storage.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) transactions: Vec<Transactions>,
    /// By the day on which they were written.
    pub(super) stored: BTreeMap<String, Day>,
    /// The first of the last days.
    pub(super) recent_from: String,
    /// What was passed over, and why.
    pub(super) odd: Vec<Odd>,
}

/// Something that is passed over.
#[derive(Debug)]
pub(super) struct Odd {
    pub(super) path: PathBuf,
    pub(super) why: &'static str,
    pub(super) error: Option<std::io::Error>,
}

/// Lists a folder, the oldest first, with what links within it lead to. A folder within it that
/// cannot be read is passed over, and so is what is neither a folder nor a regular file.
pub(super) fn list(root: &Path) -> std::io::Result<Listing> {
    let mut listing = Listing::default();
    let mut folders = vec![root.to_owned()];
    let mut is_root = true;
    let mut links = Links::default();
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if is_root => return Err(error),
            Err(error) => {
                let (why, error) = ("a folder cannot be read", Some(error));
                listing.odd.push(Odd { path: folder, why, error });
                continue;
            }
        };
        is_root = false;
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            match what(&entry, &path, root, &mut links) {
                What::Folder => {
                    folders.push(path);
                    continue;
                }
                What::PassedOver => continue,
                What::Odd(why, error) => {
                    listing.odd.push(Odd { path, why, error });
                    continue;
                }
                What::File => {}
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let file = as_text(path.strip_prefix(root).unwrap_or(&path));
            if name.starts_with("TR_") && name.to_ascii_uppercase().ends_with(".DAT") {
                listing.transactions.push(Transactions { file, path });
            } else if let Some(name) = Name::parse(&name).filter(Name::is_adt) {
                let of_day = listing.stored.entry(name.day().to_owned()).or_default();
                of_day.files.push(Stored { name, file, path, seen: None });
            }
        }
    }
    listing.sort();
    Ok(listing)
}

/// The folders outside the storage to which links lead that were followed.
type Links = BTreeSet<PathBuf>;

enum What {
    File,
    Folder,
    /// It was listed already.
    PassedOver,
    /// Neither of these.
    Odd(&'static str, Option<std::io::Error>),
}

/// What an entry of a folder is, or what it leads to. A link is followed once, and not to what
/// lies in the storage or around it: it would never come to an end.
fn what(entry: &DirEntry, path: &Path, root: &Path, links: &mut Links) -> What {
    let Ok(kind) = entry.file_type() else { return What::PassedOver };
    if kind.is_file() {
        return What::File;
    }
    if kind.is_dir() {
        return What::Folder;
    }
    let led = std::fs::metadata(path).and_then(|led| Ok((led, path.canonicalize()?)));
    let (led, target) = match led {
        Ok((led, target)) if led.is_dir() => (led, target),
        Ok((led, _)) if led.is_file() => return What::File,
        Ok(_) => {
            return What::Odd("it is no regular file", None);
        }
        Err(error) => {
            return What::Odd("a link leads nowhere", Some(error));
        }
    };
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    if root.starts_with(&target) {
        return What::Odd("a link leads around the storage", None);
    }
    let is_new = led.is_dir() && !target.starts_with(&root) && links.insert(target);
    if is_new { What::Folder } else { What::PassedOver }
}

impl Listing {
    /// The oldest first; and what the files of the last days are.
    fn sort(&mut self) {
        let by_name =
            |one: &Transactions| (one.path.file_name().map(OsStr::to_owned), one.file.clone());
        self.transactions.sort_by_cached_key(by_name);
        let newest = self.stored.last_key_value().map_or("", |(day, _)| day);
        self.recent_from = recent_from(newest, Timestamp::now().to_zoned(TimeZone::UTC).date());
        for (day, of_day) in &mut self.stored {
            *of_day = Day::of(std::mem::take(&mut of_day.files));
            if *day >= self.recent_from {
                of_day.files.iter_mut().for_each(|stored| stored.seen = Seen::of(&stored.path));
            }
        }
    }

    /// The files of the standard storage.
    pub(super) fn files(&self) -> impl Iterator<Item = &Stored> {
        self.stored.values().flat_map(|of_day| &of_day.files)
    }
}

impl Day {
    pub(super) fn of(mut files: Vec<Stored>) -> Self {
        files.sort_by_cached_key(|one| (one.name.transaction.clone(), one.file.clone()));
        Self { sum: Sum::of(&files), files }
    }
}

/// A path as a text; one that is no Unicode, in a form in which no other path is written.
fn as_text(path: &Path) -> String {
    let bytes = || path.as_os_str().as_encoded_bytes().escape_ascii().to_string();
    path.to_str().map_or_else(bytes, str::to_owned)
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
