//! Events that were told of the wrong patient: told again of the right one, and entered in error
//! where they were.
//!
//! What must stay true: of one act all ids are made of its own, so that whoever was not told what
//! became of it sends it again and adds nothing (I3). The right patient's record comes first: what
//! it refuses changes nothing, and what is interrupted after it is in both records, and lost from
//! none.

use std::sync::Arc;

use prost::Message as _;
use tsunagi_chassis::{Trace, trace};
use tsunagi_domain::{EventId, PatientId, correction, identity};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::check::Path;
use tsunagi_proto::v1;
use uuid::Uuid;

use super::joint::{half_done, is_final};
use super::{Handler, Prepared, Sender, Submission, SubmitError};
use crate::patients::Loaded;
use crate::port::{PublishError, Stored};
use crate::stream::StreamId;

/// Who says that events were told of the wrong patient.
#[derive(Debug, Clone)]
pub struct Moving {
    /// Its id makes those of the events that are written.
    pub act: EventId,
    pub from: PatientId,
    pub to: PatientId,
    pub events: Vec<EventId>,
    pub note: String,
    /// What the events that are written say besides: who, and when they say it.
    pub said: v1::Event,
    pub expected_version: Option<u64>,
}

/// The receipts of both records.
#[derive(Debug)]
pub struct Moved {
    pub taken_back: Vec<v1::Receipt>,
    pub told_again: Vec<v1::Receipt>,
}

/// An event as it is corrected, and its place.
struct Original {
    id: EventId,
    version: u64,
    /// Which of the events that are moved.
    place: usize,
    event: v1::Event,
}

impl Moving {
    /// The same part of an act has the same id, however often it is sent: also when it is sent with
    /// other events, which is refused by that.
    fn id(&self, part: &str, of: &Original) -> EventId {
        let name = format!("{part} {}", of.place);
        EventId::new(Uuid::new_v5(&self.act.uuid(), name.as_bytes()))
    }

    /// By which an event is entered in error in one of the records.
    fn error(
        &self,
        id: EventId,
        patient: PatientId,
        of: EventId,
        to: Option<PatientId>,
    ) -> v1::Event {
        let payload = Payload::EnteredInError(v1::EnteredInError {
            corrects_event_id: of.to_string(),
            reason: Some(v1::Code { code: "wrong-patient".to_owned(), ..v1::Code::default() }),
            note: self.note.clone(),
            moved_to_patient_id: to.map(|to| to.to_string()).unwrap_or_default(),
        });
        v1::Event {
            event_id: id.to_string(),
            r#type: payload.event_type().to_owned(),
            patient_id: patient.to_string(),
            payload: payload.encode_to_vec(),
            ..self.said.clone()
        }
    }

    /// The event as it is told again.
    fn copy(&self, of: &Original) -> v1::Event {
        v1::Event {
            event_id: self.id("again", of).to_string(),
            patient_id: self.to.to_string(),
            causation_id: of.id.to_string(),
            actor: self.said.actor.clone(),
            source: self.said.source.clone(),
            ..of.event.clone()
        }
    }
}

impl Handler {
    /// Tells events again of the patient whose they are, and enters them in error where they were
    /// told. A caller who goes away meanwhile does not stop it half way.
    pub async fn move_events(self: &Arc<Self>, moving: Moving) -> Result<Moved, SubmitError> {
        let handler = Arc::clone(self);
        let moved = async move { handler.take_moving(&moving).await };
        let moved = self.tasks.spawn(trace::within(Trace::current(), moved)).await;
        moved.unwrap_or_else(|error| {
            let lost = PublishError::OutcomeUnknown(error.to_string());
            Err(SubmitError::OutcomeUnknown(lost))
        })
    }

    async fn take_moving(&self, moving: &Moving) -> Result<Moved, SubmitError> {
        if moving.from == moving.to {
            let violation = Path::ROOT.field("to_patient_id").violation("must be another patient");
            return Err(SubmitError::Fields(vec![violation]));
        }
        for patient in [moving.from, moving.to] {
            self.settle(patient).await?;
        }
        let originals = self.originals(moving).await?;
        let taking_back = self.taking_back(moving, &originals)?;
        let (copies, are_told) = self.copies(moving, &originals).await?;
        let telling = self.prepare(Submission { events: copies, expected_version: None })?;
        if !self.is_taken_back(&taking_back).await?
            && let Err(error) = self.check(&taking_back).await
        {
            if are_told && is_final(&error) {
                self.untell(moving, &originals).await?;
            }
            return Err(error);
        }
        let told_again = self.take_alone(self.patients.turn(moving.to), &telling).await?;
        match self.take_alone(self.patients.turn(moving.from), &taking_back).await {
            Ok(taken_back) => Ok(Moved { taken_back, told_again }),
            Err(error) if is_final(&error) => {
                self.untell(moving, &originals).await?;
                Err(error)
            }
            Err(error) => Err(half_done(&error)),
        }
    }

