//! TLS of both ends: version 1.3 only, both sides show a certificate of the cell's authority, AES-128 first.

use std::sync::{Arc, Mutex};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, cipher_suite};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use transport::{Identity, Role};

use crate::identity::facts;
use crate::pki::Credentials;

/// The DNS name in every server's certificate. Parties are told apart by their identity, not by this name: it is here
/// because TLS wants one, and it lets any ordinary TLS client see that only servers have it.
pub(crate) const SERVER_NAME: &str = "ohm-server";

/// A certificate and key, or an authority's certificate, that TLS can't use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    #[error(transparent)]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    #[error(transparent)]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// AES-128 is a little cheaper than AES-256, and ChaCha20 costs 1.6 times as much.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
}

fn roots(credentials: &Credentials) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(credentials.authority.clone())?;
    Ok(Arc::new(roots))
}

/// The server's side. Whether the party belongs to this cell is checked after the handshake, so that it can be told.
pub(crate) fn server(credentials: &Credentials) -> Result<QuicServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(credentials)?, provider()).build()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![transport::ALPN.to_vec()];
    // A connection lives long; resuming one is not worth two tickets per handshake.
    config.send_tls13_tickets = 0;
    Ok(QuicServerConfig::try_from(config)?)
}

/// The client's side, and where it notes why it didn't accept the server.
pub(crate) fn client(credentials: &Credentials) -> Result<(QuicClientConfig, Arc<ServerCheck>), TlsError> {
    let chain = WebPkiServerVerifier::builder_with_provider(roots(credentials)?, provider()).build()?;
    let cell = credentials.identity().cell.clone();
    let check = Arc::new(ServerCheck { chain, cell, problem: Mutex::new(None) });
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(check.clone())
        .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![transport::ALPN.to_vec()];
    Ok((QuicClientConfig::try_from(config)?, check))
}

/// Accepts the certificate of a server of one cell: everything the ordinary verifier asks for, and the identity.
#[derive(Debug)]
pub(crate) struct ServerCheck {
    chain: Arc<WebPkiServerVerifier>,
    cell: String,
    problem: Mutex<Option<String>>,
}

impl ServerCheck {
    /// Why the server wasn't accepted, in words; TLS itself has only a number for it.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().expect("no panic while it is held").clone()
    }

    fn identity_problem(&self, certificate: &CertificateDer<'_>) -> Result<Identity, String> {
        let identity = match facts(certificate) {
            Ok(facts) => facts.identity,
            Err(problem) => return Err(format!("the other end is no server of a cell: {problem}")),
        };
        if identity.cell != self.cell {
            let ours = &self.cell;
            return Err(format!(
                "the server's certificate is for cell {:?}, ours is for {ours:?}",
                identity.cell
            ));
        }
        if identity.role != Role::Server {
            return Err(format!("the other end's certificate {identity} is not that of a server"));
        }
        Ok(identity)
    }
}

fn chain_problem(identity: &Identity, error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(problem) = error else {
        return format!("the server's certificate {identity} can't be verified: {error}");
    };
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the server's certificate {identity} has expired; issue a new one with `ohm pki issue`")
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!(
                "the server's certificate {identity} was issued by another authority than the one in our ca.pem"
            )
        }
        other => format!("the server's certificate {identity} can't be verified: {other}"),
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let checked = self.identity_problem(end_entity).and_then(|identity| {
            self.chain
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| chain_problem(&identity, &error))
        });
        checked.map_err(|problem| {
            *self.problem.lock().expect("no panic while it is held") = Some(problem);
            rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
