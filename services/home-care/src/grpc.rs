//! `HomeCare` over gRPC: each rpc is one thing that a person does, and one event.

use std::sync::Arc;

use tsunagi_bus::{Desk, Handler};
use tsunagi_proto::v1::home_care_server::HomeCare;

/// The service.
#[derive(Clone)]
pub struct Service {
    desk: Desk,
}

impl Service {
    pub fn new(handler: Arc<Handler>) -> Self {
        Self { desk: Desk::new(handler, "home-care") }
    }
}

tsunagi_bus::records! {
    /// Each rpc records one event.
    HomeCare for Service {
        register_patient(RegisterPatientRequest) => PatientRegistered,
        link_identifier(LinkIdentifierRequest) => IdentifierLinked,
        update_demographics(UpdateDemographicsRequest) => DemographicsUpdated,
        record_visit(RecordVisitRequest) => VisitCompleted,
        record_missed_visit(RecordMissedVisitRequest) => VisitMissed,
        record_observation(RecordObservationRequest) => ObservationRecorded,
        report_condition_change(ReportConditionChangeRequest) => ConditionChanged,
        provide_admission_info(ProvideAdmissionInfoRequest) => AdmissionInfoProvided,
        record_discharge_info(RecordDischargeInfoRequest) => DischargeInfoRecorded,
        schedule_visit(ScheduleVisitRequest) => VisitScheduled,
        issue_order(IssueOrderRequest) => OrderIssued,
        amend_order(AmendOrderRequest) => OrderAmended,
        issue_special_order(IssueSpecialOrderRequest) => SpecialOrderIssued,
        expire_order(ExpireOrderRequest) => OrderExpired,
        submit_nursing_plan(SubmitNursingPlanRequest) => NursingPlanSubmitted,
        submit_nursing_report(SubmitNursingReportRequest) => NursingReportSubmitted,
        share_care_plan(ShareCarePlanRequest) => CarePlanShared,
        record_service_meeting(RecordServiceMeetingRequest) => ServiceMeetingHeld,
        apply_for_certification(ApplyForCertificationRequest) => CertificationApplied,
        record_certification(RecordCertificationRequest) => CertificationDecided,
        remind_of_certification(RemindOfCertificationRequest) => CertificationExpiring,
        reconcile_medication(ReconcileMedicationRequest) => MedicationReconciled,
        report_incident(ReportIncidentRequest) => IncidentReported,
        record_emergency_transport(RecordEmergencyTransportRequest) => EmergencyTransported,
    }
}
