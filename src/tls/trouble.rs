//! Why a session can't go on, in words. Invariant: they say which side refused, and hold nothing of the other side but names that
//! were made harmless.

use core::fmt;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::config::text::escaped;

/// Whoever refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This one.
    We,
    /// The other one.
    They,
}

/// Kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The other side has refused.
    Refused,
    /// Its certificate is not taken here, or there is none.
    Certificate,
    /// Both have no version, cipher or signature in common.
    Version,
    /// What came is broken.
    Broken,
}

/// Which part we had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq)]
enum Why {
    Protocol(Error),
    NoTls,
    OldTls,
    TooLong,
}

/// Why a session can't go on. `Display` is a sentence without its end, "the client does not trust our certificate", say.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    role: Role,
    why: Why,
}

/// What the library says of a certificate of an authority that is shown as somebody's own, and of one of the first version.
const CA_AS_END: &str = "CaUsedAsEndEntity";
const VERSION_1: &str = "UnsupportedCertVersion";
/// What helps against the latter.
pub(super) const OLD_CERTIFICATE: &str = "is of version 1 of X.509, which is not taken: sign it anew with an extension, such as subjectAltName (openssl x509 -req -extfile)";

impl Trouble {
    pub(super) fn of(error: Error, role: Role) -> Self {
        Self { role, why: Why::Protocol(error) }
    }

    pub(super) fn no_tls(role: Role) -> Self {
        Self { role, why: Why::NoTls }
    }

    pub(super) fn old_tls(role: Role) -> Self {
        Self { role, why: Why::OldTls }
    }

    pub(super) fn too_long(role: Role) -> Self {
        Self { role, why: Why::TooLong }
    }

    /// Who refused.
    #[must_use]
    pub fn side(&self) -> Side {
        if matches!(self.why, Why::Protocol(Error::AlertReceived(_))) { Side::They } else { Side::We }
    }

    /// Whether the other side does not speak TLS at all.
    #[must_use]
    pub fn is_no_tls(&self) -> bool {
        self.why == Why::NoTls
    }

    /// What kind it is, by which warnings of it are limited.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.why {
            Why::Protocol(Error::AlertReceived(_)) => Kind::Refused,
            Why::Protocol(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => Kind::Certificate,
            Why::Protocol(Error::PeerIncompatible(_)) | Why::OldTls => Kind::Version,
            _ => Kind::Broken,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let they = if self.role == Role::Server { "the client" } else { "the server" };
        match &self.why {
            Why::NoTls => write!(f, "{they} does not speak TLS"),
            Why::OldTls => too_old(f, they),
            Why::TooLong => write!(f, "{they} sent a message of TLS that is too long"),
            Why::Protocol(Error::AlertReceived(alert)) => refused(f, they, *alert),
            Why::Protocol(Error::NoCertificatesPresented) => write!(f, "{they} has sent no certificate, and has to"),
            Why::Protocol(Error::InvalidCertificate(error)) => certificate(f, they, error),
            Why::Protocol(Error::PeerIncompatible(why)) => incompatible(f, they, why),
            Why::Protocol(Error::DecryptError) => write!(f, "what {they} sent was changed on its way, or is no TLS"),
            Why::Protocol(Error::InvalidMessage(_)) => write!(f, "{they} sent what is no message of TLS"),
            Why::Protocol(Error::PeerMisbehaved(_)) => write!(f, "{they} broke the rules of TLS"),
            Why::Protocol(Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. }) => {
                write!(f, "{they} sent a message of TLS out of its turn")
            }
            Why::Protocol(Error::PeerSentOversizedRecord) => write!(f, "{they} sent a record that is too long"),
            Why::Protocol(error) => write!(f, "TLS failed ({})", escaped(&error.to_string())),
        }
    }
}

