//! One publish session: requests go out as fast as the server takes them, answers come back.

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;

use crate::client::{own, refused};

/// Requests that wait to be sent.
const QUEUE: usize = 256;

pub(super) struct Session {
    requests: mpsc::Sender<v1::PublishSessionRequest>,
    answers: Streaming<v1::PublishSessionResponse>,
}

/// The half that sends.
pub(super) type Requests = mpsc::Sender<v1::PublishSessionRequest>;

impl Session {
    pub(super) async fn open(channel: Channel) -> anyhow::Result<Self> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let mut bus = CareBusClient::new(channel);
        let session = bus.publish_session(own(ReceiverStream::new(queue))).await;
        let answers = session.map_err(|status| refused(&status))?.into_inner();
        Ok(Self { requests, answers })
    }

    pub(super) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// The next answer.
    pub(super) async fn answer(&mut self) -> anyhow::Result<v1::PublishSessionResponse> {
        let answer = self.answers.message().await.map_err(|status| refused(&status))?;
        answer.context("the server ended the session")
    }
}

/// A request for events of which all or none are taken.
pub(super) fn request(tag: u64, events: Vec<v1::Event>) -> v1::PublishSessionRequest {
    let publish = v1::PublishRequest { events, expected_version: None };
    v1::PublishSessionRequest { tag, publish: Some(publish) }
}
