//! Serves gRPC on one listener until told to stop: health, reflection, limits.

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderMap;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::ServiceBuilder;
use tsunagi_proto::DESCRIPTOR;

use crate::config::Config;
use crate::refused::Refused;
use crate::trace::Traced;

/// How long an HTTP/2 connection may be silent before the server asks whether it is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long the answer to that may take before the connection is closed.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why serving could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "{0} is not a loopback address, and callers cannot prove yet who they are: listen on 127.0.0.1 or [::1], or say --insecure-listen if the network itself keeps strangers out"
    )]
    NotLoopback(SocketAddr),
    #[error("cannot listen on {address}: is another server running there?")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("cannot describe the services to reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the server stopped")]
    Transport(#[from] tonic::transport::Error),
}

/// A listener that is bound and not yet served.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    pub async fn bind(config: &Config) -> Result<Self, ServeError> {
        let address = config.listen;
        if !address.ip().is_loopback() && !config.insecure_listen {
            return Err(ServeError::NotLoopback(address));
        }
        let bind_error = |source| ServeError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        Ok(Self { listener, address })
    }

    /// Where it listens; with the port that port 0 turned into.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `routes` until `stop` is cancelled, then lets calls that go on finish for
    /// `stop_wait_ms` at most.
    pub async fn run(
        self,
        config: &Config,
        routes: Routes,
        health: HealthReporter,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .concurrency_limit_per_connection(config.calls_per_connection)
            .tcp_nodelay(true)
            .layer(ServiceBuilder::new().layer_fn(Traced).map_response(explain_unreadable))
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(self.listener).with_nodelay(Some(true)),
                {
                    let stop = stop.clone();
                    async move {
                        stop.cancelled().await;
                        health.set_service_status("", ServingStatus::NotServing).await;
                    }
                },
            );
        let patience = async {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_millis(config.stop_wait_ms)).await;
        };
        tokio::select! {
            // Dropping the server cuts the calls that go on. That is what the patience is for,
            // and safe: what was acknowledged is on disk.
            served = serving => Ok(served?),
            () = patience => {
                tracing::warn!("calls that went on were cut at the end of the stop wait");
                Ok(())
            }
        }
    }
}

/// Reflection in both versions that clients speak, with the descriptors of health and of the
/// details in refusals: a client that shows those looks their types up here.
pub fn add_reflection(routes: Routes) -> Result<Routes, ServeError> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}

/// The transport refuses what it cannot take before any service sees it, and gives no
/// machine-readable reason; this adds it.
fn explain_unreadable<B>(mut response: http::Response<B>) -> http::Response<B> {
    let headers = response.headers();
    if headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    let status = headers.get(Status::GRPC_STATUS).and_then(|status| status.to_str().ok());
    let code = status.and_then(|status| status.parse().ok()).map(Code::from_i32);
    if let Some(refused) = code.and_then(unreadable) {
        let mut explained = HeaderMap::new();
        if Status::from(refused).add_header(&mut explained).is_ok() {
            response.headers_mut().extend(explained);
        }
    }
    response
}

/// What the transport's own status means, if it is about a message that it cannot take. Our
/// services give a reason with every status.
pub fn unreadable(code: Code) -> Option<Refused> {
    let (code, reason, message) = if code == Code::OutOfRange {
        let message = "the message is larger than this server takes (`message-bytes`): send less in one message";
        (code, "MESSAGE_TOO_LARGE", message)
    } else if code == Code::Internal {
        let message =
            "the message cannot be read: send what the schema says, in protobuf and as UTF-8";
        (Code::InvalidArgument, "MESSAGE_UNREADABLE", message)
    } else {
        return None;
    };
    Some(Refused::new(code, reason, message))
}
