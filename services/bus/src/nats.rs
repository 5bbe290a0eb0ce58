//! The bus on NATS JetStream: streams, publishing with acknowledgement, reading in order. The
//! only door to NATS.
//!
//! What must stay true: a publication is acknowledged when JetStream has it, and by default
//! when an event store has flushed it, too (I2); what became of one whose answer was lost is
//! read from the stream's leader before anything is said; `Nats-Expected-Last-Msg-Id` is never
//! sent: with a wrong value, it stops a replicated stream for ever.

mod batch;
mod bus;
mod consumer;
mod headers;
mod layout;
pub mod notify;
mod partings;
mod publisher;
mod streams;

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;
use tokio::time::Instant;
use tsunagi_chassis::Config;

pub use bus::JetStreamBus;
pub use consumer::{ReaderError, SlotReader};
pub use headers::{Incoming, Message, What, message_id};
pub use partings::Parting;
pub use publisher::Publisher;
pub use streams::{Identity, Kept, Place, Republished, StreamState, Streams, StreamsError};

/// The oldest nats-server with which everything that is relied on was seen to hold.
const OLDEST_SERVER: [u64; 3] = [2, 15, 1];
/// Between two attempts to reach NATS at start.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The longest wait between two attempts to reconnect.
const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(2);
/// How long a server may take to greet; then another is tried.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// Why NATS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("`{0}` is no address of a NATS server: give one such as nats://127.0.0.1:4222")]
    Address(String),
    #[error("cannot read the NATS credentials {path}")]
    Credentials { path: PathBuf, source: std::io::Error },
    #[error(
        "no NATS server answers at {address} ({told}): start one, or give another address with --nats"
    )]
    Unreachable { address: String, told: String },
    #[error(
        "the NATS server at {address} will not have this client ({told}): check user and password in --nats, --nats-credentials, --nats-ca, --nats-certificate and --nats-key"
    )]
    Refused { address: String, told: String },
    #[error("cannot read {path}, which `{setting}` names")]
    File { setting: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "the NATS server has version {found}, and {} is the oldest that keeps what is promised: update nats-server",
        oldest()
    )]
    TooOld { found: String },
    #[error(
        "JetStream does not answer on the NATS server ({told}): start nats-server with `-js`, or with a `jetstream` block in its configuration"
    )]
    NoJetStream { told: String },
}

/// A connection to NATS. Clones share it.
#[derive(Clone)]
pub struct Nats {
    pub(crate) client: Client,
    pub(crate) context: Context,
    /// How often it was connected.
    connected: watch::Receiver<u64>,
    /// Whether it is connected now.
    pub(crate) link: watch::Receiver<bool>,
}

