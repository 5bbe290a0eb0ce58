//! Moves that were interrupted: whoever was to be told what became of one was not. The record of the
//! right patient says what the act was; whether it came about, that of the wrong one does.

use prost::Message as _;
use tsunagi_domain::{EventId, PatientId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::super::joint::is_final;
use super::super::{Handler, SubmitError};
use super::{Moving, Word};
use crate::port::Stored;
use crate::stream::StreamId;

impl Handler {
    /// Finishes the moves to `patient` that are half done, or takes back what was told again by one
    /// that can no longer come about. True if there were any, or any that were given up and of
    /// which something still holds.
    pub async fn settle_moves(&self, patient: PatientId) -> Result<bool, SubmitError> {
        let (mut after, mut has_settled) = (0, false);
        loop {
            let page = self.bus.read(StreamId::Patient(patient), after).await?;
            let Some(last) = page.last() else { return Ok(has_settled) };
            after = last.placed.version;
            for moving in page.iter().filter_map(said) {
                let is_over = match self.word(&moving).await? {
                    Some(Word::TakenBack) => true,
                    Some(Word::GivenUp) => self.is_untold(&moving).await?,
                    None => false,
                };
                if !is_over {
                    has_settled = true;
                    self.settle_move(&moving).await?;
                }
            }
        }
    }

    /// Whether nothing holds any more of what was told again.
    async fn is_untold(&self, moving: &Moving) -> Result<bool, SubmitError> {
        let loaded = self.patients.now(moving.to).await?;
        let mut again = (0..moving.events.len()).map(|place| moving.id("again", place));
        Ok(again.all(|event| loaded.record.outcome(event).error.is_some()))
    }

    async fn settle_move(&self, moving: &Moving) -> Result<(), SubmitError> {
        let Moving { act, from, to, .. } = moving;
        match self.take_moving(moving).await {
            Ok(_) => {
                tracing::info!(act_id = %act, patient_id = %to, from_id = %from, "half move finished");
            }
            Err(error) if is_final(&error) => {
                tracing::info!(act_id = %act, patient_id = %to, from_id = %from, %error, "half move not finished");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The act of which an event says that it moved events there, if it says so.
fn said(stored: &Stored) -> Option<Moving> {
    let event = v1::Event::decode(stored.record.clone()).ok()?;
    let Ok(Payload::EventsMoved(moved)) = Payload::decode(&event.r#type, &event.payload) else {
        return None;
    };
    let events = moved.event_ids.iter().map(|id| EventId::parse(id));
    Some(Moving {
        act: EventId::parse(&moved.act_id).ok()?,
        from: PatientId::parse(&moved.from_patient_id).ok()?,
        to: stored.stream.patient()?,
        events: events.collect::<Result<_, _>>().ok()?,
        note: moved.note,
        expected_version: moved.expected_version,
        said: event,
    })
}
