//! A move that cannot come about, and what was told again by it.
//!
//! What must stay true: of the two events that may stand under the id of an act's first error only
//! one does (I3), and each is written on a version of the record that has not the other. So what was
//! told again is taken back only when the events can be moved no more by the act, whoever else is
//! at it.

use tsunagi_domain::EventId;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::super::joint::{half_done, is_final};
use super::super::{Handler, Sender, Submission, SubmitError};
use super::{Moved, Moving, Original, Word};

impl Moving {
    /// By which the act is given up.
    fn given_up(&self) -> v1::Event {
        let payload = Payload::MoveGivenUp(v1::MoveGivenUp { to_patient_id: self.to.to_string() });
        v1::Event {
            event_id: self.id("error", 0).to_string(),
            r#type: payload.event_type().to_owned(),
            patient_id: self.from.to_string(),
            payload: payload.encode_to_vec(),
            ..self.said.clone()
        }
    }
}

impl Handler {
    /// What became of an act, as far as that is decided.
    pub(super) async fn word(&self, moving: &Moving) -> Result<Option<Word>, SubmitError> {
        let Some((_, event)) = self.event(moving.from, moving.id("error", 0)).await? else {
            return Ok(None);
        };
        let is_given_up =
            matches!(Payload::decode(&event.r#type, &event.payload)?, Payload::MoveGivenUp(_));
        Ok(Some(if is_given_up { Word::GivenUp } else { Word::TakenBack }))
    }

    /// Gives an act up because of `error`, and takes back what was told again. None if it came
    /// about after all.
    pub(super) async fn give_up(
        &self,
        moving: &Moving,
        originals: &[Original],
        error: SubmitError,
    ) -> Result<Option<Moved>, SubmitError> {
        match self.say_given_up(moving).await {
            Ok(Word::TakenBack) => Ok(None),
            Ok(Word::GivenUp) => Err(self.untell(moving, originals, error).await),
            // The record takes no events, and may take the act's once it takes events again.
            Err(refusal) if is_final(&refusal) => {
                let left = self.standing(moving, originals).await;
                Err(left.map_or_else(|lost| half_done(&lost), |copies| error.with(copies)))
            }
            Err(lost) => Err(half_done(&lost)),
        }
    }

    async fn say_given_up(&self, moving: &Moving) -> Result<Word, SubmitError> {
        for _ in 0..self.attempts_max {
            let version = self.patients.now(moving.from).await?.version;
            if let Some(word) = self.word(moving).await? {
                return Ok(word);
            }
            let events = vec![moving.given_up()];
            let submission = Submission { events, expected_version: Some(version) };
            let prepared = self.prepare_from(submission, Sender::System)?;
            match self.take_alone(self.patients.turn(moving.from), &prepared).await {
                Ok(_) => return Ok(Word::GivenUp),
                Err(SubmitError::VersionConflict { .. } | SubmitError::Reused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SubmitError::Contended)
    }

    /// Enters in error what was told again by an act that was given up because of `error`. That is
    /// given out; and with it what still stands, because something builds on it.
    pub(super) async fn untell(
        &self,
        moving: &Moving,
        originals: &[Original],
        error: SubmitError,
    ) -> SubmitError {
        let untold = match self.standing(moving, originals).await {
            Ok(copies) if copies.is_empty() => return error,
            Ok(copies) => self.enter_in_error(moving, originals, &copies).await,
            Err(lost) => Err(lost),
        };
        match untold {
            Ok(()) => error,
            Err(refusal) if is_final(&refusal) => match self.standing(moving, originals).await {
                Ok(copies) => error.with(copies),
                Err(lost) => half_done(&lost),
            },
            Err(lost) => half_done(&lost),
        }
    }

    async fn enter_in_error(
        &self,
        moving: &Moving,
        originals: &[Original],
        copies: &[EventId],
    ) -> Result<(), SubmitError> {
        let error = |of: &Original| {
            let told = moving.id("again", of.place);
            let id = moving.id("given up", of.place);
            copies.contains(&told).then(|| moving.error(id, moving.to, told, None))
        };
        let events = originals.iter().rev().filter_map(error).collect();
        let submission = Submission { events, expected_version: None };
        let prepared = self.prepare_from(submission, Sender::Outside)?;
        self.take_alone(self.patients.turn(moving.to), &prepared).await.map(|_| ())
    }

    /// What was told again and holds, the last one first.
    async fn standing(
        &self,
        moving: &Moving,
        originals: &[Original],
    ) -> Result<Vec<EventId>, SubmitError> {
        let loaded = self.patients.now(moving.to).await?;
        let mut copies = Vec::new();
        for of in originals.iter().rev() {
            let told = moving.id("again", of.place);
            if self.event(moving.to, told).await?.is_some()
                && !moving.was_untold(told, originals, &loaded.record)
            {
                copies.push(told);
            }
        }
        Ok(copies)
    }
}

impl SubmitError {
    /// The same, and what was told again and still stands, if anything does.
    fn with(self, copies: Vec<EventId>) -> Self {
        if copies.is_empty() {
            return self;
        }
        Self::StillTold { refusal: Box::new(self), copies }
    }
}
