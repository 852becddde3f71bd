//! The status endpoint without a socket: requests from bytes, answers to bytes, and what they say. The shell hands over
//! what it knows and moves the bytes. Invariant: what is held grows with nothing but
//! requests of 8 KiB, answers, and what waits for viewers of the tail.

pub mod board;
pub mod request;
pub mod respond;
pub mod tail;
pub mod visitor;
