//! Where a patient was in the course of a stay.

use super::resource::{Encounter, EncounterLocation};

/// The places of a stay, by the time from which the patient was there; the first is where the
/// patient was admitted to.
pub(super) fn stations(encounter: &Encounter) -> Vec<(String, Vec<EncounterLocation>)> {
    let start = &encounter.period.start;
    let mut stations: Vec<(String, Vec<EncounterLocation>)> = vec![(start.clone(), Vec::new())];
    for location in &encounter.location {
        let from = &location.period.start;
        let from = if from.is_empty() { start } else { from };
        match stations.iter_mut().find(|(at, _)| at == from) {
            Some((_, places)) => places.push(location.clone()),
            None => stations.push((from.clone(), vec![location.clone()])),
        }
    }
    // Without any place at the beginning, the first that is known is taken for it.
    if stations.len() > 1 && stations.first().is_some_and(|(_, places)| places.is_empty()) {
        stations.remove(0);
    }
    stations
}
