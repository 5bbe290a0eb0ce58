//! Events that were told of the wrong patient: told again of the right one, and entered in error
//! where they were.
//!
//! What must stay true: of one act all ids are made of its own, so that whoever was not told what
//! became of it sends it again and adds nothing (I3). The right patient's record comes first: what
//! it refuses changes nothing, and what is interrupted after it is in both records, and lost from
//! none; it says there what the act was, so that it can be finished. Whether an act comes about is decided in the record of the wrong patient, by the one event
//! that stands there under the id of its first error (see `given_up`); and it comes about on the
//! version on which the events were read, so that no correction of them is lost.

mod given_up;
mod interrupted;
mod originals;

use std::sync::Arc;

use tsunagi_chassis::{Trace, trace};
use tsunagi_domain::{EventId, PatientId, Record, Refusal, correction, identity};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::check::Path;
use tsunagi_proto::v1;
use uuid::Uuid;

use self::originals::{Original, Originals};
use super::joint::{half_done, is_final};
use super::{Handler, Prepared, Sender, Submission, SubmitError};
use crate::port::PublishError;
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

/// What was told again by an act before, or is to be.
struct Told {
    events: Vec<v1::Event>,
    /// Whether it was, by a call that was interrupted or goes on beside this one.
    before: bool,
    /// Why the act cannot come about with what was told.
    outdated: Option<SubmitError>,
}

/// What stands under the id of the first error of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    TakenBack,
    GivenUp,
}

