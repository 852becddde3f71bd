//! Clients that send numbered lines, each connection to its end and its receipt, and remember what they sent and what they
//! were told.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::common::patience::{LONG_PATIENCE, Patient, join, until_within};
use crate::dice::Dice;

/// Behind a line's numbers, up to its length.
const FILLER: &str = "abcdefghijklmnopqrstuvwxyz";
/// The lengths of lines, in turn.
const LENGTHS: [usize; 7] = [40, 120, 90, 300, 60, 1500, 128];

/// The line of this number: everything in it follows from the numbers, so that one that is torn or mixed up is seen.
pub(crate) fn line_of(client: usize, connection: usize, number: u64) -> String {
    let at = usize::try_from(number).unwrap() + connection;
    let mut line = format!("c{client}.{connection}.{number}:");
    let length = LENGTHS[at % LENGTHS.len()];
    while line.len() < length {
        let take = (length - line.len()).min(FILLER.len());
        line.push_str(&FILLER[..take]);
    }
    line
}

/// What a line says it is, if it is one of these, whole.
pub(crate) fn read_line(line: &str) -> Option<(usize, usize, u64)> {
    let (numbers, _) = line.strip_prefix('c')?.split_once(':')?;
    let mut numbers = numbers.split('.');
    let client = numbers.next()?.parse().ok()?;
    let connection = numbers.next()?.parse().ok()?;
    let number = numbers.next()?.parse().ok()?;
    (line == line_of(client, connection, number)).then_some((client, connection, number))
}

/// What one connection sent, and what of it is receipted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) client: usize,
    pub(crate) connection: usize,
    pub(crate) lines: u64,
    /// The receipt, if there was one.
    pub(crate) receipted: Option<u64>,
}

/// Sends lines on one connection, and waits for the receipt.
pub(crate) fn send(port: u16, client: usize, connection: usize, lines: u64) -> Sent {
    let receipted = try_send(port, client, connection, lines);
    Sent { client, connection, lines, receipted }
}

fn try_send(port: u16, client: usize, connection: usize, lines: u64) -> Option<u64> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.wait_at_most(LONG_PATIENCE);
    let text: String = (0..lines).map(|number| line_of(client, connection, number) + "\n").collect();
    stream.write_all(text.as_bytes()).ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    let mut answer = String::new();
    // A reset behind a whole receipt takes nothing of it back.
    let _ = stream.read_to_string(&mut answer);
    answer.strip_suffix(" lines\n")?.parse().ok()
}

/// Several clients at once.
pub(crate) struct Senders {
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Sent>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    /// `count` clients of the receiver at this port, from this number on, until they are told to stop. How many lines each
    /// connection has comes from the seed. Each pauses so long between two connections, at most.
    pub(crate) fn start(port: u16, first: usize, count: usize, seed: u64, pause: Duration) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let start = |client: usize| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            std::thread::spawn(move || {
                let mut dice = Dice::from_seed(seed.wrapping_mul(7_919).wrapping_add(client as u64));
                let mut connection = 0;
                while !stop.load(Ordering::SeqCst) {
                    let lines = 1 + if dice.chance(10) { dice.below(2_000) } else { dice.below(60) };
                    let done = send(port, client, connection, lines);
                    sent.lock().unwrap().push(done);
                    connection += 1;
                    // The input: clients that rest.
                    let rest = dice.below(u64::try_from(pause.as_millis()).unwrap() + 1);
                    std::thread::park_timeout(Duration::from_millis(rest));
                }
            })
        };
        let threads = (first..first + count).map(start).collect();
        Self { stop, sent, threads }
    }

    /// Waits until so many connections have a receipt.
    pub(crate) fn until_receipts(&self, wanted: usize) {
        until_within(LONG_PATIENCE, "receipts", || {
            let sent = self.sent.lock().unwrap();
            let count = sent.iter().filter(|sent| sent.receipted.is_some()).count();
            if count >= wanted { Ok(()) } else { Err(format!("{count} of {wanted}")) }
        });
    }

    pub(crate) fn receipts(&self) -> usize {
        self.sent.lock().unwrap().iter().filter(|sent| sent.receipted.is_some()).count()
    }

    /// Tells them to stop, and waits until each has ended the connection that it has.
    pub(crate) fn finish(mut self) -> Vec<Sent> {
        self.stop.store(true, Ordering::SeqCst);
        std::mem::take(&mut self.threads).into_iter().for_each(|thread| join("a client", thread));
        let sent = self.sent.lock().unwrap();
        sent.clone()
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
