//! How far the storage was read: a small file in the data folder. Whatever it says was taken is
//! in the log; if it is lost, all is read again and nothing is stored twice.
//!
//! Of a transaction file it knows how many bytes were taken, and by a sum of some of them that it
//! is still the same file. Of the standard storage it knows
//! each file of the last days; of each day before, a sum of the names of its files, so that one
//! that comes late is found however old it is, and millions of names are not kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use tsunagi_chassis::config::Ssmix2;

use super::storage::{Day, Seen, Stored, Sum, Transactions};

/// How a day is written.
const DAY_FORMAT: &str = "%Y%m%d";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// How many bytes of each transaction file were taken, by its path under the folder.
    #[serde(default)]
    pub(super) transactions: BTreeMap<String, u64>,
    /// What was seen of each transaction file where it was read to.
    #[serde(default)]
    pub(super) seen: BTreeMap<String, Read>,
    /// The files of the standard storage that were taken, by day and path under the folder.
    #[serde(default)]
    taken: BTreeMap<String, BTreeMap<String, Mark>>,
    /// What lay there of the days before.
    #[serde(default)]
    sums: BTreeMap<String, Sum>,
    /// Files that could not be read: they are tried again each time.
    #[serde(default)]
    missed: BTreeSet<String>,
}

/// By what a transaction file is known to be the one that was read: a sum of its first bytes and of
/// the last ones that were taken; and when it was modified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Read {
    pub(super) sum: u64,
    pub(super) modified: u64,
}

/// What a file was when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    seen: Seen,
    /// It is taken again when others were: it may have come before what it builds on.
    #[serde(default)]
    is_refused: bool,
}

/// What is to be looked at of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    All,
    /// Files were replaced or deleted, and none came.
    Withdrawn,
    /// What could not be read, and nothing else.
    Missed,
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

    /// Cursors of old had transaction files by their names alone, which holds where there is one
    /// file of that name.
    pub(super) fn adopt_names(&mut self, listed: &[Transactions]) {
        let mut of_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for one in listed {
            let name = one.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            of_name.entry(name).or_default().push(&one.file);
        }
        for (name, files) in of_name {
            if let [file] = files.as_slice()
                && *file != name
                && let Some(taken) = self.transactions.remove(name)
            {
                self.transactions.entry((*file).to_owned()).or_insert(taken);
            }
        }
    }

    /// What is to be looked at of a day with these files.
    pub(super) fn work(&self, day: &str, now: Sum) -> Work {
        match self.sums.get(day) {
            Some(before) if *before == now => Work::Missed,
            Some(before) if before.files == now.files => Work::Withdrawn,
            Some(_) | None => Work::All,
        }
    }

    pub(super) fn has_missed(&self) -> bool {
        !self.missed.is_empty()
    }

    pub(super) fn is_missed(&self, stored: &Stored) -> bool {
        self.missed.contains(&stored.file)
    }

    /// Whether a file was taken as it is seen now.
    pub(super) fn is_taken(&self, stored: &Stored, seen: Seen) -> bool {
        self.mark(stored).is_some_and(|mark| mark.seen == seen)
    }

    pub(super) fn is_refused(&self, stored: &Stored) -> bool {
        self.mark(stored).is_some_and(|mark| mark.is_refused)
    }

    fn mark(&self, stored: &Stored) -> Option<&Mark> {
        self.taken.get(stored.name.day())?.get(&stored.file)
    }

    pub(super) fn take(&mut self, stored: &Stored, seen: Seen, is_refused: bool) {
        self.missed.remove(&stored.file);
        let files = self.taken.entry(stored.name.day().to_owned()).or_default();
        files.insert(stored.file.clone(), Mark { seen, is_refused });
    }

    /// Notes that a file could not be read; false if there are too many of those.
    pub(super) fn miss(&mut self, stored: &Stored, config: &Ssmix2) -> bool {
        if self.missed.len() < config.unread_files {
            self.missed.insert(stored.file.clone());
        }
        self.is_missed(stored)
    }

    /// Forgets files that could not be read and are gone.
    pub(super) fn forget_missed(&mut self, is_listed: impl Fn(&str) -> bool) {
        self.missed.retain(|file| is_listed(file));
    }

    /// Notes that all files of a day were taken. From when on it is known by its sum, it stays so.
    pub(super) fn finish(&mut self, day: &str, files: &Day, recent_from: &str, config: &Ssmix2) {
        let is_many = files.files.len() > config.day_files;
        if day < recent_from || is_many || self.sums.contains_key(day) {
            self.sums.insert(day.to_owned(), files.sum);
            self.taken.remove(day);
        }
    }

    /// Forgets the files of earlier days of which none is there any more.
    pub(super) fn forget_days(&mut self, is_listed: impl Fn(&str) -> bool, recent_from: &str) {
        self.taken.retain(|day, _| day.as_str() >= recent_from || is_listed(day));
    }
}

