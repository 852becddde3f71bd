//! TLS without sockets: bytes in, bytes out. A [`Session`] is one side of a connection, whose owner moves the bytes; what a
//! certificate says is read in `certificate`, and what files of certificates and keys hold in `files`, which is the only one that
//! names them. rustls does the protocol, with ring's ciphers. Invariants: nothing is resumed and no ticket is sent, no check of a
//! certificate can be turned off, and nothing that the other side has sent is in a text unless it was made harmless.

mod certificate;
mod check;
pub mod files;
mod session;
mod trouble;

pub use self::certificate::Certificate;
pub use self::session::{MOST_KEPT, MOST_PLAIN, Session};
pub use self::trouble::{Kind, Side, Trouble};

#[cfg(test)]
mod rules;
