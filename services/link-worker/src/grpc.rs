//! `LinkWorker` over gRPC: each rpc is one thing that a person does, and one event.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use tsunagi_bus::{Desk, Handler};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
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

type Receipt = Result<Response<v1::Receipt>, Status>;

#[tonic::async_trait]
impl LinkWorker for Service {
    async fn register_patient(&self, request: Request<v1::RegisterPatientRequest>) -> Receipt {
        self.desk.record(request, Payload::PatientRegistered).await
    }

    async fn link_identifier(&self, request: Request<v1::LinkIdentifierRequest>) -> Receipt {
        self.desk.record(request, Payload::IdentifierLinked).await
    }

    async fn update_demographics(
        &self,
        request: Request<v1::UpdateDemographicsRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::DemographicsUpdated).await
    }

    async fn signpost(&self, request: Request<v1::SignpostRequest>) -> Receipt {
        self.desk.record(request, Payload::Signposted).await
    }

    async fn request_referral(&self, request: Request<v1::RequestReferralRequest>) -> Receipt {
        self.desk.record(request, Payload::ReferralRequested).await
    }

    async fn accept_referral(&self, request: Request<v1::AcceptReferralRequest>) -> Receipt {
        self.desk.record(request, Payload::ReferralAccepted).await
    }

    async fn reject_referral(&self, request: Request<v1::RejectReferralRequest>) -> Receipt {
        self.desk.record(request, Payload::ReferralRejected).await
    }

    async fn start_referral(&self, request: Request<v1::StartReferralRequest>) -> Receipt {
        self.desk.record(request, Payload::ReferralInProgress).await
    }

    async fn hold_referral(&self, request: Request<v1::HoldReferralRequest>) -> Receipt {
        self.desk.record(request, Payload::ReferralOnHold).await
    }

    async fn fail_referral(&self, request: Request<v1::FailReferralRequest>) -> Receipt {
        self.desk.record(request, Payload::ReferralFailed).await
    }

    async fn complete_referral(&self, request: Request<v1::CompleteReferralRequest>) -> Receipt {
        self.desk.record(request, Payload::ReferralCompleted).await
    }

    async fn cancel_referral(&self, request: Request<v1::CancelReferralRequest>) -> Receipt {
        self.desk.record(request, Payload::ReferralCancelled).await
    }

    async fn mark_referral_entered_in_error(
        &self,
        request: Request<v1::MarkReferralEnteredInErrorRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::ReferralEnteredInError).await
    }

    async fn open_case(&self, request: Request<v1::OpenCaseRequest>) -> Receipt {
        self.desk.record(request, Payload::CaseOpened).await
    }

    async fn close_case(&self, request: Request<v1::CloseCaseRequest>) -> Receipt {
        self.desk.record(request, Payload::CaseClosed).await
    }

    async fn reopen_case(&self, request: Request<v1::ReopenCaseRequest>) -> Receipt {
        self.desk.record(request, Payload::CaseReopened).await
    }

    async fn record_contact_attempt(
        &self,
        request: Request<v1::RecordContactAttemptRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::ContactAttempted).await
    }

    async fn record_contact(&self, request: Request<v1::RecordContactRequest>) -> Receipt {
        self.desk.record(request, Payload::ContactHeld).await
    }

    async fn record_attendance(&self, request: Request<v1::RecordAttendanceRequest>) -> Receipt {
        self.desk.record(request, Payload::AttendanceRecorded).await
    }

    async fn record_non_attendance(
        &self,
        request: Request<v1::RecordNonAttendanceRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::Unattended).await
    }

    async fn record_measure(&self, request: Request<v1::RecordMeasureRequest>) -> Receipt {
        self.desk.record(request, Payload::MeasureRecorded).await
    }
}
