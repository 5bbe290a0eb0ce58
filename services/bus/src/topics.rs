//! What is said of community resources and organisations: decided on a stream of each one's own,
//! as what is said of patients is decided on theirs.

use std::num::NonZeroUsize;
use std::sync::Arc;

use jiff::Timestamp;
use prost::Message as _;
use tokio::sync::OwnedMutexGuard;
use tsunagi_domain::topic::{Known, Step};
use tsunagi_domain::{OrganisationId, Refusal, Stamp, Topic, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::convert::topic_happened;
use tsunagi_proto::v1;

use crate::handler::objections::Objections;
use crate::port::{Bus, Draft, Placed, ReadError, Stored};
use crate::stream::StreamId;
use crate::turns::{Turn, Turns};

/// One of them, as far as it was read.
#[derive(Debug, Default)]
pub struct Loaded {
    known: Known,
    /// How many of its events `known` knows.
    pub version: u64,
    /// Whether there may be events that it does not know.
    pub is_stale: bool,
}

/// Events about one of them that are in order as far as it can be said without its state.
pub(crate) struct Prepared {
    pub(crate) topic: Topic,
    pub(crate) steps: Vec<(Stamp, Step)>,
    pub(crate) drafts: Vec<Draft>,
    pub(crate) expected_version: Option<u64>,
    pub(crate) objections: Objections,
}

/// Those that are in memory.
pub(crate) struct Topics {
    bus: Arc<dyn Bus>,
    turns: Turns<Topic, Loaded>,
}

impl Topics {
    pub(crate) fn new(bus: Arc<dyn Bus>, in_memory_max: NonZeroUsize) -> Self {
        Self { bus, turns: Turns::new(in_memory_max) }
    }

    /// Queues up for `topic`.
    pub(crate) fn turn(&self, topic: Topic) -> Turn<Loaded> {
        self.turns.turn(topic, || Loaded { is_stale: true, ..Loaded::default() })
    }

    /// Reads what `loaded` does not know yet.
    pub(crate) async fn catch_up(
        &self,
        topic: &Topic,
        loaded: &mut OwnedMutexGuard<Loaded>,
    ) -> Result<(), ReadError> {
        let stream = StreamId::of_topic(topic);
        loop {
            let events = self.bus.read(stream, loaded.version).await?;
            if events.is_empty() {
                loaded.is_stale = false;
                return Ok(());
            }
            for stored in &events {
                loaded.fold(stored, &self.bus.region().zone);
            }
        }
    }
}

impl Loaded {
    /// Whether the steps can be taken, one after the other.
    pub(crate) fn decide(&self, steps: &[(Stamp, Step)]) -> Result<(), Refusal> {
        let now = Timestamp::now();
        let mut known = self.known.clone();
        for (stamp, step) in steps {
            known.decide(stamp, step, now)?;
            known.apply(stamp, step);
        }
        Ok(())
    }

    /// Whether somebody can be sent to the resource.
    pub(crate) fn check_sending(
        &self,
        stamp: &Stamp,
        receiver: Option<&OrganisationId>,
    ) -> Result<(), Refusal> {
        self.known.check_sending(stamp, receiver, Timestamp::now())
    }

    /// Goes on with what was just published, if nobody else wrote in between; otherwise it
    /// stays stale.
    pub(crate) fn advance(&mut self, placed: &[Placed], steps: &[(Stamp, Step)]) {
        let (Some(first), Some(last)) = (placed.first(), placed.last()) else { return };
        if first.version != self.version + 1 {
            return;
        }
        for (stamp, step) in steps {
            self.known.apply(stamp, step);
        }
        self.version = last.version;
        self.is_stale = false;
    }

    /// Folds the next event of the stream. What this version cannot read changes nothing here,
    /// and counts all the same.
    fn fold(&mut self, stored: &Stored, zone: &Zone) {
        let read = |stored: &Stored| {
            let event = v1::Event::decode(stored.record.clone()).ok()?;
            let payload = Payload::decode(&event.r#type, &event.payload).ok()?;
            topic_happened(&event, &payload, zone)
        };
        if let Some((stamp, step)) = read(stored) {
            self.known.apply(&stamp, &step);
        }
        self.version = stored.placed.version;
    }
}
