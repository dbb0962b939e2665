//! Who a certificate is for: the one `ohm://` URI among its alternative names.

use rustls::pki_types::CertificateDer;
use transport::role::{Identity, IdentityError};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// A certificate that doesn't say who it is for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateProblem {
    #[error("not a readable X.509 certificate")]
    Unreadable,
    #[error("the certificate names no party of a cell (no ohm:// URI among its alternative names)")]
    NoIdentity,
    #[error("the certificate names several parties")]
    SeveralIdentities,
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// What we read of a certificate.
pub(crate) struct Facts {
    pub(crate) identity: Identity,
    pub(crate) not_before: ASN1Time,
    pub(crate) not_after: ASN1Time,
}

/// Reads a certificate. Nothing is verified here.
pub(crate) fn facts(certificate: &CertificateDer<'_>) -> Result<Facts, CertificateProblem> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateProblem::Unreadable)?;
    let names = parsed.subject_alternative_name().map_err(|_| CertificateProblem::Unreadable)?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with("ohm://") => Some(*uri),
        _ => None,
    });
    let uri = uris.next().ok_or(CertificateProblem::NoIdentity)?;
    if uris.next().is_some() {
        return Err(CertificateProblem::SeveralIdentities);
    }
    let validity = parsed.validity();
    Ok(Facts { identity: uri.parse()?, not_before: validity.not_before, not_after: validity.not_after })
}
