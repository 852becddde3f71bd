//! What is here in place of `secured` in a build without TLS. Invariant: no listener asks for it.

use super::Server;
use super::connection::Connection;
use super::life::{Close, Next};
use crate::config::limits::MemoryPlan;
use crate::config::listen::Listen;
use crate::net::{Key, Net};
use crate::server::BindError;
use crate::sink::Sink;

/// No sessions.
#[derive(Default)]
pub(super) struct Secured;

/// What the end of a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// Nothing that is to be said.
    Nothing,
}

impl Secured {
    pub(super) fn read_files(_: &[Listen], _: &MemoryPlan) -> Result<Self, BindError> {
        Ok(Self)
    }

    #[inline(always)]
    pub(super) fn has(&self, _: u8) -> bool {
        false
    }

    pub(super) fn may_say_goodbye(&mut self, _: Key) -> bool {
        true
    }

    #[inline(always)]
    pub(super) fn unseen_bytes(&self) -> u64 {
        0
    }

    pub(super) fn reset(&mut self) {}

    pub(super) fn is_anybody_shaking(&self) -> bool {
        false
    }

    pub(super) fn is_shaking_since(&self, _: Key, _: std::time::Duration) -> bool {
        false
    }

    pub(super) fn due_in(&self, _: std::time::Duration) -> Option<std::time::Duration> {
        None
    }
}

impl<S: Sink, N: Net> Server<S, N> {
    #[inline(always)]
    pub(super) fn begin_handshakes(&mut self) {}

    #[inline(always)]
    pub(super) fn is_handshake_late(&self, _: Key) -> bool {
        false
    }

    #[inline(always)]
    pub(super) fn read_secured(&mut self, _: Key, _: usize, _: bool) -> Next {
        Next::Wait
    }

    #[inline(always)]
    pub(super) fn open_session(&mut self, _: Key) {}

    #[inline(always)]
    pub(super) fn begin_handshake(&mut self, _: Key) {}

    #[inline(always)]
    pub(super) fn make_room_for_session(&mut self) {}

    #[inline(always)]
    pub(super) fn sealed(&mut self, _: Key, text: Vec<u8>) -> Vec<u8> {
        text
    }

    #[inline(always)]
    pub(super) fn end_session(&mut self, _: Key, _: &Connection<N::Stream>, _: &Close) -> SessionEnd {
        SessionEnd::Nothing
    }

    #[inline(always)]
    pub(super) fn look_at_certificates(&mut self) {}

    #[inline(always)]
    pub(super) fn renew_certificates(&mut self) {}

    #[inline(always)]
    pub(super) fn set_memory_aside(&mut self) -> Result<(), BindError> {
        Ok(())
    }

    #[inline(always)]
    pub(super) fn check_sessions(&self) {}
}
