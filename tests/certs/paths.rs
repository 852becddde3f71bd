//! Where the certificates of the tests are, from this crate or the one of the fuzzer.

use std::path::{Path, PathBuf};

/// One of these files.
pub(crate) fn cert(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["tests/certs", "../tests/certs"].map(|dir| root.join(dir).join(name));
    places.into_iter().find(|path| path.exists()).unwrap()
}
