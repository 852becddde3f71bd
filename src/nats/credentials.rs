//! Who we are to a server: user and password, a token, or a key (`--nats-creds`). Invariant: no secret is ever printed, in no
//! error and by no `Debug`.

use core::fmt;

use super::base::{halves, has};
#[cfg(feature = "nkey")]
use super::nkey::Key;
use crate::engine::json::quote;

/// Who we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(Kind);

#[derive(Clone, Default, PartialEq, Eq)]
enum Kind {
    /// Nobody.
    #[default]
    None,
    User {
        user: String,
        password: String,
    },
    Token(String),
    #[cfg(feature = "nkey")]
    Key {
        jwt: String,
        key: Key,
    },
}

/// What is wrong with a file of credentials, as the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialsError {
    /// A line of it is not one of ours.
    Line(usize),
    /// What a line says was said before.
    Twice(usize),
    /// It says nothing.
    Empty,
    /// A user without a password, or the other way round; or a token beside them.
    Half,
    /// A file of NATS without its JWT or its key.
    Incomplete,
    /// The key is not whole.
    Key,
    /// This program was built without `nkey`.
    NotBuiltIn,
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line(number) => {
                return write!(f, "line {number} is none of: user = NAME, password = TEXT, token = TEXT, # a comment");
            }
            Self::Twice(number) => return write!(f, "line {number} says again what one before it said"),
            Self::Empty => {
                "it says nothing: give lines user = NAME and password = TEXT, or token = TEXT, or a .creds file of NATS"
            }
            Self::Half => "give both user = NAME and password = TEXT, or token = TEXT alone",
            Self::Incomplete => {
                "it looks like a .creds file of NATS, and has no JWT or no seed in it: make it anew with nsc"
            }
            Self::Key => {
                "the seed in it is no user's (SU…), or a part of it is wrong or missing: make the file anew with nsc"
            }
            Self::NotBuiltIn => {
                "this program was built without the feature nkey, which .creds files need: give a user and a password"
            }
        })
    }
}

impl core::error::Error for CredentialsError {}

impl Credentials {
    /// A user and a password.
    #[must_use]
    pub fn user(user: String, password: String) -> Self {
        Self(Kind::User { user, password })
    }

    /// A token.
    #[must_use]
    pub fn token(token: String) -> Self {
        Self(Kind::Token(token))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0 == Kind::None
    }

    /// Reads the text of a file: a `.creds` file of NATS, or lines `user = …`, `password = …`, `token = …`.
    ///
    /// # Errors
    /// It is neither.
    pub fn read(text: &str) -> Result<Self, CredentialsError> {
        if has(text.as_bytes(), "-----BEGIN") {
            return creds(text);
        }
        let (mut user, mut password, mut token) = (None, None, None);
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let line = trimmed(line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = halves(line, b'=').ok_or(CredentialsError::Line(number))?;
            let place = match trimmed(name) {
                "user" => &mut user,
                "password" => &mut password,
                "token" => &mut token,
                _ => return Err(CredentialsError::Line(number)),
            };
            if place.replace(trimmed(value).to_owned()).is_some() {
                return Err(CredentialsError::Twice(number));
            }
        }
        match (user, password, token) {
            (Some(user), Some(password), None) => Ok(Self::user(user, password)),
            (None, None, Some(token)) => Ok(Self::token(token)),
            (None, None, None) => Err(CredentialsError::Empty),
            _ => Err(CredentialsError::Half),
        }
    }

    /// Appends what `CONNECT` has of them, each with a comma before it. `nonce` is what a key has to sign.
    pub(super) fn put(&self, nonce: &str, out: &mut String) {
        let mut put = |name: &str, value: &str| {
            out.push_str(name);
            quote(value, out);
        };
        match &self.0 {
            Kind::None => {}
            Kind::User { user, password } => {
                put(",\"user\":", user);
                put(",\"pass\":", password);
            }
            Kind::Token(token) => put(",\"auth_token\":", token),
            #[cfg(feature = "nkey")]
            Kind::Key { jwt, key } => {
                put(",\"jwt\":", jwt);
                put(",\"sig\":", &key.sign(nonce));
            }
        }
        #[cfg(not(feature = "nkey"))]
        let _ = nonce;
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::None => "none",
            Kind::User { .. } => "user and password",
            Kind::Token(_) => "token",
            #[cfg(feature = "nkey")]
            Kind::Key { .. } => "key",
        })
    }
}

