//! `CareTeam` over gRPC: what everybody on the team and at home does, whatever their desk.

use std::sync::Arc;

use tsunagi_bus::{Desk, Handler};
use tsunagi_proto::v1::care_team_server::CareTeam;

/// The service.
#[derive(Clone)]
pub struct CareTeamService {
    desk: Desk,
}

impl CareTeamService {
    pub fn new(handler: Arc<Handler>) -> Self {
        Self { desk: Desk::new(handler, "care-team") }
    }
}

tsunagi_bus::records! {
    /// Each rpc records one event, but for the last.
    CareTeam for CareTeamService {
        register_patient(RegisterPatientRequest) => PatientRegistered,
        record_allergies(RecordAllergiesRequest) => AllergiesRecorded,
        join_team(JoinTeamRequest) => TeamMemberJoined,
        leave_team(LeaveTeamRequest) => TeamMemberLeft,
        declare_care_manager(DeclareCareManagerRequest) => PrimaryCareManagerDeclared,
        change_on_call(ChangeOnCallRequest) => OnCallChanged,
        merge_patients(MergePatientsRequest) => PatientsMerged,
        unmerge_patients(UnmergePatientsRequest) => PatientsUnmerged,
        mark_entered_in_error(MarkEnteredInErrorRequest) => EnteredInError,
        correct_value(CorrectValueRequest) => ValueCorrected,
        correct_time(CorrectTimeRequest) => TimeCorrected,
        record_acp_discussion(RecordAcpDiscussionRequest) => AcpDiscussionHeld,
        record_acp_preference(RecordAcpPreferenceRequest) => AcpPreferenceRecorded,
        supersede_acp_preference(SupersedeAcpPreferenceRequest) => AcpPreferenceSuperseded,
        publish_document(PublishDocumentRequest) => DocumentPublished,
        receive_document(ReceiveDocumentRequest) => DocumentReceived,
        file_document(FileDocumentRequest) => DocumentFiled,
        supersede_document(SupersedeDocumentRequest) => DocumentSuperseded,
        withdraw_document(WithdrawDocumentRequest) => DocumentWithdrawn,
        appoint_proxy(AppointProxyRequest) => ProxyAppointed,
        change_proxy(ChangeProxyRequest) => ProxyChanged,
        revoke_proxy(RevokeProxyRequest) => ProxyRevoked,
        grant_consent(GrantConsentRequest) => ConsentGranted,
        narrow_consent(NarrowConsentRequest) => ConsentNarrowed,
        withdraw_consent(WithdrawConsentRequest) => ConsentWithdrawn,
        record_disclosure(RecordDisclosureRequest) => DisclosureRecorded,
        expire_consent(ExpireConsentRequest) => ConsentExpired,
        record_access(RecordAccessRequest) => AccessViewed,
        open_in_emergency(OpenInEmergencyRequest) => BreakGlassOpened,
        close_emergency_access(CloseEmergencyAccessRequest) => BreakGlassClosed,
        review_emergency_access(ReviewEmergencyAccessRequest) => BreakGlassReviewed,
        opt_into_secondary_use(OptIntoSecondaryUseRequest) => SecondaryUseOptedIn,
        opt_out_of_secondary_use(OptOutOfSecondaryUseRequest) => SecondaryUseOptedOut,
        request_erasure(RequestErasureRequest) => ErasureRequested,
        restrict_use(RestrictUseRequest) => ErasureRestricted,
        record_erasure(RecordErasureRequest) => ErasureKeyDestroyed,
        ask_question(AskQuestionRequest) => QuestionAsked,
        assign_question(AssignQuestionRequest) => QuestionAssigned,
        answer_question(AnswerQuestionRequest) => QuestionAnswered,
        close_question(CloseQuestionRequest) => QuestionClosed,
        raise_alert(RaiseAlertRequest) => AlertRaised,
        acknowledge_alert(AcknowledgeAlertRequest) => AlertAcknowledged,
        resolve_alert(ResolveAlertRequest) => AlertResolved,
        mark_false_alarm(MarkFalseAlarmRequest) => AlertFalseAlarm,
        request_consult(RequestConsultRequest) => ConsultRequested,
        answer_consult(AnswerConsultRequest) => ConsultAnswered,
        set_consult_disposition(SetConsultDispositionRequest) => ConsultDispositionSet,
        record_walk_in_consult(RecordWalkInConsultRequest) => WalkInConsultRecorded,
        book_appointment(BookAppointmentRequest) => AppointmentBooked,
        cancel_appointment(CancelAppointmentRequest) => AppointmentCancelled,
        record_no_show(RecordNoShowRequest) => AppointmentNoShow,
        record_televisit(RecordTelevisitRequest) => TelevisitCompleted,
        bind_device(BindDeviceRequest) => DeviceBound,
        unbind_device(UnbindDeviceRequest) => DeviceUnbound,
        summarise_signal(SummariseSignalRequest) => SignalSummarised,
        record_fallback(RecordFallbackRequest) => FallbackRecorded,
        => move_events(MoveEventsRequest) -> MoveEventsResponse,
    }
}
