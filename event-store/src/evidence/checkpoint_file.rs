//! `checkpoints.txt`: the checkpoints of a region, signed, one behind the other.
//!
//! Beside them, remarks on how far back they reach (`history`).
//!
//! Each is appended and flushed. They cannot be made again: they belong into the backup, beside
//! the log and the key. Those that were made at a segment's end are kept for ever. Of the others,
//! only each slot's newest is needed, because it stands for all before it; they are thinned out
//! once they take more room than the rest.
//!
//! A checkpoint that was being written when the power went is cut. So are its neighbours of the
//! same moment: they were written with it, in any order of pages.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use uuid::Uuid;

use super::checkpoint::Checkpoint;
use super::history::{Remark, Said};
use super::merkle::Hash;
use super::note::{PublicKey, SIGNATURE, SigningKey};
use crate::log::LogError;
use crate::log::segment::sync_folder;
use crate::region_file::write_durably;

pub(crate) const NAME: &str = "checkpoints.txt";
/// Bytes of checkpoints that are not worth thinning out.
const LOOSE_BYTES_MIN: usize = 1 << 16;

/// A checkpoint as it lies in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub offset: usize,
    pub note: String,
    /// What it says, whether or not its signature is good.
    pub checkpoint: Checkpoint,
}

/// A remark as it lies in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remarked {
    pub offset: usize,
    pub note: String,
    /// What it says, whether or not its signature is good.
    pub remark: Remark,
}

/// What a text of checkpoints holds.
#[derive(Debug, Default)]
pub struct Contents {
    pub signed: Vec<Signed>,
    pub remarks: Vec<Remarked>,
    /// Where something stands that is no checkpoint.
    pub bad: Vec<usize>,
}

/// Reads checkpoints, one behind the other; what is none is passed over up to the next line
/// that ends one.
pub fn read(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    let mut begin = 0;
    let mut end = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        if !line.starts_with(SIGNATURE.as_bytes()) || !line.ends_with(b"\n") {
            continue;
        }
        if !bytes.get(begin..end).is_some_and(|note| contents.enter(note, begin)) {
            contents.bad.push(begin);
        }
        begin = end;
    }
    if begin < bytes.len() {
        contents.bad.push(begin);
    }
    contents
}

impl Contents {
    /// Enters a note, if it is one of ours.
    fn enter(&mut self, note: &[u8], offset: usize) -> bool {
        let Ok(note) = str::from_utf8(note) else { return false };
        let Some((text, _signature)) = note.rsplit_once("\n\n") else { return false };
        let (text, note) = (format!("{text}\n"), note.to_owned());
        if let Some(checkpoint) = Checkpoint::from_text(&text) {
            self.signed.push(Signed { offset, note, checkpoint });
            return true;
        }
        let Some(remark) = Remark::from_text(&text) else { return false };
        self.remarks.push(Remarked { offset, note, remark });
        true
    }

    /// Leaves out all checkpoints but each slot's newest.
    pub(crate) fn keep_newest(&mut self) {
        let mut newest: BTreeMap<u16, Signed> = BTreeMap::new();
        for signed in self.signed.drain(..) {
            let one = newest.get(&signed.checkpoint.slot);
            if one.is_none_or(|one| one.checkpoint.size <= signed.checkpoint.size) {
                newest.insert(signed.checkpoint.slot, signed);
            }
        }
        self.signed = newest.into_values().collect();
    }

    /// What was made at which time, in the order of the file.
    fn moments(&self) -> Vec<(usize, Timestamp)> {
        let signed = self.signed.iter().map(|one| (one.offset, one.checkpoint.made_at));
        let remarks = self.remarks.iter().map(|one| (one.offset, one.remark.made_at));
        let mut moments: Vec<_> = signed.chain(remarks).collect();
        moments.sort_unstable();
        moments
    }
}

/// Reads the file of a data folder; empty if there is none yet.
pub(crate) fn read_file(data: &Path) -> Result<Vec<u8>, LogError> {
    let path = data.join(NAME);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(LogError::io("reading", &path)(error)),
    }
}

