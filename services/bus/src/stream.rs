//! Streams, the slots they belong to, and positions within a slot.

use std::fmt;
use std::str::FromStr;

use tsunagi_domain::{OrganisationId, PatientId, ResourceId, Topic};
use uuid::Uuid;

/// A stream: events that have one order and one version count (I4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// All events of one patient.
    Patient(PatientId),
    /// To whom one identifier belongs; named by a keyed hash of the identifier.
    Identifier([u8; 16]),
    /// What came in and could not be read.
    Quarantine,
    /// What a slot's stream on NATS held besides events: what could not be read there, and what
    /// came a second time.
    Slot(Slot),
    /// All events of one community resource.
    Resource(ResourceId),
    /// What one organisation said of its own work; named by a hash of its id.
    Organisation([u8; 16]),
}

/// A share of the region's streams. Order, positions and proofs are kept for each slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// An event's place in its slot: 1 for the first, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub slot: Slot,
    pub n: u64,
}

impl StreamId {
    pub fn of_organisation(organisation: &OrganisationId) -> Self {
        // Never changed: another one would lose what every organisation said.
        const NAMESPACE: Uuid = Uuid::from_u128(0x6f9d_2c41_53ab_5e08_9b7f_1d3a_c84e_7726);
        Self::Organisation(Uuid::new_v5(&NAMESPACE, organisation.as_str().as_bytes()).into_bytes())
    }

    pub fn of_topic(topic: &Topic) -> Self {
        match topic {
            Topic::Resource(resource) => Self::Resource(*resource),
            Topic::Organisation(organisation) => Self::of_organisation(organisation),
        }
    }

    /// How the stream is named on disk: its kind and its key. Kinds are never renumbered.
    pub fn to_parts(self) -> (u8, [u8; 16]) {
        match self {
            Self::Patient(patient) => (1, patient.uuid().into_bytes()),
            Self::Identifier(hash) => (2, hash),
            Self::Quarantine => (3, [0; 16]),
            Self::Slot(slot) => (4, u128::from(slot.0).to_be_bytes()),
            Self::Resource(resource) => (5, resource.uuid().into_bytes()),
            Self::Organisation(hash) => (6, hash),
        }
    }

    /// The patient whose record it is.
    pub fn patient(self) -> Option<PatientId> {
        match self {
            Self::Patient(patient) => Some(patient),
            Self::Identifier(_)
            | Self::Quarantine
            | Self::Slot(_)
            | Self::Resource(_)
            | Self::Organisation(_) => None,
        }
    }

    /// The community resource that it tells of.
    pub fn resource(self) -> Option<ResourceId> {
        match self {
            Self::Resource(resource) => Some(resource),
            Self::Identifier(_)
            | Self::Quarantine
            | Self::Slot(_)
            | Self::Patient(_)
            | Self::Organisation(_) => None,
        }
    }

    pub fn from_parts(kind: u8, key: [u8; 16]) -> Option<Self> {
        match kind {
            1 => Some(Self::Patient(PatientId::new(Uuid::from_bytes(key)))),
            2 => Some(Self::Identifier(key)),
            3 if key == [0; 16] => Some(Self::Quarantine),
            4 => u16::try_from(u128::from_be_bytes(key)).ok().map(|slot| Self::Slot(Slot(slot))),
            5 => Some(Self::Resource(ResourceId::new(Uuid::from_bytes(key)))),
            6 => Some(Self::Organisation(key)),
            _ => None,
        }
    }

    /// The slot that the stream belongs to, for ever: FNV-1a of its text form, so that NATS'
    /// own `partition` function agrees.
    pub fn slot(&self, slots: u16) -> Slot {
        const OFFSET_BASIS: u32 = 0x811c_9dc5;
        const PRIME: u32 = 0x0100_0193;
        if let Self::Slot(slot) = self {
            return *slot;
        }
        let hash = self
            .to_string()
            .bytes()
            .fold(OFFSET_BASIS, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME));
        let slot = hash % u32::from(slots.max(1));
        Slot(u16::try_from(slot).unwrap_or_default())
    }
}

/// A token that a NATS subject can hold.
impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Patient(patient) => write!(f, "p-{}", patient.uuid().as_simple()),
            Self::Identifier(hash) => write!(f, "idx-{}", Uuid::from_bytes(*hash).as_simple()),
            Self::Quarantine => f.write_str("quarantine"),
            Self::Slot(slot) => write!(f, "slot-{}", slot.0),
            Self::Resource(resource) => write!(f, "r-{}", resource.uuid().as_simple()),
            Self::Organisation(hash) => write!(f, "o-{}", Uuid::from_bytes(*hash).as_simple()),
        }
    }
}

/// The text is not the name of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name is not that of a stream")]
pub struct NoStream;

/// Reads what `Display` writes, and nothing else.
impl FromStr for StreamId {
    type Err = NoStream;

    fn from_str(text: &str) -> Result<Self, NoStream> {
        let uuid = |key: &str| Uuid::try_parse(key).or(Err(NoStream));
        let stream = if let Some(key) = text.strip_prefix("p-") {
            Self::Patient(PatientId::new(uuid(key)?))
        } else if let Some(key) = text.strip_prefix("idx-") {
            Self::Identifier(uuid(key)?.into_bytes())
        } else if let Some(slot) = text.strip_prefix("slot-") {
            Self::Slot(Slot(slot.parse().or(Err(NoStream))?))
        } else if let Some(key) = text.strip_prefix("r-") {
            Self::Resource(ResourceId::new(uuid(key)?))
        } else if let Some(key) = text.strip_prefix("o-") {
            Self::Organisation(uuid(key)?.into_bytes())
        } else if text == "quarantine" {
            Self::Quarantine
        } else {
            return Err(NoStream);
        };
        // One stream has one name: others would be other subjects with an order of their own.
        if stream.to_string() == text { Ok(stream) } else { Err(NoStream) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> [StreamId; 6] {
        let uuid = Uuid::from_u128(0x0198_c9a4_7e3b_7c10_9d4e_3f6a_2b1c_0d5e);
        [
            StreamId::Patient(PatientId::new(uuid)),
            StreamId::Identifier([7; 16]),
            StreamId::Quarantine,
            StreamId::Slot(Slot(5)),
            StreamId::Resource(ResourceId::new(uuid)),
            StreamId::of_organisation(&OrganisationId::parse("9908000022").unwrap()),
        ]
    }

    #[test]
    fn a_stream_is_known_by_its_parts() {
        for stream in streams() {
            let (kind, key) = stream.to_parts();
            assert_eq!(StreamId::from_parts(kind, key), Some(stream));
            assert_eq!(stream.to_string().parse(), Ok(stream));
        }
        for text in ["", "p-", "p-1", "slot-05", "slot-65536", "idx-0", "r-1", "o-1", "Quarantine"]
        {
            assert_eq!(text.parse::<StreamId>(), Err(NoStream), "{text}");
        }
        let with_hyphens = format!("p-{}", Uuid::nil());
        assert_eq!(with_hyphens.parse::<StreamId>(), Err(NoStream));
        assert_eq!(StreamId::from_parts(0, [0; 16]), None);
        assert_eq!(StreamId::from_parts(3, [1; 16]), None);
    }

    #[test]
    fn the_slot_of_a_stream_never_changes() {
        // Golden: another slot would lose the patient in every existing region.
        let slots = streams().map(|stream| stream.slot(64).0);
        assert_eq!(slots, [27, 63, 17, 5, 29, 31]);
        assert_eq!(streams().map(|stream| stream.slot(1).0), [0, 0, 0, 5, 0, 0]);
    }
}
