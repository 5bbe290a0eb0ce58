//! How a slot's stream and the log stand to each other.

use std::ops::RangeInclusive;

use tsunagi_bus::nats::StreamState;
use tsunagi_bus::{Position, Run, Slot, Stored};

use super::records::agrees;
use super::streams_file::Source;
use super::{IngestError, Shared};
use crate::store::off_the_runtime;

/// What was found of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// All that is stored came from this stream; reading goes on with `next`.
    Same { source: Source, next: u64 },
    /// The stream is new, or has lost its end: these positions are to follow in it.
    Behind { source: Source, lacks: RangeInclusive<u64> },
    /// From some message on, the stream has something else than the log. It is stored behind
    /// what is there, and what the stream may lack is published again.
    Parted { source: Source, next: u64 },
}

impl Shared {
    /// Compares a slot's stream with the log.
    pub(super) async fn standing(&self, slot: Slot) -> Result<Standing, IngestError> {
        let state = self.streams.state(slot).await?;
        let last_n = self.store.durable_n(slot);
        let known = self.file.get(slot).filter(|known| {
            // Of a log that ends before the run begins, the file says nothing: it was put back.
            known.identity == state.identity && known.run.n <= last_n + 1
        });
        let new = || Source { identity: state.identity.clone(), run: Run::WHOLE, again: None };
        let mut source = known.unwrap_or_else(new);
        let mut stored = last_stored(&source.run, last_n);
        if stored <= state.last && self.is_same_at(slot, &source.run, stored).await? {
            return Ok(Standing::Same { source, next: stored + 1 });
        }
        let mut agreed = self.agreed(slot, &source.run, &state, stored).await?;
        if agreed < source.run.sequence && source.run != Run::WHOLE {
            // Nothing of the run is there any more. What came before it may be gone, too, and is
            // compared by where it would lie if the stream had been stored from its beginning.
            source.run = Run::WHOLE;
            stored = last_stored(&source.run, last_n);
            agreed = self.agreed(slot, &source.run, &state, stored).await?;
        }
        let first_lost = source.run.n_of(agreed + 1).unwrap_or(last_n);
        if agreed == state.last {
            return Ok(Standing::Behind { source, lacks: first_lost..=last_n });
        }
        let run = Run { n: last_n + 1, sequence: agreed + 1 };
        // What was to be published again may still be.
        let before = source.again.as_ref().map_or(first_lost, |again| *again.start());
        let again = Some(before.min(first_lost)..=last_n);
        Ok(Standing::Parted { source: Source { run, again, ..source }, next: run.sequence })
    }

    /// The last message up to which the stream has what the log has: from there on, nothing
    /// agrees any more.
    async fn agreed(
        &self,
        slot: Slot,
        run: &Run,
        state: &StreamState,
        stored: u64,
    ) -> Result<u64, IngestError> {
        let (mut agrees, mut differs) = (run.sequence - 1, stored.min(state.last) + 1);
        while agrees + 1 < differs {
            let middle = agrees + (differs - agrees) / 2;
            if self.is_same_at(slot, run, middle).await? {
                agrees = middle;
            } else {
                differs = middle;
            }
        }
        Ok(agrees)
    }

    /// Whether a message is the one that was stored at its position. One before the run is.
    async fn is_same_at(&self, slot: Slot, run: &Run, sequence: u64) -> Result<bool, IngestError> {
        let Some(n) = run.n_of(sequence) else { return Ok(true) };
        let stored = self.stored_at(Position { slot, n }).await?;
        let kept = self.streams.at(slot, sequence).await?;
        Ok(stored.zip(kept).is_some_and(|(stored, kept)| agrees(&stored, &kept)))
    }

    pub(super) async fn stored_at(
        &self,
        position: Position,
    ) -> Result<Option<Stored>, IngestError> {
        let store = self.store.clone();
        Ok(off_the_runtime(move || store.at(position)).await?)
    }
}

/// The message from which a slot's last event was stored; the one before the run if it has none.
fn last_stored(run: &Run, last_n: u64) -> u64 {
    run.sequence_of(last_n).unwrap_or(run.sequence - 1)
}
