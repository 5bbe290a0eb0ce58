//! Transaction files: each is read on from where it was read to.

use std::time::Duration;

use super::{Later, Reader};
use crate::adt::Manner;
use crate::ssmix2::cursor::Cursor;
use crate::ssmix2::storage::{Listing, Transactions};
use crate::ssmix2::transaction::{Processing, goes_on, is_bare, is_ended, records};

/// A last record whose last segment has no end is taken when the file was left alone for so long:
/// some systems end none but by the next record.
const UNENDED_AFTER: Duration = Duration::from_hours(1);

/// The beginning of a record is looked for so far before where it was read to.
const RECORD_BYTES_MAX: u64 = 1 << 20;

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
        if seen.bytes == taken {
            return Ok(());
        }
        if seen.bytes < taken {
            tracing::warn!(
                bytes = seen.bytes,
                taken,
                "a transaction file of the SS-MIX2 storage became shorter: it is read from its beginning"
            );
            taken = 0;
            cursor.transactions.remove(&file.file);
        }
        // One that cannot be read is told each time, and the others go on.
        let Some(mut new) = self.read(&file.path, taken).await else { return Ok(()) };
        let (mut from, already) = (taken, taken);
        if goes_on(&new) && taken > 0 {
            // What seemed to be whole was still being written: it is read from its beginning.
            from = taken.saturating_sub(RECORD_BYTES_MAX);
            let Some(all) = self.read(&file.path, from).await else { return Ok(()) };
            new = all;
        }
        let is_settled = self.is_settled(&file.path, seen);
        let is_given_up = seen.age().is_some_and(|age| age >= UNENDED_AFTER);
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
