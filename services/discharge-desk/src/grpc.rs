//! `DischargeDesk` over gRPC: each rpc is one thing that a person does, and one event.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use tsunagi_bus::{Desk, Handler};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
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

type Receipt = Result<Response<v1::Receipt>, Status>;

#[tonic::async_trait]
impl DischargeDesk for Service {
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

    async fn plan_admission(&self, request: Request<v1::PlanAdmissionRequest>) -> Receipt {
        self.desk.record(request, Payload::AdmissionPlanned).await
    }

    async fn cancel_planned_admission(
        &self,
        request: Request<v1::CancelPlannedAdmissionRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::AdmissionPlannedCancelled).await
    }

    async fn register_visit(&self, request: Request<v1::RegisterVisitRequest>) -> Receipt {
        self.desk.record(request, Payload::EncounterRegistered).await
    }

    async fn cancel_visit(&self, request: Request<v1::CancelVisitRequest>) -> Receipt {
        self.desk.record(request, Payload::RegistrationCancelled).await
    }

    async fn admit(&self, request: Request<v1::AdmitRequest>) -> Receipt {
        self.desk.record(request, Payload::Admitted).await
    }

    async fn cancel_admission(&self, request: Request<v1::CancelAdmissionRequest>) -> Receipt {
        self.desk.record(request, Payload::AdmitCancelled).await
    }

    async fn plan_ward_transfer(&self, request: Request<v1::PlanWardTransferRequest>) -> Receipt {
        self.desk.record(request, Payload::TransferPlanned).await
    }

    async fn cancel_planned_ward_transfer(
        &self,
        request: Request<v1::CancelPlannedWardTransferRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::TransferPlannedCancelled).await
    }

    async fn transfer_ward(&self, request: Request<v1::TransferWardRequest>) -> Receipt {
        self.desk.record(request, Payload::Transferred).await
    }

    async fn cancel_ward_transfer(
        &self,
        request: Request<v1::CancelWardTransferRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::TransferCancelled).await
    }

    async fn start_leave(&self, request: Request<v1::StartLeaveRequest>) -> Receipt {
        self.desk.record(request, Payload::LeaveStarted).await
    }

    async fn cancel_leave(&self, request: Request<v1::CancelLeaveRequest>) -> Receipt {
        self.desk.record(request, Payload::LeaveStartedCancelled).await
    }

    async fn return_from_leave(&self, request: Request<v1::ReturnFromLeaveRequest>) -> Receipt {
        self.desk.record(request, Payload::LeaveReturned).await
    }

    async fn cancel_return_from_leave(
        &self,
        request: Request<v1::CancelReturnFromLeaveRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::LeaveReturnedCancelled).await
    }

    async fn plan_discharge(&self, request: Request<v1::PlanDischargeRequest>) -> Receipt {
        self.desk.record(request, Payload::DischargePlanned).await
    }

    async fn cancel_planned_discharge(
        &self,
        request: Request<v1::CancelPlannedDischargeRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::DischargePlannedCancelled).await
    }

    async fn discharge(&self, request: Request<v1::DischargeRequest>) -> Receipt {
        self.desk.record(request, Payload::Discharged).await
    }

    async fn cancel_discharge(&self, request: Request<v1::CancelDischargeRequest>) -> Receipt {
        self.desk.record(request, Payload::DischargeCancelled).await
    }

    async fn record_screening(&self, request: Request<v1::RecordScreeningRequest>) -> Receipt {
        self.desk.record(request, Payload::ScreeningCompleted).await
    }

    async fn record_family_meeting(
        &self,
        request: Request<v1::RecordFamilyMeetingRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::FamilyMeetingHeld).await
    }

    async fn start_discharge_plan(
        &self,
        request: Request<v1::StartDischargePlanRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::PlanStarted).await
    }

    async fn issue_discharge_plan(
        &self,
        request: Request<v1::IssueDischargePlanRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::PlanIssued).await
    }

    async fn change_discharge_plan(
        &self,
        request: Request<v1::ChangeDischargePlanRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::PlanChanged).await
    }

    async fn schedule_conference(
        &self,
        request: Request<v1::ScheduleConferenceRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::ConferenceScheduled).await
    }

    async fn record_conference(&self, request: Request<v1::RecordConferenceRequest>) -> Receipt {
        self.desk.record(request, Payload::ConferenceHeld).await
    }

    async fn request_transfer(&self, request: Request<v1::RequestTransferRequest>) -> Receipt {
        self.desk.record(request, Payload::TransferRequested).await
    }

    async fn offer_bed(&self, request: Request<v1::OfferBedRequest>) -> Receipt {
        self.desk.record(request, Payload::TransferOffered).await
    }

    async fn decline_transfer(&self, request: Request<v1::DeclineTransferRequest>) -> Receipt {
        self.desk.record(request, Payload::TransferDeclined).await
    }

    async fn accept_offer(&self, request: Request<v1::AcceptOfferRequest>) -> Receipt {
        self.desk.record(request, Payload::TransferAccepted).await
    }

    async fn withdraw_transfer_request(
        &self,
        request: Request<v1::WithdrawTransferRequestRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::TransferWithdrawn).await
    }

    async fn declare_discharge_ready(
        &self,
        request: Request<v1::DeclareDischargeReadyRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::DischargeReadyDeclared).await
    }
}
