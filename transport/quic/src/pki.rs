//! The certificates of a cell: its authority, and what it issues to each party.
//!
//! ```text
//! <dir>/ca.pem, ca.key                      the authority; whoever has ca.key can be anybody in the cell
//! <dir>/<role>-<name>.pem, <role>-<name>.key  a party; a '*' at the end of an agent's name is '_' in the file name
//! ```
//!
//! Keys are written readable by their owner only, from the first byte on, and nothing is ever overwritten.

mod files;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use transport::{Identity, Role};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use crate::bounds::{AUTHORITY_VALID, CERTIFICATE_VALID, CLOCK_SKEW};
use crate::identity::facts;
use crate::tls::SERVER_NAME;

/// What can go wrong with certificates and keys on disk.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Nothing is overwritten.
    #[error("{path} exists and is not overwritten; move it away or choose another directory")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file that is needed is not there.
    #[error("{path} is missing; {hint}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What makes it.
        hint: String,
    },
    /// The file system refused.
    #[error("can't {act} {path}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// With which file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A name that can't be in a certificate.
    #[error("{problem}")]
    Name {
        /// What is wrong with it.
        problem: String,
    },
    /// A file that is not what it should be.
    #[error("{path}: {problem}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate or key couldn't be made.
    #[error("can't make a certificate")]
    Generate(#[from] rcgen::Error),
}

/// The certificate authority of a cell: it issues the certificates of all parties.
pub struct Authority {
    cell: String,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("cell", &self.cell).finish_non_exhaustive()
    }
}

/// The word in the authority's certificate that tells it from any other.
const ORGANIZATION: &str = "Ohm cell";

impl Authority {
    /// Makes the authority of a new cell and writes `ca.pem` and `ca.key`. It is valid for 10 years.
    ///
    /// # Errors
    /// The name is no name, a file exists already, or the disk refuses.
    pub fn create(cell: &str, dir: &Path) -> Result<Authority, PkiError> {
        check_name("cell", cell)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, ORGANIZATION);
        params.distinguished_name.push(DnType::CommonName, cell);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, AUTHORITY_VALID);
        let certificate_pem = params.self_signed(&key)?.pem();
        let (pem_path, key_path) = (dir.join("ca.pem"), dir.join("ca.key"));
        files::write_pair(dir, (&key_path, &key.serialize_pem()), (&pem_path, &certificate_pem))?;
        Ok(Authority { cell: cell.to_owned(), certificate_pem, issuer: Issuer::new(params, key) })
    }

    /// Reads the authority that [`Authority::create`] wrote.
    ///
    /// # Errors
    /// A file is missing or is not what it should be.
    pub fn load(dir: &Path) -> Result<Authority, PkiError> {
        let (pem_path, key_path) = (dir.join("ca.pem"), dir.join("ca.key"));
        let hint = "`ohm pki init` makes it, and only where it was made can certificates be issued";
        let certificate_pem = files::read(&pem_path, || hint.to_owned())?;
        let key_pem = files::read(&key_path, || hint.to_owned())?;
        let certificate = parse_certificate(&pem_path, &certificate_pem)?;
        let cell = cell_of(&pem_path, &certificate)?;
        let key = KeyPair::from_pem(&key_pem).map_err(|error| unusable(&key_path, error.to_string()))?;
        if public_key(&pem_path, &certificate)? != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(unusable(&key_path, format!("is not the key of {}", pem_path.display())));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Authority { cell, certificate_pem, issuer })
    }

    /// The cell's name.
    pub fn cell(&self) -> &str {
        &self.cell
    }

    /// Issues a certificate, valid for a year, and writes `<role>-<name>.pem` and `.key`, and `ca.pem` where it isn't
    /// there yet: all that the party needs.
    ///
    /// # Errors
    /// The name is no name, a file exists already, the directory belongs to another cell, or the disk refuses.
    pub fn issue(&self, role: Role, name: &str, dir: &Path) -> Result<(), PkiError> {
        let plain = if role == Role::Agent { name.strip_suffix('*').unwrap_or(name) } else { name };
        if plain.is_empty() {
            let problem = format!("{name:?} would be an agent of every machine; put a prefix before the '*'");
            return Err(PkiError::Name { problem });
        }
        check_name(role.word(), plain)?;
        let identity = Identity { cell: self.cell.clone(), role, name: name.to_owned() };
        let key = KeyPair::generate()?;
        let certificate = party_params(&identity)?.signed_by(&key, &self.issuer)?.pem();
        let (pem_path, key_path) = party_paths(dir, role, name);
        files::write_pair(dir, (&key_path, &key.serialize_pem()), (&pem_path, &certificate))?;
        files::write_once(&dir.join("ca.pem"), &self.certificate_pem)
    }
}

