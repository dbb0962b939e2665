//! Parties that don't keep to the rules: bare QUIC endpoints with any certificate, protocol name and bytes.

use std::net::SocketAddr;
use std::sync::Arc;

use cell_state::codec;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use transport::FrameBuffer;
use transport::message::{Refusal, Reply, ReplyFrame};

use crate::cell::{ANY_PORT, Cell};

/// What a party shows of itself.
pub(crate) struct Shown {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

/// A certificate that the cell's authority signed with whatever it was given.
pub(crate) fn forge(cell: &Cell, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Shown {
    let read =
        |file: &str| std::fs::read_to_string(cell.dir.path().join(file)).expect("the authority's file");
    let authority_key = KeyPair::from_pem(&read("ca.key")).expect("a key");
    let authority = Issuer::from_ca_cert_pem(&read("ca.pem"), authority_key).expect("an authority");
    let mut params = CertificateParams::default();
    let names = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII")));
    params.subject_alt_names =
        names.chain([SanType::DnsName("ohm-server".try_into().expect("ASCII"))]).collect();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    Shown {
        certificate: certificate.der().clone(),
        key: PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key"),
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    }
}

/// A certificate of a scheduler of the cell, as good as any.
pub(crate) fn good(cell: &Cell) -> Shown {
    forge(cell, &[&format!("ohm://{}/scheduler/raw", cell.authority.cell())], |_| ())
}

/// A bare client.
pub(crate) struct Raw {
    _endpoint: Endpoint,
    pub(crate) connection: Connection,
}

/// Connects and waits for the welcome.
pub(crate) async fn connect(
    server: SocketAddr,
    cell: &Cell,
    shown: Option<Shown>,
    protocol: &[u8],
) -> Result<Raw, ConnectionError> {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots(cell));
    let mut config = match shown {
        Some(shown) => {
            builder.with_client_auth_cert(vec![shown.certificate], shown.key).expect("a usable pair")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("AES-128")));
    let endpoint = Endpoint::client(ANY_PORT).expect("a free port");
    let connection = endpoint.connect_with(config, server, "ohm-server").expect("an address").await?;
    let mut welcome = connection.accept_uni().await?;
    match welcome.read_to_end(100).await {
        Ok(text) => assert_eq!(text, transport::ALPN),
        Err(_) => return Err(connection.closed().await),
    }
    Ok(Raw { _endpoint: endpoint, connection })
}

/// A bare client that is let in.
pub(crate) async fn scheduler(server: SocketAddr, cell: &Cell) -> Raw {
    connect(server, cell, Some(good(cell)), transport::ALPN).await.expect("let in")
}

/// A bare server that trusts the cell, and lets everybody in.
pub(crate) fn listen(cell: &Cell, shown: Shown, protocol: &[u8]) -> SocketAddr {
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots(cell)), provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![shown.certificate], shown.key)
        .expect("a usable pair");
    config.alpn_protocols = vec![protocol.to_vec()];
    let config =
        quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).expect("AES-128")));
    let endpoint = Endpoint::server(config, ANY_PORT).expect("a free port");
    let address = endpoint.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                if let Ok(mut welcome) = connection.open_uni().await {
                    let _ = welcome.write_all(transport::ALPN).await;
                }
                connection.closed().await;
            });
        }
    });
    address
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(cell: &Cell) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(cell.dir.path().join("ca.pem")).expect("a certificate");
    roots.add(authority).expect("a certificate");
    roots
}

/// The replies of a stream.
pub(crate) struct Replies {
    stream: RecvStream,
    buffer: FrameBuffer,
}

impl Replies {
    pub(crate) fn new(stream: RecvStream) -> Replies {
        Replies { stream, buffer: FrameBuffer::default() }
    }

    /// The next reply, or `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<(u64, Result<Reply, Refusal>)> {
        loop {
            if let Some(message) = self.buffer.next_message().expect("frames within the bound") {
                let ReplyFrame { id, reply } = codec::decode(message).expect("a reply");
                return Some((id, reply));
            }
            match self.stream.read_chunk(1 << 16, true).await.expect("an unbroken stream") {
                Some(chunk) => self.buffer.push(&chunk.bytes),
                None => return None,
            }
        }
    }
}
