//! What a newer version of an Encounter says otherwise than an event that was made of an older one:
//! corrections of that event. What it leaves out stays as it was said.

use tsunagi_domain::{CareTime, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::directory::key;
use super::map::Mapper;
use super::resource::Encounter;
use super::stations::stations;
use crate::known::said_instead;

/// What a version says in the place of what is known to be said, where a patient is `now`.
pub(crate) fn merged(
    encounter: &Encounter,
    known: &Payload,
    said: Payload,
    now: Option<&v1::Place>,
) -> Payload {
    match (known, said) {
        (Payload::Admitted(known), Payload::Admitted(said)) => {
            // The first place that is named may be one to which the patient came later.
            let said_place = said.place.filter(|_| later_first(encounter).is_none());
            Payload::Admitted(v1::Admitted {
                place: place(known.place.as_ref(), said_place, now),
                admit_source: said.admit_source.or_else(|| known.admit_source.clone()),
                preceding_encounter_id: or(
                    said.preceding_encounter_id,
                    &known.preceding_encounter_id,
                ),
                attending: said.attending.or_else(|| known.attending.clone()),
                visit_number: known.visit_number.clone().or(said.visit_number),
                ..known.clone()
            })
        }
        (Payload::EncounterRegistered(known), Payload::EncounterRegistered(said)) => {
            let ended_at = if encounter.goes_on() {
                said.ended_at
            } else {
                or(said.ended_at, &known.ended_at)
            };
            Payload::EncounterRegistered(v1::EncounterRegistered {
                class: said.class,
                place: place(known.place.as_ref(), said.place, now),
                ended_at,
                preceding_encounter_id: or(
                    said.preceding_encounter_id,
                    &known.preceding_encounter_id,
                ),
                attending: said.attending.or_else(|| known.attending.clone()),
                visit_number: known.visit_number.clone().or(said.visit_number),
                ..known.clone()
            })
        }
        (Payload::AdmissionPlanned(known), Payload::AdmissionPlanned(said)) => {
            Payload::AdmissionPlanned(v1::AdmissionPlanned {
                place: place(known.place.as_ref(), said.place, None),
                ..known.clone()
            })
        }
        (Payload::Transferred(known), Payload::Transferred(said)) => {
            let to = place(known.to.as_ref(), said.to, None);
            Payload::Transferred(v1::Transferred { to, ..known.clone() })
        }
        (Payload::Discharged(known), Payload::Discharged(said)) => {
            let disposition = said.disposition.or_else(|| known.disposition.clone());
            Payload::Discharged(v1::Discharged { disposition, ..known.clone() })
        }
        (known, _) => known.clone(),
    }
}

impl Mapper<'_> {
    /// The move to the first place that a version names, if the patient came there after the
    /// beginning of the stay.
    pub(crate) fn first_move(&self, encounter: &Encounter) -> Option<v1::Event> {
        let at = later_first(encounter)?;
        let (_, places) = stations(encounter).into_iter().next()?;
        let encounter_key = key("Encounter", &encounter.id);
        let provider = self.provider(encounter);
        let moved = Payload::Transferred(v1::Transferred {
            encounter_id: self.encounter_id(&encounter_key),
            to: Some(self.place(encounter, &places, &provider)),
        });
        let about = self.about(encounter, &encounter_key, &provider);
        Some(self.event(&about, &format!("moved {at}"), &at, &moved))
    }

    /// That this was to be said, and not what that event says. It was said when the version was
    /// written, which makes it the same however often it comes.
    pub(crate) fn value_corrected(
        &self,
        encounter: &Encounter,
        event: &str,
        instead: &Payload,
    ) -> v1::Event {
        let correction = said_instead(event, instead);
        self.correction(encounter, &format!("corrected {event}"), &correction)
    }

    /// That it happened then.
    pub(crate) fn time_corrected(&self, encounter: &Encounter, event: &str, at: &str) -> v1::Event {
        let correction = Payload::TimeCorrected(v1::TimeCorrected {
            corrects_event_id: event.to_owned(),
            occurred_at: at.to_owned(),
            ..v1::TimeCorrected::default()
        });
        self.correction(encounter, &format!("time corrected {event}"), &correction)
    }

    fn correction(&self, encounter: &Encounter, fact: &str, correction: &Payload) -> v1::Event {
        let encounter_key = key("Encounter", &encounter.id);
        let provider = self.provider(encounter);
        let about = self.about(encounter, &encounter_key, &provider);
        let written = self.written(encounter);
        self.event(&about, &format!("{fact} {written}"), &self.past(written), correction)
    }
}

/// When the patient came to the first place that is named, if that was after the beginning.
fn later_first(encounter: &Encounter) -> Option<String> {
    let (at, _) = stations(encounter).into_iter().next()?;
    let moment = |text: &str| CareTime::parse(text, &Zone::utc()).ok();
    let is_later = moment(&encounter.period.start).zip(moment(&at));
    is_later.is_some_and(|(start, at)| start.is_before(&at)).then_some(at)
}

fn or(said: String, known: &str) -> String {
    if said.is_empty() { known.to_owned() } else { said }
}

/// Where it was. A place to which the patient has moved since is no other one.
fn place(
    known: Option<&v1::Place>,
    said: Option<v1::Place>,
    now: Option<&v1::Place>,
) -> Option<v1::Place> {
    let (Some(known), Some(said)) = (known, said) else { return known.cloned() };
    let facility = |place: &v1::Place| place.facility.as_ref().map(|of| of.id.clone());
    let is_there = facility(&said) == facility(known);
    let is_now = now.is_some_and(|now| !is_elsewhere(&said, now));
    if is_there && (is_now || !is_elsewhere(&said, known)) {
        return Some(known.clone());
    }
    // A room is one of its ward.
    let is_same_ward = said.ward.is_empty() || said.ward == known.ward;
    let [room, bed] = if is_same_ward { [&*known.room, &*known.bed] } else { ["", ""] };
    Some(v1::Place {
        facility: if is_there { known.facility.clone() } else { said.facility },
        department: or(said.department, &known.department),
        ward: or(said.ward, &known.ward),
        room: or(said.room, room),
        bed: or(said.bed, bed),
    })
}

fn is_elsewhere(said: &v1::Place, known: &v1::Place) -> bool {
    let differs = |said: &str, known: &str| !said.is_empty() && said != known;
    differs(&said.department, &known.department)
        || differs(&said.ward, &known.ward)
        || differs(&said.room, &known.room)
        || differs(&said.bed, &known.bed)
}
