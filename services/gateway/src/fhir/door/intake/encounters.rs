//! What an encounter says against what is known of it: what is news, and what holds of the rest.

use prost::Message as _;
use tsunagi_bus::Stored;
use tsunagi_bus::handler::to_wire;
use tsunagi_domain::encounter::Stage;
use tsunagi_domain::{CareTime, EncounterId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::super::outcome::Problem;
use super::Work;
use crate::fhir::directory::key;
use crate::fhir::map::Mapped;
use crate::fhir::resource::Encounter;
use crate::known::{Known, Step, StepKind};

impl Work<'_> {
    /// What an encounter says that is not stored yet. An older version of it says nothing.
    pub(super) async fn encounter_events(
        &self,
        known: &Known,
        encounter: &Encounter,
    ) -> Result<Vec<v1::Event>, Problem> {
        if self.is_older(known, encounter) {
            return Ok(Vec::new());
        }
        if encounter.is_withdrawn() {
            return Ok(self.withdrawal(known, encounter));
        }
        let mut mapped = self.mapper().encounter(encounter)?;
        if encounter.meta.last_updated.is_empty() {
            return self.of_encounter(known, mapped).await;
        }
        let told = self.told_of(known, encounter, &mapped).await?;
        self.mapper().say_again(encounter, &mut mapped, &told);
        // What goes on after all is open again before anything else is said of it.
        let mut events = self.mapper().reopened(encounter, &told);
        let said = self.said_now(known, encounter, mapped).await?;
        events.extend(self.corrected(known, encounter, said).await?);
        Ok(events)
    }

    async fn of_encounter(&self, known: &Known, mapped: Mapped) -> Result<Vec<v1::Event>, Problem> {
        let Mapped { events, ending, .. } = mapped;
        let goes_on = events.first().and_then(encounter_of).is_some_and(|encounter| {
            let state = known.record().encounter(encounter);
            state.is_some_and(|state| state.stage() == Stage::Visiting)
        });
        match ending {
            // It was registered when it was still going on.
            Some(ending) if goes_on => self.unstored(known, vec![ending]).await,
            Some(ending) if self.is_stored(known, &ending).await? => Ok(Vec::new()),
            Some(_) | None => self.unstored(known, events).await,
        }
    }

    /// What a version says, with what was said before in the form in which that was.
    async fn said_now(
        &self,
        known: &Known,
        encounter: &Encounter,
        mapped: Mapped,
    ) -> Result<Vec<v1::Event>, Problem> {
        let Mapped { mut events, ending, .. } = mapped;
        if let (Some(ending), Some(registered)) = (ending, events.first_mut()) {
            let goes_on = encounter_of(registered).is_some_and(|id| {
                let state = known.record().encounter(id);
                state.is_some_and(|state| state.stage() == Stage::Visiting)
            });
            // It was registered when it was still going on.
            if goes_on || self.is_stored(known, &ending).await? {
                end_apart(registered);
                events.push(ending);
            }
        }
        let is_admitted = match events.first() {
            Some(first) if first.r#type == StepKind::Admitted.event_type() => {
                self.is_stored(known, first).await?
            }
            Some(_) | None => false,
        };
        if let Some(first_move) = self.mapper().first_move(encounter).filter(|_| is_admitted) {
            events.insert(1, first_move);
        }
        Ok(events)
    }

    /// Whether a version of an encounter was taken that was written later. What only another
    /// sender says is none of it.
    pub(super) fn is_older(&self, known: &Known, encounter: &Encounter) -> bool {
        let last = self.mapper().last_written(encounter, known.versions());
        self.mapper().is_older(encounter, last)
    }

    /// Whether what an encounter says, and is no news, holds.
    pub(super) async fn holds(
        &self,
        known: &Known,
        encounter: &Encounter,
    ) -> Result<bool, Problem> {
        if !self.is_older(known, encounter) {
            return Ok(self.is_in_force(known, encounter));
        }
        if encounter.is_withdrawn() {
            return Ok(self.withdrawal(known, encounter).is_empty());
        }
        // Of an older one that cannot be taken anyway, nothing holds.
        let Ok(mapped) = self.mapper().encounter(encounter) else { return Ok(false) };
        let said = self.said_now(known, encounter, mapped).await?;
        let is_known = said.iter().all(|event| self.is_as_known(known, encounter, event));
        Ok(is_known && self.is_in_force(known, encounter))
    }

    /// Whether what an encounter says, and was taken before, holds by what was told since.
    fn is_in_force(&self, known: &Known, encounter: &Encounter) -> bool {
        let id = self.ids.encounter(&key("Encounter", &encounter.id));
        let has_begun = known.last(id, &[StepKind::Admitted, StepKind::Registered]).is_some();
        if has_begun || encounter.is_withdrawn() || encounter.status != "planned" {
            let state = known.record().encounter(id);
            let has_ended = state.is_some_and(|state| state.stage() == Stage::Ended);
            let says_end = encounter.status == "finished" && !encounter.period.end.is_empty();
            let is_otherwise = if has_ended { encounter.goes_on() } else { says_end };
            return (has_begun && !is_otherwise) || encounter.is_withdrawn();
        }
        let zone = &self.intake.handler.bus().region().zone;
        let planned_at = CareTime::parse(&encounter.period.start, zone).ok();
        let plan = known.last(id, &[StepKind::AdmissionPlanned]);
        plan.is_some_and(|plan| plan.planned_at == planned_at)
    }

    /// Takes back what this system said of an encounter.
    fn withdrawal(&self, known: &Known, encounter: &Encounter) -> Vec<v1::Event> {
        let timeline: Vec<v1::TimelineEntry> = known.steps.iter().map(entry).collect();
        let said = self.mapper().said_of(encounter, &timeline);
        self.mapper().cancellations(encounter, &said).into_iter().flatten().collect()
    }

    /// What was told of an encounter before, as far as it decides whether something is said
    /// again: its plans, when each was recorded, and what of `mapped` was taken back by this
    /// system.
    async fn told_of(
        &self,
        known: &Known,
        encounter: &Encounter,
        mapped: &Mapped,
    ) -> Result<Vec<v1::TimelineEntry>, Problem> {
        let bus = self.intake.handler.bus().as_ref();
        let mut told: Vec<v1::TimelineEntry> = Vec::new();
        let is_one =
            |step: &&Step| matches!(step.kind, StepKind::AdmissionPlanned | StepKind::Discharged);
        for plan in known.steps.iter().filter(is_one) {
            if let Some(stored) = known.find(bus, plan.event).await? {
                told.push(v1::TimelineEntry {
                    version: stored.placed.version,
                    ..recorded(&stored, entry(plan))
                });
            }
        }
        for event in mapped.events.iter().chain(&mapped.ending) {
            let mut said = event.event_id.clone();
            loop {
                let cancel = self.mapper().cancel_of(encounter, &said);
                let Some(stored) = known.find(bus, cancel).await? else { break };
                if known.record().outcome(cancel).error.is_some() {
                    break;
                }
                let again = self.mapper().again(encounter, &said).to_string();
                told.push(v1::TimelineEntry {
                    event_id: said,
                    cancelled_by_event_id: cancel.to_string(),
                    ..v1::TimelineEntry::default()
                });
                let cancel = cancel.to_string();
                let cancel = v1::TimelineEntry { event_id: cancel, ..Default::default() };
                told.push(recorded(&stored, cancel));
                said = again;
            }
        }
        Ok(told)
    }
}

