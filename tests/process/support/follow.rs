//! Clients that send numbered lines as fast as they can, and a reader that follows files by inode, as `tail -F` does: it
//! opens each file as soon as it has a name, reads it to its end, and goes on with the next.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::patience::{LONG_PATIENCE, Patient, join};

/// What stands before a line's filler: client, number, and length with the newline.
const HEADER: usize = "c00 0000000000 00000 ".len();
/// The lengths of lines, with their newlines, in turn: 676 bytes on average.
const LENGTHS: [usize; 8] = [80, 200, 120, 1500, 64, 300, 2900, 244];
pub(crate) const LONGEST: usize = 2900;
/// What one write of a client holds at least.
const BLOCK: usize = 32 * 1024;
const FILLER: [u8; LONGEST] = [b'.'; LONGEST];
/// With a `pace`, all clients together are at most so many bytes ahead of the reader.
pub(crate) const LEAD: u64 = 512 * 1024;

/// Appends a client's line.
pub(crate) fn push_line(client: usize, number: u64, out: &mut Vec<u8>) {
    let length = LENGTHS[usize::try_from(number).unwrap() % LENGTHS.len()];
    write!(out, "c{client:02} {number:010} {length:05} ").unwrap();
    out.extend_from_slice(&FILLER[..length - HEADER - 1]);
    out.push(b'\n');
}

/// Clients at full speed.
pub(crate) struct Senders {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Senders {
    /// Each sends `most` lines, or until it is told to stop. With a `pace`, which counts the bytes that were read, they
    /// wait for the reader.
    pub(crate) fn start(clients: Vec<TcpStream>, most: u64, pace: Option<Arc<AtomicU64>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let start = |(client, stream): (usize, TcpStream)| {
            stream.wait_at_most(LONG_PATIENCE);
            let (stop, sent, pace) = (Arc::clone(&stop), Arc::clone(&sent), pace.clone());
            std::thread::spawn(move || {
                let may_go_on = || {
                    // What was read may not have been counted as sent yet.
                    let ahead =
                        |read: &AtomicU64| sent.load(Ordering::SeqCst).saturating_sub(read.load(Ordering::SeqCst));
                    let lead = || pace.as_deref().map_or(0, ahead);
                    let begun = Instant::now();
                    while lead() > LEAD && !stop.load(Ordering::SeqCst) {
                        assert!(begun.elapsed() < LONG_PATIENCE, "the reader goes on no more");
                        std::thread::park_timeout(Duration::from_millis(1));
                    }
                    !stop.load(Ordering::SeqCst)
                };
                send(client, stream, most, |bytes| {
                    sent.fetch_add(bytes as u64, Ordering::SeqCst);
                    may_go_on()
                })
            })
        };
        let threads = clients.into_iter().enumerate().map(start).collect();
        Self { stop, threads }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// How many lines each has sent.
    pub(crate) fn finish(self) -> Vec<u64> {
        self.threads.into_iter().map(|thread| join("the clients", thread)).collect()
    }
}

/// Sends until there are so many lines, or `may_go_on`, which hears of each block, says no.
fn send(client: usize, mut stream: TcpStream, most: u64, may_go_on: impl Fn(usize) -> bool) -> u64 {
    let (mut number, mut block) = (0, Vec::new());
    while number < most {
        block.clear();
        while number < most && block.len() < BLOCK {
            push_line(client, number, &mut block);
            number += 1;
        }
        stream.write_all(&block).unwrap();
        if !may_go_on(block.len()) {
            break;
        }
    }
    number
}

/// Checks the lines that a reader has seen: each client's are in order, there once, and whole.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The number that each client's next line has to have.
    pub(crate) next: Vec<u64>,
    /// Whether a client's next line may have a larger number, since a file was removed before it could be opened.
    may_jump: Vec<bool>,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    /// Numbers that were in removed files.
    pub(crate) missing: u64,
}

impl Seen {
    pub(crate) fn of(clients: usize) -> Self {
        Self { next: vec![0; clients], may_jump: vec![false; clients], ..Self::default() }
    }

