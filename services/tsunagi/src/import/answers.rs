//! The answers: what came of each event, and what is kept for a person to look at.

use anyhow::Context as _;
use tonic::Code;
use tsunagi_domain::PatientId;
use tsunagi_gateway::fhir::directory::key;
use tsunagi_gateway::fhir::door::Kept;
use tsunagi_gateway::fhir::map::set_patient;
use tsunagi_gateway::fhir::resource::Patient;
use tsunagi_gateway::fhir::{Mapped, NotMapped, Origin};
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::publish_session_response::Outcome as Answer;

use super::report::Outcome;
use super::session::{Session, request};
use super::work::{PART_BYTES, Resource, Tagged, UnderWay, Work};
use crate::client::{own, refused};

/// Whether a refusal is about the server as it is now.
fn is_passing(code: u32) -> bool {
    let codes = [Code::Unavailable, Code::ResourceExhausted, Code::Aborted, Code::Internal];
    codes.iter().any(|passing| u32::try_from(i32::from(*passing)) == Ok(code))
}

/// Of an encounter, the id of the event that was made of it says nothing to whoever exported it.
fn said_otherwise(outcome: Outcome) -> Outcome {
    let is_so = matches!(&outcome, Outcome::Refused { reason, .. } if reason == "EVENT_ID_REUSED");
    if !is_so {
        return outcome;
    }
    let message = "what it says was taken before with other content, which an import does not correct: correct it at a desk, or export it as entered-in-error first, and then anew under another id";
    Outcome::Refused { reason: "EVENT_ID_REUSED".to_owned(), message: message.to_owned() }
}

/// Events that one request has at most.
const EVENTS_MAX: usize = 100;

