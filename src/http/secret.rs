//! Who we are to one server. Invariant: it is never printed, in no error and by no `Debug`.

use core::fmt;

use super::base64::base64;

/// Who we are to one server: what an `Authorization` field holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A user and a password.
    ///
    /// # Errors
    /// The end of a sentence: RFC 7617 has no way to write these.
    pub(super) fn basic(user: &str, password: &str) -> Result<Self, &'static str> {
        if user.contains(':') {
            return Err("a user's name has no colon in it");
        }
        let both = [user, ":", password].concat();
        if both.chars().any(char::is_control) {
            return Err("there is a control character in user or password");
        }
        Ok(Self(["Basic ", &base64(both.as_bytes())].concat()))
    }

    /// A token of RFC 6750.
    ///
    /// # Errors
    /// The end of a sentence.
    pub(super) fn bearer(token: &str) -> Result<Self, &'static str> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("behind bearer a token is expected, without spaces");
        }
        Ok(Self(["Bearer ", token].concat()))
    }

    /// What the field holds.
    pub(super) fn field(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
