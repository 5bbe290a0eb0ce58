//! Patients who are known already: who they are, and how they are brought up to date.

use tonic::Code;
use tsunagi_domain::{CareTime, PatientId, Zone};
use tsunagi_gateway::fhir::map::set_patient;
use tsunagi_gateway::fhir::resource::Patient;
use tsunagi_gateway::person::{Before, is_somebody_else};
use tsunagi_proto::demographics::Update;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use super::again::was_protected;
use super::report::Outcome;
use super::work::Work;
use crate::client::{own, reason, refused};

/// Attempts to update a patient about whom others write at the same time.
const ATTEMPTS_MAX: u32 = 5;

impl Work {
    /// Brings a patient up to date who was registered before: here, or at a desk.
    pub(super) async fn update(
        &mut self,
        patient: &Patient,
        owner: PatientId,
    ) -> anyhow::Result<Result<u64, Outcome>> {
        let mut outcome = self.update_once(patient, owner).await?;
        for _ in 1..ATTEMPTS_MAX {
            match &outcome {
                Err(Outcome::Refused { reason, .. }) if reason == "VERSION_CONFLICT" => {
                    outcome = self.update_once(patient, owner).await?;
                }
                Ok(_) | Err(_) => break,
            }
        }
        Ok(outcome)
    }

    async fn update_once(
        &mut self,
        patient: &Patient,
        owner: PatientId,
    ) -> anyhow::Result<Result<u64, Outcome>> {
        let Some(known) = self.known(owner).await? else {
            // The identifier was claimed by a registration that was never finished.
            return self.register_as(patient, owner).await;
        };
        let identifiers = self.mapper().identifiers(patient);
        let said = self.mapper().demographics(patient);
        let before = known.demographics.unwrap_or_default();
        // The first leads back to the resource: with it, the two were found to be one before.
        let is_linked = identifiers.first().is_some_and(|own| known.identifiers.contains(own));
        if !is_linked && is_somebody_else(&before, &said) {
            return Ok(Err(mismatch(owner)));
        }
        let mut events = Vec::new();
        if let Some(news) = self.person_news(patient, owner, &before).await? {
            events.push(self.mapper().patient_update(patient, news, known.version));
        }
        for identifier in identifiers {
            if !known.identifiers.contains(&identifier) {
                events.push(self.mapper().identifier_linked(patient, identifier));
            }
        }
        set_patient(&mut events, owner);
        // Decided on what is known: that the address is confidential, above all.
        self.publish(events, Some(known.version)).await
    }

    /// What a resource says of who the patient is beyond what is known.
    async fn person_news(
        &mut self,
        patient: &Patient,
        owner: PatientId,
        known: &v1::Demographics,
    ) -> anyhow::Result<Option<Update>> {
        let timeline = self.timeline(owner).await?;
        let words = self.words(patient, &timeline);
        let before = Before {
            known,
            is_withheld: true,
            was_protected: was_protected(&timeline),
            words: &words,
            written: CareTime::parse(&patient.meta.last_updated, &Zone::utc()).ok(),
            may_have_come: false,
        };
        Ok(before.news(self.mapper().said(patient, known, &words)))
    }

    async fn register_as(
        &mut self,
        patient: &Patient,
        owner: PatientId,
    ) -> anyhow::Result<Result<u64, Outcome>> {
        match self.mapper().patient(patient) {
            Ok(mut mapped) => {
                set_patient(&mut mapped.events, owner);
                self.publish(mapped.events, None).await
            }
            Err(not_mapped) => Ok(Err(not_mapped.into())),
        }
    }

    /// Publishes events about one patient, all or none. How many were stored, or what came in
    /// the way.
    pub(super) async fn publish(
        &self,
        events: Vec<v1::Event>,
        expected_version: Option<u64>,
    ) -> anyhow::Result<Result<u64, Outcome>> {
        if events.is_empty() {
            return Ok(Ok(0));
        }
        let mut bus = CareBusClient::new(self.channel.clone());
        match bus.publish(own(v1::PublishRequest { events, expected_version })).await {
            Ok(published) => {
                let receipts = published.into_inner().receipts;
                let new = receipts.iter().filter(|receipt| !receipt.repeated).count();
                Ok(Ok(u64::try_from(new).unwrap_or(0)))
            }
            // A refusal has a reason; what has none came of the connection.
            Err(status) if status.code() == Code::Unavailable || reason(&status).is_empty() => {
                Err(refused(&status))
            }
            Err(status) => {
                let message = status.message().to_owned();
                Ok(Err(Outcome::Refused { reason: reason(&status), message }))
            }
        }
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
        let Some(id) = patient_key.strip_prefix("Patient/") else { return Ok(None) };
        let identifier =
            v1::Identifier { system: self.ids.identifier_system(), value: id.to_owned() };
        let request = v1::FindPatientRequest { identifier: Some(identifier), as_known_at: None };
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

fn mismatch(owner: PatientId) -> Outcome {
    Outcome::Refused {
        reason: "PATIENT_MISMATCH".to_owned(),
        message: format!(
            "an identifier of it belongs to patient {owner}, who has another birth date or sex: find out whose number it is, and correct the resource or the patient"
        ),
    }
}
