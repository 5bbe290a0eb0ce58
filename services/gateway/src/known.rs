//! What is known of a patient when a message about the patient comes in: the record that
//! commands are decided on, who the patient is, and which steps of encounters are in effect.
//!
//! A fold of the patient's stream, caught up before each use. Messages about one patient are
//! taken one after the other in this process; that nobody else wrote meanwhile is what the
//! expected version ensures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message as _;
use tokio::sync::Mutex as AsyncMutex;
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Bus, Stored, StreamId};
use tsunagi_domain::{CareTime, EncounterId, EventId, Fact, PatientId, Record, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::convert::happened;
use tsunagi_proto::v1;

/// What an event did to an encounter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepKind {
    AdmissionPlanned,
    Registered,
    Admitted,
    TransferPlanned,
    Transferred,
    LeaveStarted,
    LeaveReturned,
    DischargePlanned,
    Discharged,
}

/// A step of an encounter that was not cancelled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) event: EventId,
    pub(crate) encounter: EncounterId,
    pub(crate) kind: StepKind,
    pub(crate) at: CareTime,
    /// Where to, if the step leads anywhere.
    pub(crate) place: Option<v1::Place>,
    /// When what is planned is to happen.
    pub(crate) planned_at: String,
    /// The person in whose name it was said.
    pub(crate) by: String,
}

impl StepKind {
    /// The type of the event that takes the step.
    pub(crate) fn event_type(self) -> &'static str {
        match self {
            Self::AdmissionPlanned => "care.encounter.admission_planned.v1",
            Self::Registered => "care.encounter.registered.v1",
            Self::Admitted => "care.encounter.admitted.v1",
            Self::TransferPlanned => "care.encounter.transfer_planned.v1",
            Self::Transferred => "care.encounter.transferred.v1",
            Self::LeaveStarted => "care.encounter.leave_started.v1",
            Self::LeaveReturned => "care.encounter.leave_returned.v1",
            Self::DischargePlanned => "care.encounter.discharge_planned.v1",
            Self::Discharged => "care.encounter.discharged.v1",
        }
    }
}

/// One patient, as far as the stream was read.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) version: u64,
    pub(crate) record: Record,
    pub(crate) demographics: v1::Demographics,
    /// When the demographics were said, if they were.
    pub(crate) told_at: Option<CareTime>,
    pub(crate) steps: Vec<Step>,
}

impl Known {
    /// Reads the events that are not known yet.
    pub(crate) async fn catch_up(
        &mut self,
        bus: &dyn Bus,
        patient: PatientId,
    ) -> Result<(), ReadError> {
        let zone = &bus.region().zone;
        loop {
            let events = bus.read(StreamId::Patient(patient), self.version).await?;
            if events.is_empty() {
                return Ok(());
            }
            for stored in &events {
                self.fold(stored, zone);
            }
        }
    }

    fn fold(&mut self, stored: &Stored, zone: &Zone) {
        self.version = stored.placed.version;
        // What this version cannot read changes nothing here, and counts all the same.
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { return };
        let Ok(mut payload) = Payload::decode(&event.r#type, &event.payload) else { return };
        let Some(happened) = happened(&event, &payload, zone) else { return };
        let at = happened.stamp.occurred_at;
        let by = event.actor.map(|actor| actor.person).unwrap_or_default();
        if let Some(demographics) = tsunagi_bus::address::demographics(&mut payload) {
            self.demographics = std::mem::take(demographics);
            self.told_at = Some(at);
        }
        if let Fact::Encounter(encounter, fact) = &happened.fact {
            if let Some(cancelled) = fact.cancelled() {
                self.steps.retain(|step| step.event != cancelled);
            } else if let Some((kind, place, planned_at)) = step(payload) {
                let (event, encounter) = (happened.stamp.event, *encounter);
                self.steps.push(Step { event, encounter, kind, at, place, planned_at, by });
            }
        }
        self.record.apply(&happened);
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.record.patient().is_registered()
    }

    /// The last step of an encounter that is of one of these kinds.
    pub(crate) fn last(&self, encounter: EncounterId, kinds: &[StepKind]) -> Option<&Step> {
        let is_one = |step: &&Step| step.encounter == encounter && kinds.contains(&step.kind);
        self.steps.iter().rev().find(is_one)
    }
}

fn step(payload: Payload) -> Option<(StepKind, Option<v1::Place>, String)> {
    let none = String::new();
    if let Payload::AdmissionPlanned(m) = payload {
        Some((StepKind::AdmissionPlanned, m.place, m.planned_at))
    } else if let Payload::EncounterRegistered(m) = payload {
        Some((StepKind::Registered, m.place, none))
    } else if let Payload::Admitted(m) = payload {
        Some((StepKind::Admitted, m.place, none))
    } else if let Payload::TransferPlanned(m) = payload {
        Some((StepKind::TransferPlanned, m.to, m.planned_at))
    } else if let Payload::Transferred(m) = payload {
        Some((StepKind::Transferred, m.to, none))
    } else if let Payload::LeaveStarted(_) = payload {
        Some((StepKind::LeaveStarted, None, none))
    } else if let Payload::LeaveReturned(_) = payload {
        Some((StepKind::LeaveReturned, None, none))
    } else if let Payload::DischargePlanned(m) = payload {
        Some((StepKind::DischargePlanned, None, m.planned_at))
    } else if let Payload::Discharged(_) = payload {
        Some((StepKind::Discharged, None, none))
    } else {
        None
    }
}

/// The patients in memory: those that messages were about lately.
pub(crate) struct KnownPatients {
    in_memory_max: usize,
    generations: Mutex<[HashMap<PatientId, Arc<AsyncMutex<Known>>>; 2]>,
}

impl KnownPatients {
    pub(crate) fn new(in_memory_max: usize) -> Self {
        Self { in_memory_max, generations: Mutex::default() }
    }

    /// The patient, whom whoever locks it has alone. When the young generation is full it
    /// becomes the old one, and what was still old is forgotten: it can be read again.
    pub(crate) fn get(&self, patient: PatientId) -> Arc<AsyncMutex<Known>> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *generations;
        if young.len() > self.in_memory_max / 2 {
            *old = std::mem::take(young);
        }
        let known = old.remove(&patient).unwrap_or_default();
        Arc::clone(young.entry(patient).or_insert(known))
    }
}
