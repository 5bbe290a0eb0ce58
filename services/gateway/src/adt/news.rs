//! Who the patient is, as far as a message says more or otherwise than is known; and whether it is
//! that patient of whom it tells.

use tsunagi_domain::CareTime;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::demographics::{Update, sender};
use tsunagi_proto::v1;

use super::acts::Told;
use super::patient;
use super::refusal::Refusal;
use super::visit::{Said, Visit};
use crate::known::Known;
use crate::person::{Before, is_none_of, is_somebody_else, with_names};
use crate::text::cut;

/// The numbers of one patient.
pub(super) struct Numbers<'a> {
    pub(super) all: &'a [v1::Identifier],
    /// The message says so itself, and who is somebody else is no question.
    pub(super) are_one_person: bool,
    /// The message is there to say who the patient is by now.
    pub(super) is_correction: bool,
}

/// What a message says of who the patient is, beyond what is known.
pub(super) fn person(
    visit: &Visit<'_>,
    known: &Known,
    numbers: &Numbers<'_>,
    happened: Option<&Said>,
) -> Result<Vec<Told>, Refusal> {
    let (before, is_protected) = (known.demographics(), known.is_address_protected());
    let said = patient::said(visit.group, visit.profile, before, is_protected)?;
    let said_at = visit.written_at()?;
    if !known.is_registered() {
        // Known from the first thing that is told: not later than that happened.
        let at = match happened {
            Some(happened) if is_earlier(visit, happened, &said_at) => happened.clone(),
            Some(_) | None => said_at,
        };
        let at = Said { field: "PID-7", ..at };
        let demographics = Some(v1::Demographics { not_deceased: false, ..said.demographics });
        let identifiers = numbers.all.iter().take(20).cloned().collect();
        let registered = v1::PatientRegistered { identifiers, demographics };
        return Ok(vec![Told { at, payload: Payload::PatientRegistered(registered) }]);
    }
    let has = |number: &v1::Identifier| known.record().patient().has_identifier(&number.into());
    check_patient(known, numbers, &said.demographics)?;
    let mut told = Vec::new();
    let written = visit.care_time(&said_at.text);
    if let Some(news) = person_news(known, &by(visit), said, written) {
        let at = Said { field: "PID-7", ..said_at.clone() };
        told.push(Told { at, payload: Payload::DemographicsUpdated(news.into()) });
    }
    for number in numbers.all.iter().filter(|number| !has(number)) {
        let at = Said { field: "PID-3", ..said_at.clone() };
        let linked = v1::IdentifierLinked { identifier: Some(number.clone()) };
        told.push(Told { at, payload: Payload::IdentifierLinked(linked) });
    }
    Ok(told)
}

/// What of a message is news of a patient who is known. By when it was written: what it tells of may
/// be long past. Of two words of one time, the one that came later holds, and the one before does
/// not come back: its message may have come again.
fn person_news(known: &Known, by: &str, said: Update, written: Option<CareTime>) -> Option<Update> {
    let words = known.words(|actor, source| sender(actor, source) == by, false);
    let said = with_names(said, known.demographics(), &words);
    let before = Before {
        known: known.demographics(),
        is_withheld: false,
        was_protected: known.was_address_protected(),
        words: &words,
        written,
        may_have_come: !words.are_before(written),
    };
    before.news(said)
}

/// Whose word the events of a message are.
fn by(visit: &Visit<'_>) -> String {
    let organisation = visit.profile.facility.id.clone();
    let system = cut(&visit.group.field("MSH", 3).first(), 64);
    let actor = v1::Actor { organisation, ..v1::Actor::default() };
    sender(Some(&actor), Some(&v1::Source { system, ..v1::Source::default() }))
}

/// Refuses what a message says of somebody else under a number of this patient's. A number that
/// is new here must belong to the patient as known now; one that is known, to the patient as
/// anybody ever said, unless the message is there to correct that.
fn check_patient(
    known: &Known,
    numbers: &Numbers<'_>,
    said: &v1::Demographics,
) -> Result<(), Refusal> {
    let has = |number: &v1::Identifier| known.record().patient().has_identifier(&number.into());
    let is_mismatch = if numbers.are_one_person {
        false
    } else if numbers.all.first().is_some_and(has) {
        !numbers.is_correction && is_none_of(said, &known.born())
    } else {
        is_somebody_else(known.demographics(), said)
    };
    if !is_mismatch {
        return Ok(());
    }
    Err(Refusal::contradicts(
        "PID-3",
        "PATIENT_MISMATCH",
        "one of its numbers belongs to a patient of another birth date or sex: find out whose number it is, and correct the message; or, if it is the same person, correct the patient first (A31), and then send this again",
    ))
}

fn is_earlier(visit: &Visit<'_>, one: &Said, other: &Said) -> bool {
    let times = [one, other].map(|said| visit.care_time(&said.text));
    matches!(times, [Some(one), Some(other)] if one.earliest() < other.earliest())
}
