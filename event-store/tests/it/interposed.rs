//! A store's bus, between which and its callers something happens.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tsunagi_bus::cursor::CursorError;
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{
    Bus, Cursor, Feed, Handler, Placed, Publication, PublishError, Region, Stored, StreamId,
};
use tsunagi_domain::EventId;
use tsunagi_event_store::Store;

use crate::support::config;

/// What happens before each call of a bus.
#[async_trait]
pub(crate) trait Before: Send + Sync + 'static {
    /// The publication is not made if this is an error.
    async fn publication(&self) -> Result<(), PublishError>;

    async fn read(&self) {}
}

struct Interposed<B> {
    store: Store,
    before: Arc<B>,
}

/// A process on this store, before each of whose calls something happens.
pub(crate) fn process(store: &Store, folder: &TempDir, before: &Arc<impl Before>) -> Arc<Handler> {
    let bus = Interposed { store: store.clone(), before: Arc::clone(before) };
    Arc::new(Handler::new(Arc::new(bus), &config(folder.path())))
}

#[async_trait]
impl<B: Before> Bus for Interposed<B> {
    fn region(&self) -> &Region {
        self.store.region()
    }

    async fn publish(&self, publication: Publication) -> Result<Vec<Placed>, PublishError> {
        self.before.publication().await?;
        self.store.publish(publication).await
    }

    async fn read(&self, stream: StreamId, after: u64) -> Result<Vec<Stored>, ReadError> {
        self.before.read().await;
        self.store.read(stream, after).await
    }

    async fn find(&self, stream: StreamId, event: EventId) -> Result<Option<Stored>, ReadError> {
        self.before.read().await;
        self.store.find(stream, event).await
    }

    fn end(&self) -> Cursor {
        self.store.end()
    }

    async fn reach(&self, wanted: &Cursor, wait: Duration) -> Result<(), CursorError> {
        Bus::reach(&self.store, wanted, wait).await
    }

    fn follow(&self, from: Cursor) -> Box<dyn Feed> {
        Bus::follow(&self.store, from)
    }
}