    /// Where the first lines may be missing.
    pub(crate) fn after_gap(clients: usize) -> Self {
        Self { may_jump: vec![true; clients], ..Self::of(clients) }
    }

    /// Checks the whole lines in `bytes`. Returns how many bytes these are.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(header) = bytes.get(at..at + HEADER) {
            let shown = || header.escape_ascii().to_string();
            let number = |range: std::ops::Range<usize>| -> u64 {
                std::str::from_utf8(&header[range])
                    .unwrap()
                    .parse()
                    .unwrap_or_else(|_| panic!("a torn line: {}", shown()))
            };
            assert_eq!(header[0], b'c', "a torn line: {}", shown());
            let (client, number, length) = (number(1..3), number(4..14), number(15..20));
            let (client, length) = (usize::try_from(client).unwrap(), usize::try_from(length).unwrap());
            assert_eq!(length, LENGTHS[usize::try_from(number).unwrap() % LENGTHS.len()], "a torn line: {}", shown());
            let Some(rest) = bytes.get(at + HEADER..at + length) else { break };
            let (filler, newline) = rest.split_at(rest.len() - 1);
            assert!(filler == &FILLER[..filler.len()] && newline == b"\n", "a torn line: {}", shown());
            let next = self.next[client];
            let may_jump = std::mem::replace(&mut self.may_jump[client], false);
            assert!(number == next || (may_jump && number > next), "{} where number {next} has to come", shown());
            self.missing += number - next;
            self.next[client] = number + 1;
            (self.lines, self.bytes) = (self.lines + 1, self.bytes + length as u64);
            at += length;
        }
        at
    }
}

/// A file that was opened.
struct Opened {
    file: File,
    inode: u64,
    /// Files before it may have been removed unseen.
    is_after_gap: bool,
}

/// What a reader has seen.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) seen: Seen,
    /// Files opened.
    pub(crate) files: u64,
    /// Times that files may have been removed before they could be opened.
    pub(crate) gaps: u64,
    /// The longest that a file was.
    pub(crate) longest: u64,
    /// The most names that there were at once.
    pub(crate) most_names: usize,
    /// The most bytes that the named files had at once.
    pub(crate) most_bytes: u64,
}

/// The reader.
pub(crate) struct Follower {
    path: String,
    keep: usize,
    /// In order of age. The last is the one that is written to.
    files: VecDeque<Opened>,
    /// The one that is read.
    at: usize,
    rest: Vec<u8>,
    buffer: Vec<u8>,
    read: Arc<AtomicU64>,
    followed: Followed,
}

/// A reader in a thread of its own.
pub(crate) struct Following {
    stop: Arc<AtomicBool>,
    /// Bytes read.
    pub(crate) read: Arc<AtomicU64>,
    thread: JoinHandle<Followed>,
}

impl Following {
    /// Follows `path`, which exists, and its rotated files.
    pub(crate) fn start(path: &str, keep: usize, clients: usize) -> Self {
        let (stop, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let followed =
            Followed { seen: Seen::of(clients), files: 0, gaps: 0, longest: 0, most_names: 0, most_bytes: 0 };
        let mut follower = Follower {
            path: path.to_owned(),
            keep,
            files: VecDeque::new(),
            at: 0,
            rest: Vec::new(),
            buffer: vec![0; 1 << 20],
            read: Arc::clone(&read),
            followed,
        };
        let is_stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            loop {
                // In this order: what was written before the stop is read after it.
                let is_last = is_stopped.load(Ordering::SeqCst);
                if !follower.look() && is_last {
                    return follower.followed;
                }
            }
        });
        Self { stop, read, thread }
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Reads what is left, once nothing more is written.
    pub(crate) fn finish(self) -> Followed {
        self.stop.store(true, Ordering::SeqCst);
        join("the follower", self.thread)
    }
}

