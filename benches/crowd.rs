//! What connections cost that are only there: 10, 1,000, 10,000 and 100,000 of them, from several loopback addresses. Each
//! sends a line, and all have to arrive; then one of them sends lines that come alone, and a turn must not become dearer
//! by those that are silent. `cargo bench --bench crowd`; flags after `--` go to `lumberjack`. 100,000 need 100,020 open
//! files here and there: root raises the limit itself, anybody else needs `ulimit -n`, or sees fewer rows.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)] // what the other benches need beyond this
#[path = "live/mod.rs"]
mod live;
#[path = "live/output.rs"]
mod output;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use live::{Kind, Receiver};
use output::{MARK, Output};
use rlimit::Resource;
use socket2::{Domain, Socket, Type};

const CROWDS: [usize; 4] = [10, 1_000, 10_000, 100_000];
/// Descriptors that are no connections.
const OTHERS: usize = 20;
/// Connections from one loopback address: there are 28,000 ports for each, of which the kernel keeps used ones for a
/// minute.
const OF_ONE_ADDRESS: usize = 5_000;
const ALONE: usize = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let mut flags = live::start();
    // A pause would let several lines share a turn, and turns are what is counted.
    flags.extend(["--gather", "0", "--idle-timeout", "0"].map(str::to_owned));
    println!("{:>11} {:>16} {:>12} {:>12}", "connections", "bytes a silent 1", "turn, ns", "RSS, KiB");
    for crowd in CROWDS {
        if may_open(crowd + OTHERS) {
            measure(crowd, &flags);
        } else {
            let hard = usize::try_from(Resource::NOFILE.get().unwrap().1).unwrap();
            println!("{crowd:>11} would need {} open files; as many as may be:", crowd + OTHERS);
            return measure(hard - OTHERS, &flags);
        }
    }
}

fn may_open(needed: usize) -> bool {
    let needed = needed as u64;
    let (_, hard) = Resource::NOFILE.get().unwrap();
    hard >= needed || Resource::NOFILE.set(needed, needed).is_ok()
}

fn measure(crowd: usize, flags: &[String]) {
    let flags = [flags, &["--max-connections".to_owned(), crowd.to_string()]].concat();
    let mut receiver = Receiver::start(Kind::Lumberjack, &flags, Stdio::piped());
    let mut output = Output::new(receiver.stdout());
    let before_kib = receiver.rss_kib();
    let crowd_number = u8::try_from(crowd.ilog10()).unwrap();
    let mut clients: Vec<TcpStream> = (0..crowd).map(|number| client(&receiver, crowd_number, number)).collect();
    for (serial, client) in clients.iter_mut().enumerate() {
        client.write_all(&marked(serial)).unwrap();
    }
    let mut came = vec![false; crowd];
    for _ in 0..crowd {
        let (serial, _) = output.next(Instant::now() + PATIENCE);
        assert!(!std::mem::replace(&mut came[serial], true), "line {serial} came twice");
    }
    let rss_kib = receiver.rss_kib();
    let cpu = receiver.cpu().total;
    for serial in 0..ALONE {
        clients[0].write_all(&marked(serial)).unwrap();
        assert_eq!(output.next(Instant::now() + PATIENCE).0, serial);
    }
    let turn_ns = (receiver.cpu().total - cpu) * 1e9 / ALONE as f64;
    let each = rss_kib.saturating_sub(before_kib) * 1024 / crowd as u64;
    println!("{crowd:>11} {each:>16} {turn_ns:>12.0} {rss_kib:>12}");
}

fn marked(serial: usize) -> Vec<u8> {
    [&[MARK], serial.to_string().as_bytes(), b"\n"].concat()
}

fn client(receiver: &Receiver, crowd_number: u8, number: usize) -> TcpStream {
    // Addresses of its own for each crowd and process.
    let host = u8::try_from(2 + number / OF_ONE_ADDRESS).unwrap();
    let net = u8::try_from(std::process::id() % 250).unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, net, crowd_number, host], 0)).into()).unwrap();
    socket.connect(&receiver.addr().into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.into()
}