/// How many events of each slot were signed by `key`.
pub(crate) fn signed(data: &Path, key: &PublicKey) -> Result<BTreeMap<u16, u64>, LogError> {
    let mut contents = read(&read_file(data)?);
    // That is enough, and checking signatures takes time.
    contents.keep_newest();
    let good = contents.signed.iter().filter(|signed| key.verify(&signed.note).is_ok());
    Ok(good.map(|signed| (signed.checkpoint.slot, signed.checkpoint.size)).collect())
}

/// A region's checkpoints, open for more.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    path: PathBuf,
    /// Each slot's newest.
    newest: BTreeMap<u16, Checkpoint>,
    /// How many events of each slot lie before the newest that was made at a segment's end.
    sealed: BTreeMap<u16, u64>,
    /// The last segment of whose end there is a checkpoint.
    sealed_last: u32,
    /// What it said of segments' ends when it was opened: by slot and size, the root.
    ends: BTreeMap<(u16, u64), Hash>,
    /// What the remarks say that are signed by the region's key.
    remarks: Vec<Said>,
    /// Bytes of those that will be thinned out, and of the others.
    loose_bytes: usize,
    kept_bytes: usize,
}

impl CheckpointFile {
    /// Opens the file, cuts a torn end, and checks each slot's newest checkpoint. The slots whose
    /// newest is not signed by `key` come second.
    pub(crate) fn open(data: &Path, key: &PublicKey) -> Result<(Self, Vec<u16>), LogError> {
        let path = data.join(NAME);
        let mut bytes = read_file(data)?;
        let mut contents = read(&bytes);
        if let Some(at) = torn_at(&contents) {
            tracing::warn!(
                bytes = bytes.len() - at,
                "cut checkpoints that were being written when the last process ended"
            );
            bytes.truncate(at);
            write_durably(&path, &bytes)?;
            contents = read(&bytes);
        }
        for offset in &contents.bad {
            tracing::error!(path = %path.display(), offset, "a checkpoint was changed: run `tsunagi verify`, and restore the file from a backup");
        }
        let mut newest: BTreeMap<u16, &Signed> = BTreeMap::new();
        for signed in &contents.signed {
            let one = newest.entry(signed.checkpoint.slot).or_insert(signed);
            if signed.checkpoint.size >= one.checkpoint.size {
                *one = signed;
            }
        }
        let is_forged = |signed: &&Signed| key.verify(&signed.note).is_err();
        let forged = newest.iter().filter(|(_, signed)| is_forged(signed)).map(|(slot, _)| *slot);
        let forged = forged.collect();
        let mut file = Self {
            path,
            newest: newest.into_iter().map(|(slot, signed)| (slot, signed.checkpoint)).collect(),
            sealed: BTreeMap::new(),
            sealed_last: 0,
            ends: BTreeMap::new(),
            remarks: Vec::new(),
            loose_bytes: 0,
            kept_bytes: 0,
        };
        for signed in &contents.signed {
            let Checkpoint { slot, size, root, sealed, .. } = signed.checkpoint;
            file.ends.extend(sealed.map(|_| ((slot, size), root)));
            file.count(&signed.checkpoint, signed.note.len());
        }
        for one in contents.remarks.iter().filter(|one| key.verify(&one.note).is_ok()) {
            file.remarks.push(one.remark.said);
            file.kept_bytes += one.note.len();
        }
        Ok((file, forged))
    }

    /// What it said, when it was opened, that a slot's root was at the end of a segment.
    pub(crate) fn root_of_end(&self, slot: u16, size: u64) -> Option<Hash> {
        self.ends.get(&(slot, size)).copied()
    }

    /// Whether it says that the region began with it.
    pub(crate) fn is_from_the_beginning(&self) -> bool {
        self.remarks.contains(&Said::Begun)
    }

    /// The first segment whose end may be signed: those before were signed when they ended, or
    /// never will be.
    pub(crate) fn sealed_from(&self) -> u32 {
        let unsigned = self.remarks.iter().filter_map(|said| match said {
            Said::Unsigned(at) => Some(at.segment),
            Said::Begun | Said::Accepted(_) => None,
        });
        unsigned.max().unwrap_or(0).max(self.sealed_last)
    }

