//! Transaction files: each is read on from where it was read to.

use super::{Later, Reader};
use crate::adt::Manner;
use crate::ssmix2::cursor::Cursor;
use crate::ssmix2::storage::{Listing, Transactions};
use crate::ssmix2::transaction::{Processing, records};

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
        let Some(new) = self.read(&file.path, taken).await else { return Ok(()) };
        let is_settled = self.is_settled(&file.path, seen);
        let records = records(&new);
        let count = records.len();
        for (at, record) in records.into_iter().enumerate() {
            if at + 1 == count && !is_settled {
                // It may still be being written.
                break;
            }
            let manner = match record.processing {
                Processing::Insert => Manner::AsSaid,
                Processing::Delete => Manner::Withdrawn,
            };
            self.take(record.message, manner).await?;
            let end = u64::try_from(record.end).unwrap_or(u64::MAX);
            cursor.transactions.insert(file.file.clone(), taken.saturating_add(end));
        }
        Ok(())
    }
}