/// The first day of which each file is known: the one before the newest of the storage. A name
/// that lies in the future is a slip, and today's files are known.
pub(super) fn recent_from(newest: &str, today: Date) -> String {
    let newest = Date::strptime(DAY_FORMAT, newest).unwrap_or(today).min(today);
    newest.yesterday().unwrap_or(newest).strftime(DAY_FORMAT).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::storage::Name;
    use super::*;

    fn settings() -> Ssmix2 {
        Ssmix2 {
            folder: None,
            poll_ms: 20,
            settle_ms: 0,
            file_bytes: 1 << 20,
            unended_ms: 0,
            record_bytes: 1 << 20,
            day_files: 10,
            unread_files: 3,
        }
    }

    const SEEN: Seen = Seen { bytes: 7, modified: 1 };

    fn stored(time: &str, flag: &str) -> Stored {
        let name = format!("0042_20260501_ADT-22_7_{time}_01_{flag}");
        let file = format!("042/{name}");
        let name = Name::parse(&name).unwrap();
        Stored { name, path: PathBuf::from(&file), file, seen: None }
    }

    fn day(day: &str, flags: &[&str]) -> Day {
        let times = ["100000000", "110000000"].map(|time| format!("{day}{time}"));
        let files = times.iter().zip(flags).map(|(time, flag)| stored(time, flag));
        Day::of(files.collect())
    }

    #[test]
    fn each_file_is_known_of_the_last_days_and_a_sum_of_those_before() {
        let mut cursor = Cursor::default();
        let (old, recent) = (day("20260501", &["1", "1"]), day("20260503", &["1", "1"]));
        for (name, files) in [("20260501", &old), ("20260503", &recent)] {
            assert_eq!(cursor.work(name, files.sum), Work::All);
            cursor.take(&files.files[0], SEEN, false);
            cursor.finish(name, files, "20260502", &settings());
        }
        assert_eq!(cursor.work("20260501", old.sum), Work::Missed);
        assert_eq!(cursor.work("20260503", recent.sum), Work::All);
        let [one, other] = recent.files.as_slice() else { panic!() };
        assert!(cursor.is_taken(one, SEEN) && !cursor.is_taken(other, SEEN));
        assert!(!cursor.is_taken(one, Seen { modified: 2, ..SEEN }), "written anew");
        // Files of an earlier day: one is replaced, deleted, gone.
        for flag in ["2", "0"] {
            let now = day("20260501", &[flag, "1"]).sum;
            assert_eq!(cursor.work("20260501", now), Work::Withdrawn);
        }
        assert_eq!(cursor.work("20260501", day("20260501", &["1"]).sum), Work::All);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        cursor.write(&path).unwrap();
        assert_eq!(Cursor::read(&path), cursor);
    }

    #[test]
    fn a_cursor_of_old_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        let old = r#"{"transactions":{"TR_1.DAT":10,"TR_2.DAT":20,"TR_3.DAT":30},"stored_until":"20260501"}"#;
        std::fs::write(&path, old).unwrap();
        let mut cursor = Cursor::read(&path);
        let file = |file: &str| Transactions { file: file.into(), path: file.into() };
        let listed = ["a/TR_1.DAT", "a/TR_2.DAT", "b/TR_2.DAT", "TR_3.DAT"];
        cursor.adopt_names(&listed.map(file));
        let known = cursor.transactions.iter().map(|(file, taken)| (file.as_str(), *taken));
        assert_eq!(
            known.collect::<Vec<_>>(),
            [("TR_2.DAT", 20), ("TR_3.DAT", 30), ("a/TR_1.DAT", 10)]
        );
    }

    #[test]
    fn files_that_cannot_be_read_are_so_many_at_most() {
        let mut cursor = Cursor::default();
        let file = |number: usize| stored(&format!("20260501{number:09}"), "1");
        let settings = settings();
        assert!((0..3).all(|number| cursor.miss(&file(number), &settings)));
        assert!(!cursor.miss(&file(3), &settings) && cursor.miss(&file(0), &settings));
        let first = file(0).file;
        cursor.forget_missed(|file| file != first);
        assert!(cursor.miss(&file(3), &settings) && !cursor.is_missed(&file(0)));
    }

    #[test]
    fn the_last_days_begin_before_the_newest_file_and_before_today() {
        let today = jiff::civil::date(2026, 5, 3);
        assert_eq!(recent_from("20260501", today), "20260430");
        assert_eq!(recent_from("29991231", today), "20260502");
        assert_eq!(recent_from("20269999", today), "20260502");
    }
}
