//! The bus of a region: the embedded one, or NATS with the event store behind it.

use std::sync::Arc;

use tsunagi_bus::nats::{JetStreamBus, Nats, Publisher, Streams};
use tsunagi_bus::{Bus, Log};
use tsunagi_chassis::Config;
use tsunagi_event_store::Store;
use tsunagi_event_store::ingest::{Ingest, is_fed};

use crate::nats_child::NatsChild;

/// A bus that runs.
pub(crate) struct RegionBus {
    pub(crate) bus: Arc<dyn Bus>,
    ingest: Option<Ingest>,
    servers: String,
    /// Last: it carries what is under way until then.
    child: Option<NatsChild>,
}

impl RegionBus {
    pub(crate) async fn start(config: &Config, store: &Store) -> anyhow::Result<Self> {
        let child = config.with_nats.then(|| NatsChild::start(config)).transpose()?;
        let own = child.as_ref().map(|child| child.url.clone());
        let Some(address) = own.as_ref().or(config.nats.as_ref()) else {
            if is_fed(&config.data) {
                anyhow::bail!(
                    "the data folder {} takes its events from NATS: say where that is with --nats, or start it with --with-nats if it was begun so",
                    config.data.display()
                );
            }
            let bus: Arc<dyn Bus> = Arc::new(store.clone());
            return Ok(Self { bus, ingest: None, servers: String::new(), child: None });
        };
        let nats = Nats::connect(address, config).await?;
        let servers = nats.servers(address);
        let streams = Streams::open(nats, store.region(), config).await?;
        let ingest = Ingest::start(store, &streams, config).await?;
        let log: Arc<dyn Log> = Arc::new(store.clone());
        let publisher = Publisher::new(streams, Arc::clone(&log), config);
        let bus = Arc::new(JetStreamBus::new(publisher, log));
        Ok(Self { bus, ingest: Some(ingest), servers, child })
    }

    /// Where the events are carried, and what was done to begin with that.
    pub(crate) fn told(&self, config: &Config) -> Option<String> {
        let ingest = self.ingest.as_ref()?;
        let carried = match ingest.carried {
            0 => String::new(),
            events => format!("; {events} events of this folder were carried there"),
        };
        let servers = &self.servers;
        let replicas = config.nats_replicas;
        Some(format!("{servers}  ({replicas} of each stream{carried})"))
    }

    /// Stops taking events in. What was taken is stored.
    pub(crate) async fn stop(self) {
        if let Some(ingest) = self.ingest {
            ingest.stop().await;
        }
        // Waits for its end, off the runtime.
        if tokio::task::spawn_blocking(move || drop(self.child)).await.is_err() {
            tracing::error!("nats-server could not be stopped");
        }
    }
}
