//! Whether the other side's certificate is believed: by who has signed it, or since it is itself one of those that are trusted
//! (two boxes need no authority then), and by the names in it. Invariant: its dates and the signature of the handshake are always
//! checked, and the name of a server too.

use core::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};

use super::certificate::Certificate;
use super::trouble::names;
use crate::config::tls::NamePattern;

/// Certificates that are trusted as they are.
#[derive(Debug)]
pub(super) struct Pinned(pub(super) Vec<CertificateDer<'static>>);

impl Pinned {
    /// Whether this is one of them, and valid at this time.
    ///
    /// # Errors
    /// It is one of them, and is not valid.
    pub(super) fn has(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.0.contains(certificate) {
            return Ok(false);
        }
        let read = Certificate::read(certificate).ok_or(CertificateError::BadEncoding)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < read.not_before {
            Err(CertificateError::NotValidYet.into())
        } else if now > read.not_after {
            Err(CertificateError::Expired.into())
        } else {
            Ok(true)
        }
    }
}

/// What both traits ask about the signature of a handshake, which is checked as for a certificate that somebody has signed.
macro_rules! signatures_of_the_library {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.signed.verify_tls12_signature(message, certificate, signature)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.signed.verify_tls13_signature(message, certificate, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.signed.supported_verify_schemes()
        }
    };
}

/// Checks servers.
#[derive(Debug)]
pub(super) struct ServerCheck {
    pinned: Pinned,
    signed: Arc<WebPkiServerVerifier>,
}

impl ServerCheck {
    pub(super) fn new(pinned: Vec<CertificateDer<'static>>, signed: Arc<WebPkiServerVerifier>) -> Self {
        Self { pinned: Pinned(pinned), signed }
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.has(certificate, now)? {
            rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.signed.verify_server_cert(certificate, others, name, ocsp, now)
    }

    signatures_of_the_library!();
}

/// More bytes of names of who is trusted are not told to clients, which then show what they have: a list that is longer than 64 KiB
/// nobody could read, and our own clients keep 36 KiB of what a server says at first.
const MOST_TOLD: usize = 8 << 10;

/// Checks clients, each of which has to have a certificate.
#[derive(Debug)]
pub(super) struct ClientCheck {
    pinned: Pinned,
    signed: Arc<dyn ClientCertVerifier>,
    /// One of its names has to match one of these, if there are any.
    patterns: Vec<NamePattern>,
}

impl ClientCheck {
    /// # Errors
    /// There is nobody to sign a certificate.
    pub(super) fn new(
        pinned: Vec<CertificateDer<'static>>,
        roots: Arc<rustls::RootCertStore>,
        patterns: Vec<NamePattern>,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Self, rustls::server::VerifierBuilderError> {
        let told: usize = roots.subjects().iter().map(|name| name.as_ref().len()).sum();
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        if told > MOST_TOLD {
            builder = builder.clear_root_hint_subjects();
        }
        let signed = builder.build()?;
        Ok(Self { pinned: Pinned(pinned), signed, patterns })
    }

    /// # Errors
    /// It has no name that may come in.
    fn check_names(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.patterns.is_empty() {
            return Ok(());
        }
        let names = Certificate::read(certificate).map(|read| read.names).unwrap_or_default();
        if names.iter().any(|name| self.patterns.iter().any(|pattern| pattern.matches(name))) {
            return Ok(());
        }
        Err(CertificateError::Other(OtherError(Arc::new(OtherName(names)))).into())
    }
}

impl ClientCertVerifier for ClientCheck {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.pinned.has(certificate, now)? {
            self.signed.verify_client_cert(certificate, others, now)?;
        }
        self.check_names(certificate)?;
        Ok(ClientCertVerified::assertion())
    }

    signatures_of_the_library!();
}

/// A client's certificate is for names that may not come in.
#[derive(Debug)]
struct OtherName(Vec<String>);

impl fmt::Display for OtherName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is for no name that client-name has, but for ")?;
        names(f, &self.0)
    }
}

impl core::error::Error for OtherName {}
