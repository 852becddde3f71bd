//! How lines go to a stream of NATS JetStream (`--output nats://…` and the options beside it).

use std::path::PathBuf;

/// What outputs of this kind are told. [`NatsOptions::default`] is what holds if nothing is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NatsOptions {
    /// The stream's name (`--nats-stream`), which has to be given.
    pub stream: String,
    /// Whether it is made if there is none (`--nats-create`). Default no.
    pub create: bool,
    /// The file that says who we are (`--nats-creds`). Default none.
    pub creds: Option<PathBuf>,
    /// What stands for `{box}` in a subject (`--box`). Empty, the default: the name of the host.
    pub box_name: String,
}
