//! Where a patient was in the course of a stay.

use tsunagi_domain::{CareTime, Zone};

use super::resource::{Encounter, EncounterLocation};

/// The places of a stay, by the time from which the patient was there; the first is where the
/// patient was admitted to.
pub(super) fn stations(encounter: &Encounter) -> Vec<(String, Vec<EncounterLocation>)> {
    let moment = |at: &str| CareTime::parse(at, &Zone::utc()).ok().map(|time| time.earliest());
    let start = &encounter.period.start;
    let mut stations: Vec<(String, Vec<EncounterLocation>)> = Vec::new();
    for location in encounter.location.iter().filter(|location| !location.is_to_come()) {
        let from = &location.period.start;
        let from = if from.is_empty() { start } else { from };
        let is_then =
            |at: &str| at == from || moment(at).is_some_and(|at| Some(at) == moment(from));
        match stations.iter_mut().find(|(at, _)| is_then(at)) {
            Some((_, places)) => places.push(location.clone()),
            None => stations.push((from.clone(), vec![location.clone()])),
        }
    }
    // What has no time that can be read comes last; the server will say what is wrong with it.
    stations.sort_by_key(|(at, _)| (moment(at).is_none(), moment(at)));
    // Of the places that the patient came to before the stay or with it, the last is the one
    // admitted to.
    let is_by_start = |at: &str| moment(at).is_some_and(|at| Some(at) <= moment(start));
    let by_start = stations.iter().filter(|(at, _)| is_by_start(at)).count();
    stations.drain(..by_start.saturating_sub(1));
    stations
}

#[cfg(test)]
mod tests {
    use super::super::resource::{Period, Reference};
    use super::*;

    const START: &str = "2026-03-01T22:30:00+09:00";

    fn at(place: &str, from: &str, status: &str) -> EncounterLocation {
        EncounterLocation {
            location: Reference { reference: place.to_owned(), ..Reference::default() },
            status: status.to_owned(),
            period: Period { start: from.to_owned(), ..Period::default() },
        }
    }

    fn stay(location: Vec<EncounterLocation>) -> Vec<(String, Vec<String>)> {
        let period = Period { start: START.to_owned(), ..Period::default() };
        let stations = stations(&Encounter { period, location, ..Encounter::default() });
        let names = |places: Vec<EncounterLocation>| {
            places.into_iter().map(|place| place.location.reference).collect()
        };
        stations.into_iter().map(|(at, places)| (at, names(places))).collect()
    }

    fn station(from: &str, places: &[&str]) -> (String, Vec<String>) {
        (from.to_owned(), places.iter().map(|&place| place.to_owned()).collect())
    }

    #[test]
    fn stations_are_in_the_order_of_time_however_it_is_written() {
        let stations = stay(vec![
            at("last", "2026-03-03T00:30:00Z", ""),
            at("second", "2026-03-03T09:00:00+09:00", "completed"),
            at("odd", "some day", ""),
            at("ward", "", "active"),
            at("bed", "2026-03-01T13:30:00Z", ""),
        ]);
        assert_eq!(
            stations,
            [
                station(START, &["ward", "bed"]),
                station("2026-03-03T09:00:00+09:00", &["second"]),
                station("2026-03-03T00:30:00Z", &["last"]),
                station("some day", &["odd"]),
            ]
        );
    }

    #[test]
    fn a_place_that_is_planned_or_reserved_is_no_station() {
        let stations = stay(vec![
            at("4E", "", "active"),
            at("5W", "2026-03-04", "planned"),
            at("6N", "2026-03-05", "reserved"),
        ]);
        assert_eq!(stations, [station(START, &["4E"])]);
        assert!(stay(vec![at("5W", "", "planned")]).is_empty());
    }

    #[test]
    fn a_patient_is_admitted_to_the_last_place_come_to_by_then() {
        let (before, then) = ("2026-03-01T20:00:00+09:00", "2026-03-01T21:00:00+09:00");
        let stations = stay(vec![at("ward", then, ""), at("emergency", before, "")]);
        assert_eq!(stations, [station(then, &["ward"])]);
        let stations = stay(vec![at("ward", "2026-03-02", "")]);
        assert_eq!(stations, [station("2026-03-02", &["ward"])], "the first that is known");
    }
}
