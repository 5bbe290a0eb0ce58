//! One visit or stay at one facility: planned, admitted, moved, on leave, discharged.
//!
//! The moves of an encounter form a path. A move is accepted if it has a place on that path
//! which agrees with its time and leaves the path legal, or had one then, so that news may arrive
//! late. A cancelled move is taken off the path, as though it had not been; a cancel that is told
//! late may overtake the move that it cancels.

use std::collections::BTreeSet;

use crate::id::{EncounterId, EventId, OrganisationId};
use crate::pairs::commands_and_events;
use crate::path::{Path, Step, Taken};
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
        "the place is in another facility: discharge the patient here and admit the patient there, under an encounter of its own"
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
    #[error("a visit that has ended must end after it began: check `ended_at`")]
    EndsBeforeItBegins,
}

/// Where an encounter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Whose word it is that a patient was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voice {
    /// The facility's own.
    Own,
    /// Entered for the facility by somebody else.
    Proxy,
    Other,
}

impl Voice {
    fn of(stamp: &Stamp, place: &Place) -> Self {
        match (stamp.acting_for == place.facility.id, stamp.by_proxy) {
            (true, false) => Self::Own,
            (true, true) => Self::Proxy,
            (false, _) => Self::Other,
        }
    }
}

/// One move of the patient under this encounter.
#[derive(Debug, Clone, PartialEq)]
enum Move {
    Visit(Visit, Voice),
    Admission(Admission, Voice),
    Transfer(WardTransfer),
    Leave,
    Return,
    Discharge,
}

/// What was planned, by the time at which it was planned; what was planned last holds.
#[derive(Debug, Clone)]
struct Plans<T> {
    made: Vec<Plan<T>>,
    /// None of them comes back: the plan that a cancelled one had replaced does not hold again.
    cancelled: BTreeSet<EventId>,
}

