//! `tsunagi serve`: one service in a process of its own, on NATS and the event stores of others.

use std::pin::pin;
use std::sync::Arc;

use clap::ValueEnum;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService as _;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic_health::server::HealthReporter;
use tsunagi_bus::Handler;
use tsunagi_bus::grpc::CareBusService;
use tsunagi_bus::remote::{NoAddress, channel};
use tsunagi_chassis::Config;
use tsunagi_chassis::server::{Server, add_reflection};
use tsunagi_event_store::{has_region, read_region};
use tsunagi_proto::v1::care_bus_server::CareBusServer;
use tsunagi_proto::v1::care_team_server::CareTeamServer;
use tsunagi_proto::v1::discharge_desk_server::DischargeDeskServer;
use tsunagi_proto::v1::home_care_server::HomeCareServer;
use tsunagi_proto::v1::link_worker_server::LinkWorkerServer;

use crate::doors::Bound;
use crate::links::Links;
use crate::open_files;
use crate::output::say;
use crate::region_bus;
use crate::up::{StopSignals, serving};

/// A service that can run by itself.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Service {
    DischargeDesk,
    HomeCare,
    LinkWorker,
    CareBus,
    /// The doors for other systems: those of --mllp-listen, --fhir-listen and --ssmix2-folder
    Gateway,
}

impl Service {
    /// Of what health speaks: what it serves, and the whole server.
    fn names(self) -> Vec<&'static str> {
        let served: &[&str] = match self {
            Self::DischargeDesk => &[DischargeDeskServer::<tsunagi_discharge_desk::Service>::NAME],
            Self::HomeCare => &[
                HomeCareServer::<tsunagi_home_care::Service>::NAME,
                CareTeamServer::<tsunagi_home_care::CareTeamService>::NAME,
            ],
            Self::LinkWorker => &[LinkWorkerServer::<tsunagi_link_worker::Service>::NAME],
            Self::CareBus => &[CareBusServer::<CareBusService>::NAME],
            Self::Gateway => &[],
        };
        served.iter().copied().chain([""]).collect()
    }
}

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(config: &Config, service: Service) -> anyhow::Result<()> {
    let mut told_to_stop = pin!(StopSignals::listen()?.wait());
    let stop = CancellationToken::new();
    let bound = tokio::select! {
        // Starting may be given up at any time: nothing is taken yet.
        bound = bind(config, service) => bound?,
        () = told_to_stop.as_mut() => return Ok(()),
    };
    let (health, routes) = routes(config, &bound.handler, service, &stop).await?;
    tokio::spawn(bound.links.tell(service.names(), health.clone()));
    say(format_args!("tsunagi {}", env!("CARGO_PKG_VERSION")));
    let doors = match bound.doors {
        Some(doors) => {
            let addresses = doors.addresses();
            let opened = doors.open(config, &bound.handler, timeline(config)?, &stop)?;
            addresses.announce();
            Some(opened)
        }
        None => None,
    };
    say(format_args!("gRPC  http://{}", bound.server.address()));
    let mut served = pin!(bound.server.run(config, routes, health, stop.clone()));
    let served = tokio::select! {
        // Either goes on below, where it is waited for.
        served = served.as_mut() => served,
        () = told_to_stop => {
            stop.cancel();
            served.await
        }
    };
    stop.cancel();
    let doors = match doors {
        Some(doors) => doors.closed().await,
        None => Ok(()),
    };
    // What was taken up is finished, whatever became of the doors.
    bound.handler.finish().await;
    doors?;
    Ok(served?)
}

/// A service that is bound to its addresses and joined to its region, and takes nothing yet.
struct Joined {
    server: Server,
    doors: Option<Bound>,
    handler: Arc<Handler>,
    links: Links,
}

async fn bind(config: &Config, service: Service) -> anyhow::Result<Joined> {
    open_files::allow_many();
    if !has_region(&config.data) {
        anyhow::bail!(
            "{} has no region.toml: copy that of the region's event store there; nothing else of it is needed",
            config.data.display()
        );
    }
    let region = read_region(&config.data)?;
    let server = Server::bind(config).await?;
    let doors = doors(config, service).await?;
    let (bus, links) = region_bus::without_a_store(config, &region).await?;
    Ok(Joined { server, doors, handler: Arc::new(Handler::new(bus, config)), links })
}

/// The doors of a gateway, bound. Other services have none, whatever the settings say.
async fn doors(config: &Config, service: Service) -> anyhow::Result<Option<Bound>> {
    match service {
        Service::Gateway => {}
        Service::DischargeDesk | Service::HomeCare | Service::LinkWorker | Service::CareBus => {
            return Ok(None);
        }
    }
    let bound = Bound::bind(config).await?;
    if bound.is_none() {
        anyhow::bail!(
            "a gateway needs a door to open: say --mllp-listen, --fhir-listen or --ssmix2-folder"
        );
    }
    Ok(Some(bound))
}

/// Whichever of the event stores answers: each knows what the others have.
fn timeline(config: &Config) -> Result<Channel, NoAddress> {
    channel(&config.stores.join("|"), config)
}

async fn routes(
    config: &Config,
    handler: &Arc<Handler>,
    service: Service,
    stop: &CancellationToken,
) -> anyhow::Result<(HealthReporter, Routes)> {
    let limit = config.message_bytes;
    let (reporter, health) = tonic_health::server::health_reporter();
    let routes = Routes::new(health);
    let handler = Arc::clone(handler);
    let routes = match service {
        Service::DischargeDesk => {
            let desk = DischargeDeskServer::new(tsunagi_discharge_desk::Service::new(handler))
                .max_decoding_message_size(limit);
            serving(&reporter, &desk).await;
            routes.add_service(desk)
        }
        Service::HomeCare => {
            let desk = HomeCareServer::new(tsunagi_home_care::Service::new(Arc::clone(&handler)))
                .max_decoding_message_size(limit);
            let care_team = tsunagi_home_care::CareTeamService::new(handler);
            let care_team = CareTeamServer::new(care_team).max_decoding_message_size(limit);
            serving(&reporter, &desk).await;
            serving(&reporter, &care_team).await;
            routes.add_service(desk).add_service(care_team)
        }
        Service::LinkWorker => {
            let desk = LinkWorkerServer::new(tsunagi_link_worker::Service::new(handler))
                .max_decoding_message_size(limit);
            serving(&reporter, &desk).await;
            routes.add_service(desk)
        }
        Service::CareBus => {
            let care_bus = CareBusService::new(handler, config, stop.clone());
            let care_bus = CareBusServer::new(care_bus).max_decoding_message_size(limit);
            serving(&reporter, &care_bus).await;
            routes.add_service(care_bus)
        }
        Service::Gateway => routes,
    };
    Ok((reporter, add_reflection(routes)?))
}
