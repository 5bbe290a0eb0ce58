//! The state of patients that commands are decided on: kept in memory for those that were
//! written about lately, read from the log for the others.

use std::num::NonZeroUsize;
use std::sync::Arc;

use prost::Message as _;
use tokio::sync::OwnedMutexGuard;
use tsunagi_domain::{Event, EventId, Fact, PatientId, Record, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::convert::happened;
use tsunagi_proto::v1;

use crate::port::{Bus, ReadError, Stored};
use crate::stream::StreamId;
use crate::turns::{Turn, Turns};

/// So many records are merged one into the next: a merge that makes such a chain longer is refused.
/// Of records that are merged into one and the same, there may be any number.
pub const MERGES_MAX: usize = 16;
/// So many are read: two processes may each make a chain longer without knowing of the other.
pub const MERGES_READ_MAX: usize = 4 * MERGES_MAX;

/// One patient's record, as far as it was read.
#[derive(Debug, Default)]
pub struct Loaded {
    pub record: Record,
    /// How many of the patient's events `record` knows.
    pub version: u64,
    /// How many records were merged one into the next, and then into this one.
    pub depth: usize,
    /// Whether there may be events that it does not know.
    pub is_stale: bool,
}

/// Sees the events that a record is read from.
pub type Seen<'a> = &'a mut (dyn FnMut(&Stored) + Send);

/// How far a record is read.
#[derive(Debug, Clone, Copy)]
struct End {
    /// To the event by which this merge retired it, if one did.
    merge: Option<EventId>,
    /// So many merges deep.
    depth: usize,
}

/// The patients in memory. Deciding on one goes one command after the other in this process;
/// that nobody else wrote meanwhile is what the expected version ensures.
pub struct Patients {
    bus: Arc<dyn Bus>,
    turns: Turns<PatientId, Loaded>,
}

impl Patients {
    pub fn new(bus: Arc<dyn Bus>, in_memory_max: NonZeroUsize) -> Self {
        Self { bus, turns: Turns::new(in_memory_max) }
    }

    /// Queues up for `patient`.
    pub fn turn(&self, patient: PatientId) -> Turn<Loaded> {
        self.turns.turn(patient, || Loaded { is_stale: true, ..Loaded::default() })
    }

    /// Reads what `loaded` does not know yet.
    pub async fn catch_up(&self, patient: PatientId, loaded: &mut Loaded) -> Result<(), ReadError> {
        loaded.catch_up(self.bus.as_ref(), patient).await
    }

    /// The patient's record as it is when its turn comes. Nobody else in this process has it until
    /// it is dropped.
    pub(crate) async fn now(
        &self,
        patient: PatientId,
    ) -> Result<OwnedMutexGuard<Loaded>, ReadError> {
        let mut loaded = self.turn(patient).come().await;
        self.catch_up(patient, &mut loaded).await?;
        Ok(loaded)
    }
}

impl Loaded {
    /// Reads the events that the record does not know yet.
    pub async fn catch_up(&mut self, bus: &dyn Bus, patient: PatientId) -> Result<(), ReadError> {
        self.catch_up_seeing(bus, patient, &mut |_| ()).await
    }

    /// Reads them, and shows each to `seen`: also those of the records that were merged into this
    /// one.
    pub async fn catch_up_seeing(
        &mut self,
        bus: &dyn Bus,
        patient: PatientId,
        seen: Seen<'_>,
    ) -> Result<(), ReadError> {
        let end = End { merge: None, depth: MERGES_READ_MAX };
        self.catch_up_to(bus, patient, end, seen).await?;
        self.is_stale = false;
        Ok(())
    }

    /// Reads on to the end. What was merged into the record is read with it.
    async fn catch_up_to(
        &mut self,
        bus: &dyn Bus,
        patient: PatientId,
        end: End,
        seen: Seen<'_>,
    ) -> Result<(), ReadError> {
        let zone = &bus.region().zone;
        self.absorb(bus, end.depth, seen).await?;
        loop {
            let events = bus.read(StreamId::Patient(patient), self.version).await?;
            if events.is_empty() {
                // Half a record is none: where slots are taken in one beside the other, the end
                // of this one may come later than the merge.
                let is_whole = end.merge.is_none();
                let behind = "a record that was merged into another is not here to its end yet";
                return if is_whole { Ok(()) } else { Err(ReadError::Log(behind.to_owned())) };
            }
            let read: Vec<_> = events.iter().map(|stored| (stored, read(stored, zone))).collect();
            // What is merged is taken over as it stands in the stream, before what comes behind.
            for run in read.chunk_by(|(_, event), _| !event.as_ref().is_some_and(is_of_merge)) {
                self.fold(run);
                for (stored, _) in run {
                    seen(stored);
                }
                self.absorb(bus, end.depth, seen).await?;
                if end.merge.is_some() && self.record.patient().retired_by() == end.merge {
                    return Ok(());
                }
            }
        }
    }

    /// Takes over the records that were merged into this one.
    async fn absorb(
        &mut self,
        bus: &dyn Bus,
        depth: usize,
        seen: Seen<'_>,
    ) -> Result<(), ReadError> {
        for (retired, merge) in self.record.wanted() {
            let too_deep =
                || ReadError::Log("too many records are merged one into the next".to_owned());
            let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
            let mut other = Self::default();
            let end = End { merge: Some(merge), depth };
            Box::pin(other.catch_up_to(bus, retired, end, seen)).await?;
            self.depth = self.depth.max(other.depth + 1);
            self.record.absorb(retired, &other.record);
        }
        Ok(())
    }

    /// Folds the next events of the stream into the record. What this version cannot read changes
    /// nothing here, and counts all the same.
    fn fold(&mut self, run: &[(&Stored, Option<Event>)]) {
        let read = run.iter().filter_map(|(stored, event)| {
            event.as_ref().map(|event| (event, stored.placed.recorded_at))
        });
        self.record.apply_page(read);
        if let Some((last, _)) = run.last() {
            self.version = last.placed.version;
        }
    }
}

/// None if this version cannot read it.
fn read(stored: &Stored, zone: &Zone) -> Option<Event> {
    let event = v1::Event::decode(stored.record.clone()).ok()?;
    let payload = Payload::decode(&event.r#type, &event.payload).ok()?;
    happened(&event, &payload, zone)
}

fn is_of_merge(event: &Event) -> bool {
    matches!(&event.fact, Fact::Identity(event) if event.is_of_merge())
}
