//! The answers: what came of each event, and what is done about a patient that is known.

use anyhow::Context as _;
use tonic::Code;
use tsunagi_domain::PatientId;
use tsunagi_gateway::fhir::directory::key;
use tsunagi_gateway::fhir::map::set_patient;
use tsunagi_gateway::fhir::resource::Patient;
use tsunagi_gateway::fhir::{Mapped, NotMapped, Origin};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::publish_session_response::Outcome as Answer;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use uuid::Uuid;

use super::report::Outcome;
use super::session::Session;
use super::work::{PART_BYTES, Resource, UnderWay, Work};
use crate::client::{own, reason, refused};

type Events = Vec<(u64, v1::Event)>;

impl Work {
    /// What a mapping gave, or a note of why it gave nothing.
    pub(super) fn mapped(
        &mut self,
        origin: &Origin,
        name: &str,
        mapped: Result<Mapped, NotMapped>,
    ) -> anyhow::Result<Option<Mapped>> {
        match mapped {
            Ok(mapped) => Ok(Some(mapped)),
            Err(NotMapped { reason, message }) => {
                let outcome = Outcome::Refused { reason: reason.to_owned(), message };
                self.report.note(origin, name, &outcome)?;
                Ok(None)
            }
        }
    }

    /// The events of a resource about a patient who must be known by now.
    pub(super) async fn about_patient(
        &mut self,
        origin: &Origin,
        name: String,
        mapped: Result<Mapped, NotMapped>,
    ) -> anyhow::Result<Events> {
        let Some(mut mapped) = self.mapped(origin, &name, mapped)? else { return Ok(Vec::new()) };
        let Some(patient) = self.patient(&mapped.patient_key).await? else {
            let message = if self.source_is_named {
                "the patient that it is about was not imported"
            } else {
                "the patient that it is about is not in these files; if it was imported before, name the sending system with --source as then"
            };
            let reason = "SUBJECT_NOT_IMPORTED".to_owned();
            let outcome = Outcome::Refused { reason, message: message.to_owned() };
            self.report.note(origin, &name, &outcome)?;
            return Ok(Vec::new());
        };
        set_patient(&mut mapped.events, patient);
        Ok(self.enter(origin, name, mapped.events, None))
    }

    /// Notes events that are going to be sent, and gives them their tags.
    pub(super) fn enter(
        &mut self,
        origin: &Origin,
        name: String,
        events: Vec<v1::Event>,
        patient: Option<Box<Patient>>,
    ) -> Events {
        let resource = self.next_number;
        self.resources.insert(
            resource,
            Resource {
                origin: origin.clone(),
                name,
                left: events.len(),
                stored: 0,
                refused: None,
                patient,
            },
        );
        let mut tagged = Vec::with_capacity(events.len());
        for event in events {
            self.next_number += 1;
            let is_timed_now = event.occurred_at == self.now;
            self.under_way.insert(self.next_number, UnderWay { resource, is_timed_now });
            tagged.push((self.next_number, event));
        }
        self.next_number += 1;
        tagged
    }

    /// Waits for one answer and notes it.
    pub(super) async fn answered(&mut self, session: &mut Session) -> anyhow::Result<()> {
        let answer = session.answer().await?;
        let under_way = self.under_way.remove(&answer.tag).context("an answer nobody asked for")?;
        let number = under_way.resource;
        let mut resource = self.resources.remove(&number).context("an answer nobody asked for")?;
        match answer.outcome.context("an answer that says nothing")? {
            Answer::Published(published) => {
                let new = published.receipts.iter().filter(|receipt| !receipt.repeated).count();
                resource.stored += u64::try_from(new).unwrap_or(0);
            }
            // Sent before, when it was another time.
            Answer::Refused(refused)
                if refused.reason == "EVENT_ID_REUSED"
                    && under_way.is_timed_now
                    && resource.patient.is_none() => {}
            Answer::Refused(refused) => self.refused(&mut resource, refused).await?,
        }
        resource.left -= 1;
        if resource.left > 0 {
            self.resources.insert(number, resource);
            return Ok(());
        }
        self.report.note_events(resource.stored);
        let outcome = match resource.refused {
            Some(refused) => refused,
            None if resource.stored > 0 => Outcome::Taken,
            None => Outcome::Repeated,
        };
        self.report.note(&resource.origin, &resource.name, &outcome)
    }

    async fn refused(
        &mut self,
        resource: &mut Resource,
        refused: v1::Refused,
    ) -> anyhow::Result<()> {
        let v1::Refused { reason, message, metadata, .. } = refused;
        let is_known = reason == "EVENT_ID_REUSED" || reason == "IDENTIFIER_TAKEN";
        if let (Some(patient), true) = (resource.patient.take(), is_known) {
            let owner = metadata.get("patient_id").and_then(|id| PatientId::parse(id).ok());
            let patient_key = key("Patient", &patient.id);
            let owner = owner.unwrap_or_else(|| self.ids.patient(&patient_key));
            match self.update(&patient, owner).await? {
                Ok(stored) => {
                    self.patients.insert(patient_key, owner);
                    resource.stored += stored;
                }
                Err(outcome) => {
                    self.patients.remove(&patient_key);
                    resource.refused = Some(outcome);
                }
            }
            return Ok(());
        }
        if resource.name.starts_with("Patient/") {
            self.patients.remove(&resource.name);
        }
        resource.refused = Some(Outcome::Refused { reason, message });
        Ok(())
    }

    /// Brings a patient up to date who was registered before: here, or at a desk.
    async fn update(
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
    async fn patient(&mut self, patient_key: &str) -> anyhow::Result<Option<PatientId>> {
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

    /// Has the server keep what could not be read.
    pub(super) async fn quarantine(
        &mut self,
        origin: &Origin,
        raw: &[u8],
        reason: &str,
        name: &str,
    ) -> anyhow::Result<()> {
        let mut bus = CareBusClient::new(self.channel.clone());
        let parts = u32::try_from(raw.len().div_ceil(PART_BYTES).max(1)).unwrap_or(u32::MAX);
        let file = origin.file.file_name().unwrap_or_default().to_string_lossy();
        for (part, bytes) in (1..).zip(raw.chunks(PART_BYTES)) {
            let message = v1::MessageQuarantined {
                origin: format!("{}: {file}:{}", self.ids.source(), origin.number),
                media_type: "application/fhir+json".to_owned(),
                reason: reason.to_owned(),
                raw: bytes.to_owned(),
                part,
                parts,
            };
            let request = v1::QuarantineRequest { message: Some(message) };
            bus.quarantine(own(request)).await.map_err(|status| refused(&status))?;
        }
        let outcome = Outcome::Unreadable { reason: reason.to_owned() };
        self.report.note(origin, name, &outcome)
    }
}
