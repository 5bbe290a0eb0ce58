//! Events about a community resource: the same way as those about a patient take, on the
//! resource's own stream.

use tokio::sync::OwnedMutexGuard;
use tsunagi_domain::{Refusal, ResourceId, resource};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::check::Path;
use tsunagi_proto::{convert, v1};

use super::objections::Objections;
use super::{Handler, Submission, SubmitError, not_published, receipts, same};
use crate::port::{Expected, Placed, Publication};
use crate::resources::{Loaded, Prepared};
use crate::stream::StreamId;
use crate::turns::Turn;

impl Handler {
    /// Why nobody can be sent to a resource: it is not in the directory, or was withdrawn. One that
    /// came into it later was there before.
    pub(super) async fn unusable_resource(
        &self,
        objections: &Objections,
    ) -> Result<Option<SubmitError>, SubmitError> {
        for (resource, stamp) in objections.resources() {
            let mut loaded = self.resources.turn(*resource).come().await;
            self.resources.catch_up(*resource, &mut loaded).await?;
            let described = loaded.decide(&[(stamp.clone(), resource::Step::Describe)]);
            if let Err(
                refusal @ Refusal::Resource(
                    resource::Refusal::Unknown | resource::Refusal::Withdrawn,
                ),
            ) = described
            {
                return Ok(Some(SubmitError::Refused(refusal)));
            }
        }
        Ok(None)
    }

    pub(super) fn prepare_resource(&self, submission: Submission) -> Result<Prepared, SubmitError> {
        let Submission { events, expected_version } = submission;
        let first = events.first().map(|event| event.resource_id.clone()).unwrap_or_default();
        let resource = ResourceId::parse(&first).map_err(|error| {
            SubmitError::Fields(vec![Path::ROOT.field("resource_id").violation(error)])
        })?;
        let (mut steps, mut drafts) = (Vec::with_capacity(events.len()), Vec::new());
        let mut objections = Objections::default();
        for mut event in events {
            if event.resource_id != first {
                return Err(SubmitError::SeveralPatients);
            }
            if !event.key_id.is_empty() {
                return Err(SubmitError::Encrypted);
            }
            let payload = Payload::decode(&event.r#type, &event.payload)?;
            let zone = &self.bus.region().zone;
            let (step, of_no_list) =
                convert::resource_step(&event, &payload, zone).map_err(SubmitError::Fields)?;
            let unknown = || SubmitError::UnknownType(event.r#type.clone());
            let (_, stamp, step) = step.ok_or_else(unknown)?;
            objections.add(&event, &payload, of_no_list);
            event.event_id = stamp.event.to_string();
            event.resource_id = resource.to_string();
            self.draft(&event, stamp.event, &mut drafts)?;
            steps.push((stamp, step));
        }
        Ok(Prepared { resource, steps, drafts, expected_version, objections })
    }

    pub(super) async fn take_resource(
        &self,
        turn: Turn<Loaded>,
        prepared: &Prepared,
    ) -> Result<Vec<v1::Receipt>, SubmitError> {
        let mut loaded = turn.come().await;
        for _ in 0..self.attempts_max {
            if loaded.is_stale {
                self.resources.catch_up(prepared.resource, &mut loaded).await?;
            }
            if let Some(receipts) = self.attempt_resource(prepared, &mut loaded).await? {
                return Ok(receipts);
            }
        }
        Err(SubmitError::Contended)
    }

    /// One attempt to decide and publish; none if others wrote meanwhile.
    async fn attempt_resource(
        &self,
        prepared: &Prepared,
        loaded: &mut OwnedMutexGuard<Loaded>,
    ) -> Result<Option<Vec<v1::Receipt>>, SubmitError> {
        let stream = StreamId::Resource(prepared.resource);
        if let Err(refusal) = decide(prepared, loaded) {
            // As of a patient: what is refused may have been decided on too little, or be a
            // repeat, which the state that the first one led to refuses.
            let decided_on = loaded.version;
            self.resources.catch_up(prepared.resource, loaded).await?;
            if loaded.version != decided_on {
                return Ok(None);
            }
            let placed = self.stored_before(stream, &prepared.drafts).await?.ok_or(refusal)?;
            return Ok(Some(self.resource_receipts(prepared, &placed, true)));
        }
        let expected = Expected::Version(loaded.version);
        let drafts = prepared.drafts.clone();
        // Until the answer is in, what is in memory may lack what is being published.
        loaded.is_stale = true;
        match self.bus.publish(Publication { stream, expected, drafts }).await {
            Ok(placed) => {
                loaded.advance(&placed, &prepared.steps);
                Ok(Some(self.resource_receipts(prepared, &placed, false)))
            }
            Err(error) => match not_published(error, &prepared.drafts)? {
                Some(stored) => {
                    let placed = same(&prepared.drafts, &stored)?;
                    Ok(Some(self.resource_receipts(prepared, &placed, true)))
                }
                None => Ok(None),
            },
        }
    }

    fn resource_receipts(
        &self,
        prepared: &Prepared,
        placed: &[Placed],
        repeated: bool,
    ) -> Vec<v1::Receipt> {
        let resource_id = prepared.resource.to_string();
        let subject = v1::Receipt { resource_id, repeated, ..v1::Receipt::default() };
        receipts(&prepared.drafts, placed, self.bus.region(), &subject)
    }
}

fn decide(prepared: &Prepared, loaded: &Loaded) -> Result<(), SubmitError> {
    prepared.objections.check()?;
    if let Some(expected) = prepared.expected_version
        && expected != loaded.version
    {
        return Err(SubmitError::VersionConflict { expected, actual: loaded.version });
    }
    Ok(loaded.decide(&prepared.steps)?)
}
