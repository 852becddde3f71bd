//! What is to be made of lines that are syslog messages.

use core::fmt;
use core::str::FromStr;

use super::word::{WordError, word_enum};

word_enum! {
    /// What a line is read as (`parse`).
    Parse {
        /// A line: its bytes mean nothing to us.
        #[default]
        Off = "off",
        /// A syslog message, with a header as RFC 5424 or RFC 3164 has it.
        Syslog = "syslog",
    }
}

word_enum! {
    /// How grave a message is, the gravest first: the words of `syslog.conf`.
    Severity {
        /// The system can't be used.
        #[default]
        Emerg = "emerg",
        /// Something has to be done at once.
        Alert = "alert",
        /// Critical.
        Crit = "crit",
        /// An error.
        Err = "err",
        /// A warning.
        Warning = "warning",
        /// Normal, and worth a note.
        Notice = "notice",
        /// Information.
        Info = "info",
        /// For whoever looks for a fault.
        Debug = "debug",
    }
}

/// What is done with the headers of syslog messages, those of listeners with `parse=syslog`. Its default shows what they say
/// and keeps all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SyslogOptions {
    /// Messages less grave than this are left out (`--min-severity`). Default none; a line without a severity stays.
    pub min_severity: Option<Severity>,
    /// Whether `json` has the line as it came, too (`--keep-original`). Default no.
    pub keep_original: bool,
    /// Whether the host that a header names is taken for the one that sent it (`--trust-host`). Default no.
    pub trust_host: bool,
}

impl Severity {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.get(self as usize).copied().unwrap_or_default()
    }
}

impl SyslogOptions {
    /// Whether messages of this severity stay.
    #[must_use]
    pub fn keeps(&self, severity: Severity) -> bool {
        self.min_severity.is_none_or(|least| severity as u8 <= least as u8)
    }
}
