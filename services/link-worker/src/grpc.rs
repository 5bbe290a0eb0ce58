//! `LinkWorker` over gRPC: each rpc is one thing that a person does, and one event.

use std::sync::Arc;

use tsunagi_bus::{Desk, Handler};
use tsunagi_proto::v1::link_worker_server::LinkWorker;

/// The service.
#[derive(Clone)]
pub struct Service {
    desk: Desk,
}

impl Service {
    pub fn new(handler: Arc<Handler>) -> Self {
        Self { desk: Desk::new(handler, "link-worker") }
    }
}

tsunagi_bus::records! {
    /// Each rpc records one event.
    LinkWorker for Service {
        register_patient(RegisterPatientRequest) => PatientRegistered,
        link_identifier(LinkIdentifierRequest) => IdentifierLinked,
        update_demographics(UpdateDemographicsRequest) => DemographicsUpdated,
        signpost(SignpostRequest) => Signposted,
        request_referral(RequestReferralRequest) => ReferralRequested,
        accept_referral(AcceptReferralRequest) => ReferralAccepted,
        reject_referral(RejectReferralRequest) => ReferralRejected,
        start_referral(StartReferralRequest) => ReferralInProgress,
        hold_referral(HoldReferralRequest) => ReferralOnHold,
        fail_referral(FailReferralRequest) => ReferralFailed,
        complete_referral(CompleteReferralRequest) => ReferralCompleted,
        cancel_referral(CancelReferralRequest) => ReferralCancelled,
        mark_referral_entered_in_error(MarkReferralEnteredInErrorRequest) => ReferralEnteredInError,
        open_case(OpenCaseRequest) => CaseOpened,
        close_case(CloseCaseRequest) => CaseClosed,
        reopen_case(ReopenCaseRequest) => CaseReopened,
        record_contact_attempt(RecordContactAttemptRequest) => ContactAttempted,
        record_contact(RecordContactRequest) => ContactHeld,
        record_attendance(RecordAttendanceRequest) => AttendanceRecorded,
        record_non_attendance(RecordNonAttendanceRequest) => Unattended,
        record_measure(RecordMeasureRequest) => MeasureRecorded,
        set_goal(SetGoalRequest) => GoalSet,
        meet_goal(MeetGoalRequest) => GoalMet,
        send_feedback(SendFeedbackRequest) => FeedbackSent,
        draft_interview(DraftInterviewRequest) => InterviewRecordDrafted,
        confirm_interview(ConfirmInterviewRequest) => InterviewRecordConfirmed,
        enrol_in_programme(EnrolInProgrammeRequest) => ProgrammeEnrolled,
        close_programme(CloseProgrammeRequest) => ProgrammeClosed,
        request_selfcheck_contact(RequestSelfcheckContactRequest) => SelfcheckContactRequested,
        publish_resource(PublishResourceRequest) => ResourcePublished,
        change_resource(ChangeResourceRequest) => ResourceChanged,
        confirm_resource(ConfirmResourceRequest) => ResourceVerified,
        report_capacity(ReportCapacityRequest) => ResourceCapacitySet,
        withdraw_resource(WithdrawResourceRequest) => ResourceWithdrawn,
    }
}
