//! The moves of a patient under one encounter, and what can follow what.

use super::{Admission, Command, Stage, Visit, WardTransfer};
use crate::id::EncounterId;
use crate::path::Step;
use crate::place::Place;
use crate::record::Stamp;

/// Whose word it is that a patient was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// The facility's own.
    Own,
    /// Entered for the facility by somebody else.
    Proxy,
    Other,
}

impl Voice {
    pub(super) fn of(stamp: &Stamp, place: &Place) -> Self {
        match (stamp.acting_for == place.facility.id, stamp.by_proxy) {
            (true, false) => Self::Own,
            (true, true) => Self::Proxy,
            (false, _) => Self::Other,
        }
    }
}

/// One move of the patient under this encounter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Move {
    Visit(Visit, Voice),
    Admission(Admission, Voice),
    Transfer(WardTransfer),
    Leave,
    Return,
    Discharge,
}

impl Move {
    pub(super) fn is_visit(&self) -> bool {
        matches!(self, Self::Visit(..))
    }

    pub(super) fn is_admission(&self) -> bool {
        matches!(self, Self::Admission(..))
    }

    pub(super) fn is_transfer(&self) -> bool {
        matches!(self, Self::Transfer(_))
    }

    pub(super) fn is_leave(&self) -> bool {
        matches!(self, Self::Leave)
    }

    pub(super) fn is_return(&self) -> bool {
        matches!(self, Self::Return)
    }

    pub(super) fn is_discharge(&self) -> bool {
        matches!(self, Self::Discharge)
    }

    pub(super) fn ordered_by(command: &Command) -> Option<Self> {
        match command.clone() {
            Command::RegisterVisit(visit) => Some(Self::Visit(visit, Voice::Other)),
            Command::Admit(admission) => Some(Self::Admission(admission, Voice::Other)),
            Command::Transfer(transfer) => Some(Self::Transfer(transfer)),
            Command::StartLeave(()) => Some(Self::Leave),
            Command::ReturnFromLeave(()) => Some(Self::Return),
            Command::Discharge(()) | Command::DischargeDeceased(()) => Some(Self::Discharge),
            Command::PlanAdmission(_)
            | Command::CancelPlannedAdmission(_)
            | Command::CancelVisit(_)
            | Command::CancelAdmission(_)
            | Command::PlanTransfer(_)
            | Command::CancelPlannedTransfer(_)
            | Command::CancelTransfer(_)
            | Command::CancelLeave(_)
            | Command::CancelReturn(_)
            | Command::PlanDischarge(_)
            | Command::CancelPlannedDischarge(_)
            | Command::CancelDischarge(_) => None,
        }
    }

    pub(super) fn place(&self) -> Option<&Place> {
        match self {
            Self::Visit(visit, _) => Some(&visit.place),
            Self::Admission(admission, _) => Some(&admission.place),
            Self::Transfer(transfer) => Some(&transfer.to),
            Self::Leave | Self::Return | Self::Discharge => None,
        }
    }

    pub(super) fn preceding(&self) -> Option<EncounterId> {
        match self {
            Self::Visit(visit, _) => visit.preceding,
            Self::Admission(admission, _) => admission.preceding,
            Self::Transfer(_) | Self::Leave | Self::Return | Self::Discharge => None,
        }
    }
}

impl Step for Move {
    type State = Stage;
    const BEGINNING: Stage = Stage::Expected;

    fn leads_from(&self, stage: Stage) -> Option<Stage> {
        match (self, stage) {
            (Self::Visit(..), Stage::Expected)
            | (Self::Admission(..), Stage::Expected | Stage::Visiting)
            | (Self::Transfer(_) | Self::Leave, Stage::InHospital)
            | (Self::Return, Stage::OnLeave)
            | (Self::Discharge, Stage::Visiting | Stage::InHospital | Stage::OnLeave) => {
                Some(self.leads_to())
            }
            (
                Self::Visit(..)
                | Self::Admission(..)
                | Self::Transfer(_)
                | Self::Leave
                | Self::Return
                | Self::Discharge,
                _,
            ) => None,
        }
    }

    fn leads_to(&self) -> Stage {
        match self {
            Self::Visit(Visit { ended_at: None, .. }, _) => Stage::Visiting,
            Self::Visit(Visit { ended_at: Some(_), .. }, _) | Self::Discharge => Stage::Ended,
            Self::Admission(..) | Self::Transfer(_) | Self::Return => Stage::InHospital,
            Self::Leave => Stage::OnLeave,
        }
    }

    /// A stay begins and ends once: twice only if a cancel lies between, and that says which.
    fn repeats(&self, later: &Self) -> bool {
        matches!(
            (self, later),
            (Self::Visit(..), Self::Visit(..))
                | (Self::Admission(..), Self::Admission(..))
                | (Self::Discharge, Self::Discharge)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encounter::testing::{admit, admitted, given, to_ward, visit};
    use crate::encounter::{Event, Refusal};

    #[test]
    fn discharge_is_refused_before_admission() {
        let discharge = || Command::Discharge(());
        assert_eq!(given(&[]).when("2026-05-01", discharge()), Err(Refusal::NotAdmitted));
        let stay = given(&[("2026-05-01", admitted())]);
        assert_eq!(stay.when("2026-04-30", discharge()), Err(Refusal::OutOfOrder));
        assert_eq!(stay.when("2026-05-01", discharge()), Ok(Event::Discharged(())));
    }

    #[test]
    fn a_patient_is_admitted_once() {
        let stay = given(&[("2026-05-01", admitted())]);
        assert_eq!(stay.when("2026-05-02", admit()), Err(Refusal::AlreadyAdmitted));
        let ended = given(&[("2026-05-01", admitted()), ("2026-05-03", Event::Discharged(()))]);
        assert_eq!(ended.when("2026-05-04", admit()), Err(Refusal::AlreadyEnded));
    }

    #[test]
    fn leave_and_return_take_turns() {
        let stay = given(&[("2026-05-01", admitted())]);
        let back = || Command::ReturnFromLeave(());
        assert_eq!(stay.when("2026-05-02", back()), Err(Refusal::NotOnLeave));
        let away = given(&[("2026-05-01", admitted()), ("2026-05-02", Event::LeaveStarted(()))]);
        assert_eq!(away.when("2026-05-03", Command::StartLeave(())), Err(Refusal::OnLeave));
        assert_eq!(
            away.when("2026-05-03", Command::Transfer(to_ward("5W"))),
            Err(Refusal::OnLeave)
        );
        assert!(away.when("2026-05-03", back()).is_ok());
        assert!(away.when("2026-05-03", Command::Discharge(())).is_ok());
    }

    #[test]
    fn a_visit_that_goes_on_may_become_a_stay() {
        let visiting = given(&[("2026-05-01", Event::from(visit(None)))]);
        assert_eq!(visiting.stage(), Stage::Visiting);
        assert!(visiting.when("2026-05-01", admit()).is_ok());
        let ended = given(&[("2026-05-01", Event::from(visit(Some("2026-05-01"))))]);
        assert_eq!(ended.when("2026-05-01", admit()), Err(Refusal::AlreadyEnded));
    }
}