    /// The events, as they are corrected, in the order in which they were told.
    async fn originals(&self, moving: &Moving) -> Result<Vec<Original>, SubmitError> {
        let mut loaded = self.patients.turn(moving.from).come().await;
        self.patients.catch_up(moving.from, &mut loaded).await?;
        if !loaded.record.patient().is_known() {
            return Err(SubmitError::Refused(identity::Refusal::Unknown.into()));
        }
        let mut originals = Vec::with_capacity(moving.events.len());
        for id in &moving.events {
            originals.push(self.original(moving.from, *id, &loaded).await?);
        }
        originals.sort_by_key(|original| original.version);
        originals.dedup_by_key(|original| original.version);
        for (place, original) in originals.iter_mut().enumerate() {
            original.place = place;
        }
        Ok(originals)
    }

    async fn original(
        &self,
        patient: PatientId,
        id: EventId,
        loaded: &Loaded,
    ) -> Result<Original, SubmitError> {
        let unknown = || SubmitError::Refused(correction::Refusal::UnknownEvent(id).into());
        let (stored, mut event) = self.event(patient, id).await?.ok_or_else(unknown)?;
        let outcome = loaded.record.outcome(id);
        let corrections = outcome.value.map(|(by, _)| by).into_iter();
        for by in corrections.chain(outcome.time.map(|(by, _)| by)) {
            let Some((_, by)) = self.event(patient, by).await? else { continue };
            let correction = Payload::decode(&by.r#type, &by.payload)?;
            if let Payload::ValueCorrected(said) = correction {
                (event.r#type, event.payload) = (said.r#type, said.payload);
            } else if let Payload::TimeCorrected(said) = correction {
                event.occurred_at = said.occurred_at;
            }
        }
        Ok(Original { id, version: stored.placed.version, place: 0, event })
    }

    async fn event(
        &self,
        patient: PatientId,
        id: EventId,
    ) -> Result<Option<(Stored, v1::Event)>, SubmitError> {
        let stored = self.bus.find(StreamId::Patient(patient), id).await?;
        Ok(stored.and_then(|stored| {
            let event = v1::Event::decode(stored.record.clone()).ok()?;
            Some((stored, event))
        }))
    }

    /// What enters them in error where they were told, the last one first: none builds on another
    /// then.
    fn taking_back(
        &self,
        moving: &Moving,
        originals: &[Original],
    ) -> Result<Prepared, SubmitError> {
        let error = |of: &Original| {
            moving.error(moving.id("error", of), moving.from, of.id, Some(moving.to))
        };
        let events = originals.iter().rev().map(error).collect();
        self.prepare(Submission { events, expected_version: moving.expected_version })
    }

    /// What tells them again, as it was told already if the act was interrupted; and whether it
    /// was. An act that was given up is not taken up again.
    async fn copies(
        &self,
        moving: &Moving,
        originals: &[Original],
    ) -> Result<(Vec<v1::Event>, bool), SubmitError> {
        let (mut copies, mut are_told) = (Vec::with_capacity(originals.len()), false);
        for of in originals {
            if self.event(moving.to, moving.id("given up", of)).await?.is_some() {
                return Err(SubmitError::Reused(moving.act));
            }
            let told = self.event(moving.to, moving.id("again", of)).await?;
            are_told |= told.is_some();
            let copy = told.map_or_else(|| moving.copy(of), |(_, event)| event);
            if copy.causation_id != of.id.to_string() {
                return Err(SubmitError::Reused(moving.act));
            }
            copies.push(copy);
        }
        Ok((copies, are_told))
    }

    /// Whether the events were taken back by this act. It is refused if it took other events back.
    async fn is_taken_back(&self, taking_back: &Prepared) -> Result<bool, SubmitError> {
        let stream = StreamId::Patient(taking_back.patient);
        Ok(self.stored_before(stream, &taking_back.drafts).await?.is_some())
    }

    /// Refuses what cannot be taken back where it was told.
    async fn check(&self, taking_back: &Prepared) -> Result<(), SubmitError> {
        let mut loaded = self.patients.turn(taking_back.patient).come().await;
        self.patients.catch_up(taking_back.patient, &mut loaded).await?;
        super::decide(taking_back, &loaded).map(|_| ())
    }

    /// Enters in error what was told again, because it cannot be taken back where it was.
    async fn untell(&self, moving: &Moving, originals: &[Original]) -> Result<(), SubmitError> {
        let error = |of: &Original| {
            let told = moving.id("again", of);
            moving.error(moving.id("given up", of), moving.to, told, None)
        };
        let events = originals.iter().rev().map(error).collect();
        let submission = Submission { events, expected_version: None };
        let prepared = self.prepare_from(submission, Sender::Outside)?;
        let untold = self.take_alone(self.patients.turn(moving.to), &prepared).await;
        untold.map(|_| ()).map_err(|lost| half_done(&lost))
    }
}
