//! Certificates and keys of the tests (`tests/certs/make`), as files in a folder of the test's own.

#![allow(clippy::unwrap_used)] // also for the tests in `src`

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

macro_rules! files {
    ($($name:literal),+ $(,)?) => { &[$(($name, include_bytes!(concat!("../certs/", $name)))),+] };
}

/// All of them: `server` is for `localhost`, 127.0.0.1 and ::1, as `other-server`, which another authority has signed, `expired`,
/// `later`, which is not valid yet, `rsa`, and `self` and `other-self`, which have signed themselves; `elsewhere` is for
/// another name. `client` is for `box1.plant.example` and `box1`; `common-name` has a subject alone, `box 2:x`, and `old` is of version 1. `encrypted.key` is
/// `server.key` with a password.
const FILES: &[(&str, &[u8])] = files![
    "ca.key",
    "ca.pem",
    "client.key",
    "client.pem",
    "common-name.key",
    "common-name.pem",
    "elsewhere.key",
    "elsewhere.pem",
    "encrypted.key",
    "expired-client.key",
    "expired-client.pem",
    "expired.key",
    "expired.pem",
    "later.key",
    "later.pem",
    "old.key",
    "old.pem",
    "other-ca.key",
    "other-ca.pem",
    "other-client.key",
    "other-client.pem",
    "other-self.key",
    "other-self.pem",
    "other-server.key",
    "other-server.pem",
    "rsa.key",
    "rsa.pem",
    "self.key",
    "self.pem",
    "server.der",
    "server.key",
    "server.pem",
];

/// Certificates in a folder.
pub(crate) struct Certs(PathBuf);

impl Certs {
    /// Writes all of them into a folder `certs` in this one.
    pub(crate) fn new(dir: &Path) -> Self {
        let dir = dir.join("certs");
        fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in FILES {
            let path = dir.join(name);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self(dir)
    }

    /// The path of one of them.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The same as a text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}
