//! `tsunagi serve`: one service in a process of its own, on NATS and the event stores of others.

use std::sync::Arc;

use clap::ValueEnum;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic_health::server::HealthReporter;
use tsunagi_bus::Handler;
use tsunagi_bus::grpc::CareBusService;
use tsunagi_chassis::Config;
use tsunagi_chassis::server::{Server, add_reflection};
use tsunagi_event_store::{has_region, read_region};
use tsunagi_proto::v1::care_bus_server::CareBusServer;
use tsunagi_proto::v1::care_team_server::CareTeamServer;
use tsunagi_proto::v1::discharge_desk_server::DischargeDeskServer;
use tsunagi_proto::v1::home_care_server::HomeCareServer;
use tsunagi_proto::v1::link_worker_server::LinkWorkerServer;

use crate::doors::Bound;
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

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(config: &Config, service: Service) -> anyhow::Result<()> {
    let told_to_stop = StopSignals::listen()?;
    let data = config.data.display();
    if !has_region(&config.data) {
        anyhow::bail!(
            "{data} has no region.toml: copy that of the region's event store there; nothing else of it is needed"
        );
    }
    let stop = CancellationToken::new();
    let served = async {
        let region = read_region(&config.data)?;
        let server = Server::bind(config).await?;
        let address = server.address();
        let doors = doors(config, service).await?;
        let bus = region_bus::without_a_store(config, &region).await?;
        let handler = Arc::new(Handler::new(bus, config));
        let (health, routes) = routes(config, &handler, service, &stop).await?;
        say(format_args!("tsunagi {}", env!("CARGO_PKG_VERSION")));
        let doors = match doors {
            Some(doors) => {
                let addresses = doors.addresses();
                let opened = doors.open(config, &handler, timeline(config)?, &stop)?;
                addresses.announce();
                Some(opened)
            }
            None => None,
        };
        say(format_args!("gRPC  http://{address}"));
        let served = server.run(config, routes, health, stop.clone()).await;
        stop.cancel();
        if let Some(doors) = doors {
            doors.closed().await?;
        }
        handler.finish().await;
        Ok(served?)
    };
    tokio::pin!(served);
    tokio::select! {
        // Serving is cancelled only before it has begun: what it takes up then, it finishes.
        served = &mut served => served,
        () = told_to_stop.wait() => {
            stop.cancel();
            let patience = std::time::Duration::from_millis(config.stop_wait_ms);
            tokio::time::timeout(patience, served).await.unwrap_or(Ok(()))
        }
    }
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
fn timeline(config: &Config) -> anyhow::Result<Channel> {
    let endpoint = |url: &String| Ok(Endpoint::from_shared(url.clone())?.tcp_nodelay(true));
    let endpoints = config.stores.iter().map(endpoint).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Channel::balance_list(endpoints.into_iter()))
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
