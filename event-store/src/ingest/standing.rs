//! How a slot's stream and the log stand to each other.

use std::ops::RangeInclusive;

use tsunagi_bus::nats::{Identity, Parting, StreamState};
use tsunagi_bus::{Position, Run, Slot, Stored};

use super::records::agrees;
use super::streams_file::Source;
use super::{IngestError, Shared};
use crate::store::off_the_runtime;

/// What was found of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// All that is stored came from this stream; reading goes on with `next`, and must be begun
    /// anew before `until`.
    Same { source: Source, next: u64, until: Option<u64> },
    /// The stream is new, or has lost its end: these positions are to follow in it.
    Behind { source: Source, lacks: RangeInclusive<u64> },
    /// From some message on, the stream has something else than the log. It is stored behind
    /// what is there, and what the stream may lack is published again.
    Parted { source: Source, next: u64 },
    /// Other stores are to be told first that the log has these positions in front of that
    /// message.
    Untold { identity: Identity, sequence: u64, lost: RangeInclusive<u64> },
    /// Another store was there when the stream lost its end: these positions, which lie behind
    /// their place in it, come before its next message.
    Before { source: Source, lacks: RangeInclusive<u64> },
    /// The stream has lost messages that the log does not have. The source goes on behind them.
    Lost { source: Source, lost: RangeInclusive<u64> },
}

/// A slot's stream as it is now, and where it parted from the log that others have of it.
struct SlotNow {
    slot: Slot,
    state: StreamState,
    partings: Vec<Parting>,
    /// How many events of the slot are stored.
    last_n: u64,
}

impl Shared {
    /// Compares a slot's stream with the log.
    pub(super) async fn standing(&self, slot: Slot) -> Result<Standing, IngestError> {
        let state = self.streams.state(slot).await?;
        let partings = self.streams.partings(slot, &state.identity).await?;
        let seen = SlotNow { slot, state, partings, last_n: self.store.durable_n(slot) };
        let identity = &seen.state.identity;
        let known = self.file.get(slot).filter(|known| {
            // Of a log that ends before the run begins, the file says nothing: it was put back.
            known.identity == *identity && known.run.n <= seen.last_n + 1
        });
        let new = || Source { identity: identity.clone(), run: Run::WHOLE, again: None };
        let source = known.unwrap_or_else(new);
        let mut agreed = self.agreed(&seen, &source.run).await?;
        let mut run = source.run;
        if agreed < run.sequence && run != Run::WHOLE && !seen.has_all(&run, agreed) {
            // Nothing of the run is there any more. What came before it may be gone, too, and is
            // compared by where it would lie if the stream had been stored from its beginning.
            run = Run::WHOLE;
            agreed = self.agreed(&seen, &run).await?;
        }
        // Each parting that is known says where the stream goes on in the log.
        while !seen.has_all(&run, agreed)
            && let Some(parting) = seen.parting_at(&run, agreed)
            && *parting.lost.end() < seen.last_n
        {
            run = behind(parting);
            agreed = self.agreed(&seen, &run).await?;
        }
        Ok(judge(&seen, Source { run, ..source }, agreed))
    }

    /// The last message up to which the stream has what the log has: from there on, nothing
    /// agrees any more. Of messages that the stream has lost, nobody can tell.
    async fn agreed(&self, seen: &SlotNow, run: &Run) -> Result<u64, IngestError> {
        let stored = seen.stored(run);
        if stored <= seen.state.last && self.is_same_at(seen, run, stored).await? {
            return Ok(stored);
        }
        let before = (run.sequence - 1).max(seen.state.first - 1).min(stored);
        let (mut agrees, mut differs) = (before, stored.min(seen.state.last) + 1);
        while agrees + 1 < differs {
            let middle = agrees + (differs - agrees) / 2;
            if self.is_same_at(seen, run, middle).await? {
                agrees = middle;
            } else {
                differs = middle;
            }
        }
        Ok(agrees)
    }

