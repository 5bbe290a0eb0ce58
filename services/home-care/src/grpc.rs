//! `HomeCare` over gRPC: each rpc is one thing that a person does, and one event.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use tsunagi_bus::{Desk, Handler};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
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

type Receipt = Result<Response<v1::Receipt>, Status>;

#[tonic::async_trait]
impl HomeCare for Service {
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

    async fn record_visit(&self, request: Request<v1::RecordVisitRequest>) -> Receipt {
        self.desk.record(request, Payload::VisitCompleted).await
    }

    async fn record_missed_visit(&self, request: Request<v1::RecordMissedVisitRequest>) -> Receipt {
        self.desk.record(request, Payload::VisitMissed).await
    }

    async fn record_observation(&self, request: Request<v1::RecordObservationRequest>) -> Receipt {
        self.desk.record(request, Payload::ObservationRecorded).await
    }

    async fn report_condition_change(
        &self,
        request: Request<v1::ReportConditionChangeRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::ConditionChanged).await
    }

    async fn provide_admission_info(
        &self,
        request: Request<v1::ProvideAdmissionInfoRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::AdmissionInfoProvided).await
    }

    async fn record_discharge_info(
        &self,
        request: Request<v1::RecordDischargeInfoRequest>,
    ) -> Receipt {
        self.desk.record(request, Payload::DischargeInfoRecorded).await
    }
}
