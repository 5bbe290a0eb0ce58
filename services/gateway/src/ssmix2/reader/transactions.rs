//! Transaction files: each is read on from where it was read to.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{Later, Reader, read_from};
use crate::adt::Manner;
use crate::ssmix2::cursor::{Cursor, Read};
use crate::ssmix2::storage::{Listing, Seen, Transactions, mixed};
use crate::ssmix2::transaction::{Processing, Record, goes_on, is_bare, is_ended, records};

/// Bytes at the beginning of a file, and before where it was read to, by which it is known again.
const KNOWN_BY: u64 = 64 << 10;

impl Reader {
    pub(super) async fn take_transactions(
        &mut self,
        listing: &Listing,
        cursor: &mut Cursor,
    ) -> Result<(), Later> {
        for file in &listing.transactions {
            self.take_records(file, cursor).await?;
        }
        Ok(())
    }

    async fn take_records(
        &mut self,
        file: &Transactions,
        cursor: &mut Cursor,
    ) -> Result<(), Later> {
        let Some(seen) = self.look(&file.path).await else { return Ok(()) };
        let mut taken = cursor.transactions.get(&file.file).copied().unwrap_or_default();
        let before = cursor.seen.get(&file.file).copied();
        let is_untouched = before.is_none_or(|before| before.modified == seen.modified);
        if seen.bytes == taken && is_untouched {
            return Ok(());
        }
        let Some(mut bytes) = self.open(&file.path, taken).await else { return Ok(()) };
        let is_other = match before.filter(|_| taken <= seen.bytes) {
            Some(before) => bytes.sum(0) != before.sum,
            None => seen.bytes < taken,
        };
        if is_other {
            tracing::warn!(
                bytes = seen.bytes,
                taken,
                "a transaction file of the SS-MIX2 storage is another one, or became shorter: it is read from its beginning"
            );
            taken = 0;
            cursor.transactions.remove(&file.file);
            cursor.seen.remove(&file.file);
            let Some(all) = self.open(&file.path, taken).await else { return Ok(()) };
            bytes = all;
        }
        let taken_in = self.take_new(file, (seen, taken), &mut bytes, cursor).await;
        let now = cursor.transactions.get(&file.file).copied().unwrap_or_default();
        if now > 0 {
            let new = usize::try_from(now.saturating_sub(taken)).unwrap_or(usize::MAX);
            let read = Read { sum: bytes.sum(new), modified: seen.modified };
            cursor.seen.insert(file.file.clone(), read);
        }
        taken_in
    }

    /// The bytes of a file that was read to some place. None, told, if it cannot be read now.
    async fn open(&self, path: &Path, taken: u64) -> Option<Bytes> {
        let (own, limit) = (path.to_owned(), self.config.file_bytes);
        self.or_told(path, spawn_blocking(move || Bytes::read(&own, taken, limit)).await)
    }

    /// Takes the records behind those that were taken.
    async fn take_new(
        &mut self,
        file: &Transactions,
        (seen, taken): (Seen, u64),
        bytes: &mut Bytes,
        cursor: &mut Cursor,
    ) -> Result<(), Later> {
        let (mut from, already) = (taken, taken);
        let mut around = Vec::new();
        if goes_on(&bytes.new) && taken > 0 {
            // What seemed to be whole was still being written: it is read from its beginning.
            from = taken.saturating_sub(self.config.record_bytes);
            let (opened, limit) = (Arc::clone(&bytes.file), self.config.file_bytes);
            let read = spawn_blocking(move || read_from(&opened, from, limit)).await;
            // One that cannot be read is told, and the others go on.
            let Some(all) = self.or_told(&file.path, read) else { return Ok(()) };
            around = all;
            let before = usize::try_from(taken - from).unwrap_or(usize::MAX);
            bytes.new = around.get(before..).unwrap_or_default().to_vec();
        }
        let new = if around.is_empty() { &bytes.new } else { &around };
        let is_settled = self.is_settled(&file.path, seen);
        let given_up = Duration::from_millis(self.config.unended_ms);
        let is_given_up = seen.age().is_some_and(|age| age >= given_up);
        let records = records(new);
        let count = records.len();
        for (at, record) in records.into_iter().enumerate() {
            let end = from.saturating_add(u64::try_from(record.end).unwrap_or(u64::MAX));
            if end <= already {
                continue;
            }
            let is_ended = is_ended(record.message) && !is_bare(record.message);
            let is_whole = is_settled && (is_ended || is_given_up);
            if at + 1 == count && !is_whole {
                // It may still be being written.
                break;
            }
            let begin = end.saturating_sub(length(&record));
            self.take_record(&record, already.saturating_sub(begin)).await?;
            cursor.transactions.insert(file.file.clone(), end);
        }
        Ok(())
    }

