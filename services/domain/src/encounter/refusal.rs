//! Why a command about an encounter is refused.

use crate::id::{EncounterId, EventId};

/// Why a command about an encounter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "the patient is not in hospital under this encounter: admit the patient first, or check the encounter id"
    )]
    NotAdmitted,
    #[error("the patient is already admitted under this encounter")]
    AlreadyAdmitted,
    #[error(
        "at that time the patient is in this facility already, under encounter {0}: use that encounter, or discharge the patient from it first"
    )]
    InFacilityAlready(EncounterId),
    #[error(
        "the encounter has begun already: its admission can no longer be planned, nor its visit registered"
    )]
    AlreadyBegun,
    #[error(
        "the encounter has ended: cancel the discharge first if the patient is still there, or take a new encounter id for a new stay"
    )]
    AlreadyEnded,
    #[error("the patient is on leave: record the return first")]
    OnLeave,
    #[error("the patient is not on leave")]
    NotOnLeave,
    #[error(
        "at the time given, this does not fit between the encounter's other moves: check `occurred_at` against the timeline"
    )]
    OutOfOrder,
    #[error("`ended_at` lies in the future: leave it out until the visit has ended")]
    EndsInFuture,
    #[error(
        "the place is in another facility than this encounter is, or is planned to be: give what happens there an encounter of its own, and end this one here, or cancel its plan"
    )]
    OtherFacility,
    #[error(
        "event {0} is not in effect as what is to be cancelled: it is unknown, of another kind, replaced, or cancelled already"
    )]
    NothingToCancel(EventId),
    #[error("event {0} builds on what is to be cancelled: cancel it first")]
    LaterMoveDepends(EventId),
    #[error(
        "an encounter cannot continue itself, directly or through others: check `preceding_encounter_id`"
    )]
    CircularEpisode,
    #[error(
        "only the facility where the patient is says this: an entry on its behalf names it in `on_behalf_of`"
    )]
    NotTheFacility,
    #[error(
        "the first day on which the patient could leave lies before the admission: check `ready_on`"
    )]
    ReadyBeforeAdmission,
    #[error(
        "the first day on which the patient could leave lies after the discharge: check `ready_on`"
    )]
    ReadyAfterDischarge,
    #[error(
        "the first day on which the patient could leave lies more than a year ahead: check `ready_on`, and declare it when it is known"
    )]
    ReadyTooFar,
    #[error("a visit that has ended must end after it began: check `ended_at`")]
    EndsBeforeItBegins,
}
