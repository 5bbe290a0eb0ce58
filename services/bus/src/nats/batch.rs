//! Several events as one atomic batch (ADR-50): JetStream stores all or none.

use async_nats::HeaderMap;
use async_nats::header::{
    NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use uuid::Uuid;

use super::streams::Streams;
use super::{headers, layout};
use crate::port::{Draft, Publication};

/// Sends a publication of several events; the acknowledgement is that of the last.
pub(crate) async fn send(
    streams: &Streams,
    publication: &Publication,
    expected: Option<u64>,
    trace: &str,
) -> Result<PublishAck, PublishError> {
    let stream = publication.stream;
    let slot = stream.slot(streams.slots);
    let subject = layout::subject(slot, stream);
    let id = Uuid::now_v7().as_simple().to_string();
    let headers = |draft: &Draft, sequence: usize| {
        let mut headers = headers::of_event(slot, stream, draft, trace);
        headers.insert(NATS_BATCH_ID, id.as_str());
        headers.insert(NATS_BATCH_SEQUENCE, sequence.to_string().as_str());
        headers
    };
    let Some((last, earlier)) = publication.drafts.split_last() else {
        return Err(PublishError::new(PublishErrorKind::Other));
    };
    for (sequence, draft) in (1..).zip(earlier) {
        let mut headers = headers(draft, sequence);
        // What is expected is compared with how the subject was before the batch.
        if let (1, Some(expected)) = (sequence, expected) {
            expect(&mut headers, expected);
        }
        let client = &streams.nats.client;
        let sent = client.publish_with_headers(subject.clone(), headers, draft.record.clone());
        sent.await
            .map_err(|error| PublishError::with_source(PublishErrorKind::BrokenPipe, error))?;
    }
    let mut headers = headers(last, publication.drafts.len());
    headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
    let message = PublishMessage::build().payload(last.record.clone()).headers(headers);
    streams.nats.context.send_publish(subject, message).await?.await
}

fn expect(headers: &mut HeaderMap, sequence: u64) {
    let name = async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
    headers.insert(name, sequence.to_string().as_str());
}
