//! What a client speaks that was not meant to, by its name, and what cures it (P12). Invariant: each has a name and a cure of its
//! own.

use core::fmt;

use crate::config::listen::Framing;

/// A protocol that is not newline-delimited text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A TLS handshake.
    Tls,
    /// An HTTP request.
    Http,
    /// The Beats protocol, which is called "lumberjack" too.
    Beats,
    /// Syslog with a length before each message (RFC 6587, 3.4.1).
    OctetCounted,
    /// A proxy's header before the connection's bytes.
    Proxy,
    /// What an SSH client says first.
    Ssh,
    /// RELP, rsyslog's protocol with acknowledgements.
    Relp,
    /// Text in 16-bit units.
    Utf16,
    /// Objects of Java's `ObjectOutputStream`.
    Java,
    /// Objects of Python, as `logging.handlers.SocketHandler` sends them.
    Pickle,
    /// An array of msgpack, as fluentd's forward protocol begins.
    Msgpack,
    /// What gzip packed.
    Gzip,
    /// Messages that end in a NUL.
    NulEnded,
    /// Messages that end in a CR alone.
    CrEnded,
    /// Lines, where something else was to end messages.
    NewlineEnded,
    /// Syslog messages one behind the other, with nothing between them.
    Endless,
}

impl Protocol {
    /// What to change, and where.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self {
            Self::Tls => {
                "turn TLS off at the sender, or give it a listener with tls (--listen ADDR:PORT,tls,cert=FILE,key=FILE)"
            }
            Self::Http => "this port takes plain lines, not requests; use the sender's TCP output",
            Self::Beats => "use an output that sends plain lines over TCP; this is not the Beats protocol",
            Self::OctetCounted => {
                "framing=octet takes it (--listen ADDR:PORT,framing=octet); or set the sender's framing to newlines"
            }
            Self::Proxy => {
                "--proxy reads one header before the first message, with --allow for the proxy; or turn it off there"
            }
            Self::Ssh => "this port takes plain lines; give the SSH client its server's port",
            Self::Relp => {
                "send plain TCP (rsyslog: omfwd or @@ in place of omrelp); RELP waits for answers that none gives"
            }
            Self::Utf16 => "set the sender's encoding to UTF-8",
            Self::Java => {
                "give the sender's appender a layout that writes text (Log4j 2: PatternLayout or JsonTemplateLayout)"
            }
            Self::Pickle => "SocketHandler sends objects; use a handler that sends lines (docs/clients.md)",
            Self::Msgpack => "use an output that sends plain lines over TCP (Fluent Bit: tcp with Format json_lines)",
            Self::Gzip => "turn compression off at the sender",
            Self::NulEnded => "framing=nul takes them (--listen ADDR:PORT,framing=nul); else all of them are one line",
            Self::CrEnded => "framing=cr takes them (--listen ADDR:PORT,framing=cr); else all of them are one line",
            Self::NewlineEnded => {
                "framing=lines takes them (--listen ADDR:PORT,framing=lines); else all of them are one"
            }
            Self::Endless => {
                "have the sender end each (Log4j 2: newLine=\"true\"; winston-syslog: eol: '\\n'); else all of them are one"
            }
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Beats => "Beats",
            Self::OctetCounted => "octet-counted syslog",
            Self::Proxy => "the PROXY protocol",
            Self::Ssh => "SSH",
            Self::Relp => "RELP",
            Self::Utf16 => "UTF-16",
            Self::Java => "Java serialisation",
            Self::Pickle => "Python's pickle",
            Self::Msgpack => "msgpack (fluentd forward)",
            Self::Gzip => "gzip",
            Self::NulEnded => "NUL-ended messages",
            Self::CrEnded => "CR-ended messages",
            Self::NewlineEnded => "newline-ended messages",
            Self::Endless => "syslog messages that nothing ends",
        })
    }
}

/// What the clients of a listener are to speak.
#[must_use]
pub(crate) fn spoken(framing: Framing) -> &'static str {
    match framing {
        Framing::Lines => "lines",
        Framing::Octet => "octet counting",
        Framing::Nul => "NUL-ended messages",
        Framing::Cr => "CR-ended messages",
        Framing::AutoOctet => "lines or octet counting",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_each_protocol_has_a_name_and_a_cure_of_its_own() {
        use Protocol::{Beats, CrEnded, Endless, Gzip, Http, Java, Msgpack, NewlineEnded};
        use Protocol::{NulEnded, OctetCounted, Pickle, Proxy, Relp, Ssh, Tls, Utf16};
        let one = [Beats, CrEnded, Endless, Gzip, Http, Java, Msgpack, NewlineEnded];
        let all = [&one[..], &[NulEnded, OctetCounted, Pickle, Proxy, Relp, Ssh, Tls, Utf16]].concat();
        let of_all = |what: fn(&Protocol) -> String| {
            let mut said = all.iter().map(what).collect::<Vec<_>>();
            said.sort_unstable();
            said.dedup();
            said
        };
        assert_eq!((of_all(Protocol::to_string).len(), of_all(|one| one.cure().to_owned()).len()), (16, 16));
        assert!(all.iter().all(|one| !one.to_string().is_empty() && one.cure().contains(' ')));
    }
}
