//! The bus on JetStream: what is published goes to the streams, what is read comes from an
//! event store that takes them in.

use std::sync::Arc;

use async_trait::async_trait;
use tsunagi_domain::EventId;

use super::publisher::Publisher;
use crate::cursor::Cursor;
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

    fn follow(&self, from: Cursor) -> Box<dyn Feed> {
        self.log.follow(from)
    }
}