/// A step as the timeline has it.
fn entry(step: &Step) -> v1::TimelineEntry {
    v1::TimelineEntry {
        event_id: step.event.to_string(),
        r#type: step.kind.event_type().to_owned(),
        encounter_id: step.encounter.to_string(),
        actor: Some(v1::Actor { person: step.by.clone(), ..v1::Actor::default() }),
        ..v1::TimelineEntry::default()
    }
}

/// An entry with when it was recorded, and of which version of a resource it was made.
fn recorded(stored: &Stored, entry: v1::TimelineEntry) -> v1::TimelineEntry {
    let event = v1::Event::decode(stored.record.clone()).ok();
    v1::TimelineEntry {
        recorded_at: Some(to_wire(stored.placed.recorded_at)),
        source: event.and_then(|event| event.source),
        ..entry
    }
}

/// Leaves the end of a visit to an event of its own.
fn end_apart(registered: &mut v1::Event) {
    let payload = Payload::decode(&registered.r#type, &registered.payload);
    if let Ok(Payload::EncounterRegistered(mut visit)) = payload {
        visit.ended_at.clear();
        registered.payload = Payload::EncounterRegistered(visit).encode_to_vec();
    }
}

fn encounter_of(event: &v1::Event) -> Option<EncounterId> {
    let payload = Payload::decode(&event.r#type, &event.payload).ok()?;
    if let Payload::EncounterRegistered(message) = payload {
        EncounterId::parse(&message.encounter_id).ok()
    } else {
        None
    }
}
