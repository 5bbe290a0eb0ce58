//! Publishes what is stored to the streams that lack it: when an embedded region goes over to
//! NATS, and when a stream has lost its end. A store that is made of the stream finds the same
//! afterwards: each event at its position.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use tsunagi_bus::nats::{Parting, Place, Republished};
use tsunagi_bus::{Bus, Cursor, Delivery, Feed, Position, Run, Slot, Stored, StreamId};

use super::records::repeated_event;
use super::{IngestError, Shared};

/// What a slot's stream lacks, and how the positions follow in it.
pub(super) type Behind = (Slot, Run, RangeInclusive<u64>);

/// What was carried into the streams.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) events: u64,
    /// Where a slot stopped at what cannot be read, if one did.
    pub(super) unreadable: Option<IngestError>,
}

/// The next events of the log that can be read; none if there are no more.
async fn next(feed: &mut Box<dyn Feed>) -> Result<Option<Vec<Stored>>, IngestError> {
    Ok(match feed.next().await? {
        Delivery::Events(events) => Some(events),
        Delivery::CaughtUp => None,
        // The log tells of it.
        Delivery::Unreadable(_) => Some(Vec::new()),
    })
}

impl Shared {
    /// Publishes positions of the log to the very places in the streams that they have. Where
    /// somebody else was faster, it stops: the slot's task looks again. What cannot be read cannot
    /// be published, and nothing else may come to stand in its place: the slot waits there, and the
    /// others go on.
    pub(super) async fn publish_behind(&self, behind: Vec<Behind>) -> Result<Carried, IngestError> {
        let mut lacking: BTreeMap<Slot, (Run, RangeInclusive<u64>)> =
            behind.into_iter().map(|(slot, run, lacks)| (slot, (run, lacks))).collect();
        let before = |(slot, (_, lacks)): (&Slot, &(Run, RangeInclusive<u64>))| {
            (*slot, lacks.start().saturating_sub(1))
        };
        let mut feed = self.store.follow(self.all_but(lacking.iter().map(before)));
        let mut partings = BTreeMap::new();
        for slot in lacking.keys() {
            partings.insert(*slot, self.partings(*slot).await?);
        }
        let mut sent: VecDeque<(Slot, Republished)> = VecDeque::new();
        let mut carried = Carried::default();
        let mut read: BTreeMap<Slot, u64> = lacking
            .iter()
            .map(|(slot, (_, lacks))| (*slot, lacks.start().saturating_sub(1)))
            .collect();
        while let Some(events) = next(&mut feed).await? {
            for stored in events {
                let Position { slot, n } = stored.placed.position;
                let Some((run, lacks)) = lacking.get(&slot) else { continue };
                if !lacks.contains(&n) {
                    continue;
                }
                let before = read.insert(slot, n).unwrap_or_default();
                if before + 1 != n {
                    let error = IngestError::Unreadable { slot: slot.0, n: before + 1 };
                    carried.unreadable.get_or_insert(error);
                    lacking.remove(&slot);
                    continue;
                }
                let Some(sequence) = run.sequence_of(n) else { continue };
                let partings = partings.get(&slot).map_or(&[][..], Vec::as_slice);
                // A note of an event that lay there again, with its position, is that event.
                let (stored, in_front_of) = match self.again_there(&stored, partings).await? {
                    Some((event, parting)) => (event, Some(parting)),
                    None => (stored, None),
                };
                let place = Place { behind: Some(sequence.saturating_sub(1)), in_front_of };
                sent.push_back((slot, self.streams.publish_again(&stored, place).await?));
                if sent.len() >= self.limits.window {
                    carried.events += settle(&mut sent, &mut lacking).await?;
                }
            }
            if lacking.is_empty() {
                break;
            }
        }
        while !sent.is_empty() {
            carried.events += settle(&mut sent, &mut lacking).await?;
        }
        let unread = lacking.iter().find_map(|(slot, (_, lacks))| {
            let n = read.get(slot)? + 1;
            lacks.contains(&n).then_some(IngestError::Unreadable { slot: slot.0, n })
        });
        carried.unreadable = carried.unreadable.or(unread);
        Ok(carried)
    }

    /// Publishes events that a stream may have lost, wherever they come to stand in it, but for those
    /// that cannot be read. The stream's other messages were stored already, or will be.
    pub(super) async fn publish_lost(
        &self,
        slot: Slot,
        lost: RangeInclusive<u64>,
    ) -> Result<(), IngestError> {
        let partings = self.partings(slot).await?;
        let before = [(slot, lost.start().saturating_sub(1))];
        let mut feed = self.store.follow(self.all_but(before.into_iter()));
        let mut sent = VecDeque::new();
        while let Some(events) = next(&mut feed).await? {
            for stored in events {
                let Position { slot: of, n } = stored.placed.position;
                if of != slot || !lost.contains(&n) {
                    continue;
                }
                for (stored, in_front_of) in self.all_that_lay_there(stored, &partings).await? {
                    let place = Place { behind: None, in_front_of };
                    sent.push_back(self.streams.publish_again(&stored, place).await?);
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

    /// What the stream may have lost with the message of a position: the event, in front of what
    /// it is to stand, and if it is the note of another that lay there again, that one.
    async fn all_that_lay_there(
        &self,
        stored: Stored,
        partings: &[Parting],
    ) -> Result<Vec<(Stored, Option<u64>)>, IngestError> {
        let again = self.again_there(&stored, partings).await?;
        let again = again.map(|(event, parting)| (event, Some(parting)));
        let in_front_of = parting_of(partings, &stored);
        // Without a place, a note is of no use to others: they make their own.
        let is_note = matches!(stored.stream, StreamId::Slot(_));
        let itself = (in_front_of.is_some() || !is_note).then_some((stored, in_front_of));
        Ok(itself.into_iter().chain(again).collect())
    }

    /// The event that a note tells of, if it lay there so that other stores put it in front of a
    /// parting, and that parting's sequence.
    async fn again_there(
        &self,
        note: &Stored,
        partings: &[Parting],
    ) -> Result<Option<(Stored, u64)>, IngestError> {
        let Some((stream, event)) = repeated_event(note).filter(|_| !partings.is_empty()) else {
            return Ok(None);
        };
        let Some(stored) = Bus::find(&self.store, stream, event).await? else { return Ok(None) };
        Ok(parting_of(partings, &stored).map(|parting| (stored, parting)))
    }

    async fn partings(&self, slot: Slot) -> Result<Vec<Parting>, IngestError> {
        let Some(source) = self.file.get(slot) else { return Ok(Vec::new()) };
        Ok(self.streams.partings(slot, &source.identity).await?)
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

/// The message in front of which the log has an event, though the stream has it behind that.
fn parting_of(partings: &[Parting], stored: &Stored) -> Option<u64> {
    let n = stored.placed.position.n;
    let parting = partings.iter().rev().find(|parting| parting.lost.contains(&n));
    parting.map(|parting| parting.sequence)
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
