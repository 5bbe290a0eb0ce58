//! `DischargeDesk` over gRPC: each rpc is one thing that a person does, and one event.

use std::sync::Arc;

use tsunagi_bus::{Desk, Handler};
use tsunagi_proto::v1::discharge_desk_server::DischargeDesk;

/// The service.
#[derive(Clone)]
pub struct Service {
    desk: Desk,
}

impl Service {
    pub fn new(handler: Arc<Handler>) -> Self {
        Self { desk: Desk::new(handler, "discharge-desk") }
    }
}

tsunagi_bus::records! {
    /// Each rpc records one event.
    DischargeDesk for Service {
        register_patient(RegisterPatientRequest) => PatientRegistered,
        link_identifier(LinkIdentifierRequest) => IdentifierLinked,
        update_demographics(UpdateDemographicsRequest) => DemographicsUpdated,
        plan_admission(PlanAdmissionRequest) => AdmissionPlanned,
        cancel_planned_admission(CancelPlannedAdmissionRequest) => AdmissionPlannedCancelled,
        register_visit(RegisterVisitRequest) => EncounterRegistered,
        cancel_visit(CancelVisitRequest) => RegistrationCancelled,
        admit(AdmitRequest) => Admitted,
        cancel_admission(CancelAdmissionRequest) => AdmitCancelled,
        plan_ward_transfer(PlanWardTransferRequest) => TransferPlanned,
        cancel_planned_ward_transfer(CancelPlannedWardTransferRequest) => TransferPlannedCancelled,
        transfer_ward(TransferWardRequest) => Transferred,
        cancel_ward_transfer(CancelWardTransferRequest) => TransferCancelled,
        start_leave(StartLeaveRequest) => LeaveStarted,
        cancel_leave(CancelLeaveRequest) => LeaveStartedCancelled,
        return_from_leave(ReturnFromLeaveRequest) => LeaveReturned,
        cancel_return_from_leave(CancelReturnFromLeaveRequest) => LeaveReturnedCancelled,
        plan_discharge(PlanDischargeRequest) => DischargePlanned,
        cancel_planned_discharge(CancelPlannedDischargeRequest) => DischargePlannedCancelled,
        discharge(DischargeRequest) => Discharged,
        cancel_discharge(CancelDischargeRequest) => DischargeCancelled,
        record_screening(RecordScreeningRequest) => ScreeningCompleted,
        record_family_meeting(RecordFamilyMeetingRequest) => FamilyMeetingHeld,
        start_discharge_plan(StartDischargePlanRequest) => PlanStarted,
        issue_discharge_plan(IssueDischargePlanRequest) => PlanIssued,
        change_discharge_plan(ChangeDischargePlanRequest) => PlanChanged,
        schedule_conference(ScheduleConferenceRequest) => ConferenceScheduled,
        cancel_conference(CancelConferenceRequest) => ConferenceCancelled,
        record_conference(RecordConferenceRequest) => ConferenceHeld,
        request_transfer(RequestTransferRequest) => TransferRequested,
        offer_bed(OfferBedRequest) => TransferOffered,
        decline_transfer(DeclineTransferRequest) => TransferDeclined,
        accept_offer(AcceptOfferRequest) => TransferAccepted,
        withdraw_transfer_request(WithdrawTransferRequestRequest) => TransferWithdrawn,
        declare_discharge_ready(DeclareDischargeReadyRequest) => DischargeReadyDeclared,
        change_encounter_class(ChangeEncounterClassRequest) => EncounterClassChanged,
        change_attending(ChangeAttendingRequest) => AttendingChanged,
        record_death(RecordDeathRequest) => PatientDeceased,
        add_factor(AddFactorRequest) => FactorIdentified,
        open_support(OpenSupportRequest) => SupportOpened,
        close_support(CloseSupportRequest) => SupportClosed,
        record_joint_guidance(RecordJointGuidanceRequest) => JointGuidanceGiven,
        record_care_manager_guidance(RecordCareManagerGuidanceRequest) => CareManagerJointGuidanceGiven,
        assess_residence_criteria(AssessResidenceCriteriaRequest) => ResidenceCriteriaAssessed,
        record_delay_reason(RecordDelayReasonRequest) => DelayReasonRecorded,
        assign_pathway(AssignPathwayRequest) => PathwayAssigned,
        record_path_variance(RecordPathVarianceRequest) => PathVarianceRecorded,
        order_equipment(OrderEquipmentRequest) => EquipmentOrdered,
        record_partner_meeting(RecordPartnerMeetingRequest) => PartnerMeetingHeld,
        mark_partner_meeting_entered_in_error(MarkPartnerMeetingEnteredInErrorRequest) => PartnerMeetingEnteredInError,
    }
}
