//! What events did to encounters, in the words of messages.

use tsunagi_domain::correction::{Change, Correction};
use tsunagi_domain::encounter::Event as EncounterEvent;
use tsunagi_domain::place::Place;
use tsunagi_domain::{CareTime, EncounterId, EventId, Fact};
use tsunagi_proto::v1;

/// What an event did to an encounter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepKind {
    AdmissionPlanned,
    Registered,
    Admitted,
    TransferPlanned,
    Transferred,
    LeaveStarted,
    LeaveReturned,
    DischargePlanned,
    Discharged,
}

/// A step of an encounter that is in effect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) event: EventId,
    pub(crate) encounter: EncounterId,
    pub(crate) kind: StepKind,
    pub(crate) at: CareTime,
    /// Where to, if the step leads anywhere.
    pub(crate) place: Option<v1::Place>,
    /// When what is planned is to happen.
    pub(crate) planned_at: Option<CareTime>,
    /// The person in whose name it was said.
    pub(crate) by: String,
}

impl StepKind {
    /// The type of the event that takes the step.
    pub(crate) fn event_type(self) -> &'static str {
        match self {
            Self::AdmissionPlanned => "care.encounter.admission_planned.v1",
            Self::Registered => "care.encounter.registered.v1",
            Self::Admitted => "care.encounter.admitted.v1",
            Self::TransferPlanned => "care.encounter.transfer_planned.v1",
            Self::Transferred => "care.encounter.transferred.v1",
            Self::LeaveStarted => "care.encounter.leave_started.v1",
            Self::LeaveReturned => "care.encounter.leave_returned.v1",
            Self::DischargePlanned => "care.encounter.discharge_planned.v1",
            Self::Discharged => "care.encounter.discharged.v1",
        }
    }
}

/// The step that an event takes, or that a correction says was taken instead.
pub(super) fn taken_by(happened: &tsunagi_domain::Event, by: &str) -> Option<Step> {
    let (encounter, fact) = match &happened.fact {
        Fact::Encounter(encounter, fact) => (*encounter, fact),
        Fact::Correction(Correction { change: Change::Value(fact), .. }) => match &**fact {
            Fact::Encounter(encounter, fact) => (*encounter, fact),
            Fact::Identity(_)
            | Fact::TransferRequest(..)
            | Fact::Referral(..)
            | Fact::Case(..)
            | Fact::Document(_)
            | Fact::Correction(_) => return None,
        },
        Fact::Identity(_)
        | Fact::TransferRequest(..)
        | Fact::Referral(..)
        | Fact::Case(..)
        | Fact::Document(_)
        | Fact::Correction(_) => return None,
    };
    let (kind, place, planned_at) = step(fact)?;
    let (event, at) = (happened.stamp.event, happened.stamp.occurred_at);
    Some(Step { event, encounter, kind, at, place, planned_at, by: by.to_owned() })
}

pub(super) fn step(
    event: &EncounterEvent,
) -> Option<(StepKind, Option<v1::Place>, Option<CareTime>)> {
    let to = |place: &Place| Some(place.into());
    Some(match event {
        EncounterEvent::AdmissionPlanned(plan) => {
            (StepKind::AdmissionPlanned, to(&plan.place), Some(plan.planned_at))
        }
        EncounterEvent::VisitRegistered(visit) => (StepKind::Registered, to(&visit.place), None),
        EncounterEvent::Admitted(admission) => (StepKind::Admitted, to(&admission.place), None),
        EncounterEvent::TransferPlanned(plan) => {
            (StepKind::TransferPlanned, to(&plan.to), Some(plan.planned_at))
        }
        EncounterEvent::Transferred(transfer) => (StepKind::Transferred, to(&transfer.to), None),
        EncounterEvent::LeaveStarted(()) => (StepKind::LeaveStarted, None, None),
        EncounterEvent::LeaveReturned(()) => (StepKind::LeaveReturned, None, None),
        EncounterEvent::DischargePlanned(plan) => {
            (StepKind::DischargePlanned, None, Some(plan.planned_at))
        }
        EncounterEvent::Discharged(()) | EncounterEvent::DischargedDeceased(()) => {
            (StepKind::Discharged, None, None)
        }
        EncounterEvent::PlannedAdmissionCancelled(_)
        | EncounterEvent::VisitCancelled(_)
        | EncounterEvent::AdmissionCancelled(_)
        | EncounterEvent::PlannedTransferCancelled(_)
        | EncounterEvent::TransferCancelled(_)
        | EncounterEvent::LeaveCancelled(_)
        | EncounterEvent::ReturnCancelled(_)
        | EncounterEvent::PlannedDischargeCancelled(_)
        | EncounterEvent::DischargeCancelled(_) => return None,
    })
}
