//! TLS of the MLLP door: the server's certificate, and which clients' are taken.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tsunagi_chassis::config::Mllp;

/// What stands in the way of serving over TLS.
type Problem = (&'static str, Box<dyn std::error::Error + Send + Sync>);

/// The TLS that the settings ask for, if they ask for any.
pub(super) fn acceptor(config: &Mllp) -> Result<Option<TlsAcceptor>, Problem> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ("mllp-tls-cert", error.into()))?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path).map_err(|error| ("mllp-client-ca", error))? {
                roots.add(authority).map_err(|error| ("mllp-client-ca", error.into()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|error| ("mllp-client-ca", error.into()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(cert).map_err(|error| ("mllp-tls-cert", error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| ("mllp-tls-key", error.into()))?;
    let config = builder.with_single_cert(chain, key);
    let config = config.map_err(|error| ("mllp-tls-cert", error.into()))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn certificates(
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Box<dyn std::error::Error + Send + Sync>> {
    let all: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if all.is_empty() { Err("there is no certificate in the file".into()) } else { Ok(all) }
}
