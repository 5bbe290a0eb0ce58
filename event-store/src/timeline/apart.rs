//! Records that were merged and taken apart again: what was told meanwhile stays in the one that
//! survived, and both list it, with what became of each event since; unless they are merged again.

use std::collections::BTreeSet;

use tsunagi_bus::Stored;
use tsunagi_bus::told_while_merged::told_while_merged;
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
    let (retired, survivors) = parted(timeline);
    let record = timeline.record();
    let own = retired.into_iter().map(|id| told_while_merged(shown, record, patient, id));
    let mut told: Vec<_> = own.flatten().collect();
    for survivor in survivors {
        let events = read(Other::Person(survivor))?;
        let known = events.iter().take_while(|stored| view.knows(stored)).count();
        let (known, _) = events.split_at(known);
        let record = Timeline::fold(known, &timeline.zone, View::default()).record;
        told.extend(told_while_merged(known, &record, survivor, patient));
    }
    Ok(told)
}

/// The records that were merged into this one and taken off again, and those that this one was
/// merged into.
fn parted(timeline: &Timeline) -> (BTreeSet<PatientId>, BTreeSet<PatientId>) {
    let (mut retired, mut survivors) = (BTreeSet::new(), BTreeSet::new());
    for entry in &timeline.entries {
        if let Payload::PatientsUnmerged(end) = &entry.payload {
            retired.extend(PatientId::parse(&end.retired_patient_id));
        } else if let Payload::PatientRestored(end) = &entry.payload {
            survivors.extend(PatientId::parse(&end.survivor_patient_id));
        }
    }
    (retired, survivors)
}
