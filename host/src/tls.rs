//! The one TLS client configuration of the process: rustls with ring and the roots of Mozilla, because a scratch image
//! brings no certificates.

use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, LazyLock};

/// For outbound HTTP and for PostgreSQL without a root of its own.
pub fn public() -> Arc<ClientConfig> {
    static PUBLIC: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Arc::new(trusting(roots))
    });
    PUBLIC.clone()
}

/// Trusts the certificates of a PEM text and nobody else.
pub fn private(pem: &str) -> Result<Arc<ClientConfig>, String> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("not a PEM certificate: {error}"))?;
        roots.add(certificate).map_err(|error| format!("not a usable root: {error}"))?;
    }
    if roots.is_empty() { Err("no PEM certificate in it".to_owned()) } else { Ok(Arc::new(trusting(roots))) }
}

fn trusting(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
