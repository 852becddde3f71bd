//! What a message says of itself, as far as names of files hold it (`{app}`). Anybody can write anything there. Invariant: a
//! text in it is a part of a file's name that leads nowhere else: letters, digits, `.`, `_` and `-`, at most [`MOST_BYTES`],
//! of which the first is neither `.` nor `-`.

use std::fmt;

#[cfg(feature = "tls")]
use crate::engine::peer::Peer;
use crate::engine::syslog::Header;

/// Bytes of one value in a name at most: as many as an app has in RFC 5424.
pub(super) const MOST_BYTES: usize = 48;
/// What stands for what a line does not say.
pub(super) const NONE: &str = "none";

#[inline(never)] // for size: the loop around it would be written out eight times
fn made_safe(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) { byte } else { b'_' }
}

/// A text that was made safe; empty if there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Safe {
    len: usize,
    bytes: [u8; MOST_BYTES],
}

impl Safe {
    const EMPTY: Self = Self { len: 0, bytes: [0; MOST_BYTES] };

    #[inline(never)] // one copy, for size
    pub(super) fn new(text: &[u8]) -> Self {
        let mut safe = Self { len: text.len().min(MOST_BYTES), ..Self::EMPTY };
        for (place, byte) in safe.bytes.iter_mut().zip(text) {
            *place = made_safe(*byte);
        }
        // Else it were hidden or `..`, or an option to whom a shell hands it.
        if let [first @ (b'.' | b'-'), ..] = &mut safe.bytes {
            *first = b'_';
        }
        safe
    }

    /// The text, if there is one.
    pub(super) fn text(&self) -> Option<&str> {
        let text = self.bytes.get(..self.len).filter(|text| !text.is_empty())?;
        str::from_utf8(text).ok()
    }

    fn undotted(mut self) -> Self {
        self.bytes.iter_mut().filter(|byte| **byte == b'.').for_each(|byte| *byte = b'_');
        self
    }
}

/// What the header of a line says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// Its host, if that is believed (`--trust-host`).
    pub(super) host: Safe,
    pub(super) app: Safe,
    pub(super) severity: &'static str,
    pub(super) facility: &'static str,
    /// What stands between the numbers of the sender's address, where the header names no host.
    pub(super) dot: char,
    /// The name in the certificate of who sent it, which is no part of the line.
    #[cfg(feature = "tls")]
    pub(super) name: Safe,
}

impl Said {
    /// A line without a header.
    pub(super) const NOTHING: Self = Self {
        host: Safe::EMPTY,
        app: Safe::EMPTY,
        severity: NONE,
        facility: NONE,
        dot: '.',
        #[cfg(feature = "tls")]
        name: Safe::EMPTY,
    };

    pub(super) fn of(header: Option<&Header<'_>>, trusts_host: bool) -> Self {
        let Some(header) = header else { return Self::NOTHING };
        let safe = |text: Option<&[u8]>| text.map_or(Safe::EMPTY, Safe::new);
        Self {
            host: safe(header.hostname.filter(|_| trusts_host)),
            app: safe(header.app),
            severity: header.priority.severity.word(),
            facility: header.priority.facility(),
            ..Self::NOTHING
        }
    }

    /// The same without a `.`, for names that would be those of rotated files.
    pub(super) fn undotted(&self) -> Self {
        Self {
            host: self.host.undotted(),
            app: self.app.undotted(),
            #[cfg(feature = "tls")]
            name: self.name.undotted(),
            ..*self
        }
    }

    /// The same of this sender.
    #[cfg(feature = "tls")]
    pub(super) fn by(&self, peer: &Peer) -> Self {
        Self { name: peer.name().map_or(Safe::EMPTY, |name| Safe::new(name.text().as_bytes())), ..*self }
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not derived: the binary would carry what prints it.
        f.write_str(self.app.text().unwrap_or(NONE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::syslog::parse;

    #[test]
    fn what_a_sender_writes_leads_nowhere_else() {
        let long = "a".repeat(300);
        for (text, safe) in [
            ("sshd", "sshd"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            ("..", "_."),
            (".", "_"),
            (".hidden", "_hidden"),
            ("-x", "_x"),
            ("a-b.c_D9", "a-b.c_D9"),
            ("a/b\\c d\0e\nf\u{e9}{host}", "a_b_c_d_e_f___host_"),
            (&*long, &long[..48]),
        ] {
            assert_eq!(Safe::new(text.as_bytes()).text(), Some(safe), "{text:?}");
        }
        assert_eq!(Safe::new(b"").text(), None);
    }

    #[test]
    fn what_a_header_does_not_say_is_none_and_its_host_is_believed_only_if_that_is_said() {
        let line = b"<34>1 - gw/7 sshd - - - x";
        let said = |trusts| Said::of(parse(line).as_ref(), trusts);
        assert_eq!((said(false).host.text(), said(true).host.text()), (None, Some("gw_7")));
        assert_eq!((said(true).app.text(), said(true).severity, said(true).facility), (Some("sshd"), "crit", "auth"));
        assert_eq!(Said::of(None, true), Said::NOTHING);
        assert_eq!(
            Said::of(parse(b"<34>x").as_ref(), true),
            Said { severity: "crit", facility: "auth", ..Said::NOTHING }
        );
    }
}
