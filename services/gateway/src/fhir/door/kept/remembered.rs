//! What is kept of patients' resources, found again for those who ask for them.
//!
//! Of most patients of a page nothing is kept, or nothing that was ever corrected: then their
//! events are looked at once, and decided on by nobody. Only where corrections or merges say what
//! holds is the record put together. What is remembered is where things are, and not what they say.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;
use tsunagi_bus::patients::Loaded;
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Bus, Stored, StreamId};
use tsunagi_domain::{PatientId, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use uuid::Uuid;

use super::group;
use crate::received::{Received, Words, last_of_each};
use crate::recent::Recent;

/// The patients who were asked for lately: of each, only what is new is read.
pub(in super::super) struct Remembered(Recent<Arc<OfPatient>>);

/// What is kept of one patient's resources.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct OfPatient {
    /// How many events of the patient's own record were looked at.
    version: u64,
    /// What was told in the own record, in the order of recording.
    told: Words,
    /// Whether any event was marked as entered in error.
    has_errors: bool,
    /// Whether another record was ever merged into this one.
    is_merged: bool,
    /// What was told here and in records that are part of it, and not in error: if the record had
    /// to be asked.
    by_record: Option<Vec<Received>>,
}

impl Remembered {
    pub(in super::super) fn new(patients_max: usize) -> Self {
        Self(Recent::new(patients_max))
    }

    /// What is kept of a patient's resources now.
    pub(in super::super) async fn of(
        &self,
        bus: &dyn Bus,
        patient: PatientId,
    ) -> Result<Arc<OfPatient>, ReadError> {
        let before = self.0.get(patient);
        let Some(now) = before.read_on(bus, patient).await? else { return Ok(before) };
        let now = Arc::new(now);
        self.0.put(patient, Arc::clone(&now));
        Ok(now)
    }
}

impl OfPatient {
    pub(in super::super) fn is_empty(&self) -> bool {
        self.holding().next().is_none()
    }

    /// What each system sent last of a resource, as it is kept; the newest first.
    pub(in super::super) async fn resource(
        &self,
        bus: &dyn Bus,
        patient: PatientId,
        (kind, id): (&str, Uuid),
    ) -> Result<Vec<v1::ResourceReceived>, ReadError> {
        let words: Vec<_> = self.holding().filter(|word| word.is_of(patient, kind, id)).collect();
        let mut kept = Vec::new();
        for word in last_of_each(words.iter().copied()).into_iter().rev() {
            let Some(mut message) = read(bus, word).await? else { continue };
            let too_large = std::mem::take(&mut message.too_large);
            for (of, too_large) in by_group(&too_large) {
                let theirs = words.iter().copied().filter(|other| other.is_from_where(word));
                let before = kept_before(theirs, &too_large);
                let Some(before) = before.map(|before| read(bus, before)) else { continue };
                let before = before.await?.unwrap_or_default().elements;
                message.elements.extend(again(before, of, &too_large));
            }
            kept.push(message);
        }
        Ok(kept)
    }

    fn holding(&self) -> impl Iterator<Item = &Received> {
        let told = self.by_record.is_none().then(|| self.told.holding());
        self.by_record.iter().flatten().chain(told.into_iter().flatten())
    }

    /// The same with the events that were not looked at yet. None if there are none.
    async fn read_on(&self, bus: &dyn Bus, patient: PatientId) -> Result<Option<Self>, ReadError> {
        let (stream, zone) = (StreamId::Patient(patient), &bus.region().zone);
        let mut events = bus.read(stream, self.version).await?;
        if events.is_empty() {
            return Ok(None);
        }
        let (mut now, mut is_news) = (self.clone(), false);
        while !events.is_empty() {
            for stored in &events {
                is_news |= now.add(stored, zone);
            }
            events = bus.read(stream, now.version).await?;
        }
        let is_for_record = now.is_merged || now.has_errors && !now.told.is_empty();
        if is_news && is_for_record {
            now.by_record = Some(by_record(bus, patient).await?);
        }
        Ok(Some(now))
    }

    /// Takes in the next event. True if it may change what holds.
    fn add(&mut self, stored: &Stored, zone: &Zone) -> bool {
        self.version = stored.placed.version;
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { return false };
        // Which message it is: of most, no more is looked at.
        match Payload::decode(&event.r#type, &[]) {
            Ok(Payload::ResourceReceived(_)) => {}
            Ok(Payload::EnteredInError(_)) => self.has_errors = true,
            Ok(Payload::PatientsMerged(_) | Payload::PatientsUnmerged(_)) => self.is_merged = true,
            Ok(_) | Err(_) => return false,
        }
        if let Ok(payload) = Payload::decode(&event.r#type, &event.payload) {
            self.told.add((stored, true), &event, &payload, zone);
        }
        true
    }
}

/// The message by which something is kept.
async fn read(bus: &dyn Bus, word: &Received) -> Result<Option<v1::ResourceReceived>, ReadError> {
    let stored = bus.find(StreamId::Patient(word.told_in), word.event).await?;
    let event = stored.and_then(|stored| v1::Event::decode(stored.record).ok());
    let payload = event.and_then(|event| Payload::decode(&event.r#type, &event.payload).ok());
    Ok(match payload {
        Some(Payload::ResourceReceived(message)) => Some(message),
        Some(_) | None => None,
    })
}

/// What there was no room for, by what says one thing.
fn by_group(too_large: &[v1::ElementTooLarge]) -> BTreeMap<&str, Vec<&v1::ElementTooLarge>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for element in too_large {
        groups.entry(group(&element.name)).or_default().push(element);
    }
    groups
}

/// Where elements for which there was no room were kept last: all of them, since half of what says
/// one thing would say something else.
fn kept_before<'r>(
    theirs: impl DoubleEndedIterator<Item = &'r Received>,
    too_large: &[&v1::ElementTooLarge],
) -> Option<&'r Received> {
    let has = |word: &Received, one: &v1::ElementTooLarge| {
        Uuid::try_parse(&one.hash).is_ok_and(|hash| word.kept.contains(&hash))
    };
    let mut theirs = theirs.rev();
    theirs.find(|word| too_large.iter().all(|one| has(word, one)))
}

/// The elements of a group as they were kept, beside what is said here in their place now.
fn again(
    kept: Vec<v1::ReceivedElement>,
    of: &str,
    too_large: &[&v1::ElementTooLarge],
) -> impl Iterator<Item = v1::ReceivedElement> {
    let kept = kept.into_iter().filter(move |element| group(&element.name) == of);
    kept.filter_map(|element| {
        let now = too_large.iter().find(|one| one.name == element.name)?;
        Some(v1::ReceivedElement { shown: now.shown.clone(), ..element })
    })
}

/// What was told in a record and in those that are part of it, and not in error.
async fn by_record(bus: &dyn Bus, patient: PatientId) -> Result<Vec<Received>, ReadError> {
    let (mut loaded, mut told) = (Loaded::default(), Words::default());
    let (zone, own) = (&bus.region().zone, StreamId::Patient(patient));
    let mut seen = |stored: &Stored| {
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { return };
        if let Ok(payload) = Payload::decode(&event.r#type, &event.payload) {
            told.add((stored, stored.stream == own), &event, &payload, zone);
        }
    };
    loaded.catch_up_seeing(bus, patient, &mut seen).await?;
    let holds = |word: &&Received| loaded.record.outcome(word.event).error.is_none();
    Ok(told.holding().filter(holds).cloned().collect())
}
