//! Which files are read: regular ones alone, and what is told of the others. One odd file does
//! not keep the others from being read.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// What is there to read.
#[derive(Debug, Default)]
pub struct Files {
    /// Files in the order in which every run reads them.
    pub to_read: Vec<PathBuf>,
    pub not_read: Vec<NotRead>,
    folders: HashSet<PathBuf>,
}

/// A file or folder that is not read, or not to its end, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct NotRead {
    pub path: PathBuf,
    pub reason: String,
}

/// A path that was named and is not there.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be read: check the path")]
pub struct ReadError {
    path: PathBuf,
    source: io::Error,
}

impl Files {
    /// The files under `paths`: those named, and in folders those that end in `.ndjson` or
    /// `.json`, sorted.
    pub fn under(paths: &[PathBuf]) -> Result<Self, ReadError> {
        let mut found = Self::default();
        for path in paths {
            std::fs::symlink_metadata(path)
                .map_err(|source| ReadError { path: path.clone(), source })?;
            found.add(path, true, &mut Vec::new());
        }
        Ok(found)
    }

    /// Adds what is at a path in the folders `above`.
    fn add(&mut self, path: &Path, is_named: bool, above: &mut Vec<PathBuf>) {
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return self.leave_out(path, &problem(&error)),
        };
        let ends_in = |ending: &str| path.extension().is_some_and(|is| is == ending);
        if metadata.is_dir() {
            if let Err(error) = self.add_folder(path, above) {
                self.leave_out(path, &problem(&error));
            }
            return;
        }
        if !is_named && !ends_in("ndjson") && !ends_in("json") {
            return;
        }
        if !metadata.is_file() {
            // Opening a pipe would wait for a writer, and a device may have no end.
            self.leave_out(path, "it is no regular file: name the files that hold the export");
        } else if has_control_characters(path) {
            self.leave_out(path, "its name has control characters: rename it");
        } else {
            self.to_read.push(path.to_owned());
        }
    }

    fn add_folder(&mut self, folder: &Path, above: &mut Vec<PathBuf>) -> io::Result<()> {
        let real = folder.canonicalize()?;
        if above.contains(&real) {
            self.leave_out(folder, "it leads back to a folder that it is in: remove the link");
            return Ok(());
        }
        // By two ways to one folder, its files are read once.
        if !self.folders.insert(real.clone()) {
            return Ok(());
        }
        let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
        let mut entries: Vec<PathBuf> = entries.collect::<Result<_, _>>()?;
        entries.sort();
        above.push(real);
        for entry in entries {
            self.add(&entry, false, above);
        }
        above.pop();
        Ok(())
    }

    fn leave_out(&mut self, path: &Path, reason: &str) {
        self.not_read.push(NotRead { path: path.to_owned(), reason: reason.to_owned() });
    }
}

/// What came in the way of reading, in words.
pub(super) fn problem(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "it is gone, or a link that leads nowhere: remove it, or put back what was there".to_owned()
    } else {
        format!("{error}: make it readable, and import it again")
    }
}

fn has_control_characters(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The files and what is not read under a folder, by their paths in it.
    fn under(folder: &Path) -> (Vec<String>, Vec<String>) {
        let found = Files::under(&[folder.to_owned()]).unwrap();
        let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
        let not_read =
            found.not_read.iter().map(|not| format!("{}: {}", name(&not.path), not.reason));
        (found.to_read.iter().map(|path| name(path)).collect(), not_read.collect())
    }

    #[test]
    fn files_of_an_export_are_found_in_order_and_others_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        for name in ["c.ndjson", "a.json", "b/1.ndjson", "notes.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(under(folder.path()).0, ["a.json", "b/1.ndjson", "c.ndjson"]);
        let notes = folder.path().join("notes.txt");
        assert_eq!(
            Files::under(std::slice::from_ref(&notes)).unwrap().to_read,
            [notes],
            "it was named"
        );
    }

    #[test]
    fn links_that_lead_back_or_nowhere_are_told_and_folders_are_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::write(at("a/b/1.ndjson"), "").unwrap();
        symlink("../..", at("a/b/back")).unwrap();
        symlink("a/b", at("twice")).unwrap();
        symlink("gone", at("nowhere")).unwrap();
        symlink("circle", at("circle")).unwrap();
        let (files, not_read) = under(folder.path());
        assert_eq!(files, ["a/b/1.ndjson"]);
        let begin = ["a/b/back: it leads back", "circle: ", "nowhere: it is gone, or a link"];
        assert_eq!(not_read.len(), begin.len(), "{not_read:?}");
        for (not_read, begin) in not_read.iter().zip(begin) {
            assert!(not_read.starts_with(begin), "{not_read}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket.json");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let (files, not_read) = under(folder.path());
        assert!(files.is_empty());
        assert!(not_read[0].starts_with("socket.json: it is no regular file"), "{not_read:?}");
    }

    #[test]
    fn a_path_that_is_not_there_was_mistyped() {
        assert!(Files::under(&[PathBuf::from("/no/such/file.json")]).is_err());
    }
}
