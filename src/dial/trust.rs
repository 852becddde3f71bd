//! What somebody who connects to other machines has of TLS: whom it trusts, read from files at the start and again at SIGHUP.
//! Invariant: files that can't be read again leave what was read before in use.

use std::io;
use std::mem;

use super::{Guard, Tls};
use crate::config::text::escaped;
use crate::config::tls_out::TlsOptions;

/// Nothing, if it does without TLS.
#[derive(Default)]
pub(crate) struct Trust {
    tls: Option<Tls>,
    /// What the last reading came to, until it is said.
    unsaid: Vec<String>,
}

impl Trust {
    /// Reads the files; `None`: there is no TLS.
    ///
    /// # Errors
    /// One of them is of no use, as a sentence that names it.
    pub(crate) fn open(options: Option<&TlsOptions>) -> io::Result<Self> {
        let Some(options) = options else { return Ok(Self::default()) };
        let (tls, unsaid) = Tls::open(options)?;
        Ok(Self { tls: Some(tls), unsaid })
    }

    /// What a connection to this host is held against, if there is TLS.
    ///
    /// # Errors
    /// No certificate can be for such a host, as the end of a sentence.
    pub(crate) fn guard(&self, host: &str) -> io::Result<Option<Guard>> {
        self.tls.as_ref().map(|tls| tls.guard(host)).transpose()
    }

    /// Reads the files again.
    pub(crate) fn reload(&mut self) {
        self.unsaid = match self.tls.as_ref().map(Tls::reload) {
            None => Vec::new(),
            Some(Ok(warnings)) => warnings,
            Some(Err(why)) => vec![format!("{why}; what was read before is used")],
        };
    }

    /// What the last reading came to, each a sentence for the log.
    pub(crate) fn take_unsaid(&mut self) -> Vec<String> {
        mem::take(&mut self.unsaid).iter().map(|sentence| escaped(sentence)).collect()
    }
}
