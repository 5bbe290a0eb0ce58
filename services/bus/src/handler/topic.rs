//! Events about a community resource or an organisation: the same way as those about a patient
//! take, on a stream of its own.

use tokio::sync::OwnedMutexGuard;
use tsunagi_domain::{OrganisationId, ResourceId, Topic};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::check::Path;
use tsunagi_proto::{convert, v1};

use super::objections::{Objections, Sending};
use super::{Handler, Submission, SubmitError, not_published, receipts, same};
use crate::port::{Expected, Placed, Publication};
use crate::stream::StreamId;
use crate::topics::{Loaded, Prepared};
use crate::turns::Turn;

/// Whether an event says that it is about another thing than a patient.
pub(super) fn is_of_topic(event: &v1::Event) -> bool {
    !event.resource_id.is_empty() || !event.organisation_id.is_empty()
}

/// What an event says that it is about, if that is no patient.
pub(super) fn topic(event: &v1::Event) -> Option<Topic> {
    let resource = ResourceId::parse(&event.resource_id).ok().map(Topic::Resource);
    let organisation = || OrganisationId::parse(&event.organisation_id).map(Topic::Organisation);
    resource.or_else(|| organisation().ok())
}

impl Handler {
    /// Why nobody can be sent to one of the resources that are named.
    pub(super) async fn unusable_resource(
        &self,
        objections: &Objections,
    ) -> Result<Option<SubmitError>, SubmitError> {
        for Sending { resource, stamp, receiver } in objections.resources() {
            let topic = Topic::Resource(*resource);
            let mut loaded = self.topics.turn(topic.clone()).come().await;
            self.topics.catch_up(&topic, &mut loaded).await?;
            if let Err(refusal) = loaded.check_sending(stamp, receiver.as_ref()) {
                return Ok(Some(SubmitError::Refused(refusal)));
            }
        }
        Ok(None)
    }

    pub(super) fn prepare_topic(&self, submission: Submission) -> Result<Prepared, SubmitError> {
        let Submission { events, expected_version } = submission;
        let mut about: Option<Topic> = None;
        let (mut steps, mut drafts) = (Vec::with_capacity(events.len()), Vec::new());
        let mut objections = Objections::default();
        for mut event in events {
            let is_other =
                about.as_ref().is_some_and(|about| topic(&event).as_ref() != Some(about));
            if is_other {
                return Err(SubmitError::SeveralPatients);
            }
            if !event.key_id.is_empty() {
                return Err(SubmitError::Encrypted);
            }
            let payload = Payload::decode(&event.r#type, &event.payload)?;
            let zone = &self.bus.region().zone;
            let (step, of_no_list) =
                convert::topic_step(&event, &payload, zone).map_err(SubmitError::Fields)?;
            let unknown = || SubmitError::UnknownType(event.r#type.clone());
            let (of, stamp, step) = step.ok_or_else(unknown)?;
            objections.add(&event, &payload, of_no_list);
            event.event_id = stamp.event.to_string();
            event.resource_id.make_ascii_lowercase();
            self.draft(&event, stamp.event, &mut drafts)?;
            steps.push((stamp, step));
            about = Some(of);
        }
        let no_events = || vec![Path::ROOT.field("events").violation("must be given")];
        let topic = about.ok_or_else(|| SubmitError::Fields(no_events()))?;
        Ok(Prepared { topic, steps, drafts, expected_version, objections })
    }

    pub(super) async fn take_topic(
        &self,
        turn: Turn<Loaded>,
        prepared: &Prepared,
    ) -> Result<Vec<v1::Receipt>, SubmitError> {
        let mut loaded = turn.come().await;
        for _ in 0..self.attempts_max {
            if loaded.is_stale {
                self.topics.catch_up(&prepared.topic, &mut loaded).await?;
            }
            if let Some(receipts) = self.attempt_topic(prepared, &mut loaded).await? {
                return Ok(receipts);
            }
        }
        Err(SubmitError::Contended)
    }

    /// One attempt to decide and publish; none if others wrote meanwhile.
    async fn attempt_topic(
        &self,
        prepared: &Prepared,
        loaded: &mut OwnedMutexGuard<Loaded>,
    ) -> Result<Option<Vec<v1::Receipt>>, SubmitError> {
        let stream = StreamId::of_topic(&prepared.topic);
        if let Err(refusal) = decide(prepared, loaded) {
            // As of a patient: what is refused may have been decided on too little, or be a
            // repeat, which the state that the first one led to refuses.
            let decided_on = loaded.version;
            self.topics.catch_up(&prepared.topic, loaded).await?;
            if loaded.version != decided_on {
                return Ok(None);
            }
            let placed = self.stored_before(stream, &prepared.drafts).await?.ok_or(refusal)?;
            return Ok(Some(self.topic_receipts(prepared, &placed, true)));
        }
        let expected = Expected::Version(loaded.version);
        let drafts = prepared.drafts.clone();
        // Until the answer is in, what is in memory may lack what is being published.
        loaded.is_stale = true;
        match self.bus.publish(Publication { stream, expected, drafts }).await {
            Ok(placed) => {
                loaded.advance(&placed, &prepared.steps);
                Ok(Some(self.topic_receipts(prepared, &placed, false)))
            }
            Err(error) => match not_published(error, &prepared.drafts)? {
                Some(stored) => {
                    let placed = same(&prepared.drafts, &stored)?;
                    Ok(Some(self.topic_receipts(prepared, &placed, true)))
                }
                None => Ok(None),
            },
        }
    }

    fn topic_receipts(
        &self,
        prepared: &Prepared,
        placed: &[Placed],
        repeated: bool,
    ) -> Vec<v1::Receipt> {
        let subject = match &prepared.topic {
            Topic::Resource(of) => {
                v1::Receipt { resource_id: of.to_string(), ..v1::Receipt::default() }
            }
            Topic::Organisation(of) => {
                v1::Receipt { organisation_id: of.to_string(), ..v1::Receipt::default() }
            }
        };
        let subject = v1::Receipt { repeated, ..subject };
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
