//! A client that speaks QUIC and TLS, and nothing of ours: for tests that send what no client of ours would send.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use transport::Role;

use crate::test_cell::TestCell;

/// The DNS name in every server's certificate.
pub const SERVER_NAME: &str = "ohm-server";

/// The client. It is made within a runtime.
pub struct Stranger {
    /// Its endpoint.
    pub endpoint: Endpoint,
    cell: std::net::SocketAddr,
}

impl Stranger {
    /// With a certificate that was issued.
    pub fn with_certificate(cell: &TestCell, role: Role, name: &str) -> Stranger {
        let pair = format!("{}-{name}", role.word());
        let chain = CertificateDer::from_pem_file(cell.pki().join(format!("{pair}.pem")));
        let key = PrivateKeyDer::from_pem_file(cell.pki().join(format!("{pair}.key")));
        Stranger::new(cell, Some((chain.expect("it was issued"), key.expect("it was issued"))))
    }

    /// With none.
    pub fn without_certificate(cell: &TestCell) -> Stranger {
        Stranger::new(cell, None)
    }

    fn new(cell: &TestCell, pair: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>) -> Stranger {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(cell.pki().join("ca.pem"));
        roots.add(authority.expect("the cell has one")).expect("it is sound");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider);
        let tls = tls.with_protocol_versions(&[&rustls::version::TLS13]).expect("ring has TLS 1.3");
        let tls = tls.with_root_certificates(roots);
        let mut tls = match pair {
            Some((chain, key)) => tls.with_client_auth_cert(vec![chain], key).expect("a sound pair"),
            None => tls.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![transport::ALPN.to_vec()];
        let any_port = "127.0.0.1:0".parse().expect("an address");
        let mut endpoint = Endpoint::client(any_port).expect("a free port");
        let quic = QuicClientConfig::try_from(tls).expect("TLS 1.3 has what QUIC needs");
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(quic)));
        Stranger { endpoint, cell: cell.address() }
    }

    /// A connection to the cell's server.
    pub async fn connection(&self) -> Connection {
        let connecting = self.endpoint.connect(self.cell, SERVER_NAME).expect("a sound address");
        connecting.await.expect("the certificate is good")
    }
}
