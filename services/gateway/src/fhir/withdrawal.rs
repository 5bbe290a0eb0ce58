//! Encounters that did not happen after all: what takes back what was said of them.

use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::directory::key;
use super::map::{Mapper, PERSON};
use super::resource::Encounter;

type Cancel = fn(v1::EncounterCancellation) -> Payload;

/// The moves that are said of an encounter, in the order in which they can be taken back.
const MOVES: [(&str, Cancel); 4] = [
    ("care.encounter.discharged.v1", Payload::DischargeCancelled),
    ("care.encounter.transferred.v1", Payload::TransferCancelled),
    ("care.encounter.admitted.v1", Payload::AdmitCancelled),
    ("care.encounter.registered.v1", Payload::RegistrationCancelled),
];
const PLAN: (&str, Cancel) =
    ("care.encounter.admission_planned.v1", Payload::AdmissionPlannedCancelled);

impl Mapper<'_> {
    /// What an import said of an encounter, out of the patient's timeline. What others said of
    /// it is not among it: that is theirs to take back.
    pub fn said_of<'t>(
        &self,
        encounter: &Encounter,
        timeline: &'t [v1::TimelineEntry],
    ) -> Vec<&'t v1::TimelineEntry> {
        let encounter_id = self.encounter_id(&key("Encounter", &encounter.id));
        let is_said = |entry: &&v1::TimelineEntry| {
            entry.encounter_id == encounter_id
                && entry.actor.as_ref().is_some_and(|actor| actor.person == PERSON)
        };
        timeline.iter().filter(is_said).collect()
    }

    /// What takes back what was `said` of an encounter, in groups of which all or none are
    /// taken: its moves, and each plan, of which only the last is in force.
    pub fn cancellations(
        &self,
        encounter: &Encounter,
        said: &[&v1::TimelineEntry],
    ) -> Vec<Vec<v1::Event>> {
        let of = |(event_type, cancel): (&str, Cancel)| {
            let stands = |entry: &&&v1::TimelineEntry| {
                entry.r#type == event_type
                    && entry.cancelled_by_event_id.is_empty()
                    && entry.entered_in_error_by_event_id.is_empty()
            };
            let events = said.iter().filter(stands).map(|entry| (entry.event_id.clone(), cancel));
            events.collect::<Vec<_>>()
        };
        let moves = MOVES.into_iter().flat_map(of);
        let moves = moves.map(|(event, cancel)| self.cancellation(encounter, event, cancel));
        let plans = of(PLAN).into_iter();
        let plans = plans.map(|(event, cancel)| vec![self.cancellation(encounter, event, cancel)]);
        let mut groups = vec![moves.collect()];
        groups.extend(plans);
        groups.retain(|group: &Vec<v1::Event>| !group.is_empty());
        groups
    }

    fn cancellation(
        &self,
        encounter: &Encounter,
        cancelled_event_id: String,
        cancel: Cancel,
    ) -> v1::Event {
        let encounter_key = key("Encounter", &encounter.id);
        let provider = self.provider(encounter);
        let about = self.about(encounter, &encounter_key, &provider);
        let fact = format!("cancelled {cancelled_event_id}");
        let encounter_id = self.encounter_id(&encounter_key);
        let reason = encounter.status.clone();
        let cancellation = v1::EncounterCancellation { encounter_id, cancelled_event_id, reason };
        // When it was cancelled is not said; that it is known now is.
        self.event(&about, &fact, self.now, &cancel(cancellation))
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::Directory;
    use super::super::ids::Ids;
    use super::*;

    #[test]
    fn moves_are_taken_back_together_and_last_first_and_plans_one_by_one() {
        let (ids, directory) = (Ids::new("fhir"), Directory::default());
        let mapper = Mapper { ids: &ids, directory: &directory, now: "2026-05-01T00:00:00Z" };
        let encounter = Encounter { id: "e1".to_owned(), ..Encounter::default() };
        let entry = |event_type: &str, person: &str, cancelled_by: &str| v1::TimelineEntry {
            event_id: format!("{event_type} {person}"),
            r#type: format!("care.encounter.{event_type}.v1"),
            encounter_id: ids.encounter("Encounter/e1").to_string(),
            actor: Some(v1::Actor { person: person.to_owned(), ..Default::default() }),
            cancelled_by_event_id: cancelled_by.to_owned(),
            ..Default::default()
        };
        let mut elsewhere = entry("admitted", PERSON, "");
        elsewhere.encounter_id = ids.encounter("Encounter/e2").to_string();
        let timeline = [
            entry("admission_planned", PERSON, ""),
            entry("registered", PERSON, "77"),
            entry("admitted", PERSON, ""),
            entry("leave_started", "nurse-1", ""),
            entry("transferred", PERSON, ""),
            entry("discharged", PERSON, ""),
            elsewhere,
        ];
        let said = mapper.said_of(&encounter, &timeline);
        assert_eq!(said.len(), 5);
        let groups = mapper.cancellations(&encounter, &said);
        let types = |group: &Vec<v1::Event>| {
            group.iter().map(|event| event.r#type.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            groups.iter().map(types).collect::<Vec<_>>(),
            [
                vec![
                    "care.encounter.discharge_cancelled.v1",
                    "care.encounter.transfer_cancelled.v1",
                    "care.encounter.admit_cancelled.v1",
                ],
                vec!["care.encounter.admission_planned_cancelled.v1"],
            ]
        );
        assert!(mapper.cancellations(&encounter, &[]).is_empty());
    }
}