/// A text without blanks around it.
#[inline(never)] // one copy, for size
fn trimmed(text: &str) -> &str {
    text.trim_ascii()
}

/// Reads a `.creds` file.
#[cfg(feature = "nkey")]
fn creds(text: &str) -> Result<Credentials, CredentialsError> {
    let behind = |name: &str| {
        let mut lines = text.lines().map(trimmed);
        lines.find(|line| line.starts_with("-----BEGIN") && has(line.as_bytes(), name))?;
        lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with('-'))
    };
    match (behind("USER JWT"), behind("USER NKEY SEED")) {
        (Some(jwt), Some(seed)) => {
            let key = Key::read(seed).ok_or(CredentialsError::Key)?;
            Ok(Credentials(Kind::Key { jwt: jwt.to_owned(), key }))
        }
        _ => Err(CredentialsError::Incomplete),
    }
}

#[cfg(not(feature = "nkey"))]
fn creds(_: &str) -> Result<Credentials, CredentialsError> {
    Err(CredentialsError::NotBuiltIn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(credentials: &Credentials) -> String {
        let mut text = String::new();
        credentials.put("nonce", &mut text);
        text
    }

    #[test]
    fn user_password_and_token_are_read_and_sent() {
        let read = |text| put(&Credentials::read(text).unwrap());
        assert_eq!(
            read("# ours\nuser = web 1\r\n\npassword=  p=a\"ss # 1 \n"),
            r#","user":"web 1","pass":"p=a\"ss # 1""#
        );
        assert_eq!(read("\u{feff}token = abc"), r#","auth_token":"abc""#);
        assert_eq!(put(&Credentials::default()), "");
    }

    #[test]
    fn p13_a_file_that_is_not_right_is_a_sentence_without_its_secrets() {
        for (text, error) in [
            ("", CredentialsError::Empty),
            ("# only this\n", CredentialsError::Empty),
            ("s3cret", CredentialsError::Line(1)),
            ("user = a\npass = s3cret", CredentialsError::Line(2)),
            ("user = a\nuser = b", CredentialsError::Twice(2)),
            ("user = a", CredentialsError::Half),
            ("password = s3cret", CredentialsError::Half),
            ("user = a\npassword = s3cret\ntoken = s3cret", CredentialsError::Half),
        ] {
            assert_eq!(Credentials::read(text), Err(error), "{text}");
            assert!(!error.to_string().contains("s3cret") && error.to_string().contains(' '));
        }
        let shown = format!("{:?}", Credentials::user("name".to_owned(), "s3cret".to_owned()));
        assert_eq!(shown, "user and password");
        assert_eq!(format!("{:?}", Credentials::token("s3cret".to_owned())), "token");
    }

    #[cfg(not(feature = "nkey"))]
    #[test]
    fn a_file_with_a_key_is_refused_where_keys_are_not_built_in() {
        assert_eq!(Credentials::read("-----BEGIN NATS USER JWT-----\nx"), Err(CredentialsError::NotBuiltIn));
    }

    #[cfg(feature = "nkey")]
    #[test]
    fn a_file_with_a_key_signs_the_servers_nonce() {
        let text = "-----BEGIN NATS USER JWT-----\r\neyJ0.eyJq.sig\r\n------END NATS USER JWT------\r\n\r\n************ IMPORTANT *****\n\n\
            -----BEGIN USER NKEY SEED-----\nSUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n------END USER NKEY SEED------\n";
        let credentials = Credentials::read(text).unwrap();
        let sent = put(&credentials);
        assert!(sent.starts_with(r#","jwt":"eyJ0.eyJq.sig","sig":""#) && sent.len() > 100, "{sent}");
        assert_eq!(format!("{credentials:?}"), "key");
        for (old, new, error) in [
            ("SUACSS", "SUACSX", CredentialsError::Key),
            ("SUACSS", "SAACSS", CredentialsError::Key),
            ("SUACSS", "", CredentialsError::Key),
            ("USER JWT", "USER", CredentialsError::Incomplete),
            ("USER NKEY", "", CredentialsError::Incomplete),
            ("eyJ0.eyJq.sig", "", CredentialsError::Incomplete),
        ] {
            assert_eq!(Credentials::read(&text.replace(old, new)), Err(error), "{new}");
        }
    }
}
