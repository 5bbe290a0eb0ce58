//! The standard storage: files are taken once, in the order in which they were written, and
//! those that come late when they are there.

use std::collections::{HashMap, HashSet};

use super::{Later, Reader};
use crate::adt::{Kind, Manner, Outcome};
use crate::ssmix2::cursor::{Cursor, Work};
use crate::ssmix2::storage::{Condition, Listing, Seen, Stored};

/// What is known while the storage is gone through once.
struct Round<'l> {
    listing: &'l Listing,
    /// The files that are in force or replaced, by the order that they are about, once somebody
    /// asked for them.
    orders: Option<HashMap<&'l str, Vec<&'l Stored>>>,
    /// Whether a message was stored: one that was refused may be taken now.
    has_news: bool,
    /// Whether a file is still being written. Those behind it are later: they are taken when it
    /// was.
    is_waiting: bool,
}

impl<'l> Round<'l> {
    /// The files of the order that a file is about, which are in force or replaced.
    fn of_order(&mut self, stored: &Stored) -> impl Iterator<Item = &'l Stored> {
        let listing = self.listing;
        let orders = self.orders.get_or_insert_with(|| {
            let mut orders: HashMap<&str, Vec<&Stored>> = HashMap::new();
            for stored in listing.files().filter(|one| one.name.condition != Condition::Deleted) {
                orders.entry(&stored.name.order).or_default().push(stored);
            }
            orders
        });
        let of_order = orders.get(stored.name.order.as_str()).map(Vec::as_slice);
        of_order.unwrap_or_default().iter().copied()
    }
}

impl Reader {
    pub(super) async fn take_stored(
        &mut self,
        listing: &Listing,
        cursor: &mut Cursor,
    ) -> Result<(), Later> {
        let mut round = Round { listing, orders: None, has_news: false, is_waiting: false };
        for (day, of_day) in &listing.stored {
            let work = cursor.work(day, of_day.sum);
            if work == Work::Missed && !cursor.has_missed() {
                continue;
            }
            for stored in &of_day.files {
                if let Some(seen) = self.wanted(&mut round, work, stored, cursor).await {
                    self.take_file(&mut round, stored, seen, cursor).await?;
                }
            }
            if !round.is_waiting {
                cursor.finish(day, of_day, &listing.recent_from, &self.config);
            }
        }
        if round.has_news {
            self.take_refused(&mut round, cursor).await?;
        }
        if cursor.has_missed() {
            let listed: HashSet<&str> = listing.files().map(|one| one.file.as_str()).collect();
            cursor.forget_missed(|file| listed.contains(file));
        }
        cursor.forget_days(|day| listing.stored.contains_key(day), &listing.recent_from);
        Ok(())
    }

    /// What a file is, if it is to be taken now.
    async fn wanted(
        &mut self,
        round: &mut Round<'_>,
        work: Work,
        stored: &Stored,
        cursor: &Cursor,
    ) -> Option<Seen> {
        let is_of_work = match work {
            Work::All => true,
            Work::Withdrawn => stored.name.condition != Condition::Valid,
            Work::Missed => false,
        };
        if !is_of_work && !cursor.is_missed(stored) {
            return None;
        }
        let seen = match stored.seen {
            Some(seen) => seen,
            // If it cannot be looked at, it cannot be read, which is noted then.
            None => self.look(&stored.path).await.unwrap_or_default(),
        };
        if cursor.is_taken(stored, seen) {
            return None;
        }
        round.is_waiting |= !self.is_settled(&stored.path, seen);
        (!round.is_waiting).then_some(seen)
    }

    async fn take_file(
        &self,
        round: &mut Round<'_>,
        stored: &Stored,
        seen: Seen,
        cursor: &mut Cursor,
    ) -> Result<(), Later> {
        let bytes = match self.read(&stored.path, 0).await {
            Some(bytes) => bytes,
            None if cursor.miss(stored, &self.config) => return Ok(()),
            None => {
                tracing::error!(
                    "more files of the SS-MIX2 storage cannot be read than ssmix2-unread-files: nothing behind them is taken"
                );
                return Err(Later);
            }
        };
        let manner = match stored.name.condition {
            Condition::Valid => Manner::AsSaid,
            Condition::Replaced => Manner::Replaced,
            Condition::Deleted => Manner::Withdrawn,
        };
        let outcome = match manner {
            Manner::AsSaid => self.take_valid(round, stored, &bytes).await?,
            Manner::Replaced | Manner::Withdrawn => self.take(&bytes, &[], manner).await?,
        };
        round.has_news |= outcome == Outcome::Stored;
        // Also if it was taken back before, or could not be: what replaces it may not have been
        // taken then.
        let is_over = matches!(outcome, Outcome::NothingNew | Outcome::Ignored);
        if manner == Manner::Replaced && !is_over {
            self.take_successors(round, stored).await?;
        }
        cursor.take(stored, seen, may_be_taken_later(&outcome));
        Ok(())
    }

    /// Takes again what replaces a message that was taken back: while that was in force, it may
    /// have said nothing new, or what could not be.
    async fn take_successors(&self, round: &mut Round<'_>, replaced: &Stored) -> Result<(), Later> {
        let successors: Vec<&Stored> = round
            .of_order(replaced)
            .filter(|one| one.name.condition == Condition::Valid)
            .filter(|one| one.name.transaction > replaced.name.transaction)
            .collect();
        for successor in successors {
            if let Some(bytes) = self.read(&successor.path, 0).await {
                self.take_valid(round, successor, &bytes).await?;
            }
        }
        Ok(())
    }

    /// Takes a message that is in force, in the place of those that it replaces: what could not
    /// be taken back of them, because something builds on it, is corrected.
    async fn take_valid(
        &self,
        round: &mut Round<'_>,
        stored: &Stored,
        message: &[u8],
    ) -> Result<Outcome, Later> {
        let before: Vec<&Stored> = round
            .of_order(stored)
            .filter(|one| one.name.condition == Condition::Replaced)
            .filter(|one| one.name.transaction < stored.name.transaction)
            .collect();
        let mut replaced = Vec::with_capacity(before.len());
        for one in before {
            replaced.extend(self.read(&one.path, 0).await);
        }
        self.take(message, &replaced, Manner::AsSaid).await
    }

    /// Takes those of the last days again that were refused: what they build on may have come
    /// after them.
    async fn take_refused(&self, round: &mut Round<'_>, cursor: &mut Cursor) -> Result<(), Later> {
        let listing = round.listing;
        let recent = listing.stored.range(listing.recent_from.clone()..);
        for stored in recent.flat_map(|(_, of_day)| &of_day.files) {
            let is_valid = stored.name.condition == Condition::Valid;
            let refused = stored.seen.filter(|_| is_valid && cursor.is_refused(stored));
            if let Some(seen) = refused
                && let Some(bytes) = self.read(&stored.path, 0).await
            {
                let outcome = self.take_valid(round, stored, &bytes).await?;
                cursor.take(stored, seen, may_be_taken_later(&outcome));
            }
        }
        Ok(())
    }
}

/// Whether a message was refused for what it says, and not for its kind.
fn may_be_taken_later(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(refusal) if refusal.kind == Kind::Content)
}