    /// Signs a remark and appends it, flushed.
    pub(crate) fn remark(
        &mut self,
        region: Uuid,
        said: Said,
        key: &SigningKey,
    ) -> Result<(), LogError> {
        let remark = Remark { region, said, made_at: Timestamp::now() };
        let note = key.sign(&remark.to_text());
        self.write(note.as_bytes())?;
        self.remarks.push(said);
        self.kept_bytes += note.len();
        Ok(())
    }

    /// Each slot's newest checkpoint.
    pub(crate) fn newest(&self) -> &BTreeMap<u16, Checkpoint> {
        &self.newest
    }

    /// How many events of a slot the newest checkpoint covers; if it is one of a segment's end,
    /// the newest such.
    pub(crate) fn covered(&self, slot: u16, at_segment_end: bool) -> u64 {
        if at_segment_end {
            return self.sealed.get(&slot).copied().unwrap_or(0);
        }
        self.newest.get(&slot).map_or(0, |newest| newest.size)
    }

    /// Signs checkpoints and appends them, flushed.
    pub(crate) fn append(&mut self, new: &[Checkpoint], key: &SigningKey) -> Result<(), LogError> {
        if new.is_empty() {
            return Ok(());
        }
        let notes: Vec<_> = new.iter().map(|one| key.sign(&one.to_text())).collect();
        self.write(notes.concat().as_bytes())?;
        for (checkpoint, note) in new.iter().zip(&notes) {
            self.newest.insert(checkpoint.slot, *checkpoint);
            self.count(checkpoint, note.len());
        }
        if self.loose_bytes > self.kept_bytes.max(LOOSE_BYTES_MIN)
            && new.iter().any(|checkpoint| checkpoint.sealed.is_some())
        {
            self.thin_out()?;
        }
        Ok(())
    }

    fn write(&self, notes: &[u8]) -> Result<(), LogError> {
        let is_first = !self.path.exists();
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(&self.path);
        let mut file = file.map_err(LogError::io("opening", &self.path))?;
        let before = file.metadata().map_err(LogError::io("reading", &self.path))?.len();
        if let Err(error) = file.write_all(notes) {
            // Half a note before later ones would look as if somebody had changed it.
            let cut = file.set_len(before);
            return Err(LogError::io("writing", &self.path)(cut.err().unwrap_or(error)));
        }
        file.sync_all().map_err(LogError::io("flushing", &self.path))?;
        if is_first { self.path.parent().map_or(Ok(()), sync_folder) } else { Ok(()) }
    }

    fn count(&mut self, checkpoint: &Checkpoint, bytes: usize) {
        if let Some(segment) = checkpoint.sealed {
            self.sealed_last = self.sealed_last.max(segment);
            self.sealed.insert(checkpoint.slot, checkpoint.size);
            self.kept_bytes += bytes;
        } else {
            self.loose_bytes += bytes;
        }
    }

    fn thin_out(&mut self) -> Result<(), LogError> {
        let bytes = std::fs::read(&self.path).map_err(LogError::io("reading", &self.path))?;
        let contents = read(&bytes);
        if !contents.bad.is_empty() {
            // What was changed is evidence too: it is not for us to tidy up.
            return Ok(());
        }
        let is_kept = |signed: &&Signed| {
            let checkpoint = &signed.checkpoint;
            checkpoint.sealed.is_some() || self.newest.get(&checkpoint.slot) == Some(checkpoint)
        };
        let signed = contents.signed.iter().filter(is_kept).map(|one| (one.offset, &*one.note));
        let remarks = contents.remarks.iter().map(|one| (one.offset, &*one.note));
        let kept: BTreeMap<usize, &str> = signed.chain(remarks).collect();
        let kept: String = kept.into_values().collect();
        write_durably(&self.path, kept.as_bytes())?;
        self.loose_bytes = 0;
        self.kept_bytes = kept.len();
        Ok(())
    }
}

