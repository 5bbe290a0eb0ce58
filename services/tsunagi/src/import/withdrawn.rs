//! Encounters that did not happen after all: what was imported of them before is cancelled.

use tsunagi_domain::PatientId;
use tsunagi_gateway::fhir::map::set_patient;
use tsunagi_gateway::fhir::resource::Encounter;
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use super::report::Outcome;
use super::work::Work;
use crate::client::{own, refused};

/// Timeline entries read at a time.
const PAGE: u32 = 1000;

impl Work {
    /// Cancels what was imported of an encounter. None if that is nothing.
    pub(super) async fn withdraw(
        &mut self,
        encounter: &Encounter,
    ) -> anyhow::Result<Option<Outcome>> {
        let patient_key = self.directory.key_of(&encounter.subject, "Patient");
        let Some(patient) = self.patient(&patient_key).await? else { return Ok(None) };
        let timeline = self.timeline(patient).await?;
        let said = self.mapper().said_of(encounter, &timeline);
        let groups = self.mapper().cancellations(encounter, &said);
        let mut stored = 0;
        for mut events in groups {
            set_patient(&mut events, patient);
            match self.publish(events, None).await? {
                Ok(new) => {
                    self.report.note_events(new);
                    stored += new;
                }
                // A plan that a later one replaced.
                Err(Outcome::Refused { reason, .. }) if reason == "NOTHING_TO_CANCEL" => {}
                Err(outcome) => return Ok(Some(outcome)),
            }
        }
        let was_cancelled = said.iter().any(|entry| !entry.cancelled_by_event_id.is_empty());
        Ok(match (stored, was_cancelled) {
            (1.., _) => Some(Outcome::Taken),
            (0, true) => Some(Outcome::Repeated),
            (0, false) => None,
        })
    }

    pub(super) async fn timeline(
        &self,
        patient: PatientId,
    ) -> anyhow::Result<Vec<v1::TimelineEntry>> {
        let mut client = TimelineClient::new(self.channel.clone());
        let mut request = v1::ReadTimelineRequest {
            patient_id: patient.to_string(),
            page_size: PAGE,
            ..v1::ReadTimelineRequest::default()
        };
        let mut entries = Vec::new();
        loop {
            let page = client.read_timeline(own(request.clone())).await;
            let page = page.map_err(|status| refused(&status))?.into_inner();
            entries.extend(page.entries);
            if page.next_page_token.is_empty() {
                return Ok(entries);
            }
            request.page_token = page.next_page_token;
        }
    }
}
