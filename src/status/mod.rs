//! The status endpoint without a socket: reads requests from bytes, and writes answers as bytes. `server/status.rs` moves
//! the bytes and knows the numbers. Invariant: memory is taken only by requests of at most 8 KiB, by answers, and by lines
//! that wait for viewers of the tail.

pub mod board;
pub mod history;
pub mod request;
pub mod respond;
pub mod tail;
pub mod visitor;