impl Moving {
    /// The same part of an act has the same id, however often it is sent: also when it is sent with
    /// other events, which is refused by that.
    fn id(&self, part: &str, place: usize) -> EventId {
        let name = format!("{part} {place}");
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

    /// Whether what was told again was entered in error since, by anything that was not moved with it.
    fn was_untold(&self, again: EventId, originals: &[Original], record: &Record) -> bool {
        let with_it = |by: EventId| originals.iter().any(|of| self.id("again", of.place) == by);
        record.outcome(again).error.is_some_and(|by| !with_it(by))
    }

    /// By which the record of the right patient says that they were moved there, and how.
    fn moved(&self) -> v1::Event {
        let payload = Payload::EventsMoved(v1::EventsMoved {
            act_id: self.act.to_string(),
            from_patient_id: self.from.to_string(),
            event_ids: self.events.iter().map(ToString::to_string).collect(),
            note: self.note.clone(),
            expected_version: self.expected_version,
        });
        v1::Event {
            event_id: self.id("moved", 0).to_string(),
            r#type: payload.event_type().to_owned(),
            patient_id: self.to.to_string(),
            payload: payload.encode_to_vec(),
            ..self.said.clone()
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
        for _ in 0..self.attempts_max {
            if let Some(moved) = self.attempt_moving(moving).await? {
                return Ok(moved);
            }
        }
        Err(half_done(&SubmitError::Contended))
    }

    /// One attempt; none if others wrote meanwhile of the patient of whom the events were told.
    async fn attempt_moving(&self, moving: &Moving) -> Result<Option<Moved>, SubmitError> {
        let Originals { all: originals, version, lacking } = self.originals(moving).await?;
        let taking_back = self.taking_back(moving, &originals, version)?;
        let word = self.word(moving).await?;
        if word == Some(Word::GivenUp) {
            return Err(self.untell(moving, &originals, SubmitError::Reused(moving.act)).await);
        }
        let told = self.told(moving, &originals).await?;
        if word == Some(Word::TakenBack) {
            // Refused, if it took other events back.
            self.stored_before(StreamId::Patient(moving.from), &taking_back.drafts).await?;
        } else {
            let checked = match self.check(moving, &taking_back).await {
                Ok(false) => return Ok(None),
                Ok(true) => lacking.or(told.outdated).map_or(Ok(()), Err),
                Err(refusal) => Err(lacking.unwrap_or(refusal)),
            };
            match checked {
                Err(error) if told.before && is_final(&error) => {
                    return self.give_up(moving, &originals, error).await;
                }
                checked => checked?,
            }
        }
        let submission = Submission { events: told.events, expected_version: None };
        let telling = self.prepare_from(submission, Sender::Mover)?;
        let mut told_again = match self.take_alone(self.patients.turn(moving.to), &telling).await {
            // Somebody else began to, with another version of them.
            Err(SubmitError::Reused(_)) if !told.before => return Ok(None),
            told_again => told_again?,
        };
        told_again.truncate(originals.len());
        match self.take_alone(self.patients.turn(moving.from), &taking_back).await {
            Ok(taken_back) => Ok(Some(Moved { taken_back, told_again })),
            Err(SubmitError::VersionConflict { .. } | SubmitError::Reused(_)) => Ok(None),
            Err(error) if is_final(&error) => self.give_up(moving, &originals, error).await,
            Err(error) => Err(half_done(&error)),
        }
    }

    /// What enters them in error where they were told, the last one first: none builds on another
    /// then.
    fn taking_back(
        &self,
        moving: &Moving,
        originals: &[Original],
        version: u64,
    ) -> Result<Prepared, SubmitError> {
        let error = |of: &Original| {
            moving.error(moving.id("error", of.place), moving.from, of.id, Some(moving.to))
        };
        let events = originals.iter().rev().map(error).collect();
        let submission = Submission { events, expected_version: Some(version) };
        self.prepare_from(submission, Sender::Mover)
    }

    /// What tells them again, and last that they were moved, as it was told already if the act was
    /// interrupted. An act that was given up is not taken up again, nor one of other events.
    async fn told(&self, moving: &Moving, originals: &[Original]) -> Result<Told, SubmitError> {
        let loaded = self.patients.now(moving.to).await?;
        let (mut events, mut before, mut outdated) = (Vec::new(), false, None);
        for of in originals {
            let (again, copy) = (moving.id("again", of.place), moving.copy(of, originals)?);
            let told = self.event(moving.to, again).await?.map(|(_, told)| told);
            before |= told.is_some();
            if let Some(told) = &told {
                if told.causation_id != copy.causation_id {
                    return Err(SubmitError::Reused(moving.act));
                }
                if moving.was_untold(again, originals, &loaded.record) {
                    let refusal = correction::Refusal::AlreadyInError(again);
                    outdated = Some(SubmitError::Refused(refusal.into()));
                } else if !says_the_same(told, &copy) {
                    outdated.get_or_insert(SubmitError::CorrectedMeanwhile(of.id));
                }
            }
            events.push(told.unwrap_or(copy));
        }
        let more = moving.id("again", originals.len());
        if before && self.event(moving.to, more).await?.is_some() {
            return Err(SubmitError::Reused(moving.act));
        }
        let moved = self.event(moving.to, moving.id("moved", 0)).await?.map(|(_, moved)| moved);
        // Acts of earlier versions do not say it.
        events.extend(moved.or_else(|| (!before).then(|| moving.moved())));
        Ok(Told { events, before, outdated })
    }

    /// Refuses what cannot be taken back where it was told. False if others wrote there since the
    /// events were read.
    async fn check(&self, moving: &Moving, taking_back: &Prepared) -> Result<bool, SubmitError> {
        let loaded = self.patients.now(taking_back.patient).await?;
        let actual = loaded.version;
        if taking_back.expected_version != Some(actual) {
            return Ok(false);
        }
        match moving.expected_version {
            Some(expected) if expected != actual => {
                Err(SubmitError::VersionConflict { expected, actual })
            }
            Some(_) | None => match super::decide(taking_back, &loaded) {
                Ok(_) => Ok(true),
                Err(SubmitError::Refused(Refusal::Identity(identity::Refusal::Retired(_)))) => {
                    let event = moving.events.first().copied().unwrap_or(moving.act);
                    Err(SubmitError::InMerged { event, of: moving.from })
                }
                Err(refusal) => Err(refusal),
            },
        }
    }
}

/// Whether two events say the same in all that can be corrected.
fn says_the_same(one: &v1::Event, other: &v1::Event) -> bool {
    let said = |event: &v1::Event| {
        (event.r#type.clone(), event.payload.clone(), event.occurred_at.clone())
    };
    said(one) == said(other)
}
