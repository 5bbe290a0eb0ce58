//! What a newer version of an encounter says otherwise than an older one that was taken.

use jiff::Timestamp;
use prost::Message as _;
use tsunagi_bus::Stored;
use tsunagi_domain::encounter::Encounter as Stay;
use tsunagi_domain::{CareTime, EventId, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::super::outcome::Problem;
use super::Work;
use crate::fhir::corrected::merged;
use crate::fhir::resource::Encounter;
use crate::fhir::version;
use crate::known::{Known, Step};
use crate::text::code;

/// What this system said last of a step, and in which version.
struct Word {
    payload: Payload,
    occurred_at: String,
    written: Timestamp,
}

impl Work<'_> {
    /// What of these events is news: those that are not stored, and corrections of those that are
    /// and of which an encounter that says when it was written says otherwise.
    pub(super) async fn corrected(
        &self,
        known: &Known,
        encounter: &Encounter,
        events: Vec<v1::Event>,
    ) -> Result<Vec<v1::Event>, Problem> {
        let bus = self.intake.handler.bus().as_ref();
        let mut news = Vec::new();
        for event in events {
            let id = EventId::parse(&event.event_id).ok();
            let step = known.steps.iter().find(|step| Some(step.event) == id);
            let stored = match step {
                Some(step) => known.find(bus, step.event).await?,
                None => None,
            };
            let Some((step, stored)) = step.zip(stored) else {
                news.extend(self.unstored(known, vec![event]).await?);
                continue;
            };
            for correction in self.corrections_of(known, encounter, &event, (step, &stored))? {
                // One that somebody found to be wrong is not made again.
                if !self.is_stored(known, &correction).await? {
                    news.push(correction);
                }
            }
        }
        Ok(news)
    }

    fn corrections_of(
        &self,
        known: &Known,
        encounter: &Encounter,
        event: &v1::Event,
        (step, stored): (&Step, &Stored),
    ) -> Result<Vec<v1::Event>, Problem> {
        let said = Payload::decode(&event.r#type, &event.payload).ok();
        let Some((own, said)) = self.last_word(known, step.event, stored).zip(said) else {
            return Ok(Vec::new());
        };
        let now = known.record().encounter(step.encounter).and_then(Stay::place);
        let now = now.map(v1::Place::from);
        let mapper = self.mapper();
        let said = merged(encounter, &own.payload, said, now.as_ref());
        // Others may have corrected it since: what this system says as before is no news.
        let is_other = said != own.payload && known.said_by(step.event) != Some(&said);
        let differs = |then: &str| self.time(then) != self.time(&event.occurred_at);
        let is_then = event.occurred_at == self.now;
        let known_time = known.written_time(step.event).unwrap_or_default();
        let is_otherwhen = !is_then && differs(&own.occurred_at) && differs(known_time);
        if !is_other && !is_otherwhen {
            return Ok(Vec::new());
        }
        if mapper.written_at(encounter).is_none_or(|written| written <= own.written) {
            return Err(super::said_otherwise());
        }
        let value = is_other.then(|| mapper.value_corrected(encounter, &event.event_id, &said));
        let time = is_otherwhen
            .then(|| mapper.time_corrected(encounter, &event.event_id, &event.occurred_at));
        Ok(value.into_iter().chain(time).collect())
    }

    /// What this system said last of a step: in the event itself, or in a correction that stands.
    fn last_word(&self, known: &Known, step: EventId, stored: &Stored) -> Option<Word> {
        let event = v1::Event::decode(stored.record.clone()).ok()?;
        let written = event.source.as_ref().and_then(version::of).map(|(_, written)| written);
        let mut word = Word {
            payload: Payload::decode(&event.r#type, &event.payload).ok()?,
            occurred_at: event.occurred_at,
            written: written.unwrap_or(stored.placed.recorded_at),
        };
        let system = code(self.ids.source());
        for (written, value, time) in known.corrections_by(&system, step) {
            word.written = word.written.max(written);
            word.payload = value.cloned().unwrap_or(word.payload);
            word.occurred_at = time.map_or(word.occurred_at, str::to_owned);
        }
        Some(word)
    }

    /// Whether what an event says of a step is what is known of it.
    pub(super) fn is_as_known(
        &self,
        known: &Known,
        encounter: &Encounter,
        event: &v1::Event,
    ) -> bool {
        let Ok(id) = EventId::parse(&event.event_id) else { return false };
        let said = Payload::decode(&event.r#type, &event.payload).ok();
        let Some((before, said)) = known.said_by(id).zip(said) else { return false };
        let is_then = |then: &str| self.time(then) == self.time(&event.occurred_at);
        let is_timed = event.occurred_at != self.now;
        merged(encounter, before, said, None) == *before
            && (!is_timed || known.written_time(id).is_some_and(is_then))
    }

    fn time(&self, text: &str) -> Option<CareTime> {
        let zone: &Zone = &self.intake.handler.bus().region().zone;
        CareTime::parse(text, zone).ok()
    }
}
