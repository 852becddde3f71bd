//! Who we are to which server (`--http-auth`): lines `HOST:PORT USER:PASS` or `HOST:PORT bearer TOKEN`. Invariant: what is of one
//! server goes to no other, and no secret is ever printed, in no error and by no `Debug`.

use super::secret::Secret;
use super::url::{Url, address};
use crate::config::text::{cut, halves, is, trimmed};

/// What an `--http-auth` file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logins(Vec<Login>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Login {
    host: String,
    port: u16,
    secret: Secret,
}

impl Logins {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// A line of it is none: the end of a sentence, with the line's number.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut logins: Vec<Login> = Vec::new();
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let line = trimmed(line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let login = login(line).map_err(|why| format!("line {number}: {why}"))?;
            if logins.iter().any(|other| other.is_of(&login.host, login.port)) {
                return Err(format!("line {number}: a line above is for the same server"));
            }
            logins.push(login);
        }
        Ok(Self(logins))
    }

    /// Who we are to this server.
    #[must_use]
    pub fn of(&self, url: &Url) -> Option<Secret> {
        self.0.iter().find(|login| login.is_of(&url.host, url.port)).map(|login| login.secret.clone())
    }
}

impl Login {
    fn is_of(&self, host: &str, port: u16) -> bool {
        is(&self.host, host) && self.port == port
    }
}

fn login(line: &str) -> Result<Login, &'static str> {
    let form = "write HOST:PORT USER:PASS, or HOST:PORT bearer TOKEN";
    let (place, rest) = cut(line, b" \t");
    if rest.is_empty() {
        return Err(form);
    }
    let behind_name = halves(place, b']').map_or(place, |(_, behind)| behind);
    if halves(behind_name, b':').is_none_or(|(_, port)| port.starts_with("//")) {
        return Err("a server is written as HOST:PORT here, without http:// and with its port, which may be 80");
    }
    let (host, port) = address(place, 80).map_err(|_| "the server is no HOST:PORT")?;
    let rest = trimmed(rest);
    let (word, token) = cut(rest, b" \t");
    let secret = if is(word, "bearer") {
        Secret::bearer(trimmed(token))?
    } else {
        match halves(rest, b':') {
            Some((user, password)) if !user.is_empty() => Secret::basic(user, password)?,
            _ => return Err(form),
        }
    };
    Ok(Login { host, port, secret })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_gets_its_own_and_no_other() {
        let text = "\u{feff}# who we are\n\nh:80 user:pa:ss word \n [::1]:81\tbearer t0k3n==\nBox:82 Bearer x\n";
        let logins = Logins::read(text).unwrap();
        let of = |url: &str| logins.of(&Url::parse(url).unwrap());
        assert_eq!(of("http://h/x"), Secret::basic("user", "pa:ss word").ok());
        assert_eq!(of("http://H:80/"), Secret::basic("user", "pa:ss word").ok());
        assert_eq!(of("http://[::1]:81/"), Secret::bearer("t0k3n==").ok());
        assert_eq!(of("http://box:82/").unwrap().field(), "Bearer x");
        for other in ["http://h:81/", "http://x.h/", "http://h.x/", "http://[::1]/", "http://[::2]:81/"] {
            assert_eq!(of(other), None, "{other}");
        }
        let shown = format!("{logins:?}");
        assert!(!shown.contains("t0k3n") && !shown.contains("Basic") && shown.contains("\"h\""), "{shown}");
    }

    #[test]
    fn p13_what_is_no_line_is_named_and_not_shown() {
        for (line, sentence) in [
            ("h:80", "write HOST:PORT USER:PASS, or HOST:PORT bearer TOKEN"),
            ("h:80 s3cret", "write HOST:PORT USER:PASS"),
            ("h:80 :s3cret", "write HOST:PORT USER:PASS"),
            ("h s3cret:x", "a server is written as HOST:PORT here"),
            ("[::1] s3cret:x", "a server is written as HOST:PORT here"),
            ("http://h:80 s3cret:x", "a server is written as HOST:PORT here"),
            ("h:0 s3cret:x", "the server is no HOST:PORT"),
            ("::1:80 s3cret:x", "the server is no HOST:PORT"),
            ("h:80/x s3cret:x", "the server is no HOST:PORT"),
            ("h:80 bearer", "behind bearer a token is expected"),
            ("h:80 bearer s3 cret", "behind bearer a token is expected, without spaces"),
            ("h:80 s3cret:\u{7}", "there is a control character"),
            ("A:80 a:s3cret", "a line above is for the same server"),
        ] {
            let error = Logins::read(&format!("a:80 b:c\n# two\n{line}\n")).unwrap_err();
            assert!(error.starts_with(&format!("line 3: {sentence}")), "{line}: {error}");
            assert!(!error.contains("s3"), "{error}");
        }
    }
}
