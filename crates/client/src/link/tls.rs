//! TLS: rustls on aws-lc-rs, the system's roots and those of the configuration.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::Error;

/// The TLS configuration for `wss://` and `https://`.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if `ca` holds no certificate.
pub(crate) fn client_config(ca: Option<&[u8]>) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    // A machine without any root certificate can still reach a relay named by `ca`.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = ca {
        let unusable = || Error::invalid_argument("ca", "must hold certificates in PEM form");
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| unusable())?;
        let (added, _ignored) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(unusable());
        }
    }
    build(roots)
}

/// For plain `http://`: no root is read from disk, and no certificate would be believed.
pub(crate) fn without_roots() -> Result<Arc<ClientConfig>, Error> {
    build(RootCertStore::empty())
}

fn build(roots: RootCertStore) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Error::relay_unavailable())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
