//! The framer of a connection, whichever framing its listener has. Invariant: this is the only place that asks which
//! one it is. A further framing is a value of [`Framing`], a file with a framer that has the same methods, and a row
//! here.

use super::line_framer::LineFramer;
use crate::config::listen::Framing;

pub use super::framing::{Fed, LineSink, Lines, Rules};

/// Makes the enum of all framers, and hands each method on to the one that it is.
macro_rules! framers {
    ($($framing:ident($framer:ty)),+ $(,)?) => {
        /// What is known of the unfinished line of one connection.
        #[derive(Debug)]
        pub enum Framer {
            $(
                #[doc = concat!("That of [`Framing::", stringify!($framing), "`].")]
                $framing($framer)
            ),+
        }

        impl Framer {
            /// The framer of a connection that has just come.
            #[must_use]
            pub fn new(framing: Framing) -> Self {
                match framing { $(Framing::$framing => Self::$framing(<$framer>::default())),+ }
            }

            /// Finds the lines of one chunk. The tail in the answer has to be given to [`Self::keep`] or
            /// [`Self::skip_with`] before the next.
            pub fn feed<'c>(&mut self, chunk: &'c [u8], rules: &Rules, out: &mut impl LineSink) -> Fed<'c> {
                match self { $(Self::$framing(framer) => framer.feed(chunk, rules, out)),+ }
            }

            /// The pending bytes go out as a line, since its deadline has come or the client is told goodbye. What
            /// follows is a new line.
            pub fn flush_pending(&mut self, rules: &Rules, out: &mut impl LineSink) -> Fed<'static> {
                match self { $(Self::$framing(framer) => framer.flush_pending(rules, out)),+ }
            }

            /// The connection has ended: the pending bytes go out as a line (P2), and a line that was being skipped as
            /// a gap.
            pub fn finish(&mut self, rules: &Rules, out: &mut impl LineSink) -> Fed<'static> {
                match self { $(Self::$framing(framer) => framer.finish(rules, out)),+ }
            }

            /// What [`Self::held`] will be once a tail of `tail_len` bytes has been kept.
            #[must_use]
            pub fn capacity_with(&self, tail_len: usize, rules: &Rules) -> usize {
                match self { $(Self::$framing(framer) => framer.capacity_with(tail_len, rules)),+ }
            }

            /// Keeps the tail of the last chunk.
            pub fn keep(&mut self, tail: &[u8], rules: &Rules) {
                match self { $(Self::$framing(framer) => framer.keep(tail, rules)),+ }
            }

            /// Forgets what is pending: it was no part of a line.
            pub fn forget(&mut self) {
                match self { $(Self::$framing(framer) => framer.forget()),+ }
            }

            /// Drops what is pending, for the memory budget: the rest of the line will be skipped, and then be a gap.
            /// Tells how many bytes were dropped.
            pub fn drop_pending(&mut self) -> u64 {
                self.skip_with(&[])
            }

            /// [`Self::drop_pending`], with a tail that was not kept yet.
            pub fn skip_with(&mut self, tail: &[u8]) -> u64 {
                match self { $(Self::$framing(framer) => framer.skip_with(tail)),+ }
            }

            /// Bytes of the line that has not ended yet.
            #[must_use]
            pub fn pending(&self) -> usize {
                match self { $(Self::$framing(framer) => framer.pending()),+ }
            }

            /// These bytes.
            #[must_use]
            pub fn pending_bytes(&self) -> &[u8] {
                match self { $(Self::$framing(framer) => framer.pending_bytes()),+ }
            }

            /// Bytes of memory that hold them: what the budget counts.
            #[must_use]
            pub fn held(&self) -> usize {
                match self { $(Self::$framing(framer) => framer.held()),+ }
            }

            /// Whether the rest of a line that was dropped or cut is still coming.
            #[must_use]
            pub fn is_skipping(&self) -> bool {
                match self { $(Self::$framing(framer) => framer.is_skipping()),+ }
            }

            /// Asserts what must hold between chunks.
            #[doc(hidden)]
            pub fn check(&self, rules: &Rules) {
                match self { $(Self::$framing(framer) => framer.check(rules)),+ }
            }
        }
    };
}

framers! {
    Lines(LineFramer),
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(Framing::default())
    }
}
