//! In place of TLS, in a build without it. Invariant: nothing of it is ever made, since whoever reads a place or an option refuses
//! it before.

use std::io;

use crate::config::tls_out::TlsOptions;

/// Nothing.
#[derive(Clone)]
pub(crate) enum Guard {}

/// Nothing.
#[derive(Default)]
pub(crate) struct Trust {}

impl Trust {
    /// Never with options: places that need them do not parse.
    ///
    /// # Errors
    /// There are options.
    pub(crate) fn open(options: Option<&TlsOptions>) -> io::Result<Self> {
        options.map_or(Ok(Self {}), |_| Err(io::ErrorKind::Unsupported.into()))
    }

    /// Nothing.
    ///
    /// # Errors
    /// None.
    #[expect(clippy::unnecessary_wraps, clippy::unused_self)] // the other one has more to say
    pub(crate) fn guard(&self, _: &str) -> io::Result<Option<Guard>> {
        Ok(None)
    }

    /// Nothing.
    pub(crate) fn reload(&mut self) {}

    /// Nothing.
    pub(crate) fn take_unsaid(&mut self) -> Vec<String> {
        Vec::new()
    }
}
