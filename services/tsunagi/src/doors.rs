//! The doors for other systems: MLLP, FHIR and SS-MIX2. They are the same beside a store and in a
//! process of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tsunagi_bus::Handler;
use tsunagi_chassis::Config;
use tsunagi_gateway::adt::Intake;
use tsunagi_gateway::fhir::door;
use tsunagi_gateway::{mllp, ssmix2};

use crate::output::say;

/// Doors whose listeners are bound, and that are still closed.
pub(crate) struct Bound {
    mllp: Option<mllp::Server>,
    fhir: Option<door::Server>,
    reads_ssmix2: bool,
}

/// Where the doors are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    mllp: Option<SocketAddr>,
    fhir: Option<SocketAddr>,
}

/// Doors that are open.
pub(crate) struct Doors {
    mllp: Option<JoinHandle<()>>,
    fhir: Option<JoinHandle<std::io::Result<()>>>,
    ssmix2: Option<JoinHandle<()>>,
    halves: JoinHandle<()>,
}

impl Bound {
    /// Binds the listeners that the settings ask for.
    pub(crate) async fn bind(config: &Config) -> anyhow::Result<Self> {
        let mllp = mllp::Server::bind(config).await?;
        let fhir = door::Server::bind(config).await?;
        Ok(Self { mllp, fhir, reads_ssmix2: config.ssmix2.folder.is_some() })
    }

    /// Whether the settings ask for no door at all.
    pub(crate) fn is_none(&self) -> bool {
        self.mllp.is_none() && self.fhir.is_none() && !self.reads_ssmix2
    }

    pub(crate) fn addresses(&self) -> Addresses {
        Addresses {
            mllp: self.mllp.as_ref().map(mllp::Server::address),
            fhir: self.fhir.as_ref().map(door::Server::address),
        }
    }

    /// Opens the doors, until `stop` is cancelled. `timeline` leads to the region's `Timeline`.
    pub(crate) fn open(
        self,
        config: &Config,
        handler: &Arc<Handler>,
        timeline: Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<Doors> {
        let intake = Arc::new(Intake::new(Arc::clone(handler), config)?);
        let (half_done, stopped) = (Arc::clone(&intake), stop.clone());
        let halves = tokio::spawn(async move {
            // What is cancelled half way is finished the next time.
            let _done = stopped.run_until_cancelled(half_done.finish_halves()).await;
        });
        let ssmix2 = ssmix2::Reader::new(config, Arc::clone(&intake));
        let ssmix2 = ssmix2.map(|reader| tokio::spawn(reader.run(stop.clone())));
        let mllp = self.mllp.map(|mllp| tokio::spawn(mllp.run(intake, stop.clone())));
        let fhir = self.fhir.map(|fhir| {
            let handler = Arc::clone(handler);
            tokio::spawn(fhir.run(config.clone(), handler, timeline, stop.clone()))
        });
        Ok(Doors { mllp, fhir, ssmix2, halves })
    }
}

impl Doors {
    /// Waits until all are closed, also when one of them failed.
    pub(crate) async fn closed(self) -> anyhow::Result<()> {
        let mut ended = Vec::new();
        for door in [self.mllp, self.ssmix2, Some(self.halves)].into_iter().flatten() {
            ended.push(door.await);
        }
        let fhir = match self.fhir {
            Some(fhir) => fhir.await,
            None => Ok(Ok(())),
        };
        ended.into_iter().collect::<Result<(), _>>()?;
        Ok(fhir??)
    }
}

impl Addresses {
    /// Says where they are.
    pub(crate) fn announce(self) {
        if let Some(mllp) = self.mllp {
            say(format_args!("MLLP  {mllp}"));
        }
        if let Some(fhir) = self.fhir {
            say(format_args!("FHIR  http://{fhir}/fhir"));
        }
    }
}
