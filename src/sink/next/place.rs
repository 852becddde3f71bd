//! What is known of the next receiver before it is connected to.

use std::io;

use super::address::{self, Next};
use super::forward::{self, Forward};
use super::reading::{self, Reading};
use crate::config::listen::ListenAddr;
use crate::config::output::OutputOptions;
use crate::config::text::escaped;
#[cfg(all(feature = "sandbox", feature = "tls"))]
use crate::config::tls_out::TlsOptions;
use crate::dial::Trust;
use crate::sink::claim::Claim;
use crate::sink::place::{Kept, Opened, OutputAddr, OutputAddrError, Place};
use crate::sink::source::Source;
use crate::sink::target::{Books, GATHERED_BYTES, Target};

/// What the reader of a spool has in memory: a record.
const READ_BYTES: usize = 256 * 1024;

/// Reads `unix:/path`, `tcp:HOST:PORT` and `tcp+tls:HOST:PORT`.
pub(in crate::sink) fn parse(text: &str) -> Option<Result<OutputAddr, OutputAddrError>> {
    Some(address::parse(text)?.map(OutputAddr::new).map_err(OutputAddrError::new))
}

/// Whom its connections trust.
fn trust(next: &Next, options: &OutputOptions, books: &mut Books) -> io::Result<Trust> {
    let tls = next.tls().map(|own| own.or(&options.tls));
    let mut trust = Trust::open(tls.as_ref())?;
    books.report_all(&next.name(), trust.take_unsaid());
    Ok(trust)
}

impl Place for Next {
    fn open(&self, options: &OutputOptions, books: &mut Books) -> io::Result<Opened> {
        let forward = Forward::new(self, forward::KEPT, trust(self, options, books)?)?;
        Ok(Opened { target: Box::new(forward), identity: None })
    }

    fn name(&self) -> String {
        escaped(&self.place())
    }

    fn reads_spool(&self, _: &OutputOptions) -> Option<String> {
        Some(self.place())
    }

    fn open_reader(
        &self,
        options: &OutputOptions,
        source: Box<dyn Source>,
        books: &mut Books,
    ) -> io::Result<Box<dyn Target>> {
        let forward = Forward::new(self, reading::KEPT, trust(self, options, books)?)?;
        Ok(Box::new(Reading::new(forward, source)))
    }

    #[cfg(feature = "cli")]
    fn foresee(&self, options: &OutputOptions) -> io::Result<Option<String>> {
        // What a start warns of is no reason not to start.
        trust(self, options, &mut Books::default()).map(|_| None)
    }

    fn is_secured(&self) -> bool {
        self.tls().is_some()
    }

    #[cfg(all(feature = "sandbox", feature = "tls"))]
    fn tls(&self) -> Option<&TlsOptions> {
        Self::tls(self)
    }

    fn descriptors(&self, _: &OutputOptions) -> usize {
        2
    }

    fn kept(&self, options: &OutputOptions) -> Kept {
        if options.spool.dir.is_some() {
            // What waits to be written is gathered, and ends with a whole line; and a record is read into memory.
            let longest = options.spool.max_line;
            return Kept {
                bytes: reading::KEPT + GATHERED_BYTES + READ_BYTES.max(longest) + longest,
                ..Kept::default()
            };
        }
        Kept { bytes: forward::KEPT, holds_a_line: true, ..Kept::default() }
    }

    fn claims(&self, _: &OutputOptions) -> Vec<Claim> {
        match self {
            Self::Unix(path) => Claim::path(path, None),
            Self::Tcp { .. } => Vec::new(),
        }
    }

    fn comes_back_to(&self, listener: &ListenAddr) -> bool {
        self.is_at(listener)
    }
}
