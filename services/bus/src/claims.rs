//! To whom an identifier belongs. Each identifier has a stream of its own, whose first writer
//! wins: so two first messages about one person cannot make two patients.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use tsunagi_domain::identity::Identifier;
use tsunagi_domain::{Actor, EventId, PatientId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use uuid::Uuid;

use crate::patients::{Loaded, MERGES_READ_MAX};
use crate::port::{Bus, Draft, Expected, Publication, PublishError, ReadError, Stored};
use crate::stream::StreamId;

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is the patient's now, and was nobody's before.
    Taken,
    /// It was the patient's already.
    Held,
    /// It is another patient's.
    Others(PatientId),
}

/// For whom identifiers are claimed, who says so, and when: copied onto the claims.
#[derive(Debug, Clone)]
pub struct Occasion {
    pub patient: PatientId,
    pub actor: Actor,
    pub occurred_at: String,
}

pub struct Claims {
    bus: Arc<dyn Bus>,
    /// How long a claim holds for a registration that has not come.
    wait: SignedDuration,
}

/// Claims on one identifier that may collide before giving up.
const ATTEMPTS_MAX: usize = 8;

impl Claims {
    pub fn new(bus: Arc<dyn Bus>, wait_ms: u32) -> Self {
        Self { bus, wait: SignedDuration::from_millis(wait_ms.into()) }
    }

    /// The patient that the identifier belongs to, by a claim and by the patient's own record.
    pub async fn owner(&self, identifier: &Identifier) -> Result<Option<PatientId>, ReadError> {
        match self.record_of(identifier).await? {
            Some(record) => self.survivor(record).await.map(Some),
            None => Ok(None),
        }
    }

    /// The record that has the identifier, whether or not it was merged into another.
    pub async fn record_of(&self, identifier: &Identifier) -> Result<Option<PatientId>, ReadError> {
        let stream = self.bus.region().identifier_stream(identifier);
        match self.state(stream).await?.claim {
            Some((owner, _)) if self.is_registered(owner, identifier).await? => Ok(Some(owner)),
            Some(_) | None => Ok(None),
        }
    }

    /// The record that a record was merged into, and that into which this one was; or itself.
    pub async fn survivor(&self, patient: PatientId) -> Result<PatientId, ReadError> {
        let mut survivor = patient;
        for _ in 0..MERGES_READ_MAX {
            let mut loaded = Loaded::default();
            loaded.catch_up(self.bus.as_ref(), survivor).await?;
            match loaded.record.patient().retired_into() {
                Some(into) => survivor = into,
                None => break,
            }
        }
        Ok(survivor)
    }

    /// Makes the identifier the patient's, unless it is another's.
    pub async fn claim(
        &self,
        identifier: &Identifier,
        occasion: &Occasion,
    ) -> Result<Claim, PublishError> {
        let stream = self.bus.region().identifier_stream(identifier);
        let mut version = 0;
        for _ in 0..ATTEMPTS_MAX {
            let patient_id = occasion.patient.to_string();
            let payload = Payload::IdentifierClaimed(v1::IdentifierClaimed { patient_id });
            match self.write(stream, version, &payload, occasion).await {
                Ok(()) => return Ok(Claim::Taken),
                Err(PublishError::Conflict { .. } | PublishError::Repeated { .. }) => {}
                Err(error) => return Err(error),
            }
            let state = self.state(stream).await.map_err(|error| unknown(&error))?;
            match state.claim {
                Some((owner, _)) if owner == occasion.patient => return Ok(Claim::Held),
                Some((owner, since)) if self.holds(owner, since, identifier).await? => {
                    let survivor = self.survivor(owner).await.map_err(|error| unknown(&error))?;
                    if survivor == occasion.patient {
                        return Ok(Claim::Held);
                    }
                    return Ok(Claim::Others(survivor));
                }
                Some(_) | None => version = state.version,
            }
        }
        Err(PublishError::Full)
    }

    /// Gives back what `claim` took for a registration that was then refused.
    pub async fn release(
        &self,
        identifier: &Identifier,
        occasion: &Occasion,
    ) -> Result<(), PublishError> {
        let stream = self.bus.region().identifier_stream(identifier);
        let state = self.state(stream).await.map_err(|error| unknown(&error))?;
        let Some((owner, _)) = state.claim else { return Ok(()) };
        // It may have been claimed in a record that was merged into this one since.
        let is_theirs = owner == occasion.patient
            || self.survivor(owner).await.map_err(|error| unknown(&error))? == occasion.patient;
        if is_theirs { self.give_back(stream, &state, occasion).await } else { Ok(()) }
    }

