//! `tsunagi up`: all services in one process, on the embedded bus or on NATS.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tsunagi_bus::Handler;
use tsunagi_bus::grpc::CareBusService;
use tsunagi_bus::nats::notify::Notifier;
use tsunagi_chassis::Config;
use tsunagi_chassis::server::{Server, add_reflection};
use tsunagi_event_store::boards::BoardsService;
use tsunagi_event_store::directory::DirectoryService;
use tsunagi_event_store::grpc::TimelineService;
use tsunagi_event_store::notices::Notices;
use tsunagi_event_store::service::EventStoreService;
use tsunagi_event_store::sharded::{Others, ShardedBoards, ShardedTimeline};
use tsunagi_event_store::troubles::Trouble;
use tsunagi_event_store::{OpenError, Patients, Records, Store, scrub};
use tsunagi_gateway::metrics::Metrics;
use tsunagi_proto::v1::boards_server::BoardsServer;
use tsunagi_proto::v1::care_bus_server::CareBusServer;
use tsunagi_proto::v1::care_team_server::CareTeamServer;
use tsunagi_proto::v1::directory_server::DirectoryServer;
use tsunagi_proto::v1::discharge_desk_server::DischargeDeskServer;
use tsunagi_proto::v1::event_store_server::EventStoreServer;
use tsunagi_proto::v1::home_care_server::HomeCareServer;
use tsunagi_proto::v1::link_worker_server::LinkWorkerServer;
use tsunagi_proto::v1::timeline_server::TimelineServer;

use crate::doors::{self, Addresses};
use crate::half_done;
use crate::links::Links;
use crate::open_files;
use crate::output::say;
use crate::region_bus::{self, RegionBus};

/// A running server. It runs until it is stopped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    doors: Addresses,
    metrics: Option<SocketAddr>,
    pub(crate) store: Store,
    /// What was done to go over to NATS, and where that is.
    on_nats: Option<String>,
    stop: CancellationToken,
    served: JoinHandle<anyhow::Result<()>>,
}

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut told_to_stop = pin!(StopSignals::listen()?.wait());
    let running = tokio::select! {
        // Starting may take long where much is to be read, and can be begun again at any time.
        running = start(config) => running?,
        () = told_to_stop.as_mut() => return Ok(()),
    };
    announce(config, &running);
    let stop = running.stop.clone();
    tokio::select! {
        // Either may be cancelled. Serving may also end of itself, and says why.
        () = told_to_stop => {}
        () = stop.cancelled() => {}
    }
    running.stop().await
}

/// Opens the data folder and serves it.
pub(crate) async fn start(config: &Config) -> anyhow::Result<Running> {
    open_files::allow_many();
    let server = Server::bind(config).await?;
    let address = server.address();
    let doors = doors::Bound::bind(config).await?;
    let metrics = Metrics::bind(config).await?;
    let metrics_address = metrics.as_ref().map(Metrics::address);
    let door_addresses = doors.addresses();
    let store = open(config.clone()).await?;
    // The disk may be full, and what is stored is to be read all the same.
    if let Err(error) = store.announce(&format!("http://{address}")) {
        tracing::warn!(%error, "cannot say in the folder where it is served");
    }
    let data: PathBuf = config.data.clone();
    let (log, links) = region_bus::shards(config, &store)?;
    let records = Records::new(store.clone(), Arc::clone(&log), config);
    let patients = tokio::task::spawn_blocking(move || Patients::open(records, &data)).await??;
    let stop = CancellationToken::new();
    let rows = tokio::spawn(make_rows(patients.clone(), stop.clone()));
    tsunagi_event_store::metrics::register(&store, &patients);
    let mut bus = RegionBus::start(config, &store, log).await?;
    let on_nats = bus.told(config);
    let handler = Arc::new(Handler::new(Arc::clone(&bus.bus), config));
    half_done::begin(&handler, &patients, store.end(), &stop);
    let notices = notices(config, bus.notifier.take(), &patients, &stop).await?;
    let others = Others::new(store.region().slots, config, links.clone())?;
    let (health, routes) = routes(config, &handler, &store, (patients, others), &stop).await?;
    look_after(config, &store, &health, &stop);
    tell_of_nats(&bus, &store, &health);
    let timeline = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
    let doors = doors.open(config, &handler, timeline, &stop)?;
    metrics.map(|metrics| tokio::spawn(metrics.run(stop.clone())));
    let served = tokio::spawn({
        let (config, store, stop) = (config.clone(), store.clone(), stop.clone());
        async move {
            let served = server.run(&config, routes, health, stop.clone()).await;
            stop.cancel();
            // Each is waited for, whatever became of those before.
            let rows = rows.await;
            let doors = doors.closed().await;
            handler.finish().await;
            let notices = match notices {
                Some(notices) => notices.await,
                None => Ok(()),
            };
            bus.stop().await;
            // Last: what is acknowledged until now is written, and where it ends is noted.
            tokio::task::spawn_blocking(move || store.close()).await??;
            rows??;
            doors?;
            notices?;
            Ok(served?)
        }
    });
    tracing::info!(%address, "serving");
    Ok(Running {
        address,
        doors: door_addresses,
        metrics: metrics_address,
        store,
        on_nats,
        stop,
        served,
    })
}

