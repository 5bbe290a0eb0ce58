//! The events that are to be moved, as they are told again: which can be, with what, in which order.
//!
//! What must stay true: what one of them names among them, it names among what is told again; and
//! what cancels or corrects one of them goes with it or not at all, so that nothing means another
//! event than it did.

use std::collections::BTreeMap;

use prost::Message as _;
use tsunagi_domain::{EventId, PatientId, Record, correction, identity};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::check::Path;
use tsunagi_proto::{named, v1};

use super::super::{Handler, SubmitError};
use super::Moving;
use crate::patients::{Loaded, MERGES_READ_MAX};
use crate::port::Stored;
use crate::stream::StreamId;

/// An event as it is corrected by those that stay, and its place.
pub(super) struct Original {
    pub(super) id: EventId,
    version: u64,
    /// Which of the events that are moved.
    pub(super) place: usize,
    pub(super) event: v1::Event,
    /// The events that it cancels or corrects, as it was told: that never changes.
    names: Vec<EventId>,
}

/// The events, in the order in which they are told again.
pub(super) struct Originals {
    pub(super) all: Vec<Original>,
    /// Of the record, as it was read.
    pub(super) version: u64,
    /// Why they cannot be moved without another, as the record is now.
    pub(super) lacking: Option<SubmitError>,
}

impl Moving {
    fn moves(&self, event: EventId) -> bool {
        self.events.contains(&event)
    }

    /// The event as it is told again. It stays the word of whoever said it: who moves it says so
    /// where it was.
    pub(super) fn copy(&self, of: &Original, all: &[Original]) -> Result<v1::Event, SubmitError> {
        let again: BTreeMap<EventId, EventId> =
            all.iter().map(|one| (one.id, self.id("again", one.place))).collect();
        let instead = |id: &str| Some(again.get(&EventId::parse(id).ok()?)?.to_string());
        let mut event = v1::Event {
            event_id: self.id("again", of.place).to_string(),
            patient_id: self.to.to_string(),
            causation_id: of.id.to_string(),
            source: self.said.source.clone(),
            ..of.event.clone()
        };
        let said = Payload::decode(&event.r#type, &event.payload)?;
        let mut says_now = said.clone();
        named::name_instead(&mut says_now, &instead)?;
        if says_now != said {
            event.payload = says_now.encode_to_vec();
        }
        Ok(event)
    }
}

impl Handler {
    /// The events, each after those that it names, and else in the order in which they were told.
    pub(super) async fn originals(&self, moving: &Moving) -> Result<Originals, SubmitError> {
        let loaded = self.patients.now(moving.from).await?;
        if !loaded.record.patient().is_known() {
            return Err(SubmitError::Refused(identity::Refusal::Unknown.into()));
        }
        let (mut all, mut lacking) = (Vec::with_capacity(moving.events.len()), None);
        for id in &moving.events {
            all.push(self.original(moving, *id, &loaded).await?);
            if let Some(other) = lacks(moving, *id, &loaded.record) {
                lacking.get_or_insert(together(*id, other));
            }
        }
        all.sort_by_key(|original| original.version);
        all.dedup_by_key(|original| original.version);
        let mut all = after_what_they_name(all);
        for (place, original) in all.iter_mut().enumerate() {
            original.place = place;
        }
        Ok(Originals { all, version: loaded.version, lacking })
    }

