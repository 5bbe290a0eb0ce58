//! What was told in a record while another was merged into it. It stays where it was told when the
//! two are taken apart; whose it is, somebody has to say. The list stays the same then: of each event
//! it says what became of it.

use jiff::Timestamp;
use prost::Message as _;
use tsunagi_domain::{EventId, PatientId, Record};
use tsunagi_proto::catalogue::{Family, Payload};
use tsunagi_proto::v1;

use crate::handler::to_wire;
use crate::port::Stored;

/// So many events are named, the newest; of more, only how many there are.
const NAMED_MAX: usize = 1000;

/// A record that was part of another, and is not any more.
#[derive(Debug, Clone)]
pub struct Part {
    pub record: PatientId,
    /// The record that was merged into the other: itself, or one of which it was part.
    pub through: PatientId,
    /// When it was part of that.
    pub times: Vec<Span>,
}

/// From when to when, by when it was recorded.
pub type Span = (Timestamp, Timestamp);

impl Part {
    /// One that was merged into the other itself.
    pub fn itself(record: PatientId) -> Self {
        Self { record, through: record, times: vec![(Timestamp::MIN, Timestamp::MAX)] }
    }

    fn was_at(&self, moment: Timestamp) -> bool {
        self.times.iter().any(|(from, to)| *from <= moment && moment <= *to)
    }
}

/// What was told in the record of `survivor` while `part` was of it, now that it is not any more.
/// `events` are all of the record's, and `record` what follows from them. None if the two
/// were never taken apart, or are merged again, or nothing was told meanwhile.
pub fn told_while_merged(
    events: &[Stored],
    record: &Record,
    survivor: PatientId,
    part: &Part,
) -> Option<v1::ToldWhileMerged> {
    let (mut told, mut meanwhile, mut is_merged) = (Vec::new(), Vec::new(), false);
    for stored in events {
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { continue };
        let payload = Payload::decode(&event.r#type, &event.payload).unwrap_or(Payload::Unknown);
        let is_of = |id: &str| PatientId::parse(id).is_ok_and(|id| id == part.through);
        if let Payload::PatientsMerged(merge) = &payload {
            is_merged |= is_of(&merge.retired_patient_id);
        } else if let Payload::PatientsUnmerged(merge) = &payload {
            if is_of(&merge.retired_patient_id) {
                is_merged = false;
                told.append(&mut meanwhile);
            }
        } else if is_merged
            && payload.family() != Family::System
            && part.was_at(stored.placed.recorded_at)
        {
            meanwhile.push(said(stored, (event, &payload), record));
        }
    }
    let is_part_again = is_merged && part.through == part.record;
    if is_part_again || record.patient().retired_into() == Some(part.record) {
        return None;
    }
    let count = u32::try_from(told.len()).unwrap_or(u32::MAX);
    let events = told.split_off(told.len().saturating_sub(NAMED_MAX));
    (count > 0).then(|| v1::ToldWhileMerged {
        survivor_patient_id: survivor.to_string(),
        retired_patient_id: part.record.to_string(),
        count,
        events,
    })
}

/// When a record was merged into the one of these events.
pub fn spans(events: &[Stored], retired: PatientId) -> Vec<Span> {
    let (mut spans, mut since) = (Vec::new(), None);
    for stored in events {
        let at = stored.placed.recorded_at;
        match merge_or_end(stored) {
            Some((of, true)) if of == retired => since = Some(at),
            Some((of, false)) if of == retired => {
                spans.extend(since.take().map(|since| (since, at)));
            }
            Some(_) | None => {}
        }
    }
    spans.extend(since.map(|since| (since, Timestamp::MAX)));
    spans
}

/// The record that an event merges, or takes off again: then false.
fn merge_or_end(stored: &Stored) -> Option<(PatientId, bool)> {
    let event = v1::Event::decode(stored.record.clone()).ok()?;
    let (retired, is_merge) = match Payload::decode(&event.r#type, &event.payload) {
        Ok(Payload::PatientsMerged(merge)) => (merge.retired_patient_id, true),
        Ok(Payload::PatientsUnmerged(end)) => (end.retired_patient_id, false),
        Ok(_) | Err(_) => return None,
    };
    Some((PatientId::parse(&retired).ok()?, is_merge))
}

fn said(
    stored: &Stored,
    (event, payload): (v1::Event, &Payload),
    record: &Record,
) -> v1::ToldEvent {
    let error = |event| record.outcome(event).error;
    // Of what corrects an event that is in error, nothing is left either.
    let error = error(stored.event).or_else(|| error(corrected(payload)?));
    v1::ToldEvent {
        event_id: stored.event.to_string(),
        r#type: event.r#type,
        occurred_at: event.occurred_at,
        recorded_at: Some(to_wire(stored.placed.recorded_at)),
        actor: event.actor,
        sensitivity: event.sensitivity,
        entered_in_error_by_event_id: error.map(|by| by.to_string()).unwrap_or_default(),
    }
}

/// The event of which a correction says what holds instead.
fn corrected(payload: &Payload) -> Option<EventId> {
    let corrects = if let Payload::ValueCorrected(correction) = payload {
        &correction.corrects_event_id
    } else if let Payload::TimeCorrected(correction) = payload {
        &correction.corrects_event_id
    } else {
        return None;
    };
    EventId::parse(corrects).ok()
}
