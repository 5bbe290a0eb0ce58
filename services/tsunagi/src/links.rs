//! What a process depends on: NATS, and the event stores of others. Health says whether they are
//! there.

use futures_util::future::select_all;
use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tsunagi_bus::remote::Link;

/// What a process depends on, as it changes.
pub(crate) struct Links {
    /// Whether NATS is connected.
    pub(crate) nats: watch::Receiver<bool>,
    pub(crate) stores: Vec<watch::Receiver<Link>>,
}

impl Links {
    /// Says of these services that they do not serve as long as something is not there.
    pub(crate) async fn tell(mut self, services: Vec<&'static str>, health: HealthReporter) {
        let mut was_well = true;
        loop {
            let is_well = self.is_well();
            if is_well != was_well {
                was_well = is_well;
                let (serving, not) = (ServingStatus::Serving, ServingStatus::NotServing);
                for service in &services {
                    health.set_service_status(service, if is_well { serving } else { not }).await;
                }
            }
            if !self.changed().await {
                return;
            }
        }
    }

    fn is_well(&self) -> bool {
        *self.nats.borrow() && self.stores.iter().all(|link| *link.borrow() == Link::Well)
    }

    /// Waits until one of them changes. False if they will not any more.
    async fn changed(&mut self) -> bool {
        let nats = self.nats.changed();
        if self.stores.is_empty() {
            return nats.await.is_ok();
        }
        let stores = self.stores.iter_mut().map(|link| Box::pin(link.changed()));
        tokio::select! {
            // Either may be cancelled: both are only waited for.
            changed = nats => changed.is_ok(),
            (changed, ..) = select_all(stores) => changed.is_ok(),
        }
    }
}