impl Work {
    /// What a mapping gave, or a note of why it gave nothing.
    pub(super) fn mapped<T>(
        &mut self,
        origin: &Origin,
        name: &str,
        mapped: Result<T, NotMapped>,
    ) -> anyhow::Result<Option<T>> {
        match mapped {
            Ok(mapped) => Ok(Some(mapped)),
            Err(not_mapped) => {
                self.report.note(origin, name, &not_mapped.into())?;
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
        kept: Kept,
    ) -> anyhow::Result<Vec<Tagged>> {
        let Some(mut mapped) = self.mapped(origin, &name, mapped)? else { return Ok(Vec::new()) };
        let Some(patient) = self.patient(&mapped.patient_key).await? else {
            let message = self.not_imported(&mapped.patient_key);
            let reason = "SUBJECT_NOT_IMPORTED".to_owned();
            let outcome = Outcome::Refused { reason, message: message.to_owned() };
            self.report.note(origin, &name, &outcome)?;
            return Ok(Vec::new());
        };
        set_patient(&mut mapped.events, patient);
        set_patient(mapped.ending.as_mut_slice(), patient);
        Ok(self.enter(origin, name, (mapped, kept), None))
    }

    /// Why the patient whom a resource is about is not known.
    fn not_imported(&self, patient_key: &str) -> &'static str {
        if patient_key.contains("://") {
            "the patient that it is about is on another server; if that is the one that exported these files, name its URL with --base"
        } else if self.source_is_named {
            "the patient that it is about was not imported"
        } else {
            "the patient that it is about is not in these files; if it was imported before, name the sending system with --source as then"
        }
    }

    /// Notes events that are going to be sent, in requests with tags: all in one, unless they
    /// are too many.
    pub(super) fn enter(
        &mut self,
        origin: &Origin,
        name: String,
        (mapped, kept): (Mapped, Kept),
        patient: Option<Box<Patient>>,
    ) -> Vec<Tagged> {
        let Mapped { events, ending, .. } = mapped;
        let remarks = kept.remarks();
        let of = events.first().and_then(|event| PatientId::parse(&event.patient_id).ok());
        let kept = Some(kept).filter(|kept| !kept.is_empty()).zip(of);
        let received = kept.as_ref().map(|(kept, of)| self.mapper().received(kept, *of, None));
        let resource = self.next_number;
        let requests = events.chunks(EVENTS_MAX);
        self.resources.insert(
            resource,
            Resource {
                origin: origin.clone(),
                name,
                left: requests.len(),
                stored: 0,
                refused: None,
                patient,
                ending,
                kept,
                remarks,
            },
        );
        let mut tagged = Vec::with_capacity(requests.len());
        for events in requests {
            self.next_number += 1;
            self.under_way.insert(self.next_number, self.request_of(resource, events));
            tagged.push((self.next_number, events.to_vec()));
        }
        self.next_number += 1;
        if let Some((tag, events)) = tagged.last_mut()
            && events.len() < EVENTS_MAX
            && let Some(kept) = received
            && let Some(sent) = self.under_way.get_mut(tag)
        {
            sent.alone.clone_from(events);
            events.push(kept);
        }
        tagged
    }

    fn request_of(&self, resource: u64, events: &[v1::Event]) -> UnderWay {
        // Only stays have several.
        let stay = if events.len() > 1 { events.to_vec() } else { Vec::new() };
        let is_newcomer = |event: &v1::Event| self.newcomers.contains(&event.patient_id);
        UnderWay {
            resource,
            is_timed_now: events.iter().all(|event| event.occurred_at == self.now),
            may_go_on: stay.first().is_some_and(|event| !is_newcomer(event)),
            stay,
            alone: Vec::new(),
            keeps: false,
        }
    }

    /// Waits for one answer and notes it.
    pub(super) async fn answered(&mut self, session: &mut Session) -> anyhow::Result<()> {
        let answer = session.answer().await?;
        let mut under_way =
            self.under_way.remove(&answer.tag).context("an answer nobody asked for")?;
        let number = under_way.resource;
        let mut resource = self.resources.remove(&number).context("an answer nobody asked for")?;
        match answer.outcome.context("an answer that says nothing")? {
            Answer::Published(published) => {
                let new = published.receipts.into_iter().filter(|receipt| !receipt.repeated);
                let new: Vec<String> = new.map(|receipt| receipt.patient_id).collect();
                resource.stored += u64::try_from(new.len()).unwrap_or(0);
                if resource.patient.is_some() {
                    self.newcomers.extend(new);
                }
                if !under_way.alone.is_empty() {
                    resource.kept = None;
                }
            }
            // The event itself is not refused: it is to be sent again.
            Answer::Refused(refused) if is_passing(refused.code) => {
                anyhow::bail!(
                    "{}; then import again: what is stored is not stored twice",
                    refused.message
                )
            }
            // Some of it was taken before: of the rest, it is to be seen what.
            Answer::Refused(refused)
                if refused.reason == "EVENT_ID_REUSED"
                    && resource.patient.is_none()
                    && !under_way.alone.is_empty() =>
            {
                self.resources.insert(number, resource);
                let events = std::mem::take(&mut under_way.alone);
                return self.send(session, under_way, events).await;
            }
            // Sent before, when it was another time.
            Answer::Refused(refused)
                if refused.reason == "EVENT_ID_REUSED"
                    && under_way.is_timed_now
                    && resource.patient.is_none() => {}
            // The same was kept before; or it cannot be, and the rest of the resource is taken.
            Answer::Refused(refused) if under_way.keeps => {
                if refused.reason != "EVENT_ID_REUSED" {
                    resource.refused.get_or_insert(refused.into());
                }
            }
            Answer::Refused(refused) => {
                self.refused(&mut resource, under_way.stay, refused).await?;
            }
        }
        resource.left -= 1;
        if resource.left > 0 {
            self.resources.insert(number, resource);
            return Ok(());
        }
        if let (Some(kept), None) = (resource.kept.take(), &resource.refused) {
            return self.keep(session, resource, kept).await;
        }
        self.report.note_events(resource.stored);
        let Resource { origin, name, remarks, .. } = resource;
        let outcome = match resource.refused {
            Some(refused) => refused,
            None if resource.stored > 0 => Outcome::Taken,
            None => Outcome::Repeated,
        };
        self.report.note_with((&origin, &name), &outcome, &remarks)
    }

    /// Sends what is kept of a resource that was taken: of a patient, in whose record it is.
    async fn keep(
        &mut self,
        session: &Session,
        mut resource: Resource,
        (kept, patient): (Kept, PatientId),
    ) -> anyhow::Result<()> {
        let owner = self.patients.get(&resource.name).copied();
        let kept = self.mapper().received(&kept, owner.unwrap_or(patient), None);
        resource.left = 1;
        resource.patient = None;
        let number = self.next_number;
        self.next_number += 1;
        self.resources.insert(number, resource);
        let sent = UnderWay { keeps: true, ..self.request_of(number, &[]) };
        self.send(session, sent, vec![kept]).await
    }

    /// Sends a request in the place of one that was answered: there is room for all that are
    /// under way.
    async fn send(
        &mut self,
        session: &Session,
        sent: UnderWay,
        events: Vec<v1::Event>,
    ) -> anyhow::Result<()> {
        let tag = self.next_number;
        self.next_number += 1;
        self.under_way.insert(tag, sent);
        session.requests().send(request(tag, events)).await.context("the session ended")
    }

    async fn refused(
        &mut self,
        resource: &mut Resource,
        stay: Vec<v1::Event>,
        refused: v1::Refused,
    ) -> anyhow::Result<()> {
        let (patient, ending) = (resource.patient.take(), resource.ending.take());
        let outcome = match (refused.reason.as_str(), patient, ending) {
            ("EVENT_ID_REUSED" | "IDENTIFIER_TAKEN", Some(patient), _) => {
                self.adopt(&patient, &refused).await?
            }
            ("EVENT_ID_REUSED" | "ENCOUNTER_BEGUN", None, Some(ending)) => {
                self.end(ending, refused).await?
            }
            ("EVENT_ID_REUSED", None, None) if !stay.is_empty() => {
                self.add_to_stay(stay, refused).await?
            }
            _ => Err(refused.into()),
        };
        match outcome {
            Ok(stored) => resource.stored += stored,
            Err(outcome) => {
                if resource.name.starts_with("Patient/") {
                    self.patients.remove(&resource.name);
                }
                let outcome = if resource.name.starts_with("Encounter/") {
                    said_otherwise(outcome)
                } else {
                    outcome
                };
                // The first is the cause of those after it.
                resource.refused.get_or_insert(outcome);
            }
        }
        Ok(())
    }

    /// Brings the patient up to date who was there before.
    async fn adopt(
        &mut self,
        patient: &Patient,
        refused: &v1::Refused,
    ) -> anyhow::Result<Result<u64, Outcome>> {
        let patient_key = key("Patient", &patient.id);
        let owner = refused.metadata.get("patient_id").and_then(|id| PatientId::parse(id).ok());
        let owner = owner.unwrap_or_else(|| self.ids.patient(&patient_key));
        let updated = self.update(patient, owner).await?;
        if updated.is_ok() {
            self.patients.insert(patient_key, owner);
        }
        Ok(updated)
    }

    /// Ends a visit that was there before.
    async fn end(
        &mut self,
        ending: v1::Event,
        refused: v1::Refused,
    ) -> anyhow::Result<Result<u64, Outcome>> {
        Ok(match self.publish(vec![ending], None).await? {
            // It was not going on: the first refusal says what is wrong.
            Err(Outcome::Refused { reason, .. })
                if reason == "ENCOUNTER_ENDED" || reason == "NOT_ADMITTED" =>
            {
                Err(refused.into())
            }
            ended => ended,
        })
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
                ..v1::MessageQuarantined::default()
            };
            let request = v1::QuarantineRequest { message: Some(message) };
            bus.quarantine(own(request)).await.map_err(|status| refused(&status))?;
        }
        let outcome = Outcome::Unreadable { reason: reason.to_owned() };
        self.report.note(origin, name, &outcome)
    }
}
