//! How outgoing connections over TLS are made: whom they trust, and who we are (`--tls-ca` and the like, and the same behind an
//! output). Invariant: nothing in here turns a check off.

use core::fmt;
use core::net::IpAddr;
use std::path::PathBuf;

use super::text::is;

/// The longest name: RFC 1035.
const MOST_NAME: usize = 253;

/// What connections over TLS to other machines are told. [`TlsOptions::default`] is what holds if nothing is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    /// A file of certificates (PEM) of those who are trusted (`--tls-ca`), instead of the box's own. Default none.
    pub ca: Option<PathBuf>,
    /// A file with our own certificate (`--tls-cert`), and those between it and its authority. Default none.
    pub cert: Option<PathBuf>,
    /// The file with its key (`--tls-key`).
    pub key: Option<PathBuf>,
    /// The name that certificates of other machines are to be for (`--tls-server-name`). Empty, the default: the host that is
    /// connected to.
    pub server_name: String,
}

/// What stands behind an output.
pub(crate) const WORDS: [&str; 4] = ["ca", "cert", "key", "server-name"];

impl TlsOptions {
    /// Splits `PLACE,ca=FILE,…` into the place and these.
    ///
    /// # Errors
    /// The end of a sentence that says what to give.
    pub(crate) fn behind(text: &str) -> Result<(&str, Self), String> {
        let mut parts = text.split(',').peekable();
        let mut end = parts.next().unwrap_or_default().len();
        // A place may have commas itself.
        while let Some(part) = parts.next_if(|part| !part.contains('=') && unchecked(part).is_none()) {
            end += 1 + part.len();
        }
        let mut options = Self::default();
        for part in parts {
            options.take(part)?;
        }
        options.check()?;
        Ok((text.get(..end).unwrap_or(text), options))
    }

    fn take(&mut self, part: &str) -> Result<(), String> {
        let (word, value) = part.split_once('=').unwrap_or((part, ""));
        if let Some(why) = unchecked(word) {
            return Err(why);
        }
        let (file, name) = match word {
            "ca" => (&mut self.ca, "authorities"),
            "cert" => (&mut self.cert, "the certificate"),
            "key" => (&mut self.key, "its key"),
            "server-name" if !self.server_name.is_empty() => return Err(format!("{word}= stands there twice")),
            "server-name" => {
                self.server_name = value.to_owned();
                return check_name(value).map_err(|why| format!("server-name={why}"));
            }
            _ => {
                let words = WORDS.join("=, ");
                return Err(format!("{} is none of {words}=", word.escape_debug()));
            }
        };
        if value.is_empty() {
            return Err(format!("{word}= needs the file with {name}"));
        }
        if file.replace(PathBuf::from(value)).is_some() {
            return Err(format!("{word}= stands there twice"));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        match (&self.cert, &self.key) {
            (Some(_), None) => Err("cert= needs key=, the file with its key".to_owned()),
            (None, Some(_)) => Err("key= needs cert=, the file with its certificate".to_owned()),
            _ => Ok(()),
        }
    }

    /// Checks what the options say.
    ///
    /// # Errors
    /// What makes no sense, as a sentence.
    #[cfg(any(feature = "cli", test))]
    pub(crate) fn validate(&self) -> Result<(), String> {
        match (&self.cert, &self.key) {
            (Some(_), None) => {
                return Err("--tls-cert is our certificate, and its key is missing: give --tls-key".to_owned());
            }
            (None, Some(_)) => {
                return Err("--tls-key is the key of a certificate, and there is none: give --tls-cert".to_owned());
            }
            _ => {}
        }
        if self.server_name.is_empty() {
            return Ok(());
        }
        check_name(&self.server_name).map_err(|why| format!("--tls-server-name {why}"))
    }

    /// What an output says itself, and where it says nothing, what all are told. A certificate and its key go together.
    pub(crate) fn or(&self, all: &Self) -> Self {
        let own = if self.cert.is_some() { self } else { all };
        let named = if self.server_name.is_empty() { all } else { self };
        Self {
            ca: self.ca.as_ref().or(all.ca.as_ref()).cloned(),
            cert: own.cert.clone(),
            key: own.key.clone(),
            server_name: named.server_name.clone(),
        }
    }
}

/// As they stand behind an output.
impl fmt::Display for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, file) in [("ca", &self.ca), ("cert", &self.cert), ("key", &self.key)] {
            if let Some(file) = file {
                write!(f, ",{word}={}", file.display())?;
            }
        }
        if self.server_name.is_empty() { Ok(()) } else { write!(f, ",server-name={}", self.server_name) }
    }
}

