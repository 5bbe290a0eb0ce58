//! Publishes what is stored to the streams that lack it: when an embedded region goes over to
//! NATS, and when a stream has lost its end.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use tsunagi_bus::nats::Republished;
use tsunagi_bus::{Bus, Cursor, Delivery, Position, Run, Slot, StreamId};

use super::{IngestError, Shared};

/// What a slot's stream lacks, and how the positions follow in it.
pub(super) type Behind = (Slot, Run, RangeInclusive<u64>);

impl Shared {
    /// Publishes positions of the log to the very places in the streams that they have. Where
    /// somebody else was faster, it stops: the slot's task looks again.
    pub(super) async fn publish_behind(&self, behind: Vec<Behind>) -> Result<u64, IngestError> {
        let mut lacking: BTreeMap<Slot, (Run, RangeInclusive<u64>)> =
            behind.into_iter().map(|(slot, run, lacks)| (slot, (run, lacks))).collect();
        let before = |(slot, (_, lacks)): (&Slot, &(Run, RangeInclusive<u64>))| {
            (*slot, lacks.start().saturating_sub(1))
        };
        let mut feed = self.store.follow(self.all_but(lacking.iter().map(before)));
        let mut sent: VecDeque<(Slot, Republished)> = VecDeque::new();
        let mut carried = 0;
        while let Delivery::Events(events) = feed.next().await? {
            for stored in events {
                let Position { slot, n } = stored.placed.position;
                let Some((run, lacks)) = lacking.get(&slot) else { continue };
                if !lacks.contains(&n) {
                    continue;
                }
                let Some(sequence) = run.sequence_of(n) else { continue };
                let after = Some(sequence.saturating_sub(1));
                sent.push_back((slot, self.streams.publish_again(&stored, after).await?));
                if sent.len() >= self.limits.window {
                    carried += settle(&mut sent, &mut lacking).await?;
                }
            }
            if lacking.is_empty() {
                break;
            }
        }
        while !sent.is_empty() {
            carried += settle(&mut sent, &mut lacking).await?;
        }
        Ok(carried)
    }

    /// Publishes events that a stream may have lost, wherever they come to stand in it. The
    /// stream's other messages were stored already, or will be.
    pub(super) async fn publish_lost(
        &self,
        slot: Slot,
        lost: RangeInclusive<u64>,
    ) -> Result<(), IngestError> {
        let before = [(slot, lost.start().saturating_sub(1))];
        let mut feed = self.store.follow(self.all_but(before.into_iter()));
        let mut sent = VecDeque::new();
        while let Delivery::Events(events) = feed.next().await? {
            for stored in events {
                let Position { slot: of, n } = stored.placed.position;
                let is_note = matches!(stored.stream, StreamId::Slot(_));
                if of == slot && lost.contains(&n) && !is_note {
                    sent.push_back(self.streams.publish_again(&stored, None).await?);
                }
                if sent.len() >= self.limits.window
                    && let Some(first) = sent.pop_front()
                {
                    first.sequence().await?;
                }
            }
        }
        for republished in sent {
            republished.sequence().await?;
        }
        Ok(())
    }

    /// A cursor that has seen everything, but for slots that it has seen so far alone.
    fn all_but(&self, seen: impl Iterator<Item = (Slot, u64)>) -> Cursor {
        let seen: BTreeMap<Slot, u64> = seen.collect();
        let mut cursor = Cursor::start();
        for slot in (0..self.store.region().slots).map(Slot) {
            let n = seen.get(&slot).copied().unwrap_or_else(|| self.store.durable_n(slot));
            if n > 0 {
                cursor.advance(Position { slot, n });
            }
        }
        cursor
    }
}

/// Waits for the first of those that were sent. Nothing more is sent for a slot in which another
/// message came first.
async fn settle(
    sent: &mut VecDeque<(Slot, Republished)>,
    lacking: &mut BTreeMap<Slot, (Run, RangeInclusive<u64>)>,
) -> Result<u64, IngestError> {
    let Some((slot, republished)) = sent.pop_front() else { return Ok(0) };
    if republished.sequence().await?.is_some() {
        return Ok(1);
    }
    lacking.remove(&slot);
    Ok(0)
}
