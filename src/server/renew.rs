//! Settings that change while the server runs (P27). Invariant: nobody who is in has to go for that, no line is lost by it,
//! and from the next turn on all that is read, kept, timed and shown keeps to the new settings.

use super::{Server, longest_gather};
use crate::config::limits::{ConfigError, Limits};
use crate::config::listen::Listen;
use crate::net::{Key, Net};
use crate::sink::Sink;

impl<S: Sink, N: Net> Server<S, N> {
    /// Takes over the limits that can change between two turns: `long_lines`, `keep_empty`, `embedded_newline`,
    /// `max_connections`, `when_full`, `max_per_host`, `idle_timeout`, `line_timeout`, `linger`, `drain_timeout` and
    /// `gather`. The others stay as they were at the start. Who is in stays in, though there are more than the new limits
    /// allow; a line that is half here keeps to the new ones as far as it is still to come.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lumberjack::{Config, Limits, MemorySink, Server};
    ///
    /// let mut server = Server::bind(Config::listen("127.0.0.1:0".parse()?), MemorySink::new())?;
    /// server.set_limits(&Limits { idle_timeout: Duration::from_secs(10), ..Limits::default() })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// These limits don't work, alone or with those that stay: nothing has changed.
    pub fn set_limits(&mut self, limits: &Limits) -> Result<(), ConfigError> {
        let limits = self.limits.renewed(limits);
        limits.validate()?;
        self.listeners.set_limits(&limits);
        self.gather.set_longest(longest_gather(&limits, self.datagrams.are_closed()));
        self.rates.set_limits(&limits);
        if limits.max_connections < self.limits.max_connections {
            self.fullness.let_stay(self.clients.connections.len());
        }
        let keys: Vec<Key> = self.clients.connections.keys().collect();
        for key in keys {
            if let Some(conn) = self.clients.connections.get_mut(key) {
                conn.framer.obey(self.listeners.rules(conn.listener));
            }
        }
        self.clients.set_limits(&limits, self.clock.tick());
        self.handle.publish(|snapshot| snapshot.limits.clone_from(&limits));
        self.limits = limits;
        Ok(())
    }

    /// Takes over the options that can change while listeners are open: `allow`, `deny`, `rate` and `burst`. They are those of the
    /// configuration, in its order. Who is in stays in, though it may not connect any more.
    pub fn set_listen_options(&mut self, listen: &[Listen]) {
        for (number, listen) in listen.iter().enumerate() {
            if let Some(listen) = self.listeners.set_options(number, &listen.options) {
                self.set_rate(number, &listen);
            }
        }
        let listen = self.listeners.described();
        self.handle.publish(|snapshot| snapshot.listen = listen);
    }

    /// Lets the sink be told something between two turns. What it adds to lines, or holds anyway, may be different then, as
    /// long as that fits its share of the memory.
    pub fn change_sink(&mut self, change: impl FnOnce(&mut S)) {
        change(&mut self.outlet.sink);
        self.outlet.renew(self.limits.max_line);
    }
}