/// What to do for who wants no check, if this is what the word asks for.
fn unchecked(word: &str) -> Option<String> {
    let asks = ["insecure", "verify", "no-verify", "skip-verify", "no-check"];
    asks.iter().any(|other| is(word, other)).then(|| {
        format!(
            "{word}: certificates are always checked; to trust one machine, give ca= with its own certificate, and server-name= if that is for another name"
        )
    })
}

/// Whether a certificate can be for such a name; else the name and the end of a sentence.
fn check_name(name: &str) -> Result<(), String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = !name.is_empty() && name.len() <= MOST_NAME && name.bytes().all(is_part);
    if is_name || name.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(format!("{}: give a name such as gw.example, or an address", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_place_prints_back() {
        for text in ["gw:6514", "gw:6514,ca=/etc/ca.pem", "gw:1,ca=a,cert=b,key=c,server-name=x.example", "a,b,c/d"] {
            let (place, options) = TlsOptions::behind(text).unwrap();
            assert_eq!(format!("{place}{options}"), text);
        }
        assert_eq!(TlsOptions::behind("a:1,b:2/logs,ca=x").unwrap().0, "a:1,b:2/logs");
    }

    #[test]
    fn p13_what_makes_no_sense_behind_a_place_says_what_to_give() {
        for (text, sentence) in [
            ("gw:1,ca=", "ca= needs the file with authorities"),
            ("gw:1,cert=a", "cert= needs key="),
            ("gw:1,key=a", "key= needs cert="),
            ("gw:1,ca=a,ca=b", "ca= stands there twice"),
            ("gw:1,server-name=a,server-name=b", "server-name= stands there twice"),
            ("gw:1,server-name=", "server-name=: give a name such as gw.example"),
            ("gw:1,server-name=a b", "server-name=a b: give a name"),
            ("gw:1,verify=off", "verify: certificates are always checked; to trust one machine, give ca= with its own"),
            ("gw:1,insecure", "insecure: certificates are always checked"),
            ("gw:1,cafile=a", "cafile is none of ca=, cert=, key=, server-name="),
        ] {
            let error = TlsOptions::behind(text).unwrap_err();
            assert!(error.starts_with(sentence), "{text}: {error}");
        }
    }

    #[test]
    fn an_output_says_what_holds_for_it_and_the_options_the_rest() {
        let all = TlsOptions::behind(",ca=all,cert=c,key=k,server-name=n").unwrap().1;
        let (_, own) = TlsOptions::behind("x:1,ca=own").unwrap();
        assert_eq!(own.or(&all).to_string(), ",ca=own,cert=c,key=k,server-name=n");
        let (_, own) = TlsOptions::behind("x:1,cert=d,key=l").unwrap();
        assert_eq!(own.or(&all).to_string(), ",ca=all,cert=d,key=l,server-name=n");
        assert_eq!(own.or(&TlsOptions::default()), own);
    }

    #[test]
    fn p13_options_that_make_no_sense_are_refused_by_name() {
        let path = || Some(PathBuf::from("x"));
        let none = TlsOptions::default;
        for (options, sentence) in [
            (TlsOptions { cert: path(), ..none() }, "--tls-cert is our certificate, and its key is missing"),
            (TlsOptions { key: path(), ..none() }, "--tls-key is the key of a certificate, and there is none"),
            (TlsOptions { server_name: "a:1".to_owned(), ..none() }, "--tls-server-name a:1: give a name"),
        ] {
            let error = options.validate().unwrap_err();
            assert!(error.starts_with(sentence), "{error}");
        }
        assert_eq!(TlsOptions { server_name: "2001:db8::1".to_owned(), ..none() }.validate(), Ok(()));
    }
}