async fn make_rows(patients: Patients, stop: CancellationToken) -> anyhow::Result<()> {
    let ended = patients.run(stop).await;
    if let Err(error) = &ended {
        tracing::error!(%error, "the patients' rows are no longer made");
    }
    Ok(ended?)
}

/// Reads the log again in the background, and tells health what becomes of it.
fn look_after(config: &Config, store: &Store, health: &HealthReporter, stop: &CancellationToken) {
    tokio::spawn(scrub::run(store.clone(), config.scrub_bytes_per_second, stop.clone()));
    tokio::spawn(tell_of_a_broken_log(store.broken().clone(), health.clone()));
    tokio::spawn(tell_of_troubles(store.troubles().watch(), health.clone()));
}

/// Health says so when nothing can be told for want of NATS.
fn tell_of_nats(bus: &RegionBus, store: &Store, health: &HealthReporter) {
    let Some(nats) = bus.nats.clone() else { return };
    let services = WRITING.iter().copied().chain([""]).collect();
    let told = Links { nats, stores: Vec::new() }.tell(services, health.clone());
    // A log that is broken stays so, whatever becomes of NATS.
    tokio::spawn(store.broken().clone().run_until_cancelled_owned(told));
}

/// Tells other organisations what concerns them, if any are to be told.
async fn notices(
    config: &Config,
    notifier: Option<Notifier>,
    patients: &Patients,
    stop: &CancellationToken,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(notifier) = notifier else { return Ok(None) };
    let (records, to, data) =
        (patients.records().clone(), config.notify.clone(), config.data.clone());
    let open = move || Notices::open(records, notifier, &to, &data);
    let notices = tokio::task::spawn_blocking(open).await??;
    Ok(Some(tokio::spawn(notices.run(stop.clone()))))
}

/// Opens the data folder off the runtime: the whole log is read.
async fn open(config: Config) -> Result<Store, anyhow::Error> {
    let opened = tokio::task::spawn_blocking(move || Store::open(&config)).await?;
    opened.map_err(|error: OpenError| error.into())
}

async fn routes(
    config: &Config,
    handler: &Arc<Handler>,
    store: &Store,
    (patients, others): (Patients, Others),
    stop: &CancellationToken,
) -> anyhow::Result<(HealthReporter, Routes)> {
    let limit = config.message_bytes;
    let care_bus = CareBusService::new(Arc::clone(handler), config, stop.clone());
    let care_bus = CareBusServer::new(care_bus).max_decoding_message_size(limit);
    let boards = BoardsService::new(store.clone(), patients.clone(), config, stop.clone());
    let sharded_boards = ShardedBoards::new(boards.clone(), store.region().clone(), others.clone());
    let boards = BoardsServer::new(boards).max_decoding_message_size(limit);
    let sharded_boards = BoardsServer::new(sharded_boards).max_decoding_message_size(limit);
    let bus = Arc::clone(handler.bus());
    let of_shards = (config.shard.1 > 1).then(|| others.clone());
    let directory = DirectoryService::new(store.clone(), patients.clone(), bus, config, of_shards);
    let directory = DirectoryServer::new(directory).max_decoding_message_size(limit);
    let timeline = TimelineService::new(store.clone(), patients, config, stop.clone());
    let sharded = ShardedTimeline::new(timeline.clone(), Arc::clone(handler.claims()), others);
    let timeline = TimelineServer::new(timeline).max_decoding_message_size(limit);
    let sharded = TimelineServer::new(sharded).max_decoding_message_size(limit);
    let event_store = EventStoreService::new(store.clone(), config, stop.clone());
    let event_store = EventStoreServer::new(event_store).max_decoding_message_size(limit);
    let discharge_desk =
        DischargeDeskServer::new(tsunagi_discharge_desk::Service::new(Arc::clone(handler)))
            .max_decoding_message_size(limit);
    let home_care = HomeCareServer::new(tsunagi_home_care::Service::new(Arc::clone(handler)))
        .max_decoding_message_size(limit);
    let care_team = tsunagi_home_care::CareTeamService::new(Arc::clone(handler));
    let care_team = CareTeamServer::new(care_team).max_decoding_message_size(limit);
    let link_worker = LinkWorkerServer::new(tsunagi_link_worker::Service::new(Arc::clone(handler)))
        .max_decoding_message_size(limit);
    let (reporter, health) = tonic_health::server::health_reporter();
    serving(&reporter, &care_bus).await;
    serving(&reporter, &timeline).await;
    serving(&reporter, &discharge_desk).await;
    serving(&reporter, &home_care).await;
    serving(&reporter, &link_worker).await;
    serving(&reporter, &care_team).await;
    serving(&reporter, &boards).await;
    serving(&reporter, &directory).await;
    serving(&reporter, &event_store).await;
    let routes = Routes::new(health);
    let routes = if config.shard.1 > 1 {
        routes.add_service(sharded).add_service(sharded_boards)
    } else {
        routes.add_service(timeline).add_service(boards)
    };
    // Other processes of the region read the log where there can be others.
    let routes = if config.is_on_nats() { routes.add_service(event_store) } else { routes };
    let routes = routes
        .add_service(care_bus)
        .add_service(discharge_desk)
        .add_service(home_care)
        .add_service(link_worker)
        .add_service(care_team)
        .add_service(directory);
    Ok((reporter, add_reflection(routes)?))
}

