//! TLS to a relay: the relay's certificate must lead to a root that is trusted.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use stvor_client::{App, Code};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::people::{Person, config};
use crate::relays::OurRelay;

/// Puts TLS in front of a relay, as an operator's proxy does. Returns the port and the root.
async fn tls_in_front_of(relay: &OurRelay) -> (u16, Vec<u8>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let (acceptor, upstream) = (TlsAcceptor::from(Arc::new(server)), relay.address);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut upstream = TcpStream::connect(upstream).await.unwrap();
                let _closed = copy_bidirectional(&mut stream, &mut upstream).await;
            });
        }
    });
    (port, cert.pem().into_bytes())
}

#[tokio::test]
async fn a_relay_behind_tls_is_reached_if_its_root_is_trusted() {
    let relay = OurRelay::start(0).await;
    let (port, root) = tls_in_front_of(&relay).await;
    for scheme in ["wss", "https"] {
        let mut trusting = config(&format!("{scheme}://localhost:{port}"));
        let error = App::open(trusting.clone()).await.unwrap_err();
        assert_eq!(error.code, Code::RelayUnavailable, "{scheme}: an unknown root");
        trusting.ca = Some(root.clone());
        let app = App::open(trusting).await.unwrap();
        let (alice, bob) = (format!("alice {scheme}"), format!("bob {scheme}"));
        let alice = Person::join(&app, &alice).await;
        let mut receiver = Person::join(&app, &bob).await;
        alice.send(&bob, "over TLS").await.unwrap();
        assert_eq!(receiver.next().await.1, "over TLS");
        app.close().await;
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let relay = OurRelay::start(0).await;
    let (port, root) = tls_in_front_of(&relay).await;
    let mut other_name = config(&format!("wss://127.0.0.1:{port}"));
    other_name.ca = Some(root);
    assert_eq!(App::open(other_name).await.unwrap_err().code, Code::RelayUnavailable);
}

#[tokio::test]
async fn a_ca_without_certificates_is_an_argument_to_correct() {
    for pem in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let mut broken = config("wss://localhost:1");
        broken.ca = Some(pem.into());
        let error = App::open(broken).await.unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument, "{pem:?}");
        assert!(error.message.starts_with("ca "), "{}", error.message);
    }
}
