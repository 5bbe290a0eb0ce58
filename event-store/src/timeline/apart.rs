//! Records that were merged and taken apart again: what was told meanwhile stays in the one that
//! survived, and both list it, with what became of each event since; unless they are merged again.
//! What a record was part of through another, it lists as well.

use std::collections::BTreeSet;

use prost::Message as _;
use tsunagi_bus::Stored;
use tsunagi_bus::patients::MERGES_READ_MAX;
use tsunagi_bus::told_while_merged::{Part, Span, spans, told_while_merged};
use tsunagi_domain::PatientId;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::{Other, ReadOther, Timeline, View};

/// What was told while the record of these events was merged with others.
pub(super) fn told_meanwhile<E>(
    timeline: &Timeline,
    shown: &[Stored],
    view: View,
    read: ReadOther<'_, E>,
) -> Result<Vec<v1::ToldWhileMerged>, E> {
    let Some(patient) = timeline.patient else { return Ok(Vec::new()) };
    let mut ties = Ties::default();
    timeline.entries.iter().for_each(|entry| ties.see(&entry.payload));
    let Ties { retired, former, .. } = ties;
    if retired.is_empty() && former.is_empty() {
        return Ok(Vec::new());
    }
    let mut told = Vec::new();
    for retired in retired {
        let meanwhile =
            told_while_merged(shown, timeline.record(), patient, &Part::itself(retired));
        told.extend(meanwhile.map(|told| (retired, told)));
    }
    let part = Part::itself(patient);
    for (survivor, meanwhile) in told_above(timeline, &part, &former, (view, &mut *read))? {
        told.push((survivor, meanwhile));
    }
    let mut listed = Vec::with_capacity(told.len());
    if !told.is_empty() {
        let own = last_survivor(patient, (view, &mut *read))?;
        for (other, told) in told {
            if last_survivor(other, (view, &mut *read))? != own {
                listed.push(told);
            }
        }
    }
    Ok(listed)
}

/// What was told in records while another was part of them, and the records: in those into which it
/// was merged, and in those of which these were part then.
fn told_above<E>(
    timeline: &Timeline,
    part: &Part,
    survivors: &BTreeSet<PatientId>,
    (view, read): (View, ReadOther<'_, E>),
) -> Result<Vec<(PatientId, v1::ToldWhileMerged)>, E> {
    let (mut told, mut left) = (Vec::new(), Vec::new());
    left.extend(survivors.iter().map(|survivor| (*survivor, part.clone(), MERGES_READ_MAX)));
    while let Some((survivor, part, depth)) = left.pop() {
        let events = known(survivor, (view, &mut *read))?;
        let record = Timeline::fold(&events, &timeline.zone, View::default()).record;
        let meanwhile = told_while_merged(&events, &record, survivor, &part);
        told.extend(meanwhile.map(|told| (survivor, told)));
        let times = shared(&part.times, &spans(&events, part.through));
        let Some(depth) = depth.checked_sub(1).filter(|_| !times.is_empty()) else { continue };
        let Ties { former, survivor: into, .. } = Ties::of(&events);
        // It may be part again of one of which it was.
        let above: BTreeSet<PatientId> = former.into_iter().chain(into).collect();
        for above in above {
            let part = Part { through: survivor, times: times.clone(), ..part };
            left.push((above, part, depth));
        }
    }
    Ok(told)
}

/// The times that are in both.
fn shared(some: &[Span], others: &[Span]) -> Vec<Span> {
    let both = |one: &Span| {
        let (from, to) = *one;
        others.iter().map(move |(since, until)| (from.max(*since), to.min(*until)))
    };
    some.iter().flat_map(both).filter(|(from, to)| from <= to).collect()
}

/// The record in which a patient's is read now.
fn last_survivor<E>(
    patient: PatientId,
    (view, read): (View, ReadOther<'_, E>),
) -> Result<PatientId, E> {
    let mut last = patient;
    for _ in 0..MERGES_READ_MAX {
        let Some(into) = Ties::of(&known(last, (view, &mut *read))?).survivor else { break };
        last = into;
    }
    Ok(last)
}

/// What was known of another record.
fn known<E>(patient: PatientId, (view, read): (View, ReadOther<'_, E>)) -> Result<Vec<Stored>, E> {
    let mut events = read(Other::Person(patient))?;
    let known = events.iter().take_while(|stored| view.knows(stored)).count();
    events.truncate(known);
    Ok(events)
}

/// With which records one was merged.
#[derive(Default)]
struct Ties {
    /// The records that were merged into it and taken off again.
    retired: BTreeSet<PatientId>,
    /// Those that it was merged into, and is not any more.
    former: BTreeSet<PatientId>,
    /// The one that it is merged into.
    survivor: Option<PatientId>,
}

impl Ties {
    fn of(events: &[Stored]) -> Self {
        let mut ties = Self::default();
        for stored in events {
            let Ok(event) = v1::Event::decode(stored.record.clone()) else { continue };
            if !event.r#type.starts_with("care.patient.") {
                continue;
            }
            if let Ok(payload) = Payload::decode(&event.r#type, &event.payload) {
                ties.see(&payload);
            }
        }
        ties
    }

    /// Takes in the next event of the record.
    fn see(&mut self, payload: &Payload) {
        if let Payload::PatientsUnmerged(end) = payload {
            self.retired.extend(PatientId::parse(&end.retired_patient_id));
        } else if let Payload::PatientRetired(into) = payload {
            self.survivor = PatientId::parse(&into.survivor_patient_id).ok();
        } else if let Payload::PatientRestored(_) = payload {
            self.former.extend(self.survivor.take());
        }
    }
}
