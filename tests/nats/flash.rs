//! What a quiet box writes to its flash: counted by strace at ten lines a second, and told for a day.

use std::io::Write;
use std::time::{Duration, Instant};

use super::ours::Ours;
use super::outages::one;
use crate::support::traced::may_trace;

/// How long it is watched.
const SECONDS: u64 = 8;

/// Calls on files of the spool: how many, and what they returned in all.
fn count(log: &str, names: &[&str], file: &str) -> (u64, u64) {
    let of = |line: &&str| names.iter().any(|name| line.contains(&format!(" {name}("))) && line.contains(file);
    let returned = |line: &str| line.rsplit_once(" = ")?.1.split_whitespace().next()?.parse::<u64>().ok();
    let calls: Vec<u64> = log.lines().filter(of).filter_map(returned).collect();
    (calls.len() as u64, calls.iter().sum())
}

#[test]
fn ten_lines_a_second_are_few_writes_and_a_page_a_sync() {
    if !may_trace() {
        return;
    }
    let Some(servers) = one("") else { return };
    let mut ours = Ours::prepare("box", &servers.addresses(), &["--sync", "1s"]);
    let log = ours.file("strace");
    let calls = "trace=write,writev,pwrite64,pwritev,fsync,fdatasync,ftruncate,rename";
    let under = ["strace", "-D", "-f", "-y", "-ttt", "-q", "-o", &log, "-e", calls].map(str::to_owned).to_vec();
    ours.begin_as(ours.setup().under(under));
    // What a start writes is no part of a day.
    ours.send(0, 1);
    let before = std::fs::read_to_string(&log).unwrap().len();
    let begun = Instant::now();
    let mut client = ours.receiver().client();
    client.set_nodelay(true).unwrap();
    for number in 0..SECONDS * 10 {
        client.write_all(format!("{number:0127}\n").as_bytes()).unwrap();
        // The input: ten lines a second.
        std::thread::sleep(Duration::from_millis(100 * (number + 1)).saturating_sub(begun.elapsed()));
    }
    let text = std::fs::read_to_string(&log).unwrap();
    let spool = ours.spool().display().to_string();
    let (writes, bytes) = count(&text[before..], &["write", "writev", "pwrite64", "pwritev"], &spool);
    let (syncs, _) = count(&text[before..], &["fsync", "fdatasync"], &spool);
    let day = 86_400 / SECONDS;
    eprintln!(
        "10 lines of 128 bytes a second with --sync 1s, a day: {} writes, {} syncs, {:.1} MB written, at most {:.1} MB in \
         pages of 4 KiB",
        writes * day,
        syncs * day,
        (bytes * day) as f64 / 1e6,
        ((bytes + syncs * 4_096) * day) as f64 / 1e6
    );
    // A record for each line at most, and its position never.
    assert!(writes <= SECONDS * 10 + 4, "{writes} writes in {SECONDS} s");
    assert!(bytes <= SECONDS * 10 * (128 + 200) + 2 * 4_096, "{bytes} bytes in {SECONDS} s");
    assert!(syncs <= 2 * SECONDS + 4, "{syncs} syncs in {SECONDS} s");
    assert!(writes > 0 && syncs > 0, "nothing was counted: {text}");
    ours.stop();
}
