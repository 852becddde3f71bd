//! A receiver inside another program: it listens on a port of the system's choice, takes two lines, and prints its
//! diagnostics as JSON. Run it with `cargo run --example embed`.

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use lumberjack::{Config, Limits, ListenAddr, MemorySink, Server, Turn};

fn main() -> Result<(), Box<dyn Error>> {
    let sink = MemorySink::new();
    let mut config = Config::listen("127.0.0.1:0".parse()?);
    config.limits = Limits { idle_timeout: Duration::from_secs(60), ..Limits::default() };

    let mut server = Server::bind(config, sink.clone())?;
    let handle = server.handle();
    let Some(ListenAddr::Tcp(addr)) = server.local_addrs().first().cloned() else {
        return Err("no TCP listener".into());
    };

    let mut client = TcpStream::connect(addr)?;
    client.write_all(b"first line\nsecond line\n")?;

    // The loop is ours here: a turn at a time, beside whatever else this program does. `server.run()` is the other way.
    while sink.lines().len() < 2 {
        server.turn(Some(Duration::from_millis(100)))?;
    }
    println!("{}", handle.diagnostics().to_json());

    drop(client);
    handle.stop();
    while server.turn(Some(Duration::from_millis(100)))? == Turn::Running {}
    for line in sink.lines() {
        println!("{}", String::from_utf8_lossy(&line));
    }
    Ok(())
}
