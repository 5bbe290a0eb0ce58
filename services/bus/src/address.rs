//! Addresses that must not leave the record (DV 住所秘匿, or entered in error): how the events of a
//! person say so, and what is sent in their place.
//!
//! What must stay true: once any event of a person says that the address is confidential, no
//! address of the person is given out but one that was openly said afterwards, by when it was said
//! and by when it was told, and by somebody who could know: in the same record, or in the record
//! that survived, after they were merged. A person's events are those of all records that are merged into one
//! another, whichever of them is asked for; and all that are stored, also beyond the part that is
//! read. So it is decided anew each time: an answer that was kept would go stale. What was said to be
//! confidential while two were merged is so of both when they are taken apart, since nobody knows
//! whose it is. And no address is given out that was entered in error, or moved to whose it is: it
//! is somebody else's.

mod person;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use lru::LruCache;
use prost::Message as _;
use tsunagi_domain::{CareTime, EventId, PatientId, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use crate::port::{Bus, Placed, ReadError, Stored};
use crate::stream::StreamId;

pub use person::Person;

/// That a record says of its address that it is confidential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Confidential {
    /// As of when it says so.
    said_at: Timestamp,
    told_at: Timestamp,
    version: u64,
}

impl Confidential {
    /// What has to be later than both.
    fn or_later(self, other: Self) -> Self {
        Self {
            said_at: self.said_at.max(other.said_at),
            told_at: self.told_at.max(other.told_at),
            version: self.version.max(other.version),
        }
    }
}

/// A merge by which another record became part of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Joined {
    merge: EventId,
    version: u64,
}

/// That this record is part of another, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Membership {
    survivor: PatientId,
    merge: EventId,
    since: Timestamp,
    version: u64,
    /// The last of all moments if it still is.
    until: Timestamp,
}

/// What one record says of its address being confidential and of errors, and whose records are its
/// person's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word {
    version: u64,
    /// The last that it says of that.
    confidential: Option<Confidential>,
    /// Into which record it is merged.
    survivor: Option<Membership>,
    /// Into which records it was merged and is not any more, with the versions of the events that
    /// gave it back.
    former: Vec<Membership>,
    /// Which records are merged into it.
    merged: BTreeMap<PatientId, Joined>,
    /// What it says of its address while others are part of it, by the merges that made them so.
    meanwhile: BTreeMap<EventId, Vec<Confidential>>,
    /// What is said to be an error, by which events.
    errors: BTreeMap<EventId, Vec<EventId>>,
}

impl Word {
    /// The merges and ends of merges by which it is the record of a person, with their versions.
    pub fn ties(&self) -> BTreeSet<(PatientId, u64)> {
        let merged = self.merged.iter().map(|(record, joined)| (*record, joined.version));
        merged.chain(self.above().map(|above| (above.survivor, above.version))).collect()
    }

    /// The records that belong to the same person, as this one says.
    fn others(&self) -> impl Iterator<Item = PatientId> {
        let survivor = self.survivor.map(|into| into.survivor);
        self.merged.keys().copied().chain(survivor)
    }

    /// The records of which it is part or was.
    fn above(&self) -> impl Iterator<Item = &Membership> {
        self.former.iter().chain(&self.survivor)
    }

    /// Takes in the next event of the record.
    pub fn add(&mut self, stored: &Stored, zone: &Zone) {
        self.version = stored.placed.version;
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { return };
        let says_anything = ["care.patient.", "care.record.entered_in_error."];
        if !says_anything.iter().any(|of| event.r#type.starts_with(of)) {
            return;
        }
        if let Ok(payload) = Payload::decode(&event.r#type, &event.payload) {
            self.add_read(stored, &event, &payload, zone);
        }
    }

    /// The same of an event that was read. True if it says anything of this.
    pub fn add_read(
        &mut self,
        stored: &Stored,
        event: &v1::Event,
        payload: &Payload,
        zone: &Zone,
    ) -> bool {
        let placed = stored.placed;
        self.version = placed.version;
        if is_confidential(event, payload) {
            self.say_confidential(placed, said_at(event, placed, zone));
        } else if let Payload::EnteredInError(error) = payload {
            if let Ok(of) = EventId::parse(&error.corrects_event_id) {
                self.errors.entry(of).or_default().push(stored.event);
            }
        } else if let Payload::PatientsMerged(merge) = payload {
            let joined = Joined { merge: stored.event, version: placed.version };
            let retired = PatientId::parse(&merge.retired_patient_id).ok();
            self.merged.extend(retired.map(|retired| (retired, joined)));
        } else if let Payload::PatientsUnmerged(merge) = payload {
            let retired = PatientId::parse(&merge.retired_patient_id).ok();
            self.merged.retain(|merged, _| Some(*merged) != retired);
        } else if let Payload::PatientRetired(retired) = payload {
            self.survivor = membership(retired, placed);
        } else if let Payload::PatientRestored(_) = payload {
            let (until, version) = (placed.recorded_at, placed.version);
            let former = self.survivor.take();
            self.former.extend(former.map(|of| Membership { version, until, ..of }));
        } else {
            return false;
        }
        true
    }

    fn say_confidential(&mut self, placed: Placed, said_at: Timestamp) {
        let Placed { recorded_at: told_at, version, .. } = placed;
        let said = Confidential { said_at, told_at, version };
        self.confidential = Some(self.confidential.map_or(said, |before| before.or_later(said)));
        for joined in self.merged.values() {
            self.meanwhile.entry(joined.merge).or_default().push(said);
        }
    }
}