/// Health says of what reads that it does not serve as long as a slot is not taken in, or another
/// store has another history of the same slots: what is told may lack something, or be wrong.
async fn tell_of_troubles(
    mut troubles: watch::Receiver<BTreeSet<Trouble>>,
    health: HealthReporter,
) {
    const READING: [&str; 3] = [
        TimelineServer::<TimelineService>::NAME,
        BoardsServer::<BoardsService>::NAME,
        EventStoreServer::<EventStoreService>::NAME,
    ];
    let mut is_well = true;
    loop {
        let is_well_now = troubles.borrow_and_update().is_empty();
        if is_well_now != is_well {
            is_well = is_well_now;
            let status = if is_well { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in READING {
                health.set_service_status(service, status).await;
            }
        }
        if troubles.changed().await.is_err() {
            return;
        }
    }
}

/// The services by which something is told.
const WRITING: [&str; 5] = [
    CareBusServer::<CareBusService>::NAME,
    DischargeDeskServer::<tsunagi_discharge_desk::Service>::NAME,
    HomeCareServer::<tsunagi_home_care::Service>::NAME,
    LinkWorkerServer::<tsunagi_link_worker::Service>::NAME,
    CareTeamServer::<tsunagi_home_care::CareTeamService>::NAME,
];

/// Health says so when nothing can be stored any more; what is stored is still served.
async fn tell_of_a_broken_log(broken: CancellationToken, health: HealthReporter) {
    broken.cancelled().await;
    for service in WRITING.iter().chain(&[""]) {
        health.set_service_status(service, ServingStatus::NotServing).await;
    }
}

pub(crate) async fn serving<S: NamedService>(reporter: &HealthReporter, _service: &S) {
    reporter.set_serving::<S>().await;
}

impl Running {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops serving, writes what waits, and closes the data folder.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.served.await?
    }
}

/// Says what is served where.
pub(crate) fn announce(config: &Config, running: &Running) {
    let region = running.store.region();
    let (data, version) = (config.data.display(), env!("CARGO_PKG_VERSION"));
    let (id, slots, zone) = (region.id, region.slots, &region.zone_name);
    say(format_args!("tsunagi {version}"));
    say(format_args!("data  {data}  (region {id}, {slots} slots, {zone})"));
    if let Some(told) = &running.on_nats {
        say(format_args!("NATS  {told}"));
    }
    running.doors.announce();
    if let Some(metrics) = running.metrics {
        say(format_args!("      metrics  http://{metrics}/metrics"));
    }
    say(format_args!("gRPC  {}", running.url()));
    say(
        "      care.v1.DischargeDesk, HomeCare, LinkWorker, CareTeam, CareBus, Timeline, Boards, Directory; health and reflection",
    );
    say("Stop with Ctrl-C.");
}

/// Ctrl-C and SIGTERM, listened to from before anything is served: whoever reads that the
/// server is there may tell it to stop, and it stops in order.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for either.
    pub(crate) async fn wait(mut self) {
        tokio::select! {
            // Either may be cancelled: a signal is only waited for.
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        tracing::info!("stopping");
    }
}
