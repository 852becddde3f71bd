//! The naive loop: what one writes in an afternoon. It reads 64 KiB at once, looks at one byte after the other, keeps a
//! growing line for each client, and writes what a read came to. No limits, no time-outs, no care for a slow output.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
/// Lines longer than this are left out.
const MAX_LINE: usize = 100 * 1024;

struct Client {
    stream: TcpStream,
    line: Vec<u8>,
}

pub(super) fn run() -> io::Result<()> {
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    eprintln!("Listening on {}", listener.local_addr()?);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut clients, mut next) = (HashMap::new(), 0);
    let (mut buffer, mut out) = (vec![0; 64 * 1024], Vec::new());
    // Not `Stdout`, which would look for the last newline once more.
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE)?;
                    clients.insert(Token(next), Client { stream, line: Vec::new() });
                    next += 1;
                }
                continue;
            }
            let Some(client) = clients.get_mut(&event.token()) else { continue };
            let is_open = loop {
                match client.stream.read(&mut buffer) {
                    Ok(0) => break false,
                    Ok(count) => take(&mut client.line, &buffer[..count], &mut out),
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => break error.kind() == ErrorKind::WouldBlock,
                }
                stdout.write_all(&out)?;
                out.clear();
            };
            if !is_open {
                clients.remove(&event.token());
            }
        }
    }
}

fn take(line: &mut Vec<u8>, chunk: &[u8], out: &mut Vec<u8>) {
    for byte in chunk {
        if *byte != b'\n' {
            line.push(*byte);
            continue;
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if !line.is_empty() && line.len() <= MAX_LINE {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        line.clear();
    }
}
