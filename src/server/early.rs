//! Sockets that are bound before there is a server: by root, which the process gives up then (`--user`). Invariant: they are bound
//! as a server binds them, and none of them has a file: whose directory it is could have root change another.

use super::error::BindError;
use crate::config::limits::Config;
use crate::config::listen::{Listen, ListenAddr};
use crate::net::{Bound, SocketOptions};

/// Binds where the server is to listen, but where somebody else has opened the socket already; and where its status endpoint is.
/// Not Unix sockets, which no right of root's is needed for where they belong.
///
/// # Errors
/// See [`BindError`].
pub(crate) fn bind_early(
    config: &Config,
    inherited: &[ListenAddr],
    status: Option<&ListenAddr>,
) -> Result<Vec<Bound>, BindError> {
    let (unix_mode, udp_buffer, keepalive) = (config.unix_mode, config.udp_buffer, config.limits.keepalive);
    let mut all = Vec::new();
    let has_file = |at: &ListenAddr| matches!(at, ListenAddr::Unix(_));
    let is_ours = |listen: &&Listen| !inherited.contains(&listen.at) && !has_file(&listen.at);
    for Listen { at, .. } in config.listen.iter().filter(is_ours) {
        let only_v6 = at.leaves_ipv4(&config.listen);
        let options = SocketOptions { unix_mode, keepalive, only_v6, udp_buffer };
        all.push(Bound::new(at, &options).map_err(|error| BindError::new(at, error))?);
    }
    if let Some(at) = status.filter(|at| !has_file(at)) {
        let bound = Bound::new(at, &SocketOptions::of_status(keepalive));
        all.push(bound.map_err(|error| BindError::Status(Box::new(BindError::new(at, error))))?);
    }
    Ok(all)
}