impl Follower {
    /// Opens what is new, and reads some. False, after a moment, if there was nothing.
    fn look(&mut self) -> bool {
        self.open_new();
        let is_read = self.read_some();
        // A removed file that was read to its end gives its place on the disk, and its inode, back.
        while self.at > 0 && self.files[0].file.metadata().unwrap().nlink() == 0 {
            self.files.pop_front();
            self.at -= 1;
        }
        if !is_read {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        is_read
    }

    /// Opens the files that have names and are not open yet. They are in order if none was begun meanwhile.
    fn open_new(&mut self) {
        for _ in 0..1_000 {
            let (new, is_joined) = self.named_files();
            let begun = fs::metadata(&self.path).map(|found| found.ino()).ok();
            let newest = new.first().or(self.files.back()).map(|newest| newest.inode);
            if begun.is_some() && begun == newest {
                return self.add(new, is_joined);
            }
        }
        panic!("{} is begun anew all the time", self.path);
    }

    fn add(&mut self, mut new: Vec<Opened>, is_joined: bool) {
        // A reader that comes late finds as many files as are kept, and there may have been others.
        if self.files.is_empty() && new.len() >= self.keep {
            self.followed.seen.may_jump.fill(true);
        }
        if let Some(oldest) = new.last_mut().filter(|_| !is_joined) {
            oldest.is_after_gap = true;
            self.followed.gaps += 1;
        }
        self.followed.files += new.len() as u64;
        self.files.extend(new.into_iter().rev());
    }

    /// The files that are not open yet, the newest first, and whether the last one that is known is still there. Upwards: a
    /// file that moves meanwhile is met twice, but never missed. An inode that is open can't be another file's.
    fn named_files(&mut self) -> (Vec<Opened>, bool) {
        let (mut new, mut inodes, mut bytes, mut is_joined) = (Vec::new(), Vec::new(), 0, self.files.is_empty());
        for number in 0..=self.keep + 2 {
            let path = if number == 0 { self.path.clone() } else { format!("{}.{number}", self.path) };
            let Ok(file) = File::open(path) else { continue };
            let found = file.metadata().unwrap();
            if inodes.contains(&found.ino()) {
                continue;
            }
            inodes.push(found.ino());
            bytes += found.len();
            self.followed.longest = self.followed.longest.max(found.len());
            if self.files.iter().any(|known| known.inode == found.ino()) {
                is_joined |= self.files.back().is_some_and(|last| last.inode == found.ino());
            } else {
                new.push(Opened { file, inode: found.ino(), is_after_gap: false });
            }
        }
        self.followed.most_names = self.followed.most_names.max(inodes.len());
        self.followed.most_bytes = self.followed.most_bytes.max(bytes);
        (new, is_joined)
    }

    /// Reads the file that it is at, or goes on to the next: a file behind which another is known is written no more.
    fn read_some(&mut self) -> bool {
        let is_complete = self.at + 1 < self.files.len();
        let Some(opened) = self.files.get_mut(self.at) else { return false };
        let count = opened.file.read(&mut self.buffer).unwrap();
        if count > 0 {
            self.rest.extend_from_slice(&self.buffer[..count]);
            let taken = self.followed.seen.take(&self.rest);
            self.rest.drain(..taken);
            self.read.fetch_add(count as u64, Ordering::SeqCst);
            return true;
        }
        if is_complete {
            assert!(self.rest.is_empty(), "a line is split over two files: {}", self.rest.escape_ascii());
            self.at += 1;
            if self.files[self.at].is_after_gap {
                self.followed.seen.may_jump.fill(true);
            }
        }
        is_complete
    }
}

/// What the files hold, the oldest first, and how many there are.
pub(crate) fn all_files(path: &str, keep: usize) -> (Vec<u8>, usize) {
    let (mut all, mut count) = (Vec::new(), 0);
    for number in (1..=keep).rev().map(|number| format!(".{number}")).chain([String::new()]) {
        if let Ok(bytes) = fs::read(format!("{path}{number}")) {
            all.extend(bytes);
            count += 1;
        }
    }
    (all, count)
}
