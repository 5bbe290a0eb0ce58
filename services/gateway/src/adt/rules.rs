//! What the rules refuse of an encounter, said in the words of messages: who sends them knows no
//! encounter ids and no `occurred_at`, but trigger events and fields.

use tsunagi_bus::handler::SubmitError;
use tsunagi_domain::Refusal as Refused;
use tsunagi_domain::encounter::Refusal as Rule;

use super::acts::nothing_to_cancel;
use super::refusal::Refusal;
use super::trigger::Act;
use crate::known::StepKind;

/// Why what a message asks for was refused.
pub(super) fn refusal(act: Act, error: SubmitError, field: &str) -> Refusal {
    let SubmitError::Refused(Refused::Encounter(rule)) = &error else {
        return Refusal::of_submit(error, field);
    };
    if let (Rule::InFacilityAlready(other), Act::Cancel([StepKind::Discharged])) = (rule, act) {
        let message = format!(
            "the patient was admitted again after that discharge, and is in this facility under encounter {other}: if the patient never left, cancel that admission first (A11), and then send this again"
        );
        return Refusal::contradicts("PV1-45", "IN_FACILITY_ALREADY", &message);
    }
    let words = in_words(rule);
    let refusal = Refusal::of_submit(error, field);
    match words {
        Some(message) => Refusal { message, ..refusal },
        None => refusal,
    }
}

/// What a message's sender is to do about a rule. None where the rule says so itself.
fn in_words(rule: &Rule) -> Option<String> {
    let words = match rule {
        Rule::NotAdmitted => {
            "the patient was not in hospital under this visit then: send its admission first (A01), or, if it was taken back, once more; or correct the visit's number (PV1-19) or beginning (PV1-44)"
        }
        Rule::AlreadyAdmitted => {
            "the patient is in hospital under this visit already, since another time: to correct when it began, say so in PV1-44, with the visit's number in PV1-19; if it is another stay, send the end of this one first (A03)"
        }
        Rule::InFacilityAlready(other) => {
            return Some(format!(
                "at that time the patient is in this facility already, under encounter {other}: send the end of that stay first (A03); if it is the same stay, send this with its number (PV1-19) or beginning (PV1-44)"
            ));
        }
        Rule::AlreadyBegun => {
            "the visit had begun by then, and cannot be planned or registered any more: if it is another visit, give it a number (PV1-19) or beginning (PV1-44) of its own"
        }
        Rule::AlreadyEnded => {
            "the visit had ended by then: if the patient is still there, take its end back first (A13); if it is another visit, send its beginning first (A01, A04), with a number of its own in PV1-19"
        }
        Rule::OnLeave => {
            "the patient is on leave then: send the return first (A22), or take the leave back (A52)"
        }
        Rule::NotOnLeave => {
            "the patient is not on leave then: send first when the leave began (A21)"
        }
        Rule::OutOfOrder => {
            "at that time, this does not fit between what else is known of the visit: check the times in EVN-6, EVN-2, PV1-44 and PV1-45"
        }
        Rule::NothingToCancel(_) => return Some(nothing_to_cancel().message),
        Rule::LaterMoveDepends(later) => {
            return Some(format!(
                "event {later} builds on what this takes back: take that back first (A12 a move, A13 the end, A52 a leave, A53 a return), the last to happen first; or all of the visit at once (A23)"
            ));
        }
        Rule::EndsInFuture
        | Rule::ReadyBeforeAdmission
        | Rule::OtherFacility
        | Rule::CircularEpisode
        | Rule::NotTheFacility
        | Rule::ReadyAfterDischarge
        | Rule::ReadyTooFar
        | Rule::EndsBeforeItBegins => return None,
    };
    Some(words.to_owned())
}
