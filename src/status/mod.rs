//! The status endpoint without a socket: requests from bytes, answers to bytes, and what they say. The shell hands over
//! what it knows and moves the bytes. Invariant: nothing here holds more than [`visitor::MOST_BYTES`] for one visitor.

pub mod board;
mod inflate;
pub mod request;
pub mod respond;
pub mod tail;
pub mod visitor;
