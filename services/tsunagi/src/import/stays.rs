//! Stays, of which all is taken or nothing: also of one that was imported while it went on.

use std::collections::HashSet;

use tsunagi_domain::PatientId;
use tsunagi_proto::v1;

use super::report::Outcome;
use super::work::Work;

impl Work {
    /// Adds to a stay that was imported before what is new of it, all or none. What was said of
    /// it before must be the same; if it is not, that is told, and the news are taken.
    pub(super) async fn add_to_stay(
        &mut self,
        stay: Vec<v1::Event>,
        refused: v1::Refused,
    ) -> anyhow::Result<Result<u64, Outcome>> {
        let patient = stay.first().and_then(|event| PatientId::parse(&event.patient_id).ok());
        let Some(patient) = patient else { return Ok(Err(refused.into())) };
        let timeline = self.timeline(patient).await?;
        let known: HashSet<&str> = timeline.iter().map(|entry| entry.event_id.as_str()).collect();
        let is_known = |event: &v1::Event| known.contains(event.event_id.as_str());
        let (said, news): (Vec<_>, Vec<_>) = stay.into_iter().partition(is_known);
        let mut outcome = Ok(0);
        for event in said {
            outcome = outcome.and(self.publish(vec![event], None).await?);
        }
        let added = self.publish(news, None).await?;
        if let (Err(_), Ok(stored)) = (&outcome, &added) {
            self.report.note_events(*stored);
        }
        Ok(outcome.and(added))
    }
}
