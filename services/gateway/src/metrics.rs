//! What a running process counts, fetched by Prometheus. Whoever counts registers instruments with
//! [`opentelemetry::global`]; where no listener is asked for, they cost nothing.
//!
//! Metrics hold counts and sizes, never an id of a patient.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tsunagi_chassis::Config;

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error(
        "{0} is not a loopback address: serve metrics on 127.0.0.1 or [::1], or say --insecure-listen if the network itself keeps strangers out"
    )]
    NotLoopback(SocketAddr),
    #[error("cannot serve metrics on {address}: is another server running there?")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("metrics cannot be collected")]
    Collect(#[from] OTelSdkError),
}

/// The listener for Prometheus, bound and not yet served.
pub struct Metrics {
    listener: TcpListener,
    address: SocketAddr,
    registry: Registry,
}

impl Metrics {
    /// Binds the listener, if the settings ask for one. What is registered from then on is served.
    pub async fn bind(config: &Config) -> Result<Option<Self>, MetricsError> {
        let Some(address) = config.metrics_listen else { return Ok(None) };
        if !address.ip().is_loopback() && !config.insecure_listen {
            return Err(MetricsError::NotLoopback(address));
        }
        let bind_error = |source| MetricsError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()?;
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        opentelemetry::global::set_meter_provider(provider);
        Ok(Some(Self { listener, address, registry }))
    }

    /// Where it listens; with the port that port 0 turned into.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `GET /metrics` until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) -> std::io::Result<()> {
        let routes = Router::new().route("/metrics", get(collected)).with_state(self.registry);
        axum::serve(self.listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn collected(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics could not be written out");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