fn membership(retired: &v1::PatientRetirement, placed: Placed) -> Option<Membership> {
    Some(Membership {
        survivor: PatientId::parse(&retired.survivor_patient_id).ok()?,
        merge: EventId::parse(&retired.merge_event_id).ok()?,
        since: placed.recorded_at,
        version: placed.version,
        until: Timestamp::MAX,
    })
}

/// As of when an event says what it says.
fn said_at(event: &v1::Event, placed: Placed, zone: &Zone) -> Timestamp {
    let said_at = CareTime::parse(&event.occurred_at, zone);
    said_at.map_or(placed.recorded_at, |time| time.earliest())
}

/// The words of records that were asked for lately: of each, only what is new is read. Clones share
/// them.
#[derive(Clone)]
pub struct Words(Arc<Mutex<LruCache<PatientId, Word>>>);

impl Words {
    /// Keeps those of so many records.
    pub fn new(kept_max: usize) -> Self {
        let kept_max = NonZeroUsize::new(kept_max).unwrap_or(NonZeroUsize::MIN);
        Self(Arc::new(Mutex::new(LruCache::new(kept_max))))
    }

    /// Whether any record of the person says that the address is confidential, or ever said so.
    pub async fn is_protected(&self, bus: &dyn Bus, patient: PatientId) -> Result<bool, ReadError> {
        Ok(self.person(bus, patient).await?.is_protected())
    }

    /// When the record was taken apart from another in which it was said meanwhile that the address
    /// is confidential: the last time that it was, if ever.
    pub async fn confidential_since_apart(
        &self,
        bus: &dyn Bus,
        patient: PatientId,
    ) -> Result<Option<Timestamp>, ReadError> {
        let person = self.person(bus, patient).await?;
        Ok(person.taken_along(patient).map(|taken| taken.told_at))
    }

    async fn person(&self, bus: &dyn Bus, patient: PatientId) -> Result<Person, ReadError> {
        let mut person = Person::default();
        person.add(patient, self.word(bus, patient).await?);
        while let Some(other) = person.wanted() {
            person.add(other, self.word(bus, other).await?);
        }
        Ok(person)
    }

    async fn word(&self, bus: &dyn Bus, patient: PatientId) -> Result<Word, ReadError> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut word = kept().get(&patient).cloned().unwrap_or_default();
        loop {
            let events = bus.read(StreamId::Patient(patient), word.version).await?;
            if events.is_empty() {
                break;
            }
            for stored in &events {
                word.add(stored, &bus.region().zone);
            }
        }
        kept().put(patient, word.clone());
        Ok(word)
    }
}

/// Whether an event says that the patient's address is confidential: in the address, or by its
/// label.
pub fn is_confidential(event: &v1::Event, payload: &Payload) -> bool {
    let Some(demographics) = demographics(payload) else { return false };
    let address = demographics.address.as_ref();
    let label = v1::Sensitivity::ConfidentialAddress.into();
    address.is_some_and(|address| address.confidential) || event.sensitivity.contains(&label)
}

/// What a payload says of who the patient is.
fn demographics(payload: &Payload) -> Option<&v1::Demographics> {
    if let Payload::PatientRegistered(message) = payload {
        message.demographics.as_ref()
    } else if let Payload::DemographicsUpdated(message) = payload {
        message.demographics.as_ref()
    } else {
        None
    }
}

/// Whether a payload says where the patient lives.
pub fn has_address(payload: &Payload) -> bool {
    demographics(payload).is_some_and(|said| said.address.is_some())
}

/// The bytes of a payload with its address withheld. None if there is no address in it.
pub fn without_address(mut payload: Payload) -> Option<Vec<u8>> {
    let said = if let Payload::PatientRegistered(message) = &mut payload {
        message.demographics.as_mut()
    } else if let Payload::DemographicsUpdated(message) = &mut payload {
        message.demographics.as_mut()
    } else {
        None
    };
    withhold(said?.address.as_mut()?);
    Some(payload.encode_to_vec())
}

/// What is left of an address that must not leave the record: that it is confidential.
pub fn withheld() -> v1::Address {
    v1::Address { confidential: true, ..v1::Address::default() }
}

/// Leaves that of an address.
pub fn withhold(address: &mut v1::Address) {
    *address = withheld();
}

/// The event as it is sent: as it came, unless an address in it must not leave the record.
pub(crate) async fn sent(
    bus: &dyn Bus,
    words: &Words,
    stored: &Stored,
    event: v1::Event,
) -> Result<v1::Event, ReadError> {
    let StreamId::Patient(patient) = stored.stream else { return Ok(event) };
    let Ok(payload) = Payload::decode(&event.r#type, &event.payload) else { return Ok(event) };
    if !has_address(&payload) {
        return Ok(event);
    }
    let said_at = said_at(&event, stored.placed, &bus.region().zone);
    if !is_confidential(&event, &payload) {
        let is_withheld = match words.person(bus, patient).await {
            Ok(person) => {
                person.is_in_error(stored.event)
                    || person.withholds(patient, stored.placed, said_at)
            }
            // What cannot be read may say so.
            Err(ReadError::Log(told)) => {
                tracing::error!(told, "an address is withheld, as its patient's record is damaged");
                true
            }
            Err(error @ ReadError::Away { .. }) => return Err(error),
        };
        if !is_withheld {
            return Ok(event);
        }
    }
    Ok(v1::Event { payload: without_address(payload).unwrap_or_default(), ..event })
}