/// The other side has refused, and says why.
fn refused(f: &mut fmt::Formatter<'_>, they: &str, alert: AlertDescription) -> fmt::Result {
    let why = match alert {
        AlertDescription::UnknownCA => "does not trust our certificate: it does not know who signed it",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => "does not trust our certificate",
        AlertDescription::UnsupportedCertificate => "can't use our certificate",
        AlertDescription::CertificateExpired => "says that our certificate has expired or is not valid yet",
        AlertDescription::CertificateRevoked => "says that our certificate was revoked",
        AlertDescription::CertificateRequired => "wants a certificate of ours, and there is none",
        AlertDescription::AccessDenied => "lets nobody in with our certificate",
        AlertDescription::ProtocolVersion => "speaks another version of TLS: 1.2 and 1.3 are spoken here",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "found no way of TLS that both sides know, or wants a certificate of ours"
        }
        AlertDescription::UnrecognisedName => "has no certificate for the name that it was asked for",
        AlertDescription::NoApplicationProtocol => "wants another protocol inside of TLS",
        AlertDescription::DecryptError => "could not verify a signature of ours",
        AlertDescription::UserCanceled | AlertDescription::CloseNotify => "has broken off",
        AlertDescription::InternalError => "has refused, for a reason of its own (alert 80 of TLS): see its log",
        other => return write!(f, "{they} has refused (alert {} of TLS): see its log", u8::from(other)),
    };
    write!(f, "{they} {why}")
}

/// We have refused their certificate.
fn certificate(f: &mut fmt::Formatter<'_>, they: &str, error: &CertificateError) -> fmt::Result {
    let why = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired, or the clock here is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet, or the clock here is wrong"
        }
        CertificateError::UnknownIssuer => "is signed by nobody who is trusted here",
        CertificateError::BadSignature => "has a wrong signature",
        CertificateError::Revoked => "was revoked",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "is for another purpose",
        CertificateError::NotValidForName => "is for another name",
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            write!(f, "the certificate of {they} is not for {}, but for ", escaped(&expected))?;
            // `DnsName("elsewhere.example")`, as the library shows it.
            let inner = |text: &String| {
                let (_, inner) = text.split_once('(').unwrap_or(("", text));
                inner.trim_matches(['"', ')']).to_owned()
            };
            return names(f, &presented.iter().map(inner).collect::<Vec<_>>());
        }
        CertificateError::BadEncoding => "is broken",
        CertificateError::Other(other) => {
            let text = other.to_string();
            if text.contains(CA_AS_END) {
                "is that of an authority, as `openssl req -x509` makes it: sign one with it, or trust this very one"
            } else if text.contains(VERSION_1) {
                OLD_CERTIFICATE
            } else {
                return write!(f, "the certificate of {they} {}", escaped(&text));
            }
        }
        _ => "can't be verified: its algorithms are none that are known here",
    };
    write!(f, "the certificate of {they} {why}")
}

/// Both sides have nothing in common.
fn incompatible(f: &mut fmt::Formatter<'_>, they: &str, why: &PeerIncompatible) -> fmt::Result {
    match why {
        // Who names no signatures either is of before 1.2, which brought that.
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13 => too_old(f, they),
        PeerIncompatible::Tls12NotOfferedOrEnabled => {
            write!(f, "{they} offers no version of TLS that is taken here: 1.2 and 1.3 are, or 1.3 alone (tls-min)")
        }
        PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            write!(f, "{they} speaks TLS 1.2 or older, and only 1.3 is taken here")
        }
        _ => write!(f, "{they} knows no cipher or signature of TLS that is known here"),
    }
}

fn too_old(f: &mut fmt::Formatter<'_>, they: &str) -> fmt::Result {
    write!(f, "{they} speaks TLS 1.1 or older: 1.2 and 1.3 are spoken here")
}

/// Names of a certificate, cut short.
pub(super) fn names<T: AsRef<str>>(f: &mut fmt::Formatter<'_>, names: &[T]) -> fmt::Result {
    const SHOWN: usize = 3;
    if names.is_empty() {
        return f.write_str("no name at all");
    }
    for (number, name) in names.iter().take(SHOWN).enumerate() {
        let name: String = name.as_ref().chars().take(100).collect();
        write!(f, "{}{}", if number > 0 { ", " } else { "" }, escaped(&name))?;
    }
    if names.len() > SHOWN { write!(f, " and {} more", names.len() - SHOWN) } else { Ok(()) }
}
