//! Certificates and keys in files, and what a session needs to be made of them. Invariant: what is wrong with a file is a sentence
//! that names it, and holds nothing of a key.

use core::fmt;
use core::hash::{Hash, Hasher};
use std::fs::File;
use std::hash::DefaultHasher;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig};

use super::certificate::Certificate;
use super::check::{ClientCheck, ServerCheck};
use super::trouble::OLD_CERTIFICATE;
use crate::config::text::{as_text, escaped};
use crate::config::tls::{NamePattern, TlsVersion};
use crate::host::{OpenFor, behind_it};
use crate::linux::O_NONBLOCK;

/// The longest file: a store of all authorities in the world takes a quarter of it.
const MOST_BYTES: u64 = 1 << 20;
/// The longest certificate with those that lead to who is trusted: with what else a server says at first it has to be less than what
/// our own clients keep of that, 36 KiB; others keep 64 or 100.
const MOST_SHOWN: usize = 24 << 10;
/// Others than the owner may read it. (A group may: Debian's `ssl-cert` is one.)
const BY_OTHERS: u32 = 0o004;

/// Where boxes keep the certificates of those that everybody trusts: Debian, Alpine and OpenWrt; Fedora; SUSE; BSDs.
const STORES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What is wrong with a file. `Display` is a sentence that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTrouble(String);

impl fmt::Display for FileTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for FileTrouble {}

fn trouble(path: &Path, why: impl fmt::Display) -> FileTrouble {
    FileTrouble(format!("{} {why}", shown(path)))
}

fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

/// A certificate of our own, with those that lead to who is trusted, and its key.
#[derive(Debug, Clone)]
pub struct OwnKeys {
    certified: Arc<CertifiedKey>,
    /// What the certificate says.
    said: Certificate,
    by_others: Option<PathBuf>,
}

impl OwnKeys {
    /// What the certificate says.
    pub fn certificate(&self) -> &Certificate {
        &self.said
    }

    /// The certificate, in DER.
    pub fn leaf(&self) -> &[u8] {
        self.certified.cert.first().map(|leaf| leaf.as_ref()).unwrap_or_default()
    }

    /// What is wrong with the key's file though it can be used, for the log, if anything is.
    pub fn warning(&self) -> Option<String> {
        let path = self.by_others.as_ref()?;
        Some(format!("the key {} can be read by everybody: chmod 640 or 600 it", shown(path)))
    }
}

/// Those whose signature is trusted.
#[derive(Debug, Clone)]
pub struct Authorities {
    roots: Arc<RootCertStore>,
    /// They are also trusted themselves, if somebody shows them as its own.
    all: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// These, of which `all` are also trusted as they are.
    pub(super) fn of(roots: RootCertStore, all: Vec<CertificateDer<'static>>) -> Self {
        Self { roots: Arc::new(roots), all }
    }

    /// A number that others differ in.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.all.hash(&mut hasher);
        hasher.finish()
    }
}

/// Reads a certificate and its key.
///
/// # Errors
/// One of the files can't be read, or is no such file, or they don't belong together.
pub fn own_key_pair(certificate: &Path, key: &Path) -> Result<OwnKeys, FileTrouble> {
    let chain = certificates(certificate)?;
    let length: usize = chain.iter().map(|one| one.len()).sum();
    if length > MOST_SHOWN {
        let (count, kib) = (chain.len(), length.div_ceil(1024));
        let why = format!(
            "holds {count} certificates, of {kib} KiB together: leave in its own, and those that lead to an authority, at most 24 KiB"
        );
        return Err(trouble(certificate, why));
    }
    let said = chain.first().and_then(|first| Certificate::read(first));
    let said = said.ok_or_else(|| trouble(certificate, "holds a certificate that can't be read"))?;
    let (text, mode) = read(key)?;
    let private = PrivateKeyDer::from_pem_slice(&text).map_err(|error| no_key(key, &text, &error))?;
    // What the text held is no longer needed, and the library wipes its own copy.
    drop(text);
    let certified = CertifiedKey::from_der(chain, private, &provider());
    let certified = certified.map_err(|error| match error {
        Error::InconsistentKeys(_) => trouble(key, format_args!("is not the key of {}", shown(certificate))),
        Error::InvalidCertificate(_) => unusable(certificate, Some(&said)),
        _ => trouble(
            key,
            "holds a key that can't be used: RSA with 2048 to 8192 bits, ECDSA P-256 and P-384 and Ed25519 can be",
        ),
    })?;
    let by_others = (mode & BY_OTHERS != 0).then(|| key.to_owned());
    Ok(OwnKeys { certified: Arc::new(certified), said, by_others })
}

/// Reads who is trusted: those in a file, or else those whom the box trusts.
///
/// # Errors
/// The file can't be read, or holds nobody who can be trusted.
pub fn authorities(file: Option<&Path>) -> Result<Authorities, FileTrouble> {
    match file {
        Some(file) => {
            let all = certificates(file)?;
            let mut roots = RootCertStore::empty();
            for one in &all {
                let said = Certificate::read(one);
                roots.add(one.clone()).map_err(|_| unusable(file, said.as_ref()))?;
            }
            Ok(Authorities::of(roots, all))
        }
        None => store(&stores()),
    }
}

/// Where this box may keep whom it trusts: the first that is there counts.
pub fn stores() -> Vec<PathBuf> {
    match std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()) {
        Some(file) => vec![file.into()],
        None => STORES.iter().map(PathBuf::from).collect(),
    }
}