    /// Gives back what the patient's own record claimed, and none that was merged into it.
    pub async fn release_own(
        &self,
        identifier: &Identifier,
        occasion: &Occasion,
    ) -> Result<(), PublishError> {
        let stream = self.bus.region().identifier_stream(identifier);
        let state = self.state(stream).await.map_err(|error| unknown(&error))?;
        let is_own = state.claim.is_some_and(|(owner, _)| owner == occasion.patient);
        if is_own { self.give_back(stream, &state, occasion).await } else { Ok(()) }
    }

    async fn give_back(
        &self,
        stream: StreamId,
        state: &Ownership,
        occasion: &Occasion,
    ) -> Result<(), PublishError> {
        let Some((owner, _)) = state.claim else { return Ok(()) };
        let patient_id = owner.to_string();
        let payload = Payload::IdentifierReleased(v1::IdentifierReleased { patient_id });
        match self.write(stream, state.version, &payload, occasion).await {
            // Somebody else settled it meanwhile.
            Ok(()) | Err(PublishError::Conflict { .. } | PublishError::Repeated { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether another's claim, made at `since`, must be respected: it is that patient's, or
    /// may be about to be. One whose registration never came, because the process died or was
    /// refused between the two, must not stand in the way for ever.
    async fn holds(
        &self,
        owner: PatientId,
        since: Timestamp,
        identifier: &Identifier,
    ) -> Result<bool, PublishError> {
        if Timestamp::now().duration_since(since) < self.wait {
            return Ok(true);
        }
        self.is_registered(owner, identifier).await.map_err(|error| unknown(&error))
    }

    async fn is_registered(
        &self,
        patient: PatientId,
        identifier: &Identifier,
    ) -> Result<bool, ReadError> {
        let mut loaded = Loaded::default();
        loaded.catch_up(self.bus.as_ref(), patient).await?;
        Ok(loaded.record.patient().has_identifier(identifier))
    }

    async fn write(
        &self,
        stream: StreamId,
        version: u64,
        payload: &Payload,
        occasion: &Occasion,
    ) -> Result<(), PublishError> {
        // The same step taken again has the same id: a repeated registration adds no claim.
        let name = format!("{stream}/{version}");
        let event = EventId::new(Uuid::new_v5(&occasion.patient.uuid(), name.as_bytes()));
        let record = v1::Event {
            event_id: event.to_string(),
            r#type: payload.event_type().to_owned(),
            patient_id: occasion.patient.to_string(),
            occurred_at: occasion.occurred_at.clone(),
            actor: Some((&occasion.actor).into()),
            payload: payload.encode_to_vec(),
            ..v1::Event::default()
        };
        let draft = Draft { event, record: Bytes::from(record.encode_to_vec()) };
        let expected = Expected::Version(version);
        self.bus.publish(Publication { stream, expected, drafts: vec![draft] }).await.map(|_| ())
    }

    async fn state(&self, stream: StreamId) -> Result<Ownership, ReadError> {
        let mut state = Ownership::default();
        loop {
            let events = self.bus.read(stream, state.version).await?;
            if events.is_empty() {
                return Ok(state);
            }
            for stored in &events {
                state.fold(stored);
            }
        }
    }
}

#[derive(Default)]
struct Ownership {
    /// Whose it is, and since when.
    claim: Option<(PatientId, Timestamp)>,
    version: u64,
}

impl Ownership {
    fn fold(&mut self, stored: &Stored) {
        self.version = stored.placed.version;
        let event = v1::Event::decode(stored.record.clone()).ok();
        let payload = event.and_then(|event| Payload::decode(&event.r#type, &event.payload).ok());
        if let Some(Payload::IdentifierClaimed(claimed)) = payload {
            let owner = PatientId::parse(&claimed.patient_id).ok();
            self.claim = owner.map(|owner| (owner, stored.placed.recorded_at));
        } else if let Some(Payload::IdentifierReleased(_)) = payload {
            self.claim = None;
        }
    }
}

/// A claim whose stream cannot be read back may or may not have been made.
fn unknown(error: &ReadError) -> PublishError {
    PublishError::OutcomeUnknown(error.to_string())
}
