//! Addresses that must not leave the record (DV 住所秘匿): how the events of a person say so, and
//! what is sent in their place.
//!
//! What must stay true: once any event of a person says that the address is confidential, no
//! address of the person is given out but one that was openly said afterwards, by when it was said
//! and by when it was told, and by somebody who could know: in the same record, or in the record
//! that survived, after they were merged. A person's events are those of all records that are merged into one
//! another, whichever of them is asked for; and all that are stored, also beyond the part that is
//! read. So it is decided anew each time: an answer that was kept would go stale.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use lru::LruCache;
use prost::Message as _;
use tsunagi_domain::{CareTime, PatientId, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use crate::port::{Bus, Placed, ReadError, Stored};
use crate::stream::StreamId;

/// Records of one person that are looked at. Of a person who has more, no address is given out.
const RECORDS_MAX: usize = 256;

/// The last that one record says of the address being confidential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Confidential {
    /// As of when it says so.
    said_at: Timestamp,
    told_at: Timestamp,
    version: u64,
}

/// What one record says of its address being confidential, and whose records are its person's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word {
    version: u64,
    confidential: Option<Confidential>,
    survivor: Option<PatientId>,
    /// With the versions of the events that merged them.
    merged: BTreeMap<PatientId, u64>,
}

impl Word {
    /// The records that belong to the same person, as this one says.
    pub fn others(&self) -> BTreeSet<PatientId> {
        self.merged.keys().copied().chain(self.survivor).collect()
    }

    /// Takes in the next event of the record.
    pub fn add(&mut self, stored: &Stored, zone: &Zone) {
        self.version = stored.placed.version;
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { return };
        if !event.r#type.starts_with("care.patient.") {
            return;
        }
        if let Ok(mut payload) = Payload::decode(&event.r#type, &event.payload) {
            self.add_read(stored.placed, &event, &mut payload, zone);
        }
    }

    /// The same of an event that was read. True if it says anything of this.
    pub fn add_read(
        &mut self,
        placed: Placed,
        event: &v1::Event,
        payload: &mut Payload,
        zone: &Zone,
    ) -> bool {
        self.version = placed.version;
        if is_confidential(event, payload) {
            self.say_confidential(placed, said_at(event, placed, zone));
        } else if let Payload::PatientsMerged(merge) = payload {
            let retired = PatientId::parse(&merge.retired_patient_id).ok();
            self.merged.extend(retired.map(|retired| (retired, placed.version)));
        } else if let Payload::PatientsUnmerged(merge) = payload {
            let retired = PatientId::parse(&merge.retired_patient_id).ok();
            self.merged.retain(|merged, _| Some(*merged) != retired);
        } else if let Payload::PatientRetired(retired) = payload {
            self.survivor = PatientId::parse(&retired.survivor_patient_id).ok();
        } else if let Payload::PatientRestored(_) = payload {
            self.survivor = None;
        } else {
            return false;
        }
        true
    }

    fn say_confidential(&mut self, placed: Placed, said_at: Timestamp) {
        let earlier = self.confidential.map_or(said_at, |earlier| earlier.said_at);
        self.confidential = Some(Confidential {
            said_at: said_at.max(earlier),
            told_at: placed.recorded_at,
            version: placed.version,
        });
    }
}

/// As of when an event says what it says.
fn said_at(event: &v1::Event, placed: Placed, zone: &Zone) -> Timestamp {
    let said_at = CareTime::parse(&event.occurred_at, zone);
    said_at.map_or(placed.recorded_at, |time| time.earliest())
}

/// What all records of one person say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    words: BTreeMap<PatientId, Word>,
}

impl Person {
    /// The next record whose word is needed.
    pub fn wanted(&self) -> Option<PatientId> {
        if self.words.len() >= RECORDS_MAX {
            return None;
        }
        let mut named = self.words.values().flat_map(Word::others);
        named.find(|patient| !self.words.contains_key(patient))
    }

    pub fn add(&mut self, patient: PatientId, word: Word) {
        self.words.insert(patient, word);
    }

    /// Forgets the words of all records but one.
    pub fn keep_only(&mut self, one: Option<PatientId>) {
        self.words.retain(|patient, _| Some(*patient) == one);
    }

    /// Whether an open address is withheld that was told in the record of `told_in`, as of
    /// `said_at`.
    pub fn withholds(&self, told_in: PatientId, placed: Placed, said_at: Timestamp) -> bool {
        self.words.len() >= RECORDS_MAX
            || self.words.iter().any(|(patient, word)| {
                word.confidential.is_some_and(|confidential| {
                    let is_told_after = if *patient == told_in {
                        placed.version > confidential.version
                    } else {
                        let joined = self.joined(told_in, *patient);
                        joined.is_some_and(|joined| placed.version > joined)
                            && placed.recorded_at > confidential.told_at
                    };
                    !is_told_after || said_at < confidential.said_at
                })
            })
    }

    /// By which of a record's events another became part of it.
    fn joined(&self, record: PatientId, other: PatientId) -> Option<u64> {
        let mut part = other;
        for _ in 0..self.words.len() {
            let survivor = self.words.get(&part)?.survivor?;
            if survivor == record {
                return self.words.get(&record)?.merged.get(&part).copied();
            }
            part = survivor;
        }
        None
    }
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
        let person = self.person(bus, patient).await?;
        Ok(person.words.len() >= RECORDS_MAX
            || person.words.values().any(|word| word.confidential.is_some()))
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
pub fn is_confidential(event: &v1::Event, payload: &mut Payload) -> bool {
    let Some(demographics) = demographics(payload) else { return false };
    let address = demographics.address.as_ref();
    let label = v1::Sensitivity::ConfidentialAddress.into();
    address.is_some_and(|address| address.confidential) || event.sensitivity.contains(&label)
}

/// What a payload says of who the patient is.
pub fn demographics(payload: &mut Payload) -> Option<&mut v1::Demographics> {
    if let Payload::PatientRegistered(message) = payload {
        message.demographics.as_mut()
    } else if let Payload::DemographicsUpdated(message) = payload {
        message.demographics.as_mut()
    } else {
        None
    }
}

/// The bytes of a payload with its address withheld. None if there is no address in it.
pub fn without_address(mut payload: Payload) -> Option<Vec<u8>> {
    withhold(demographics(&mut payload)?.address.as_mut()?);
    Some(payload.encode_to_vec())
}

/// Leaves of an address only that it is confidential.
pub fn withhold(address: &mut v1::Address) {
    *address = v1::Address { confidential: true, ..v1::Address::default() };
}

/// The event as it is sent: as it came, unless an address in it must not leave the record.
pub(crate) async fn sent(
    bus: &dyn Bus,
    words: &Words,
    stored: &Stored,
    event: v1::Event,
) -> Result<v1::Event, ReadError> {
    let StreamId::Patient(patient) = stored.stream else { return Ok(event) };
    let Ok(mut payload) = Payload::decode(&event.r#type, &event.payload) else { return Ok(event) };
    if demographics(&mut payload).is_none_or(|said| said.address.is_none()) {
        return Ok(event);
    }
    let said_at = said_at(&event, stored.placed, &bus.region().zone);
    let is_withheld = is_confidential(&event, &mut payload)
        || words.person(bus, patient).await?.withholds(patient, stored.placed, said_at);
    if !is_withheld {
        return Ok(event);
    }
    Ok(v1::Event { payload: without_address(payload).unwrap_or_default(), ..event })
}