fn store(places: &[PathBuf]) -> Result<Authorities, FileTrouble> {
    let Some(file) = places.iter().find(|place| place.exists()) else {
        let places: Vec<String> = places.iter().map(|place| shown(place)).collect();
        return Err(FileTrouble(format!(
            "this box keeps no certificates of authorities ({}): install ca-certificates, or name a file of them (--tls-ca)",
            places.join(", ")
        )));
    };
    let mut roots = RootCertStore::empty();
    // Some of those whom the world trusts have certificates that are older than what is read here.
    let (added, _) = roots.add_parsable_certificates(certificates(file)?);
    if added == 0 {
        return Err(trouble(file, "holds no certificate that can be used"));
    }
    Ok(Authorities::of(roots, Vec::new()))
}

/// What sessions of servers are made of.
///
/// # Errors
/// Nobody can be asked for a certificate with these authorities.
pub fn server_config(
    keys: &OwnKeys,
    clients: Option<&Authorities>,
    names: &[NamePattern],
    least: TlsVersion,
) -> Result<Arc<ServerConfig>, FileTrouble> {
    let provider = provider();
    let versions = match least {
        TlsVersion::V12 => &[&TLS13, &TLS12][..],
        TlsVersion::V13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
    let builder = builder.map_err(|error| FileTrouble(error.to_string()))?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(Authorities { roots, all }) => {
            let check = ClientCheck::new(all.clone(), Arc::clone(roots), names.to_vec(), &provider);
            let check =
                check.map_err(|error| FileTrouble(format!("clients can't be asked for certificates: {error}")))?;
            builder.with_client_cert_verifier(Arc::new(check))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Only(Arc::clone(&keys.certified))));
    // A ticket that a client does not read before it closes becomes a reset, and takes lines along.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// What sessions of clients are made of.
///
/// # Errors
/// Nobody is trusted.
pub fn client_config(trusted: &Authorities, own: Option<&OwnKeys>) -> Result<Arc<ClientConfig>, FileTrouble> {
    let provider = provider();
    let signed = WebPkiServerVerifier::builder_with_provider(Arc::clone(&trusted.roots), Arc::clone(&provider)).build();
    let signed = signed.map_err(|error| FileTrouble(format!("servers' certificates can't be verified: {error}")))?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| FileTrouble(error.to_string()))?;
    let check = ServerCheck::new(trusted.all.clone(), signed);
    // It checks more than the library's own, not less.
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(check));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(keys) => builder.with_client_cert_resolver(Arc::new(Only(Arc::clone(&keys.certified)))),
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The one certificate that there is.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl rustls::server::ResolvesServerCert for Only {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl rustls::client::ResolvesClientCert for Only {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates of a file: one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileTrouble> {
    let (text, _) = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) if text.first() == Some(&0x30) => {
            Err(trouble(path, "is in DER, and not in PEM: openssl x509 -inform der turns it into that"))
        }
        Ok(_) if memchr::memmem::find(&text, b"PRIVATE KEY-----").is_some() => {
            Err(trouble(path, "holds no certificate in PEM, but a key: was one file named for the other?"))
        }
        Ok(_) => Err(trouble(path, "holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")),
        Err(_) => Err(trouble(path, "is no file of certificates in PEM, or was cut")),
    }
}

/// A certificate in a file can't be used.
fn unusable(path: &Path, said: Option<&Certificate>) -> FileTrouble {
    let is_old = said.is_some_and(|said| said.is_old);
    let why: &dyn fmt::Display = if is_old { &OLD_CERTIFICATE } else { &"can't be used" };
    trouble(path, format_args!("holds a certificate that {why}"))
}

/// Why a file holds no key.
fn no_key(path: &Path, text: &[u8], error: &pem::Error) -> FileTrouble {
    let has = |wanted: &[u8]| memchr::memmem::find(text, wanted).is_some();
    if has(b"ENCRYPTED") {
        trouble(
            path,
            "is encrypted, and nobody is here to type its password: openssl pkey -in FILE -out NEW decrypts it",
        )
    } else if text.first() == Some(&0x30) {
        trouble(path, "is in DER, and not in PEM: openssl pkey -inform der turns it into that")
    } else if matches!(error, pem::Error::NoItemsFound) {
        trouble(path, "holds no key in PEM, which begins with -----BEGIN PRIVATE KEY-----")
    } else {
        trouble(path, "is no file of a key in PEM")
    }
}

/// A file can't be read. Who runs this is seldom who made the file.
fn unread(path: &Path, error: &io::Error) -> FileTrouble {
    let is_forbidden = error.kind() == io::ErrorKind::PermissionDenied;
    let cure = match behind_it(error, path, OpenFor::Reading) {
        "" if is_forbidden => ": let the user that this runs as read it (chgrp GROUP and chmod 640)",
        behind => behind,
    };
    FileTrouble(format!("cannot read {}: {}{cure}", shown(path), as_text(error)))
}

/// What a file holds, and its permissions.
fn read(path: &Path) -> Result<(Vec<u8>, u32), FileTrouble> {
    let cannot = |error: io::Error| unread(path, &error);
    // A fifo is not waited for.
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path).map_err(cannot)?;
    let found = file.metadata().map_err(cannot)?;
    if !found.is_file() || found.len() > MOST_BYTES {
        return Err(trouble(path, "is no file of certificates or a key"));
    }
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text).map_err(cannot)?;
    Ok((text, found.mode()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_a_file_that_may_not_be_read_says_who_has_to_be_let_in() {
        let said = |kind: io::ErrorKind| unread(Path::new("/etc/k.key"), &kind.into()).to_string();
        let forbidden = said(io::ErrorKind::PermissionDenied);
        assert!(forbidden.starts_with("cannot read /etc/k.key: "), "{forbidden}");
        assert!(
            forbidden.ends_with(": let the user that this runs as read it (chgrp GROUP and chmod 640)"),
            "{forbidden}"
        );
        assert!(!said(io::ErrorKind::NotFound).contains("chmod"));
    }
}