    /// Takes a record. The bytes at its beginning that were taken already, as if they were all of
    /// it, are what it replaces.
    async fn take_record(&self, record: &Record<'_>, torn: u64) -> Result<(), Later> {
        if is_bare(record.message) {
            // Kept in quarantine, for somebody to say at a desk what was deleted.
            tracing::warn!(
                "a deletion in a transaction file of the SS-MIX2 storage has no message"
            );
        }
        let manner = match record.processing {
            Processing::Insert => Manner::AsSaid,
            Processing::Delete => Manner::Withdrawn,
        };
        let torn = usize::try_from(torn).unwrap_or_default();
        let torn = record.message.get(..torn).unwrap_or_default();
        let replaced = if torn.is_empty() { Vec::new() } else { vec![torn.to_vec()] };
        self.take(record.message, &replaced, manner).await.map(|_outcome| ())
    }
}

fn length(record: &Record<'_>) -> u64 {
    u64::try_from(record.message.len()).unwrap_or(u64::MAX)
}

/// What was read of a transaction file: of one and the same, whatever is put in its place
/// meanwhile.
struct Bytes {
    file: Arc<File>,
    /// Its first ones, and the last ones before where it was read to.
    known: [Vec<u8>; 2],
    /// All behind that.
    new: Vec<u8>,
}

impl Bytes {
    /// None if there is more than `limit` that is new.
    fn read(path: &Path, taken: u64, limit: u64) -> std::io::Result<Option<Self>> {
        let file = File::open(path)?;
        let known = [0, taken.saturating_sub(KNOWN_BY)].map(|from| {
            let (mut opened, mut known) = (&file, Vec::new());
            opened.seek(SeekFrom::Start(from))?;
            opened.take(taken.min(KNOWN_BY)).read_to_end(&mut known)?;
            Ok::<_, std::io::Error>(known)
        });
        let [first, last] = known;
        let new = read_from(&file, taken, limit)?;
        let known = [first?, last?];
        Ok(new.map(|new| Self { file: Arc::new(file), known, new }))
    }

    /// A sum by which the file is known again when so many of the new ones are taken.
    fn sum(&self, new: usize) -> u64 {
        let new = self.new.get(..new).unwrap_or(&self.new);
        let [first, last] = &self.known;
        let size = usize::try_from(KNOWN_BY).unwrap_or(usize::MAX);
        let first = first.iter().chain(new).take(size);
        let behind = (last.len() + new.len()).saturating_sub(size);
        mixed(first.chain(last.iter().chain(new).skip(behind)).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_again_by_what_was_read_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("TR");
        let all: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &all).unwrap();
        let read = |taken| Bytes::read(&path, taken, 1 << 20).unwrap().unwrap();
        for (taken, now) in
            [(0, 10), (10, 70_000), (60_000, 70_000), (70_000, 70_001), (5, 190_000)]
        {
            let sum = read(taken).sum(usize::try_from(now - taken).unwrap());
            assert_eq!(sum, read(now).sum(0), "{taken} and {now}");
        }
        let before = read(10);
        // Another one is put in its place.
        std::fs::write(folder.path().join("new"), vec![7; 200_000]).unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert_ne!(before.sum(100), read(110).sum(0));
        assert_eq!(read_from(&before.file, 10, 1 << 20).unwrap().unwrap(), all[10..]);
    }
}
