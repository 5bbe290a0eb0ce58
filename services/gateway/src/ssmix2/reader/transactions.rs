//! Transaction files: each is read on from where it was read to.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{Later, Reader};
use crate::adt::Manner;
use crate::ssmix2::cursor::{Cursor, Read};
use crate::ssmix2::storage::{Listing, Seen, Transactions, mixed};
use crate::ssmix2::transaction::{Processing, goes_on, is_bare, is_ended, records};

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
        let is_other = match before.filter(|_| taken <= seen.bytes) {
            Some(before) => self.sum(&file.path, taken).await.is_some_and(|sum| sum != before.sum),
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
        }
        let taken_in = self.take_new(file, (seen, taken), cursor).await;
        let now = cursor.transactions.get(&file.file).copied().unwrap_or_default();
        if let Some(sum) = self.sum(&file.path, now).await.filter(|_| now > 0) {
            let read = Read { sum, modified: seen.modified };
            cursor.seen.insert(file.file.clone(), read);
        }
        taken_in
    }

    /// A sum of the bytes by which a file is known again, if it can be read.
    async fn sum(&self, path: &Path, taken: u64) -> Option<u64> {
        let path = path.to_owned();
        spawn_blocking(move || sum_of(&path, taken).ok()).await.ok().flatten()
    }

    /// Takes the records behind those that were taken.
    async fn take_new(
        &mut self,
        file: &Transactions,
        (seen, taken): (Seen, u64),
        cursor: &mut Cursor,
    ) -> Result<(), Later> {
        // One that cannot be read is told each time, and the others go on.
        let Some(mut new) = self.read(&file.path, taken).await else { return Ok(()) };
        let (mut from, already) = (taken, taken);
        if goes_on(&new) && taken > 0 {
            // What seemed to be whole was still being written: it is read from its beginning.
            from = taken.saturating_sub(self.config.record_bytes);
            let Some(all) = self.read(&file.path, from).await else { return Ok(()) };
            new = all;
        }
        let is_settled = self.is_settled(&file.path, seen);
        let given_up = Duration::from_millis(self.config.unended_ms);
        let is_given_up = seen.age().is_some_and(|age| age >= given_up);
        let records = records(&new);
        let count = records.len();
        for (at, record) in records.into_iter().enumerate() {
            let end = from.saturating_add(u64::try_from(record.end).unwrap_or(u64::MAX));
            if end <= already {
                continue;
            }
            let is_bare = is_bare(record.message);
            let is_ended = is_ended(record.message) && !is_bare;
            let is_whole = is_settled && (is_ended || is_given_up);
            if at + 1 == count && !is_whole {
                // It may still be being written.
                break;
            }
            if is_bare {
                // Kept in quarantine, for somebody to say at a desk what was deleted.
                tracing::warn!(
                    "a deletion in a transaction file of the SS-MIX2 storage has no message"
                );
            }
            let manner = match record.processing {
                Processing::Insert => Manner::AsSaid,
                Processing::Delete => Manner::Withdrawn,
            };
            // The part of it that was taken already, if one was, is what it replaces.
            let length = u64::try_from(record.message.len()).unwrap_or(u64::MAX);
            let torn = usize::try_from(already.saturating_sub(end.saturating_sub(length)));
            let torn = record.message.get(..torn.unwrap_or_default()).unwrap_or_default();
            let replaced = if torn.is_empty() { Vec::new() } else { vec![torn.to_vec()] };
            self.take(record.message, &replaced, manner).await?;
            cursor.transactions.insert(file.file.clone(), end);
        }
        Ok(())
    }
}

fn sum_of(path: &Path, taken: u64) -> std::io::Result<u64> {
    let mut file = std::fs::File::open(path)?;
    let (mut first, mut last) = (Vec::new(), Vec::new());
    std::io::Read::by_ref(&mut file).take(taken.min(KNOWN_BY)).read_to_end(&mut first)?;
    file.seek(SeekFrom::Start(taken.saturating_sub(KNOWN_BY)))?;
    file.take(taken.min(KNOWN_BY)).read_to_end(&mut last)?;
    Ok(mixed(first.into_iter().chain(last)))
}
