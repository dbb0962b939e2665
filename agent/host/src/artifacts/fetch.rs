//! Fetching: bytes from a host or from the machine, hashed on their way into a file that gets its name once they are right.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use cell_state::task::ArtifactProblem;
use sha2::{Digest as _, Sha256};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::{Digest, os};
use crate::bounds::{COPY_BYTES, FETCH_CONNECT, FETCH_FIRST_BYTE, FETCH_WHOLE};

/// The extension of a file that is being fetched.
pub(super) const PART: &str = "part";

/// Where the certificates are that the machine trusts, on the usual distributions.
const TRUSTED: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Fetches artifacts.
pub(crate) struct Fetcher {
    agent: ureq::Agent,
    bytes_max: u64,
}

impl Fetcher {
    pub(crate) fn new(bytes_max: u64) -> Fetcher {
        Fetcher::trusting(trusted(), bytes_max)
    }

    /// One that believes hosts whose certificates these vouch for.
    pub(super) fn trusting(roots: RootCerts, bytes_max: u64) -> Fetcher {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(FETCH_CONNECT))
            .timeout_recv_response(Some(FETCH_FIRST_BYTE))
            .timeout_recv_body(Some(FETCH_WHOLE))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("ohm/", env!("CARGO_PKG_VERSION")))
            .build();
        Fetcher { agent: config.into(), bytes_max }
    }

    /// Fetches from an address.
    pub(super) fn remote(&self, source: &str, digest: &Digest, to: &Path) -> Result<(), ArtifactProblem> {
        let mut response = self.agent.get(source).call().map_err(|error| problem(source, &error))?;
        let body = response.body_mut().with_config().limit(u64::MAX).reader();
        self.keep(body, digest, to)
    }

    /// Fetches from the machine itself.
    pub(super) fn local(&self, file: File, digest: &Digest, to: &Path) -> Result<(), ArtifactProblem> {
        self.keep(file, digest, to)
    }

    fn keep(&self, from: impl Read, digest: &Digest, to: &Path) -> Result<(), ArtifactProblem> {
        let part = to.with_extension(PART);
        let kept =
            self.write(from, digest, &part).and_then(|()| fs::rename(&part, to).map_err(|error| os(&error)));
        if kept.is_err() {
            // What is there is of no use; the next agent removes it, too.
            drop(fs::remove_file(&part));
        }
        kept
    }

    fn write(&self, mut from: impl Read, digest: &Digest, part: &Path) -> Result<(), ArtifactProblem> {
        let mut file = File::create(part).map_err(|error| os(&error))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; COPY_BYTES];
        let mut left = self.bytes_max;
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(ArtifactProblem::Unreachable),
            };
            left = left.checked_sub(read as u64).ok_or(ArtifactProblem::TooLarge)?;
            hash.update(&buffer[..read]);
            file.write_all(&buffer[..read]).map_err(|error| os(&error))?;
        }
        if hash.finalize().as_slice() != digest {
            return Err(ArtifactProblem::OtherBytes);
        }
        // Whoever finds it by its hash after a power cut finds all of it.
        file.sync_all().map_err(|error| os(&error))
    }
}

fn problem(source: &str, error: &ureq::Error) -> ArtifactProblem {
    tracing::warn!(source, %error, "can't fetch");
    match error {
        ureq::Error::StatusCode(status) => ArtifactProblem::Status(*status),
        _ => ArtifactProblem::Unreachable,
    }
}

/// The certificates the machine trusts; those that came with this program where it has none.
fn trusted() -> RootCerts {
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let files = named.into_iter().chain(TRUSTED.iter().map(std::path::PathBuf::from));
    let Some(pem) = files.filter_map(|file| fs::read(file).ok()).next() else { return RootCerts::WebPki };
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            Ok(_) | Err(_) => None,
        })
        .collect();
    if certificates.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(Arc::new(certificates)) }
}