impl Nats {
    /// Connects to the servers at `address`, and makes sure that they can do what is needed.
    pub async fn connect(address: &str, config: &Config) -> Result<Self, ConnectError> {
        let until = Instant::now() + Duration::from_millis(config.nats_start_ms);
        let servers = servers(address)?;
        let (count, connected) = watch::channel(0);
        let (tell_link, link) = watch::channel(false);
        let client = loop {
            let mut options =
                options(config, Connection { count: count.clone(), link: tell_link.clone() })?;
            // The client library does not take them from the address itself.
            if let Some((user, password)) = servers.iter().find_map(user_and_password) {
                options = options.user_and_password(user, password);
            }
            match options.connect(servers.clone()).await {
                Ok(client) => break client,
                Err(error) if is_refused(error.kind()) => {
                    let (address, told) = (shown(&servers), error.to_string());
                    return Err(ConnectError::Refused { address, told });
                }
                Err(error) if Instant::now() + RETRY_AFTER > until => {
                    let (address, told) = (shown(&servers), error.to_string());
                    return Err(ConnectError::Unreachable { address, told });
                }
                Err(_not_yet) => tokio::time::sleep(RETRY_AFTER).await,
            }
        };
        let found = client.server_info().version;
        if !is_new_enough(&found) {
            return Err(ConnectError::TooOld { found });
        }
        let ack_wait = Duration::from_millis(config.nats_ack_ms);
        let context = ContextBuilder::new().timeout(ack_wait).build(client.clone());
        while let Err(error) = context.query_account().await {
            if Instant::now() + RETRY_AFTER > until {
                return Err(ConnectError::NoJetStream { told: error.to_string() });
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        Ok(Self { client, context, connected, link })
    }

    /// Which connection it is: the first, or one after it was lost.
    pub(crate) fn connection(&self) -> u64 {
        *self.connected.borrow()
    }

    /// The servers at `address`, for people to read: without passwords.
    pub fn servers(&self, address: &str) -> String {
        let version = self.client.server_info().version;
        let servers = servers(address).map(|servers| shown(&servers)).unwrap_or_default();
        format!("{servers}  nats-server {version}")
    }
}

/// Tells of the connection.
struct Connection {
    count: watch::Sender<u64>,
    link: watch::Sender<bool>,
}

fn options(config: &Config, connection: Connection) -> Result<ConnectOptions, ConnectError> {
    let ack_wait = Duration::from_millis(config.nats_ack_ms);
    let mut options = ConnectOptions::new()
        .name("tsunagi")
        .connection_timeout(CONNECT_WAIT)
        .ping_interval(Duration::from_millis(config.nats_ping_ms))
        .request_timeout(Some(ack_wait))
        .reconnect_delay_callback(|attempts| {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
            RETRY_AFTER.saturating_mul(attempts.saturating_sub(1)).min(RECONNECT_AFTER_MAX)
        })
        .event_callback(move |event| {
            connection.note(&event);
            std::future::ready(())
        });
    if let Some(path) = &config.nats_credentials {
        let unreadable = |source| ConnectError::Credentials { path: path.clone(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        options = options.credentials(&text).map_err(unreadable)?;
    }
    for (setting, path) in [
        ("nats-ca", &config.nats_ca),
        ("nats-certificate", &config.nats_certificate),
        ("nats-key", &config.nats_key),
    ] {
        if let Some(path) = path {
            let unreadable = |source| ConnectError::File { setting, path: path.clone(), source };
            std::fs::File::open(path).map_err(unreadable)?;
        }
    }
    if let Some(path) = &config.nats_ca {
        options = options.add_root_certificates(path.clone()).require_tls(true);
    }
    if let (Some(certificate), Some(key)) = (&config.nats_certificate, &config.nats_key) {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

impl Connection {
    fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                tracing::info!("connected to NATS");
                self.count.send_modify(|count| *count += 1);
                self.link.send_replace(true);
            }
            Event::Disconnected | Event::Closed => {
                tracing::warn!(%event, "the connection to NATS");
                self.link.send_replace(false);
            }
            Event::LameDuckMode
            | Event::Draining
            | Event::SlowConsumer(_)
            | Event::ServerError(_)
            | Event::ClientError(_) => tracing::warn!(%event, "the connection to NATS"),
        }
    }
}

/// Whether a server answers, and will not have us: trying again does not help.
fn is_refused(kind: ConnectErrorKind) -> bool {
    match kind {
        ConnectErrorKind::Authentication
        | ConnectErrorKind::AuthorizationViolation
        | ConnectErrorKind::Tls => true,
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => false,
    }
}

fn servers(address: &str) -> Result<Vec<ServerAddr>, ConnectError> {
    let parse = |part: &str| {
        let malformed = |_malformed| ConnectError::Address(part.to_owned());
        part.parse::<ServerAddr>().map_err(malformed)
    };
    address.split(',').map(str::trim).map(parse).collect()
}

fn user_and_password(server: &ServerAddr) -> Option<(String, String)> {
    Some((server.username()?.to_owned(), server.password().unwrap_or_default().to_owned()))
}

/// Without user and password.
fn shown(servers: &[ServerAddr]) -> String {
    let one = |server: &ServerAddr| format!("{}:{}", server.host(), server.port());
    servers.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn oldest() -> String {
    OLDEST_SERVER.map(|number| number.to_string()).join(".")
}

/// Whether a server with this version will do: `2.15.1`, `2.16.0-RC.1`.
fn is_new_enough(version: &str) -> bool {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<u64> = release.split('.').map_while(|number| number.parse().ok()).collect();
    numbers.len() == OLDEST_SERVER.len() && numbers.as_slice() >= OLDEST_SERVER.as_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_told_from_a_new_one() {
        for new in ["2.15.1", "2.15.2", "2.16.0-RC.1", "3.0.0", "2.15.10"] {
            assert!(is_new_enough(new), "{new}");
        }
        for old in ["2.9.10", "2.15.0", "2.14.99", "1.99.99", "", "2", "new", "2.15"] {
            assert!(!is_new_enough(old), "{old}");
        }
        let refused = ConnectError::TooOld { found: "2.9.10".into() }.to_string();
        assert!(refused.contains("2.15.1") && refused.contains("2.9.10"), "{refused}");
    }

    #[test]
    fn passwords_are_not_shown() {
        let servers = servers("nats://me:secret@localhost:4223, other").unwrap();
        assert_eq!(shown(&servers), "localhost:4223, other:4222");
    }
}
