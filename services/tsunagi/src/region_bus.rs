//! The bus of a region: the embedded one, or NATS with event stores behind it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tsunagi_bus::nats::notify::Notifier;
use tsunagi_bus::nats::{JetStreamBus, Nats, Publisher, Streams, StreamsError};
use tsunagi_bus::remote::Link;
use tsunagi_bus::{Bus, Log, Region, RemoteStore, Shard, Shards};
use tsunagi_chassis::Config;
use tsunagi_event_store::ingest::{Ingest, is_fed};
use tsunagi_event_store::{Store, replicas, sharded};

use crate::links::Links;
use crate::nats_child::NatsChild;

/// A bus that runs.
pub(crate) struct RegionBus {
    pub(crate) bus: Arc<dyn Bus>,
    /// Tells other organisations, if some are to be told.
    pub(crate) notifier: Option<Notifier>,
    /// Whether NATS is connected, where events are carried by it.
    pub(crate) nats: Option<watch::Receiver<bool>>,
    ingest: Option<Ingest>,
    servers: String,
    /// They compare this store with others.
    comparing: Vec<AbortHandle>,
    /// Last: it carries what is under way until then.
    child: Option<NatsChild>,
}

impl RegionBus {
    /// `log` has all shards.
    pub(crate) async fn start(
        config: &Config,
        store: &Store,
        log: Arc<dyn Log>,
    ) -> anyhow::Result<Self> {
        let child = config.with_nats.then(|| NatsChild::start(config)).transpose()?;
        let own = child.as_ref().map(|child| child.url.clone());
        let Some(address) = own.as_ref().or(config.nats.as_ref()) else {
            return Self::embedded(config, store);
        };
        let nats = Nats::connect(address, config).await?;
        let servers = nats.servers(address);
        let was_made_of_streams = is_fed(&config.data) && store.end().positions().next().is_some();
        if was_made_of_streams
            && !config.accept_lost
            && !Streams::has_any(&nats, store.region().slots, config).await?
        {
            return Err(StreamsError::Gone.into());
        }
        let notifier = if config.notify.is_empty() {
            None
        } else {
            Some(Notifier::open(nats.clone(), &config.notify, config.nats_replicas).await?)
        };
        let streams = Streams::open(nats, store.region(), config).await?;
        let ingest = Ingest::start(store, &streams, config).await?;
        let nats = Some(streams.watch_link());
        let publisher = Publisher::new(streams, Arc::clone(&log), config);
        let bus = Arc::new(JetStreamBus::new(publisher, log));
        let comparing = compare(config, store)?;
        Ok(Self { bus, notifier, nats, ingest: Some(ingest), servers, comparing, child })
    }

    fn embedded(config: &Config, store: &Store) -> anyhow::Result<Self> {
        if is_fed(&config.data) {
            anyhow::bail!(
                "the data folder {} takes its events from NATS: say where that is with --nats, or start it with --with-nats if it was begun so",
                config.data.display()
            );
        }
        if config.shard.1 > 1 {
            anyhow::bail!("--shard needs NATS: say where that is with --nats");
        }
        if !config.notify.is_empty() {
            anyhow::bail!("--notify needs NATS: say where that is with --nats, or say --with-nats");
        }
        let bus: Arc<dyn Bus> = Arc::new(store.clone());
        let (servers, comparing) = (String::new(), Vec::new());
        Ok(Self { bus, notifier: None, nats: None, ingest: None, servers, comparing, child: None })
    }

    /// Where the events are carried, and what was done to begin with that.
    pub(crate) fn told(&self, config: &Config) -> Option<String> {
        let ingest = self.ingest.as_ref()?;
        let carried = match ingest.carried {
            0 => String::new(),
            events => format!("; {events} events of this folder were carried there"),
        };
        let (servers, replicas) = (&self.servers, config.nats_replicas);
        let (index, count) = config.shard;
        Some(format!("{servers}  ({replicas} of each stream; shard {index}/{count}{carried})"))
    }

    /// Stops taking events in. What was taken is stored.
    pub(crate) async fn stop(self) {
        self.comparing.iter().for_each(AbortHandle::abort);
        if let Some(ingest) = self.ingest {
            ingest.stop().await;
        }
        // Waits for its end, off the runtime.
        if tokio::task::spawn_blocking(move || drop(self.child)).await.is_err() {
            tracing::error!("nats-server could not be stopped");
        }
    }
}

/// A bus without a store of its own: all are in other processes.
pub(crate) async fn without_a_store(
    config: &Config,
    region: &Region,
) -> anyhow::Result<(Arc<dyn Bus>, Links)> {
    let address = config.nats.as_ref();
    let address = address.context("a service by itself needs NATS: say where it is with --nats")?;
    if config.stores.is_empty() {
        anyhow::bail!(
            "a service by itself needs to know where the event stores are: name them with --stores"
        );
    }
    let nats = Nats::connect(address, config).await?;
    let streams = Streams::open(nats, region, config).await?;
    let mut links = Links { nats: streams.watch_link(), stores: Vec::new() };
    let mut stores: Vec<Arc<dyn Log>> = Vec::new();
    let count = u16::try_from(config.stores.len()).unwrap_or(u16::MAX);
    for (place, url) in config.stores.iter().enumerate() {
        let store = RemoteStore::new(url, Shard::at(place, count), region, config)?;
        tracing::info!(url, "waiting for the event store");
        if let Link::Wrong(told) = store.is_known().await {
            anyhow::bail!("the event store at {url} is not the one that is meant: {told}");
        }
        links.stores.push(store.watch_link());
        stores.push(Arc::new(store));
    }
    let log: Arc<dyn Log> = Arc::new(Shards::new(stores).context("there are no stores")?);
    let publisher = Publisher::new(streams, Arc::clone(&log), config);
    Ok((Arc::new(JetStreamBus::new(publisher, log)), links))
}

/// The whole log: this store, and the others where there are several shards; and how these are
/// known.
pub(crate) fn shards(
    config: &Config,
    store: &Store,
) -> anyhow::Result<(Arc<dyn Log>, sharded::Links)> {
    let Shard { index, count } = Shard::of(config);
    if count == 1 || !config.is_on_nats() {
        return Ok((Arc::new(store.clone()), Vec::new()));
    }
    if config.stores.len() != usize::from(count) {
        anyhow::bail!(
            "--stores must name the servers of all {count} shards in their order, this one's too"
        );
    }
    let (mut stores, mut links): (Vec<Arc<dyn Log>>, _) = (Vec::new(), Vec::new());
    for (place, url) in (1..).zip(&config.stores) {
        if place == index {
            links.push(None);
            stores.push(Arc::new(store.clone()));
            continue;
        }
        let other = RemoteStore::new(url, Shard { index: place, count }, store.region(), config)?;
        links.push(Some(other.watch_link()));
        stores.push(Arc::new(other));
    }
    Ok((Arc::new(Shards::new(stores).context("there are no stores")?), links))
}

fn compare(config: &Config, store: &Store) -> anyhow::Result<Vec<AbortHandle>> {
    let every = Duration::from_millis(config.replica_check_ms);
    let mut comparing = Vec::new();
    for url in &config.replicas {
        let other = RemoteStore::new(url, Shard::of(config), store.region(), config)?;
        let watch = replicas::watch(store.clone(), other, url.clone(), every);
        comparing.push(tokio::spawn(watch).abort_handle());
    }
    Ok(comparing)
}