    /// Whether a message is the one that was stored at its position. One before the run is.
    async fn is_same_at(
        &self,
        seen: &SlotNow,
        run: &Run,
        sequence: u64,
    ) -> Result<bool, IngestError> {
        let Some(n) = run.n_of(sequence) else { return Ok(true) };
        if sequence < seen.state.first {
            return Ok(true);
        }
        let stored = self.stored_at(Position { slot: seen.slot, n }).await?;
        let kept = self.streams.at(seen.slot, sequence).await?;
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

impl SlotNow {
    /// The message from which the slot's last event was stored; the one before the run if it has
    /// none.
    fn stored(&self, run: &Run) -> u64 {
        run.sequence_of(self.last_n).unwrap_or(run.sequence - 1)
    }

    /// Whether all that is stored came from the stream.
    fn has_all(&self, run: &Run, agreed: u64) -> bool {
        agreed == self.stored(run)
    }

    /// What the log has in front of a run's first message, which is there, if that is not known
    /// on NATS any more: its servers' disks were put back.
    fn untold(&self, run: &Run, agreed: u64) -> Option<RangeInclusive<u64>> {
        let is_told = *run == Run::WHOLE || self.partings.iter().any(|it| behind(it) == *run);
        if is_told || agreed < run.sequence {
            return None;
        }
        let earlier = self.partings.iter().filter(|parting| parting.sequence < run.sequence);
        let before = earlier.max_by_key(|parting| parting.sequence).map_or(Run::WHOLE, behind);
        let lost = before.n_of(run.sequence)?..=run.n - 1;
        (!lost.is_empty()).then_some(lost)
    }

    /// Where the stream parted from the log right behind the message with `agreed`, if the log
    /// that others have of it is this one up to there.
    fn parting_at(&self, run: &Run, agreed: u64) -> Option<&Parting> {
        let first = run.n_of(agreed + 1)?;
        self.partings.iter().find(|parting| {
            parting.sequence == agreed + 1
                && *parting.lost.start() == first
                && *run != behind(parting)
        })
    }
}

/// What it means that stream and log agree so far, and no further.
fn judge(seen: &SlotNow, source: Source, agreed: u64) -> Standing {
    let run = source.run;
    let next = agreed + 1;
    if next < seen.state.first {
        let run = Run { n: seen.last_n + 1, sequence: seen.state.first };
        let source = Source { run, again: None, ..source };
        return Standing::Lost { source, lost: next..=seen.state.first - 1 };
    }
    if let Some(lost) = seen.untold(&run, agreed) {
        return Standing::Untold { identity: source.identity, sequence: run.sequence, lost };
    }
    let parting = seen.parting_at(&run, agreed);
    if let Some(parting) = parting.filter(|parting| seen.last_n < *parting.lost.end()) {
        let lacks = seen.last_n + 1..=*parting.lost.end();
        let source = Source { run: behind(parting), again: None, ..source };
        return Standing::Before { source, lacks };
    }
    if seen.has_all(&run, agreed) {
        let ahead = seen.partings.iter().filter(|parting| {
            parting.sequence > next && run.n_of(parting.sequence) == Some(*parting.lost.start())
        });
        let until = ahead.map(|parting| parting.sequence).min();
        return Standing::Same { source, next, until };
    }
    let first_lost = run.n_of(next).unwrap_or(seen.last_n);
    if agreed == seen.state.last {
        return Standing::Behind { source, lacks: first_lost..=seen.last_n };
    }
    if parting.is_none() {
        let (identity, lost) = (source.identity, first_lost..=seen.last_n);
        return Standing::Untold { identity, sequence: next, lost };
    }
    let run = Run { n: seen.last_n + 1, sequence: next };
    // What was to be published again may still be.
    let before = source.again.as_ref().map_or(first_lost, |again| *again.start());
    let again = Some(before.min(first_lost)..=seen.last_n);
    Standing::Parted { source: Source { run, again, ..source }, next }
}

/// The run that begins behind a parting.
fn behind(parting: &Parting) -> Run {
    Run { n: parting.lost.end() + 1, sequence: parting.sequence }
}
