//! The bus on JetStream: what is published goes to the streams, what is read comes from an
//! event store that takes them in.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tsunagi_domain::EventId;

use super::publisher::Publisher;
use crate::cursor::{Cursor, CursorError};
use crate::port::{Bus, Feed, Log, Placed, Publication, PublishError, ReadError, Stored};
use crate::region::Region;
use crate::stream::StreamId;

pub struct JetStreamBus {
    publisher: Publisher,
    log: Arc<dyn Log>,
}

impl JetStreamBus {
    pub fn new(publisher: Publisher, log: Arc<dyn Log>) -> Self {
        Self { publisher, log }
    }
}

#[async_trait]
impl Bus for JetStreamBus {
    fn region(&self) -> &Region {
        self.log.region()
    }

    async fn publish(&self, publication: Publication) -> Result<Vec<Placed>, PublishError> {
        self.publisher.publish(publication).await
    }

    async fn read(&self, stream: StreamId, after: u64) -> Result<Vec<Stored>, ReadError> {
        self.log.read(stream, after).await
    }

    async fn find(&self, stream: StreamId, event: EventId) -> Result<Option<Stored>, ReadError> {
        self.log.find(stream, event).await
    }

    fn end(&self) -> Cursor {
        self.log.end()
    }

    async fn reach(&self, wanted: &Cursor, wait: Duration) -> Result<(), CursorError> {
        // It may have been told by a store, or by NATS itself, that is ahead of this log.
        let reached = tokio::time::timeout(wait, self.log.reach(wanted)).await;
        if matches!(reached, Ok(Ok(()))) { Ok(()) } else { Err(CursorError::NotReached) }
    }

    fn follow(&self, from: Cursor) -> Box<dyn Feed> {
        self.log.follow(from)
    }
}
