//! One visit or stay at one facility: planned, admitted, moved, on leave, discharged.
//!
//! The moves of an encounter form a path. A move is accepted if it has a place on that path
//! which agrees with its time and leaves the path legal, or had one then, so that news may arrive
//! late. A cancelled move is taken off the path, as though it had not been; a cancel that is told
//! late may overtake the move that it cancels.

mod moves;
mod plans;
mod refusal;
mod rules;
mod standing;
#[cfg(test)]
mod testing;

use std::collections::BTreeSet;

use self::moves::{Move, Voice};
use self::plans::Plans;
pub use self::refusal::Refusal;
use crate::id::{EncounterId, EventId};
use crate::pairs::commands_and_events;
use crate::path::Path;
use crate::place::Place;
use crate::record::{Stamp, Turn};
use crate::time::CareTime;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Inpatient,
    Outpatient,
    Emergency,
    Home,
    Virtual,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlannedAdmission {
    pub planned_at: CareTime,
    pub place: Place,
    pub preceding: Option<EncounterId>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Visit {
    pub class: Class,
    pub place: Place,
    pub ended_at: Option<CareTime>,
    pub preceding: Option<EncounterId>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    pub place: Place,
    pub preceding: Option<EncounterId>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTransfer {
    pub planned_at: CareTime,
    pub to: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub struct WardTransfer {
    pub to: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlannedDischarge {
    pub planned_at: CareTime,
}

/// Names the event that is cancelled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cancellation {
    pub cancelled: EventId,
}

commands_and_events! {
    PlanAdmission => AdmissionPlanned(PlannedAdmission),
    CancelPlannedAdmission => PlannedAdmissionCancelled(Cancellation),
    RegisterVisit => VisitRegistered(Visit),
    CancelVisit => VisitCancelled(Cancellation),
    Admit => Admitted(Admission),
    CancelAdmission => AdmissionCancelled(Cancellation),
    PlanTransfer => TransferPlanned(PlannedTransfer),
    CancelPlannedTransfer => PlannedTransferCancelled(Cancellation),
    Transfer => Transferred(WardTransfer),
    CancelTransfer => TransferCancelled(Cancellation),
    StartLeave => LeaveStarted(()),
    CancelLeave => LeaveCancelled(Cancellation),
    ReturnFromLeave => LeaveReturned(()),
    CancelReturn => ReturnCancelled(Cancellation),
    PlanDischarge => DischargePlanned(PlannedDischarge),
    CancelPlannedDischarge => PlannedDischargeCancelled(Cancellation),
    Discharge => Discharged(()),
    /// The stay or visit ended with the patient's death.
    DischargeDeceased => DischargedDeceased(()),
    CancelDischarge => DischargeCancelled(Cancellation),
}

impl Event {
    pub(crate) fn turn(&self) -> Turn {
        match self {
            Self::AdmissionPlanned(_) => Turn::Planned,
            Self::VisitRegistered(_) => Turn::Visited,
            Self::Admitted(_) => Turn::Admitted,
            Self::Transferred(_) => Turn::Moved,
            Self::LeaveStarted(()) => Turn::OnLeave,
            Self::LeaveReturned(()) => Turn::Returned,
            Self::TransferPlanned(_) | Self::DischargePlanned(_) => Turn::Begun,
            Self::Discharged(()) | Self::DischargedDeceased(()) => Turn::Ended,
            Self::PlannedAdmissionCancelled(_)
            | Self::VisitCancelled(_)
            | Self::AdmissionCancelled(_)
            | Self::PlannedTransferCancelled(_)
            | Self::TransferCancelled(_)
            | Self::LeaveCancelled(_)
            | Self::ReturnCancelled(_)
            | Self::PlannedDischargeCancelled(_)
            | Self::DischargeCancelled(_) => Turn::TakenBack,
        }
    }

    /// The event that this one cancels.
    pub fn cancelled(&self) -> Option<EventId> {
        match self {
            Self::PlannedAdmissionCancelled(cancel)
            | Self::VisitCancelled(cancel)
            | Self::AdmissionCancelled(cancel)
            | Self::PlannedTransferCancelled(cancel)
            | Self::TransferCancelled(cancel)
            | Self::LeaveCancelled(cancel)
            | Self::ReturnCancelled(cancel)
            | Self::PlannedDischargeCancelled(cancel)
            | Self::DischargeCancelled(cancel) => Some(cancel.cancelled),
            Self::AdmissionPlanned(_)
            | Self::VisitRegistered(_)
            | Self::Admitted(_)
            | Self::TransferPlanned(_)
            | Self::Transferred(_)
            | Self::LeaveStarted(())
            | Self::LeaveReturned(())
            | Self::DischargePlanned(_)
            | Self::Discharged(())
            | Self::DischargedDeceased(()) => None,
        }
    }

    /// Whether it ends the stay or visit, in life or by death.
    pub(crate) fn is_discharge(&self) -> bool {
        matches!(self, Self::Discharged(()) | Self::DischargedDeceased(()))
    }
}

/// Where an encounter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing has happened yet, or all of it was cancelled.
    Expected,
    Visiting,
    InHospital,
    OnLeave,
    Ended,
}

impl Stage {
    fn is_in_hospital(self) -> bool {
        matches!(self, Self::InHospital | Self::OnLeave)
    }
}

/// The state of one encounter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Encounter {
    path: Path<Move>,
    planned_admission: Plans<PlannedAdmission>,
    planned_transfer: Plans<PlannedTransfer>,
    planned_discharge: Plans<PlannedDischarge>,
    /// The discharges that say that the patient died, also those that were cancelled.
    deaths: BTreeSet<EventId>,
}

impl Encounter {
    /// The event that `command` causes now, or why it causes none.
    pub fn decide(&self, stamp: &Stamp, command: Command) -> Result<Event, Refusal> {
        // Of what is to come, others tell too: also late.
        if !matches!(command, Command::PlanAdmission(_) | Command::CancelPlannedAdmission(_)) {
            self.check_teller(stamp)?;
        }
        if self.is_cancelled_ahead(stamp, &command) {
            return Ok(command.into());
        }
        match &command {
            Command::PlanAdmission(_) => {
                self.can_still_be_planned(stamp).and_then(|()| self.check_replanner(stamp))
            }
            Command::PlanTransfer(plan) => {
                self.in_hospital_at(stamp).and_then(|()| self.same_facility(stamp, &plan.to))
            }
            Command::PlanDischarge(_) => self.in_hospital_at(stamp),
            Command::RegisterVisit(visit) => match visit.ended_at {
                Some(end) if end.is_before(&stamp.occurred_at) => Err(Refusal::EndsBeforeItBegins),
                Some(_) | None => self
                    .same_facility(stamp, &visit.place)
                    .and_then(|()| self.accept(stamp, &command)),
            },
            Command::Transfer(transfer) => {
                self.same_facility(stamp, &transfer.to).and_then(|()| self.accept(stamp, &command))
            }
            Command::Admit(admission) => self
                .same_facility(stamp, &admission.place)
                .and_then(|()| self.accept(stamp, &command)),
            Command::StartLeave(())
            | Command::ReturnFromLeave(())
            | Command::Discharge(())
            | Command::DischargeDeceased(()) => self.accept(stamp, &command),
            Command::CancelPlannedAdmission(cancel) => self
                .can_drop(&self.planned_admission, stamp, *cancel)
                .and_then(|()| self.check_planner(stamp, *cancel)),
            Command::CancelPlannedTransfer(cancel) => {
                self.can_drop(&self.planned_transfer, stamp, *cancel)
            }
            Command::CancelPlannedDischarge(cancel) => {
                self.can_drop(&self.planned_discharge, stamp, *cancel)
            }
            Command::CancelVisit(cancel) => self.can_take_back(stamp, *cancel, Move::is_visit),
            Command::CancelAdmission(cancel) => {
                self.can_take_back(stamp, *cancel, Move::is_admission)
            }
            Command::CancelTransfer(cancel) => {
                self.can_take_back(stamp, *cancel, Move::is_transfer)
            }
            Command::CancelLeave(cancel) => self.can_take_back(stamp, *cancel, Move::is_leave),
            Command::CancelReturn(cancel) => self.can_take_back(stamp, *cancel, Move::is_return),
            Command::CancelDischarge(cancel) => {
                self.can_take_back(stamp, *cancel, Move::is_discharge)
            }
        }?;
        Ok(command.into())
    }

    pub fn apply(&mut self, stamp: &Stamp, event: &Event) {
        match event {
            Event::AdmissionPlanned(plan) => {
                self.planned_admission.add(stamp, plan.clone());
            }
            Event::TransferPlanned(plan) => {
                self.planned_transfer.add(stamp, plan.clone());
            }
            Event::DischargePlanned(plan) => {
                self.planned_discharge.add(stamp, plan.clone());
            }
            Event::VisitRegistered(visit) => {
                let voice = Voice::of(stamp, &visit.place);
                self.insert(stamp, Move::Visit(visit.clone(), voice));
            }
            Event::Admitted(admission) => {
                let voice = Voice::of(stamp, &admission.place);
                self.insert(stamp, Move::Admission(admission.clone(), voice));
            }
            Event::Transferred(transfer) => {
                self.insert(stamp, Move::Transfer(transfer.clone()));
            }
            Event::LeaveStarted(()) => self.insert(stamp, Move::Leave),
            Event::LeaveReturned(()) => self.insert(stamp, Move::Return),
            Event::Discharged(()) => self.insert(stamp, Move::Discharge),
            Event::DischargedDeceased(()) => {
                self.deaths.insert(stamp.event);
                self.insert(stamp, Move::Discharge);
            }
            Event::PlannedAdmissionCancelled(cancel) => {
                self.planned_admission.take_back(stamp, *cancel);
            }
            Event::PlannedTransferCancelled(cancel) => {
                self.planned_transfer.take_back(stamp, *cancel);
            }
            Event::PlannedDischargeCancelled(cancel) => {
                self.planned_discharge.take_back(stamp, *cancel);
            }
            Event::VisitCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_visit),
            Event::AdmissionCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_admission),
            Event::TransferCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_transfer),
            Event::LeaveCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_leave),
            Event::ReturnCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_return),
            Event::DischargeCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_discharge),
        }
    }

    fn insert(&mut self, stamp: &Stamp, step: Move) {
        self.path.insert(stamp, step);
    }

    fn take_back(&mut self, stamp: &Stamp, cancel: Cancellation, is_meant: fn(&Move) -> bool) {
        self.path.take_back(cancel.cancelled, stamp.occurred_at, is_meant);
    }
}

impl Command {
    /// Whether somebody is admitted, or is to be. A visit may be one to certify a death.
    pub(crate) fn admits(&self) -> bool {
        matches!(self, Self::PlanAdmission(_) | Self::Admit(_))
    }

    /// The encounter that the one it is about would continue.
    pub(crate) fn preceding(&self) -> Option<EncounterId> {
        if let Self::PlanAdmission(plan) = self {
            return plan.preceding;
        }
        Move::ordered_by(self)?.preceding()
    }
}
