//! Patients who are known already: who they are, and how they are brought up to date.

use tonic::Code;
use tsunagi_domain::PatientId;
use tsunagi_gateway::fhir::NotMapped;
use tsunagi_gateway::fhir::directory::key;
use tsunagi_gateway::fhir::map::set_patient;
use tsunagi_gateway::fhir::resource::Patient;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use uuid::Uuid;

use super::report::Outcome;
use super::work::Work;
use crate::client::{own, reason, refused};

impl Work {
    /// Brings a patient up to date who was registered before: here, or at a desk.
    pub(super) async fn update(
        &mut self,
        patient: &Patient,
        owner: PatientId,
    ) -> anyhow::Result<Result<u64, Outcome>> {
        let Some(known) = self.known(owner).await? else {
            // The identifier was claimed by a registration that was never finished.
            return self.register_as(patient, owner).await;
        };
        let mut events = Vec::new();
        for identifier in self.mapper().identifiers(patient) {
            if !known.identifiers.contains(&identifier) {
                events.push(self.link(patient, identifier));
            }
        }
        let demographics = self.mapper().demographics(patient);
        if known.demographics.as_ref() != Some(&demographics) {
            let version =
                Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{demographics:?}").as_bytes());
            events.push(self.mapper().patient_update(patient, &version.to_string()));
        }
        set_patient(&mut events, owner);
        self.publish_all(events).await
    }

    async fn register_as(
        &mut self,
        patient: &Patient,
        owner: PatientId,
    ) -> anyhow::Result<Result<u64, Outcome>> {
        match self.mapper().patient(patient) {
            Ok(mut mapped) => {
                set_patient(&mut mapped.events, owner);
                self.publish_all(mapped.events).await
            }
            Err(NotMapped { reason, message }) => {
                Ok(Err(Outcome::Refused { reason: reason.to_owned(), message }))
            }
        }
    }

    fn link(&self, patient: &Patient, identifier: v1::Identifier) -> v1::Event {
        let fact = format!("linked {}|{}", identifier.system, identifier.value);
        let linked =
            Payload::IdentifierLinked(v1::IdentifierLinked { identifier: Some(identifier) });
        let template = self.mapper().patient_update(patient, "");
        v1::Event {
            event_id: self.ids.event(&key("Patient", &patient.id), &fact).to_string(),
            r#type: linked.event_type().to_owned(),
            payload: linked.encode_to_vec(),
            ..template
        }
    }

    /// Publishes events one after the other. How many were stored, or what came in the way.
    async fn publish_all(&self, events: Vec<v1::Event>) -> anyhow::Result<Result<u64, Outcome>> {
        let mut bus = CareBusClient::new(self.channel.clone());
        let mut stored = 0;
        for event in events {
            let request = v1::PublishRequest { events: vec![event], expected_version: None };
            match bus.publish(own(request)).await {
                Ok(published) => {
                    let receipts = published.into_inner().receipts;
                    let new = receipts.iter().filter(|receipt| !receipt.repeated).count();
                    stored += u64::try_from(new).unwrap_or(0);
                }
                Err(status) if status.code() == Code::Unavailable => return Err(refused(&status)),
                Err(status) => {
                    let message = status.message().to_owned();
                    return Ok(Err(Outcome::Refused { reason: reason(&status), message }));
                }
            }
        }
        Ok(Ok(stored))
    }

    /// What is known of a patient. None if the patient is not registered.
    async fn known(&self, patient: PatientId) -> anyhow::Result<Option<v1::PatientSummary>> {
        let mut timeline = TimelineClient::new(self.channel.clone());
        let request = v1::ReadTimelineRequest {
            patient_id: patient.to_string(),
            page_size: 1,
            ..v1::ReadTimelineRequest::default()
        };
        match timeline.read_timeline(own(request)).await {
            Ok(page) => Ok(page.into_inner().patient),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(refused(&status)),
        }
    }

    /// The patient that a resource is: of these files, or of an earlier import of a system
    /// that was named.
    pub(super) async fn patient(&mut self, patient_key: &str) -> anyhow::Result<Option<PatientId>> {
        if let Some(patient) = self.patients.get(patient_key) {
            return Ok(Some(*patient));
        }
        if !self.source_is_named {
            return Ok(None);
        }
        if let Some(earlier) = self.earlier.get(patient_key) {
            return Ok(*earlier);
        }
        let (_, id) = patient_key.split_once('/').unwrap_or_default();
        let identifier =
            v1::Identifier { system: self.ids.identifier_system(), value: id.to_owned() };
        let request = v1::FindPatientRequest { identifier: Some(identifier) };
        let mut timeline = TimelineClient::new(self.channel.clone());
        let earlier = match timeline.find_patient(own(request)).await {
            Ok(found) => {
                let patient = found.into_inner().patient.unwrap_or_default();
                PatientId::parse(&patient.patient_id).ok()
            }
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => return Err(refused(&status)),
        };
        self.earlier.insert(patient_key.to_owned(), earlier);
        Ok(earlier)
    }
}