    async fn original(
        &self,
        moving: &Moving,
        id: EventId,
        loaded: &Loaded,
    ) -> Result<Original, SubmitError> {
        let Some((stored, mut event)) = self.event(moving.from, id).await? else {
            let of = self.merged_record_of(id, &loaded.record).await?;
            let unknown = || SubmitError::Refused(correction::Refusal::UnknownEvent(id).into());
            return Err(of.map_or_else(unknown, |of| SubmitError::InMerged { event: id, of }));
        };
        let payload = Payload::decode(&event.r#type, &event.payload)?;
        check_movable(id, &payload)?;
        let ids = named::event_ids(&payload)?.into_iter();
        let names: Vec<EventId> = ids.filter_map(|id| EventId::parse(&id).ok()).collect();
        let outcome = loaded.record.outcome(id);
        let corrections = outcome.value.map(|(by, _)| by).into_iter();
        let corrections = corrections.chain(outcome.time.map(|(by, _)| by));
        for by in corrections.filter(|by| !moving.moves(*by)) {
            let Some((_, by)) = self.event(moving.from, by).await? else { continue };
            let correction = Payload::decode(&by.r#type, &by.payload)?;
            if let Payload::ValueCorrected(said) = correction {
                (event.r#type, event.payload) = (said.r#type, said.payload);
            } else if let Payload::TimeCorrected(said) = correction {
                event.occurred_at = said.occurred_at;
            }
        }
        for other in names.iter().filter(|other| !moving.moves(**other)) {
            if self.event(moving.from, *other).await?.is_some() {
                return Err(together(id, *other));
            }
        }
        Ok(Original { id, version: stored.placed.version, place: 0, event, names })
    }

    /// The record in which an event was told that stands in this one because that is merged into it:
    /// entered in error here, it would hold there when the two are taken apart.
    async fn merged_record_of(
        &self,
        event: EventId,
        record: &Record,
    ) -> Result<Option<PatientId>, SubmitError> {
        let mut of = record.merged_from(event);
        for _ in 0..MERGES_READ_MAX {
            let Some(record) = of else { return Ok(None) };
            if self.event(record, event).await?.is_some() {
                break;
            }
            let mut loaded = Loaded::default();
            self.patients.catch_up(record, &mut loaded).await?;
            of = loaded.record.merged_from(event);
        }
        Ok(of)
    }

    pub(super) async fn event(
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
}

/// What cancels an event and is not moved with it; or corrects it last, where other corrections of
/// it are moved: told again without that one, they would hold.
fn lacks(moving: &Moving, event: EventId, record: &Record) -> Option<EventId> {
    let cancels = record.standing().filter(|(_, fact)| fact.cancelled() == Some(event));
    let mut cancels = cancels.map(|(stamp, _)| stamp.event);
    let outcome = record.outcome(event);
    let is_corrected_with = record.corrections_of(event).any(|by| moving.moves(by));
    let corrections = outcome.value.map(|(by, _)| by).into_iter();
    let mut corrections = corrections.chain(outcome.time.map(|(by, _)| by));
    let stays = |by: &EventId| !moving.moves(*by);
    cancels.find(stays).or_else(|| corrections.find(stays).filter(|_| is_corrected_with))
}

/// In their order, but that each comes after those that it names: a cancel may have been told before
/// what it cancels.
fn after_what_they_name(told: Vec<Original>) -> Vec<Original> {
    let mut left = told;
    let mut ordered: Vec<Original> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |one: &Original| {
            let names = |other: &Original| one.id != other.id && one.names.contains(&other.id);
            left.iter().any(names)
        };
        // Those that name one another in a circle keep their order.
        let next = left.iter().position(|one| !waits(one)).unwrap_or_default();
        ordered.push(left.remove(next));
    }
    ordered
}

/// Refuses to move the link of a number, which the other patient cannot have while this one does;
/// and what nobody would find in the other record.
fn check_movable(id: EventId, payload: &Payload) -> Result<(), SubmitError> {
    let problem = if let Payload::IdentifierLinked(_) = payload {
        "which links a number: mark it as entered in error (MarkEnteredInError), then link the number to the other patient (LinkIdentifier)"
    } else if let Payload::ResourceReceived(_) = payload {
        "by which a FHIR resource is kept as a system sent it: mark it as entered in error (MarkEnteredInError), and have the system send the resource again, of the other patient"
    } else if let Payload::EventsMoved(_) = payload {
        "which says what was moved there"
    } else {
        return Ok(());
    };
    Err(in_event_ids(format!("must not name event {id}, {problem}")))
}

fn together(event: EventId, other: EventId) -> SubmitError {
    in_event_ids(format!(
        "must name event {other} too, since one of event {event} and that cancels or corrects the other: what was told of both goes together"
    ))
}

fn in_event_ids(problem: String) -> SubmitError {
    SubmitError::Fields(vec![Path::ROOT.field("event_ids").violation(problem)])
}