/// What a party needs to prove who it is and to know its cell: its certificate and key, and the authority's certificate.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) identity: Identity,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<PrivateKeyDer<'static>>,
    pub(crate) authority: CertificateDer<'static>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads `ca.pem` and the certificate and key of a party.
    ///
    /// # Errors
    /// A file is missing, is not what it should be, or the certificate is for somebody else or not valid now.
    pub fn load(dir: &Path, role: Role, name: &str) -> Result<Credentials, PkiError> {
        let (pem_path, key_path) = party_paths(dir, role, name);
        let ca_path = dir.join("ca.pem");
        let hint = || format!("`ohm pki issue` makes the files of {role} {name}");
        let authority = parse_certificate(&ca_path, &files::read(&ca_path, hint)?)?;
        let certificate = parse_certificate(&pem_path, &files::read(&pem_path, hint)?)?;
        let key_pem = files::read(&key_path, hint)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|error| unusable(&key_path, format!("not a private key in PEM form: {error}")))?;
        files::warn_if_shared(&key_path);

        let cell = cell_of(&ca_path, &authority)?;
        let facts = facts(&certificate).map_err(|problem| unusable(&pem_path, problem.to_string()))?;
        let wanted = Identity { cell, role, name: name.to_owned() };
        if facts.identity != wanted {
            return Err(unusable(
                &pem_path,
                format!("is the certificate of {}, not of {wanted}", facts.identity),
            ));
        }
        let now = ASN1Time::now();
        if now > facts.not_after {
            let problem = format!("expired on {}; `ohm pki issue` makes a new one", facts.not_after);
            return Err(unusable(&pem_path, problem));
        }
        if now < facts.not_before {
            let problem = format!("is valid from {} on only; check this machine's clock", facts.not_before);
            return Err(unusable(&pem_path, problem));
        }
        Ok(Credentials { identity: wanted, chain: vec![certificate], key: Arc::new(key), authority })
    }

    /// Who this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

fn party_paths(dir: &Path, role: Role, name: &str) -> (PathBuf, PathBuf) {
    let file = format!("{role}-{}", name.replace('*', "_"));
    (dir.join(format!("{file}.pem")), dir.join(format!("{file}.key")))
}

fn check_name(what: &str, name: &str) -> Result<(), PkiError> {
    cell_state::validate::name(what, name)
        .map_err(|rejection| PkiError::Name { problem: rejection.to_string() })
}

fn unusable(path: &Path, problem: String) -> PkiError {
    PkiError::Unusable { path: path.to_owned(), problem }
}

fn set_validity(params: &mut CertificateParams, valid: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is past 1970");
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + valid;
}

/// Servers may be called and may call; everybody else may only call, whatever else their certificate says.
fn party_params(identity: &Identity) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, identity.to_string());
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    if identity.role == Role::Server {
        params.subject_alt_names.push(SanType::DnsName(SERVER_NAME.try_into()?));
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    set_validity(&mut params, CERTIFICATE_VALID);
    Ok(params)
}

fn parse_certificate(path: &Path, pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| unusable(path, format!("not a certificate in PEM form: {error}")))
}

/// The cell whose authority this certificate is of.
fn cell_of(path: &Path, certificate: &CertificateDer<'_>) -> Result<String, PkiError> {
    let not_ours = || unusable(path, "is not the certificate of a cell's authority".to_owned());
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| not_ours())?;
    let subject = parsed.subject();
    let organization = subject.iter_organization().next().and_then(|o| o.as_str().ok());
    let cell = subject.iter_common_name().next().and_then(|c| c.as_str().ok());
    match (organization, cell) {
        (Some(ORGANIZATION), Some(cell)) => Ok(cell.to_owned()),
        _ => Err(not_ours()),
    }
}

fn public_key(path: &Path, certificate: &CertificateDer<'_>) -> Result<Vec<u8>, PkiError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| unusable(path, "not a readable X.509 certificate".to_owned()))?;
    Ok(parsed.public_key().raw.to_vec())
}