/// Where a torn end begins, if that is what the bad part can be: everything behind it was made
/// at one moment.
fn torn_at(contents: &Contents) -> Option<usize> {
    let bad = *contents.bad.first()?;
    let moments = contents.moments();
    let mut later = moments.iter().filter(|(offset, _)| *offset > bad).map(|(_, moment)| moment);
    let moment = later.next();
    later.all(|later| Some(later) == moment).then_some(bad)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn key() -> SigningKey {
        SigningKey::new("tsunagi/test".to_owned(), &[7; 32])
    }

    fn checkpoint(slot: u16, size: u64, sealed: Option<u32>) -> Checkpoint {
        let made_at = Timestamp::from_microsecond(i64::try_from(size).unwrap()).unwrap();
        Checkpoint { region: Uuid::nil(), slot, size, root: [3; 32], made_at, sealed }
    }

    fn sizes(data: &Path) -> Vec<(u16, u64)> {
        let contents = read(&read_file(data).unwrap());
        assert!(contents.bad.is_empty());
        contents.signed.iter().map(|s| (s.checkpoint.slot, s.checkpoint.size)).collect()
    }

    fn open(data: &Path) -> CheckpointFile {
        let (file, forged) = CheckpointFile::open(data, &key().public()).unwrap();
        assert!(forged.is_empty());
        file
    }

    #[test]
    fn what_was_appended_is_there_when_opened() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path())
            .append(&[checkpoint(0, 5, None), checkpoint(1, 5, None)], &key())
            .unwrap();
        open(folder.path()).append(&[checkpoint(1, 9, Some(1))], &key()).unwrap();
        assert_eq!(sizes(folder.path()), [(0, 5), (1, 5), (1, 9)]);
        let file = open(folder.path());
        assert_eq!((file.covered(1, false), file.covered(1, true)), (9, 9));
        assert_eq!((file.covered(0, false), file.covered(0, true)), (5, 0));
    }

    #[test]
    fn a_torn_end_is_cut_wherever_it_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).append(&[checkpoint(0, 5, None)], &key()).unwrap();
        let whole = read_file(folder.path()).unwrap().len();
        open(folder.path())
            .append(&[checkpoint(0, 9, None), checkpoint(1, 9, None)], &key())
            .unwrap();
        let bytes = read_file(folder.path()).unwrap();
        let path = folder.path().join(NAME);
        for end in (whole..bytes.len()).step_by(7) {
            std::fs::write(&path, &bytes[..end]).unwrap();
            drop(open(folder.path()));
            let is_whole = read_file(folder.path()).unwrap().len() <= end;
            assert!(is_whole && sizes(folder.path()).starts_with(&[(0, 5)]), "{end}");
        }
        // Pages of one write reach the disk in any order.
        let mut torn = bytes;
        torn[whole..whole + 100].fill(0);
        std::fs::write(&path, &torn).unwrap();
        drop(open(folder.path()));
        assert_eq!(sizes(folder.path()), [(0, 5)]);
    }

    #[test]
    fn a_changed_checkpoint_is_kept_and_told() {
        let folder = tempfile::tempdir().unwrap();
        for size in [5, 6, 7] {
            open(folder.path()).append(&[checkpoint(0, size, None)], &key()).unwrap();
        }
        let text = String::from_utf8(read_file(folder.path()).unwrap()).unwrap();
        let path = folder.path().join(NAME);
        std::fs::write(&path, text.replacen("time", "Time", 1)).unwrap();
        drop(open(folder.path()));
        let contents = read(&read_file(folder.path()).unwrap());
        assert_eq!((contents.bad.len(), contents.signed.len()), (1, 2));
        // The newest must have its signature.
        std::fs::write(&path, text.replace("\n7\n", "\n8\n")).unwrap();
        assert_eq!(CheckpointFile::open(folder.path(), &key().public()).unwrap().1, [0]);
    }

    #[test]
    fn thinning_out_keeps_segment_ends_and_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open(folder.path());
        file.append(&[checkpoint(0, 1, Some(1)), checkpoint(1, 1, None)], &key()).unwrap();
        for size in 2..400 {
            file.append(&[checkpoint(0, size, None)], &key()).unwrap();
        }
        file.append(&[checkpoint(0, 400, Some(2))], &key()).unwrap();
        assert_eq!(sizes(folder.path()), [(0, 1), (1, 1), (0, 400)]);
    }
}
