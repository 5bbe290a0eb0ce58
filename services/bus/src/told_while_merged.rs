//! What was told in a record while another was merged into it. It stays where it was told when the
//! two are taken apart; whose it is, somebody has to say. The list stays the same then: of each event
//! it says what became of it.

use prost::Message as _;
use tsunagi_domain::{PatientId, Record};
use tsunagi_proto::catalogue::{Family, Payload};
use tsunagi_proto::v1;

use crate::handler::to_wire;
use crate::port::Stored;

/// So many events are named, the newest; of more, only how many there are.
const NAMED_MAX: usize = 1000;

/// What was told in the record of `survivor` while `retired` was merged into it, now that it is not
/// any more. `events` are all of the record's, and `record` what follows from them. None if the two
/// were never taken apart, or are merged again, or nothing was told meanwhile.
pub fn told_while_merged(
    events: &[Stored],
    record: &Record,
    survivor: PatientId,
    retired: PatientId,
) -> Option<v1::ToldWhileMerged> {
    let (mut told, mut meanwhile, mut is_merged) = (Vec::new(), Vec::new(), false);
    for stored in events {
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { continue };
        let payload = Payload::decode(&event.r#type, &event.payload).unwrap_or(Payload::Unknown);
        let is_of = |id: &str| PatientId::parse(id).is_ok_and(|id| id == retired);
        if let Payload::PatientsMerged(merge) = &payload {
            is_merged |= is_of(&merge.retired_patient_id);
        } else if let Payload::PatientsUnmerged(merge) = &payload {
            if is_of(&merge.retired_patient_id) {
                is_merged = false;
                told.append(&mut meanwhile);
            }
        } else if is_merged && payload.family() != Family::System {
            meanwhile.push(said(stored, event, record));
        }
    }
    if is_merged {
        return None;
    }
    let count = u32::try_from(told.len()).unwrap_or(u32::MAX);
    let events = told.split_off(told.len().saturating_sub(NAMED_MAX));
    (count > 0).then(|| v1::ToldWhileMerged {
        survivor_patient_id: survivor.to_string(),
        retired_patient_id: retired.to_string(),
        count,
        events,
    })
}

fn said(stored: &Stored, event: v1::Event, record: &Record) -> v1::ToldEvent {
    let error = record.outcome(stored.event).error;
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
