//! A client of HTTP/1.1 servers without sockets, clock or files: bytes and times in, bytes and results out. Pollers fetch with
//! it, and outputs push with it; how its owner moves the bytes is at [`Client`].
//!
//! A server may be slow, broken or hostile. Invariant: every request that is begun comes to a result within [`Rules::whole`],
//! memory is bounded by [`Rules::most_body`], what is answered does not depend on how the bytes were cut, and no secret is in
//! anything that is printed.

mod base64;
mod body;
mod client;
pub(crate) mod files;
mod head;
mod logins;
mod request;
mod secret;
mod trouble;
mod url;

pub use self::client::{Answer, Client, Rules};
pub use self::head::{Head, MOST_HEAD_BYTES, MOST_HEADERS, MOST_INTERIM};
pub use self::logins::Logins;
#[cfg(any(feature = "poll", feature = "push"))]
pub(crate) use self::request::add_field;
pub use self::request::{Method, Request, header_fault};
pub use self::secret::Secret;
pub use self::trouble::Trouble;
pub use self::url::Url;

#[cfg(test)]
mod rules;
#[cfg(test)]
mod worlds;
