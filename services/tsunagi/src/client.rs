//! How the commands reach a server: the one that is named, the one that has the data folder
//! open, or one of their own that opens it.

use anyhow::Context as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;
use tsunagi_chassis::Config;
use tsunagi_chassis::caller::{ORGANISATION, PERSON, ROLE};
use tsunagi_chassis::config::{Fhir, Mllp, Ssmix2};
use tsunagi_event_store::OpenError;

use crate::up::{self, Running};

/// A channel to a server, and that server if it is this process's own.
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    own: Option<Running>,
}

impl Connection {
    /// Connects to the server at `url`.
    pub(crate) async fn to(url: &str) -> anyhow::Result<Self> {
        Ok(Self { channel: connect(url).await?, own: None })
    }

    /// Finds a server of a region that is there already, for a command that only reads: a
    /// folder that was mistyped must not become a new region.
    pub(crate) async fn to_read(config: &Config, server: Option<String>) -> anyhow::Result<Self> {
        if server.is_none() && !tsunagi_event_store::has_region(&config.data) {
            let data = config.data.display();
            anyhow::bail!(
                "there is no region in {data}: name its folder with --data or its server with --server, or start one with `tsunagi up`"
            );
        }
        Self::open(config, server).await
    }

    /// Finds a server, or begins a region.
    pub(crate) async fn open(config: &Config, server: Option<String>) -> anyhow::Result<Self> {
        if let Some(url) = server {
            return Self::to(&url).await;
        }
        // An own server serves this command alone, and takes whatever port is free.
        // Nor does it open other doors meanwhile.
        let mllp = Mllp { listen: None, ..config.mllp.clone() };
        let ssmix2 = Ssmix2 { folder: None, ..config.ssmix2.clone() };
        let listen = ([127, 0, 0, 1], 0).into();
        let fhir = Fhir { listen: None, ..config.fhir.clone() };
        let own = Config { listen, mllp, ssmix2, fhir, ..config.clone() };
        match up::start(&own).await {
            Ok(running) => {
                let channel = connect(&running.url()).await?;
                Ok(Self { channel, own: Some(running) })
            }
            Err(error) => match error.downcast_ref::<OpenError>() {
                Some(OpenError::Locked { address: Some(url), .. }) => Self::to(url).await,
                Some(_) | None => Err(error),
            },
        }
    }

    /// Stops the own server, if there is one.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        match self.own {
            Some(running) => running.stop().await,
            None => Ok(()),
        }
    }
}

/// For commands that read the data folder themselves: nobody's word is taken for what is in it.
pub(crate) fn reads_here(server: Option<&str>) -> anyhow::Result<()> {
    if server.is_some() {
        anyhow::bail!(
            "this reads the data folder itself, whether or not a server has it open: run it there, with --data"
        );
    }
    Ok(())
}

/// The same, for a folder that must have a region.
pub(crate) fn needs_region(config: &Config, server: Option<&str>) -> anyhow::Result<()> {
    let data = config.data.display();
    reads_here(server)?;
    if !tsunagi_event_store::has_region(&config.data) {
        anyhow::bail!("there is no region in {data}: name its folder with --data");
    }
    Ok(())
}

async fn connect(url: &str) -> anyhow::Result<Channel> {
    let endpoint =
        Endpoint::from_shared(url.to_owned()).with_context(|| format!("`{url}` is no URL"))?;
    endpoint
        .tcp_nodelay(true)
        .connect()
        .await
        .with_context(|| format!("no server answers at {url}: start one with `tsunagi up`"))
}

/// A request in the name of `organisation`, `role` and `person`.
pub(crate) fn signed<T>(message: T, organisation: &str, role: &str, person: &str) -> Request<T> {
    let mut request = Request::new(message);
    for (key, value) in [(ORGANISATION, organisation), (ROLE, role), (PERSON, person)] {
        if let Ok(value) = value.parse() {
            request.metadata_mut().insert(key, value);
        }
    }
    request
}

/// A request in the name of the command line itself.
pub(crate) fn own<T>(message: T) -> Request<T> {
    signed(message, "tsunagi", "system", "cli")
}

/// The machine-readable reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// An error for the terminal: the server's own sentence. A server gives a reason with each; what
/// comes without one is the connection's, which ended.
pub(crate) fn refused(status: &Status) -> anyhow::Error {
    let told = status.message();
    if reason(status).is_empty() {
        return anyhow::anyhow!(
            "the connection to the server was lost ({told}): see that the server runs, and run this again; nothing is stored twice"
        );
    }
    anyhow::anyhow!("{told}")
}