/// A plan, and the event that made it.
#[derive(Debug, Clone, PartialEq)]
struct Plan<T> {
    event: EventId,
    made_at: CareTime,
    by: OrganisationId,
    content: T,
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
            Command::PlanAdmission(_) => self.can_still_be_planned(stamp),
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
                self.planned_admission.take_back(*cancel);
            }
            Event::PlannedTransferCancelled(cancel) => {
                self.planned_transfer.take_back(*cancel);
            }
            Event::PlannedDischargeCancelled(cancel) => {
                self.planned_discharge.take_back(*cancel);
            }
            Event::VisitCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_visit),
            Event::AdmissionCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_admission),
            Event::TransferCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_transfer),
            Event::LeaveCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_leave),
            Event::ReturnCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_return),
            Event::DischargeCancelled(cancel) => self.take_back(stamp, *cancel, Move::is_discharge),
        }
    }

    pub fn stage(&self) -> Stage {
        self.path.state()
    }

    pub fn class(&self) -> Class {
        let visit = self.path.iter().rev().find_map(|taken| match &taken.step {
            Move::Visit(visit, _) => Some(visit.class),
            Move::Admission(..) => Some(Class::Inpatient),
            Move::Transfer(_) | Move::Leave | Move::Return | Move::Discharge => None,
        });
        visit.unwrap_or(Class::Inpatient)
    }

    /// Where the patient is, or is expected, under this encounter.
    pub fn place(&self) -> Option<&Place> {
        self.visited().or_else(|| self.planned_admission.content().map(|plan| &plan.place))
    }

    /// Where the patient was last under this encounter.
    fn visited(&self) -> Option<&Place> {
        self.path.iter().rev().find_map(|taken| taken.step.place())
    }

    /// When the encounter began. Of a stay that was told in a record that was taken apart again,
    /// this record may have the end alone.
    pub fn began_at(&self) -> Option<CareTime> {
        let first = self.path.first()?;
        first.step.leads_from(Move::BEGINNING).map(|_| first.at)
    }

    /// When it came to stand where it stands.
    pub fn since(&self) -> Option<CareTime> {
        let taken = self.since_step()?;
        match &taken.step {
            Move::Visit(Visit { ended_at: Some(end), .. }, _) => Some(*end),
            Move::Visit(..)
            | Move::Admission(..)
            | Move::Transfer(_)
            | Move::Leave
            | Move::Return
            | Move::Discharge => Some(taken.at),
        }
    }

    /// The event since which it stands where it stands.
    pub fn since_event(&self) -> Option<EventId> {
        self.since_step().map(|taken| taken.event)
    }

    /// The event since which the patient is in it, also while on leave.
    pub fn stay_since_event(&self) -> Option<EventId> {
        let begun = self.path.iter().rev().find(|taken| matches!(taken.step, Move::Admission(..)));
        begun.or_else(|| self.since_step()).map(|taken| taken.event)
    }

    fn since_step(&self) -> Option<&Taken<Move>> {
        let last = self.path.last()?;
        match &last.step {
            // A move within the hospital does not change since when the patient is in it.
            Move::Transfer(_) | Move::Return => {
                let admission = |taken: &&Taken<Move>| matches!(taken.step, Move::Admission(..));
                self.path.iter().rev().find(admission)
            }
            Move::Visit(..) | Move::Admission(..) | Move::Leave | Move::Discharge => Some(last),
        }
    }

    /// When the patient died in it, and the event that says so.
    pub fn death(&self) -> Option<(EventId, CareTime)> {
        let taken = self.path.iter().rev().find(|taken| self.deaths.contains(&taken.event))?;
        Some((taken.event, taken.at))
    }

    /// The encounter that this one continues.
    pub fn preceding(&self) -> Option<EncounterId> {
        let begun = self.path.iter().rev().find_map(|taken| taken.step.preceding());
        begun.or_else(|| self.planned_admission.content()?.preceding)
    }

    /// The same, as it was said by a time.
    pub(crate) fn preceding_at(&self, at: &CareTime) -> Option<EncounterId> {
        let says = |taken: &&Taken<Move>| taken.step.preceding().is_some();
        let said = self.path.as_of(at).filter(says).max_by_key(|taken| taken.place());
        said.and_then(|taken| taken.step.preceding())
            .or_else(|| self.planned_admission.content_at(at)?.preceding)
    }

    /// The planned admission, while it is still to come.
    pub fn planned_admission(&self) -> Option<(EventId, CareTime)> {
        let (event, plan) = self.planned_admission.in_force()?;
        (self.stage() == Stage::Expected).then_some((event, plan.planned_at))
    }

    /// The planned discharge, while it is still to come.
    pub fn planned_discharge(&self) -> Option<(EventId, CareTime)> {
        let (event, plan) = self.planned_discharge.in_force()?;
        self.is_inpatient().then_some((event, plan.planned_at))
    }

    pub fn is_inpatient(&self) -> bool {
        self.stage().is_in_hospital()
    }

    /// The event that admitted the patient, and whose word it is.
    fn admitted(&self) -> Option<(EventId, Voice)> {
        self.path.iter().find_map(|taken| match &taken.step {
            Move::Admission(_, voice) => Some((taken.event, *voice)),
            Move::Visit(..) | Move::Transfer(_) | Move::Leave | Move::Return | Move::Discharge => {
                None
            }
        })
    }

    /// Whether it is a stay that somebody entered for the facility.
    pub(crate) fn is_by_proxy(&self) -> bool {
        self.admitted().is_some_and(|(_, voice)| voice == Voice::Proxy)
    }

    /// The event by which the facility itself says that it is the stay which somebody else
    /// entered for it: a patient does not lie twice in one facility at a time.
    pub(crate) fn takes_the_place_of(&self, proxy: &Self) -> Option<EventId> {
        let (event, _) = self.admitted().filter(|(_, voice)| *voice == Voice::Own)?;
        let facility = |of: &Self| of.visited().map(|place| place.facility.id.clone());
        let ended = |of: &Self| of.since().filter(|_| of.stage() == Stage::Ended);
        let began_before_end_of = |one: &Self, other: &Self| {
            let began = one.began_at();
            began.is_some_and(|began| ended(other).is_none_or(|ended| began.is_before(&ended)))
        };
        let is_same = facility(self) == facility(proxy)
            && began_before_end_of(self, proxy)
            && began_before_end_of(proxy, self);
        is_same.then_some(event)
    }

    /// Whether this is a stay that has ended, and the patient was certainly in it then.
    pub(crate) fn was_inpatient_at(&self, moment: &CareTime) -> bool {
        let is_past_stay = self.stage() == Stage::Ended && self.class() == Class::Inpatient;
        is_past_stay
            && self.began_at().is_some_and(|began| began.latest() <= moment.earliest())
            && self.since().is_some_and(|ended| moment.is_before(&ended))
    }

    /// Whether the patient was in hospital at the time: also if it is told when they have left.
    fn in_hospital_at(&self, stamp: &Stamp) -> Result<(), Refusal> {
        match self.stage() {
            Stage::InHospital | Stage::OnLeave => Ok(()),
            // What is said of a stay that goes on may be of before it, and so of one that ended.
            Stage::Ended if self.class() == Class::Inpatient && !self.ended_before(stamp) => Ok(()),
            Stage::Ended | Stage::Expected | Stage::Visiting
                if self.was_in_hospital_by(&stamp.occurred_at)
                    || self.path.state_before(&stamp.occurred_at).is_in_hospital() =>
            {
                Ok(())
            }
            Stage::Ended => Err(Refusal::AlreadyEnded),
            Stage::Expected | Stage::Visiting => Err(Refusal::NotAdmitted),
        }
    }

    /// What was planned before it began may be told afterwards.
    fn can_still_be_planned(&self, stamp: &Stamp) -> Result<(), Refusal> {
        match self.stage() {
            Stage::Expected => Ok(()),
            Stage::Visiting | Stage::InHospital | Stage::OnLeave | Stage::Ended => {
                match self.path.state_before(&stamp.occurred_at) {
                    Stage::Expected => Ok(()),
                    Stage::Visiting | Stage::InHospital | Stage::OnLeave | Stage::Ended => {
                        Err(Refusal::AlreadyBegun)
                    }
                }
            }
        }
    }

    /// Of what a facility tells itself, others tell only on its behalf.
    pub(crate) fn check_teller(&self, stamp: &Stamp) -> Result<(), Refusal> {
        let is_of_others = |taken: &Taken<Move>| match &taken.step {
            Move::Visit(Visit { place, .. }, Voice::Own)
            | Move::Admission(Admission { place, .. }, Voice::Own) => {
                place.facility.id != stamp.acting_for
            }
            Move::Visit(..)
            | Move::Admission(..)
            | Move::Transfer(_)
            | Move::Leave
            | Move::Return
            | Move::Discharge => false,
        };
        // What the facility told of later was not there to be told of.
        let mut then = self.path.iter().filter(|taken| !stamp.occurred_at.is_before(&taken.at));
        if then.any(is_of_others) { Err(Refusal::NotTheFacility) } else { Ok(()) }
    }

    /// A planned admission is cancelled by those who planned it, and by the facility that expects
    /// the patient.
    fn check_planner(&self, stamp: &Stamp, cancel: Cancellation) -> Result<(), Refusal> {
        let mut made = self.planned_admission.made.iter();
        let is_of_others = |plan: &Plan<PlannedAdmission>| {
            plan.by != stamp.acting_for && plan.content.place.facility.id != stamp.acting_for
        };
        match made.find(|plan| plan.event == cancel.cancelled) {
            Some(plan) if is_of_others(plan) => Err(Refusal::NotTheFacility),
            Some(_) | None => Ok(()),
        }
    }

    fn ended_before(&self, stamp: &Stamp) -> bool {
        self.since().is_some_and(|ended| ended.is_before(&stamp.occurred_at))
    }

    /// Whether a place is in the facility of this encounter; or of what was cancelled afterwards.
    fn same_facility(&self, stamp: &Stamp, to: &Place) -> Result<(), Refusal> {
        let is_there = |there: &Place| there.facility.id == to.facility.id;
        let mut then = self.path.before_cancels(&stamp.occurred_at);
        match self.visited() {
            Some(here) if !is_there(here) => {
                let was_there = then.any(|taken| taken.step.place().is_some_and(is_there));
                if was_there { Ok(()) } else { Err(Refusal::OtherFacility) }
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the move that `command` asks for has a place on the path.
    fn accept(&self, stamp: &Stamp, command: &Command) -> Result<(), Refusal> {
        let Some(step) = Move::ordered_by(command) else { return Ok(()) };
        if self.path.accepts(stamp, step.clone()) {
            return Ok(());
        }
        if step.leads_from(self.stage()).is_some() {
            return Err(Refusal::OutOfOrder);
        }
        Err(self.why_not(&step))
    }

    fn why_not(&self, kind: &Move) -> Refusal {
        match (kind, self.stage()) {
            (_, Stage::Ended) => Refusal::AlreadyEnded,
            (Move::Admission(..), Stage::InHospital | Stage::OnLeave) => Refusal::AlreadyAdmitted,
            (Move::Visit(..), _) => Refusal::AlreadyBegun,
            (Move::Return, Stage::InHospital) => Refusal::NotOnLeave,
            (_, Stage::OnLeave) => Refusal::OnLeave,
            (_, Stage::Expected | Stage::Visiting | Stage::InHospital) => Refusal::NotAdmitted,
        }
    }

    fn insert(&mut self, stamp: &Stamp, step: Move) {
        self.path.insert(stamp, step);
    }

    /// Also of a step that is still to be told, if this is late news.
    fn can_take_back(
        &self,
        stamp: &Stamp,
        cancel: Cancellation,
        is_meant: fn(&Move) -> bool,
    ) -> Result<(), Refusal> {
        let (target, at) = (cancel.cancelled, &stamp.occurred_at);
        let (taken, next) = match self.path.find(target) {
            Some((taken, next)) if is_meant(&taken.step) => (taken, next),
            None if !self.knows(target) && self.path.may_come_late(target, at) => return Ok(()),
            Some(_) | None => return Err(Refusal::NothingToCancel(target)),
        };
        if self.path.can_do_without(target, at) {
            Ok(())
        } else {
            Err(Refusal::LaterMoveDepends(next.unwrap_or(taken).event))
        }
    }

    /// Whether a plan is cancelled that held, or holds; or that is still to be told, if this is late
    /// news.
    fn can_drop<T>(
        &self,
        plans: &Plans<T>,
        stamp: &Stamp,
        Cancellation { cancelled }: Cancellation,
    ) -> Result<(), Refusal> {
        let may_come_late = !self.knows(cancelled) && plans.may_come_late(&stamp.occurred_at);
        if !plans.cancelled.contains(&cancelled)
            && (may_come_late || plans.held(cancelled, &stamp.occurred_at))
        {
            Ok(())
        } else {
            Err(Refusal::NothingToCancel(cancelled))
        }
    }

    /// Whether an event of this encounter has been told that can be cancelled.
    fn knows(&self, event: EventId) -> bool {
        self.path.knows(event)
            || self.planned_admission.knows(event)
            || self.planned_transfer.knows(event)
            || self.planned_discharge.knows(event)
    }

    fn take_back(&mut self, stamp: &Stamp, cancel: Cancellation, is_meant: fn(&Move) -> bool) {
        self.path.take_back(cancel.cancelled, stamp.occurred_at, is_meant);
    }

    /// Whether a move was cancelled before it is told: it then leads nowhere.
    pub(crate) fn is_cancelled_ahead(&self, stamp: &Stamp, command: &Command) -> bool {
        let step = Move::ordered_by(command);
        step.is_some_and(|step| self.path.is_cancelled_ahead(stamp, &step))
    }

    /// Whether the patient was in hospital under it at the time, by what had happened until then.
    pub(crate) fn was_in_hospital_by(&self, at: &CareTime) -> bool {
        self.path.state_at(at).is_in_hospital()
    }

    /// Whether the patient is in hospital under it, and was when a move is cancelled, without that.
    pub(crate) fn goes_on_without(&self, stamp: &Stamp, cancel: Cancellation) -> bool {
        let mut without = self.clone();
        without.path.take_back(cancel.cancelled, stamp.occurred_at, |_| true);
        without.is_inpatient() && without.was_in_hospital_by(&stamp.occurred_at)
    }
}

/// Whether both have the same plan; what is no plan any more makes no difference.
impl<T: PartialEq> PartialEq for Plans<T> {
    fn eq(&self, other: &Self) -> bool {
        self.newest() == other.newest() && self.in_force().is_some() == other.in_force().is_some()
    }
}

impl<T> Default for Plans<T> {
    fn default() -> Self {
        Self { made: Vec::new(), cancelled: BTreeSet::new() }
    }
}

impl<T> Plans<T> {
    fn newest(&self) -> Option<&Plan<T>> {
        self.made.last()
    }

    fn in_force(&self) -> Option<(EventId, &T)> {
        let plan = self.newest().filter(|plan| !self.cancelled.contains(&plan.event))?;
        Some((plan.event, &plan.content))
    }

    fn content(&self) -> Option<&T> {
        self.in_force().map(|(_, content)| content)
    }

    /// Adds a plan where its time puts it.
    fn add(&mut self, stamp: &Stamp, content: T) {
        let (event, made_at) = (stamp.event, stamp.occurred_at);
        let by = stamp.acting_for.clone();
        let place = |plan: &Plan<T>| (plan.made_at.earliest(), plan.event);
        let before = |plan: &Plan<T>| place(plan) <= (made_at.earliest(), event);
        let at = self.made.partition_point(before);
        self.made.insert(at, Plan { event, made_at, by, content });
    }

    fn newest_at(&self, at: &CareTime) -> Option<&Plan<T>> {
        self.made.iter().rev().find(|plan| !at.is_before(&plan.made_at))
    }

    fn content_at(&self, at: &CareTime) -> Option<&T> {
        let plan = self.newest_at(at).filter(|plan| !self.cancelled.contains(&plan.event))?;
        Some(&plan.content)
    }

    /// Whether a plan is the newest, or was at a time; what was planned at that very time may have
    /// been planned afterwards.
    fn held(&self, event: EventId, at: &CareTime) -> bool {
        let before = self.made.iter().rev().find(|plan| plan.made_at.is_before(at));
        let newest = [self.newest(), self.newest_at(at), before];
        newest.into_iter().flatten().any(|plan| plan.event == event)
    }

    /// Whether something is known already that was planned at that time or after it.
    fn may_come_late(&self, at: &CareTime) -> bool {
        self.made.iter().any(|plan| !plan.made_at.is_before(at))
    }

    fn knows(&self, event: EventId) -> bool {
        self.made.iter().any(|plan| plan.event == event)
    }

    fn take_back(&mut self, cancel: Cancellation) {
        self.cancelled.insert(cancel.cancelled);
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

impl Move {
    fn is_visit(&self) -> bool {
        matches!(self, Self::Visit(..))
    }

    fn is_admission(&self) -> bool {
        matches!(self, Self::Admission(..))
    }

    fn is_transfer(&self) -> bool {
        matches!(self, Self::Transfer(_))
    }

    fn is_leave(&self) -> bool {
        matches!(self, Self::Leave)
    }

    fn is_return(&self) -> bool {
        matches!(self, Self::Return)
    }

    fn is_discharge(&self) -> bool {
        matches!(self, Self::Discharge)
    }

    fn ordered_by(command: &Command) -> Option<Self> {
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

    fn place(&self) -> Option<&Place> {
        match self {
            Self::Visit(visit, _) => Some(&visit.place),
            Self::Admission(admission, _) => Some(&admission.place),
            Self::Transfer(transfer) => Some(&transfer.to),
            Self::Leave | Self::Return | Self::Discharge => None,
        }
    }

    fn preceding(&self) -> Option<EncounterId> {
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
    use crate::place::Facility;
    use crate::record::testing::{event_id, stamp, stamp_for, time};

    fn place(facility: &str, ward: &str) -> Place {
        Place {
            facility: Facility { id: OrganisationId::parse(facility).unwrap(), name: "".into() },
            department: "".into(),
            ward: ward.into(),
            room: "".into(),
            bed: "".into(),
        }
    }

    fn admitted() -> Event {
        Event::Admitted(Admission { place: place("acute", "4E"), preceding: None })
    }

    fn admit() -> Command {
        Command::Admit(Admission { place: place("acute", "4E"), preceding: None })
    }

    fn visit(ended_at: Option<&str>) -> Command {
        Command::RegisterVisit(Visit {
            class: Class::Emergency,
            place: place("acute", ""),
            ended_at: ended_at.map(time),
            preceding: None,
        })
    }

    fn to_ward(ward: &str) -> WardTransfer {
        WardTransfer { to: place("acute", ward) }
    }

    fn planned(at: &str) -> PlannedDischarge {
        PlannedDischarge { planned_at: time(at) }
    }

    fn cancelling(number: u128) -> Cancellation {
        Cancellation { cancelled: event_id(number) }
    }

    /// An encounter to which these events happened; the nth has the event id n.
    fn given(events: &[(&str, Event)]) -> Encounter {
        let mut encounter = Encounter::default();
        for ((at, event), number) in events.iter().zip(1..) {
            encounter.apply(&stamp(number, at), event);
        }
        encounter
    }

    impl Encounter {
        /// Whether each move can follow those before it, in the order of time.
        pub(crate) fn is_legal(&self) -> bool {
            self.path.is_legal()
        }

        fn when(&self, at: &str, command: Command) -> Result<Event, Refusal> {
            self.decide(&stamp(99, at), command)
        }
    }

    #[test]
    fn discharge_is_refused_before_admission() {
        let discharge = || Command::Discharge(());
        assert_eq!(given(&[]).when("2026-05-01", discharge()), Err(Refusal::NotAdmitted));
        let stay = given(&[("2026-05-01", admitted())]);
        assert_eq!(stay.when("2026-04-30", discharge()), Err(Refusal::OutOfOrder));
        assert_eq!(stay.when("2026-05-01", discharge()), Ok(Event::Discharged(())));
    }

    #[test]
    fn of_its_own_stay_the_facility_tells_and_others_on_its_behalf() {
        let mut own = Encounter::default();
        own.apply(&stamp_for(1, "2026-05-01", "acute"), &admitted());
        let mut by_proxy = Encounter::default();
        let proxy = Stamp { by_proxy: true, ..stamp_for(1, "2026-05-01", "acute") };
        by_proxy.apply(&proxy, &admitted());
        let others = stamp_for(9, "2026-05-03", "elsewhere");
        let facility = stamp_for(9, "2026-05-03", "acute");
        let moves = || {
            [
                Command::Discharge(()),
                Command::StartLeave(()),
                Command::Transfer(to_ward("5W")),
                Command::PlanDischarge(planned("2026-05-09")),
                Command::CancelAdmission(cancelling(1)),
            ]
        };
        for command in moves() {
            assert_eq!(own.decide(&others, command.clone()), Err(Refusal::NotTheFacility));
            assert!(own.decide(&facility, command.clone()).is_ok());
            assert!(by_proxy.decide(&others, command).is_ok(), "nobody is there to tell of it");
        }
    }

    #[test]
    fn a_planned_admission_is_cancelled_by_who_planned_it_and_by_who_expects_it() {
        let plan = |at: &str| PlannedAdmission {
            planned_at: time(at),
            place: place("acute", ""),
            preceding: None,
        };
        let mut planned = Encounter::default();
        let by_clinic = stamp_for(1, "2026-05-01", "clinic");
        planned.apply(&by_clinic, &Event::AdmissionPlanned(plan("2026-05-09")));
        let cancel = || Command::CancelPlannedAdmission(cancelling(1));
        for (organisation, is_theirs) in [("clinic", true), ("acute", true), ("other", false)] {
            let stamp = stamp_for(2, "2026-05-02", organisation);
            assert_eq!(planned.decide(&stamp, cancel()).is_ok(), is_theirs, "{organisation}");
        }
    }

    #[test]
    fn a_death_is_cancelled_with_the_discharge_that_says_so() {
        let mut stay =
            given(&[("2026-05-01", admitted()), ("2026-05-03", Event::DischargedDeceased(()))]);
        assert_eq!(stay.death(), Some((event_id(2), time("2026-05-03"))));
        assert_eq!(stay.stage(), Stage::Ended);
        stay.apply(&stamp(3, "2026-05-04"), &Event::DischargeCancelled(cancelling(2)));
        assert_eq!((stay.death(), stay.stage()), (None, Stage::InHospital));
    }

    #[test]
    fn a_patient_is_admitted_once() {
        let stay = given(&[("2026-05-01", admitted())]);
        assert_eq!(stay.when("2026-05-02", admit()), Err(Refusal::AlreadyAdmitted));
        let ended = given(&[("2026-05-01", admitted()), ("2026-05-03", Event::Discharged(()))]);
        assert_eq!(ended.when("2026-05-04", admit()), Err(Refusal::AlreadyEnded));
    }

    #[test]
    fn a_visit_that_goes_on_may_become_a_stay() {
        let visiting = given(&[("2026-05-01", Event::from(visit(None)))]);
        assert_eq!(visiting.stage(), Stage::Visiting);
        assert!(visiting.when("2026-05-01", admit()).is_ok());
        let ended = given(&[("2026-05-01", Event::from(visit(Some("2026-05-01"))))]);
        assert_eq!(ended.when("2026-05-01", admit()), Err(Refusal::AlreadyEnded));
    }

    #[test]
    fn a_visit_ends_after_it_begins() {
        let none = given(&[]);
        assert_eq!(
            none.when("2026-05-02", visit(Some("2026-05-01"))),
            Err(Refusal::EndsBeforeItBegins)
        );
    }

    #[test]
    fn news_may_arrive_late_if_it_fits() {
        let ended = given(&[("2026-05-01", admitted()), ("2026-05-09", Event::Discharged(()))]);
        assert!(ended.when("2026-05-05", Command::Transfer(to_ward("5W"))).is_ok());
        assert_eq!(
            ended.when("2026-05-10", Command::Transfer(to_ward("5W"))),
            Err(Refusal::AlreadyEnded)
        );
    }

    #[test]
    fn a_time_that_says_little_does_not_hide_the_order_of_the_others() {
        let moved = given(&[
            ("2026-05-01T10:00:00+09:00", admitted()),
            ("2026-05-01", Event::Transferred(to_ward("5W"))),
        ]);
        assert_eq!(
            moved.when("2026-05-01T09:00:00+09:00", Command::Discharge(())),
            Err(Refusal::OutOfOrder)
        );
    }

    #[test]
    fn a_visit_becomes_a_stay_in_the_same_facility_only() {
        let visiting = given(&[("2026-05-01", Event::from(visit(None)))]);
        let elsewhere = Command::Admit(Admission { place: place("rehab", "1"), preceding: None });
        assert_eq!(visiting.when("2026-05-01", elsewhere), Err(Refusal::OtherFacility));
    }

    #[test]
    fn a_patient_is_in_hospital_since_the_admission() {
        let stay = given(&[
            ("2026-05-01T09:00:00+09:00", Event::from(visit(None))),
            ("2026-05-01T20:00:00+09:00", admitted()),
            ("2026-05-03", Event::Transferred(to_ward("5W"))),
        ]);
        assert_eq!(stay.since(), Some(time("2026-05-01T20:00:00+09:00")));
        assert_eq!(stay.since_event(), Some(event_id(2)));
    }

    #[test]
    fn the_last_ward_in_time_is_where_the_patient_is() {
        let moved = given(&[
            ("2026-05-01", admitted()),
            ("2026-05-07", Event::Transferred(to_ward("6N"))),
            ("2026-05-04", Event::Transferred(to_ward("5W"))),
        ]);
        assert_eq!(&*moved.place().unwrap().ward, "6N");
    }

    #[test]
    fn a_transfer_stays_within_the_facility() {
        let stay = given(&[("2026-05-01", admitted())]);
        let elsewhere = Command::Transfer(WardTransfer { to: place("rehab", "1") });
        assert_eq!(stay.when("2026-05-02", elsewhere), Err(Refusal::OtherFacility));
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
    fn a_cancelled_move_is_as_though_it_had_not_been() {
        let before =
            [("2026-05-01", admitted()), ("2026-05-04", Event::Transferred(to_ward("5W")))];
        let mut after = given(&before);
        after.apply(&stamp(3, "2026-05-06"), &Event::Discharged(()));
        after.apply(&stamp(4, "2026-05-06"), &Event::DischargeCancelled(cancelling(3)));
        assert_eq!(after, given(&before));
    }

    #[test]
    fn what_others_build_on_is_not_cancelled_first() {
        let ended = given(&[("2026-05-01", admitted()), ("2026-05-09", Event::Discharged(()))]);
        assert_eq!(
            ended.when("2026-05-09", Command::CancelAdmission(cancelling(1))),
            Err(Refusal::LaterMoveDepends(event_id(2)))
        );
        assert!(ended.when("2026-05-09", Command::CancelDischarge(cancelling(2))).is_ok());
    }

    #[test]
    fn a_move_in_the_middle_may_be_cancelled_if_the_rest_makes_sense() {
        let moved = given(&[
            ("2026-05-01", admitted()),
            ("2026-05-04", Event::Transferred(to_ward("5W"))),
            ("2026-05-09", Event::Discharged(())),
        ]);
        assert!(moved.when("2026-05-10", Command::CancelTransfer(cancelling(2))).is_ok());
    }

    #[test]
    fn only_what_is_in_effect_can_be_cancelled() {
        let nothing = |number| Err(Refusal::NothingToCancel(event_id(number)));
        let stay = given(&[("2026-05-01", admitted())]);
        let cancel = |number| Command::CancelTransfer(cancelling(number));
        assert_eq!(stay.when("2026-05-02", cancel(1)), nothing(1), "of another kind");
        assert_eq!(stay.when("2026-05-02", cancel(7)), nothing(7), "unknown");
        let mut again = stay;
        again.apply(&stamp(2, "2026-05-02"), &Event::AdmissionCancelled(cancelling(1)));
        let cancel = Command::CancelAdmission(cancelling(1));
        assert_eq!(again.when("2026-05-02", cancel), nothing(1), "cancelled already");
    }

    /// Of a discharge, its cancel and the discharge that holds, the last comes first.
    #[test]
    fn a_cancel_that_is_told_late_overtakes_what_it_cancels() {
        let discharged = || Event::Discharged(());
        let mut ended = given(&[("2026-05-01", admitted()), ("2026-05-12", discharged())]);
        let late = |number, at: &str, ended: &Encounter, command| {
            ended.decide(&stamp(number, at), command).map(|event| (stamp(number, at), event))
        };
        let first = || Command::Discharge(());
        let again = late(3, "2026-05-09", &ended, first());
        assert_eq!(again.unwrap_err(), Refusal::AlreadyEnded, "as long as nobody took it back");
        let cancel = || Command::CancelDischarge(cancelling(3));
        let today = late(4, "2026-05-13", &ended, cancel());
        assert_eq!(today.unwrap_err(), Refusal::NothingToCancel(event_id(3)), "a wrong id");
        let (stamp, event) = late(4, "2026-05-10", &ended, cancel()).unwrap();
        ended.apply(&stamp, &event);
        let twice = late(5, "2026-05-10", &ended, cancel());
        assert_eq!(twice.unwrap_err(), Refusal::NothingToCancel(event_id(3)));
        let (stamp, event) = late(3, "2026-05-09", &ended, first()).unwrap();
        ended.apply(&stamp, &event);
        assert_eq!(ended.since(), Some(time("2026-05-12")));
        assert_eq!(ended.path.iter().count(), 2);
    }

    /// A leave that is told after a later move: first that it began, and then that it ended.
    #[test]
    fn a_leave_is_told_though_the_patient_has_moved_since() {
        let mut moved =
            given(&[("2026-05-01", admitted()), ("2026-05-07", Event::Transferred(to_ward("5W")))]);
        let away = moved.decide(&stamp(3, "2026-05-03"), Command::StartLeave(())).unwrap();
        moved.apply(&stamp(3, "2026-05-03"), &away);
        assert_eq!(moved.stage(), Stage::InHospital, "the last move still says where they are");
        let back = moved.decide(&stamp(4, "2026-05-04"), Command::ReturnFromLeave(())).unwrap();
        moved.apply(&stamp(4, "2026-05-04"), &back);
        assert!(moved.is_legal());
        assert_eq!(
            moved.when("2026-05-05", Command::ReturnFromLeave(())),
            Err(Refusal::NotOnLeave)
        );
    }

    #[test]
    fn a_cancel_that_came_first_cancels_only_what_it_means() {
        let mut moved =
            given(&[("2026-05-01", admitted()), ("2026-05-07", Event::Transferred(to_ward("5W")))]);
        let cancel = Command::CancelLeave(cancelling(4));
        let cancel = moved.decide(&stamp(3, "2026-05-06"), cancel).unwrap();
        moved.apply(&stamp(3, "2026-05-06"), &cancel);
        moved.apply(&stamp(4, "2026-05-05"), &Event::Transferred(to_ward("6N")));
        assert_eq!(moved.path.iter().count(), 3, "a transfer is no leave");
    }

    #[test]
    fn after_a_cancelled_admission_the_patient_can_be_admitted_again() {
        let cancelled = given(&[
            ("2026-05-01", admitted()),
            ("2026-05-01", Event::AdmissionCancelled(cancelling(1))),
        ]);
        assert_eq!(cancelled.stage(), Stage::Expected);
        assert!(cancelled.when("2026-05-01", admit()).is_ok());
    }

    #[test]
    fn a_new_plan_replaces_the_old_one_and_is_cancelled_whole() {
        let replanned = given(&[
            ("2026-05-01", admitted()),
            ("2026-05-02", Event::DischargePlanned(planned("2026-05-20"))),
            ("2026-05-03", Event::DischargePlanned(planned("2026-05-15"))),
        ]);
        assert_eq!(replanned.planned_discharge(), Some((event_id(3), time("2026-05-15"))));
        let cancel = |number| Command::CancelPlannedDischarge(cancelling(number));
        assert_eq!(
            replanned.when("2026-05-04", cancel(2)),
            Err(Refusal::NothingToCancel(event_id(2)))
        );
        let mut cancelled = replanned;
        let event = cancelled.when("2026-05-04", cancel(3)).unwrap();
        cancelled.apply(&stamp(4, "2026-05-04"), &event);
        assert_eq!(cancelled.planned_discharge(), None, "the old date does not come back");
    }

    #[test]
    fn a_plan_is_fulfilled_by_what_it_planned_and_stands_again_when_that_is_cancelled() {
        let events = [
            ("2026-05-01", admitted()),
            ("2026-05-02", Event::DischargePlanned(planned("2026-05-09"))),
            ("2026-05-09", Event::Discharged(())),
        ];
        let mut ended = given(&events);
        assert_eq!(ended.planned_discharge(), None);
        ended.apply(&stamp(4, "2026-05-09"), &Event::DischargeCancelled(cancelling(3)));
        assert_eq!(ended.planned_discharge(), Some((event_id(2), time("2026-05-09"))));
    }

    #[test]
    fn only_who_is_in_hospital_has_a_discharge_planned() {
        let plan = || Command::PlanDischarge(planned("2026-05-09"));
        assert_eq!(given(&[]).when("2026-05-02", plan()), Err(Refusal::NotAdmitted));
        let ended = given(&[("2026-05-01", admitted()), ("2026-05-03", Event::Discharged(()))]);
        assert_eq!(ended.when("2026-05-04", plan()), Err(Refusal::AlreadyEnded));
    }

    #[test]
    fn what_was_planned_may_be_told_when_it_has_happened() {
        let ended = given(&[("2026-05-03", admitted()), ("2026-05-09", Event::Discharged(()))]);
        let plan = || Command::PlanDischarge(planned("2026-05-08"));
        assert!(ended.when("2026-05-05", plan()).is_ok());
        assert_eq!(ended.when("2026-05-10", plan()), Err(Refusal::AlreadyEnded));
        let admission = Command::PlanAdmission(PlannedAdmission {
            planned_at: time("2026-05-03"),
            place: place("acute", "4E"),
            preceding: None,
        });
        assert!(ended.when("2026-05-01", admission).is_ok());
    }

    #[test]
    fn an_admission_is_planned_before_it_happens() {
        let plan = |at: &str| PlannedAdmission {
            planned_at: time(at),
            place: place("acute", "4E"),
            preceding: None,
        };
        let expected = given(&[("2026-04-20", Event::AdmissionPlanned(plan("2026-05-01")))]);
        assert_eq!(expected.planned_admission(), Some((event_id(1), time("2026-05-01"))));
        let stay = given(&[("2026-05-01", admitted())]);
        assert_eq!(
            stay.when("2026-05-02", Command::PlanAdmission(plan("2026-05-03"))),
            Err(Refusal::AlreadyBegun)
        );
    }
}
