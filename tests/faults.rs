//! Fault injection into the built binary: strace fails its system calls, first one by one until a run passes in which
//! nothing was left to fail, as SQLite tests its input and output, then several at once. `cargo test --test faults --
//! --nocapture` shows how many faults were put where; `FAULT_SEEDS=FIRST..END` chooses the runs with several.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[allow(dead_code, unused_imports)] // what `tests/process` needs beyond this
#[path = "process/support/conditions.rs"]
mod conditions;
#[allow(dead_code)] // worlds need more choices
#[path = "sim/dice.rs"]
mod dice;
#[allow(dead_code, unused_imports)] // this file starts the binary by itself, under strace
#[path = "process/support/receiver.rs"]
mod receiver;
#[path = "faults/run.rs"]
mod run;
#[allow(dead_code)] // this file reads the traces by itself
#[path = "process/support/traced.rs"]
mod traced;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{LazyLock, Mutex};

use dice::Dice;
use run::{Cost, EPOLL_WAIT, Output, Seen, Stop};
use traced::{may_trace, several_at_once};

/// A call, the errors that the kernel may give for it, and what those may cost.
struct Row {
    output: Output,
    call: &'static str,
    errors: &'static [&'static str],
    cost: Cost,
}

const fn row(output: Output, call: &'static str, errors: &'static [&'static str], cost: Cost) -> Row {
    Row { output, call, errors, cost }
}

/// What accept(2), recv(2), writev(2), epoll_ctl(2), open(2), fcntl(2), shutdown(2) and close(2) list, as far as it can
/// happen here. A fault that is injected has not done what the call does; this differs from the kernel in three places:
/// - EAGAIN from `recvfrom` or `accept4` while something is there. The kernel never does it, and the edge that told of
///   it is gone: it has to come with the client's close, or at the latest with the drain.
/// - EAGAIN from a pipe that has room: it has to come with the drain's last try.
/// - An error from `close`: Linux has closed the descriptor all the same, here it stays open, which costs a descriptor.
const TABLE: &[Row] = &[
    // A signal, clients that gave up while they waited, too few descriptors, too little memory, a firewall.
    row(
        Output::File,
        "accept4",
        &["EINTR", "EAGAIN", "ECONNABORTED", "EPROTO", "EMFILE", "ENFILE", "ENOMEM", "EPERM"],
        Cost::Nothing,
    ),
    row(Output::File, "recvfrom", &["EINTR", "EAGAIN"], Cost::Nothing),
    row(Output::File, "recvfrom", &["ECONNRESET", "ETIMEDOUT", "ENOMEM", "EIO"], Cost::Connection),
    row(Output::File, "writev", &["EINTR", "EAGAIN", "ENOSPC", "EIO", "ENOMEM"], Cost::Nothing),
    row(Output::Pipe, "writev", &["EINTR", "EAGAIN", "ENOMEM"], Cost::Nothing),
    // The reader is gone.
    row(Output::Pipe, "writev", &["EPIPE"], Cost::Run),
    row(Output::Socket, "sendmsg", &["EINTR", "EAGAIN", "ENOBUFS", "ENOMEM"], Cost::Nothing),
    row(Output::Socket, "sendmsg", &["EPIPE", "ECONNRESET"], Cost::Run),
    // Our own log, which never stops the loop and never ends the program.
    row(Output::File, "write", &["EINTR", "EAGAIN", "EIO", "ENOSPC", "EPIPE"], Cost::Nothing),
    // A signal's wake-up: the signal itself ends the wait too.
    row(Output::File, "sendto", &["EINTR", "EAGAIN", "ENOMEM"], Cost::Nothing),
    row(Output::File, "epoll_ctl", &["ENOMEM", "ENOSPC"], Cost::StartOrConnection),
    row(Output::Pipe, "epoll_ctl", &["ENOMEM", "ENOSPC"], Cost::StartOrConnection),
    row(Output::File, EPOLL_WAIT, &["EINTR"], Cost::Nothing),
    // Nothing that the kernel does to a sound program: it has to end with a sentence and not to spin.
    row(Output::File, EPOLL_WAIT, &["EINVAL"], Cost::Run),
    row(Output::File, "openat", &["EINTR"], Cost::Nothing),
    row(Output::File, "openat", &["EMFILE", "ENFILE", "ENOMEM", "EIO", "ENOSPC"], Cost::Start),
    // A pipe that can't be opened anew is borrowed.
    row(Output::Pipe, "openat", &["EINTR", "EMFILE", "ENFILE", "ENOMEM"], Cost::Nothing),
    row(Output::File, "fcntl", &["EMFILE"], Cost::Start),
    row(Output::Pipe, "fcntl", &["EMFILE"], Cost::Start),
    // What the box has is asked of /proc, and not needed.
    row(Output::File, "read", &["EINTR", "EIO", "ENOMEM"], Cost::Nothing),
    row(Output::File, "epoll_create1", &["EMFILE", "ENFILE", "ENOMEM"], Cost::Start),
    row(Output::File, "socketpair", &["EMFILE", "ENFILE", "ENOMEM"], Cost::Start),
    row(Output::File, "socket", &["EMFILE", "ENFILE", "ENOMEM"], Cost::Start),
    row(Output::File, "setsockopt", &["ENOMEM", "ENOPROTOOPT"], Cost::Start),
    row(Output::File, "bind", &["EADDRINUSE", "EACCES", "ENOMEM"], Cost::Start),
    row(Output::File, "listen", &["EADDRINUSE", "ENOMEM"], Cost::Start),
    // The client is gone already.
    row(Output::File, "shutdown", &["ENOTCONN", "ENOMEM"], Cost::Nothing),
    row(Output::File, "close", &["EINTR", "EIO"], Cost::Nothing),
];

/// Conditions that last: whatever the server does about them, it neither spins nor hangs.
const LASTING: &[Row] = &[
    row(Output::File, "accept4", &["EMFILE", "ENFILE", "ENOMEM", "EPERM"], Cost::Anything),
    row(Output::File, "recvfrom", &["EAGAIN", "ECONNRESET"], Cost::Anything),
    row(Output::File, "epoll_ctl", &["ENOMEM", "ENOSPC"], Cost::Anything),
    row(Output::File, "shutdown", &["ENOTCONN"], Cost::Nothing),
    row(Output::File, "write", &["EAGAIN", "EIO", "ENOSPC", "EPIPE"], Cost::Nothing),
    // The lines are lost with the output, and that is said.
    row(Output::File, "writev", &["EAGAIN", "ENOSPC", "EIO"], Cost::Run),
    row(Output::Pipe, "writev", &["EAGAIN", "EPIPE"], Cost::Run),
    row(Output::Socket, "sendmsg", &["EAGAIN", "ENOBUFS", "ECONNRESET"], Cost::Run),
];

/// The exhaustive runs of one error end before this: a run makes far fewer calls of any kind.
const MOST_RUNS: usize = 200;

/// A run without a fault, by which the loader's own calls are known.
static SOUND: LazyLock<BTreeMap<Output, Seen>> = LazyLock::new(|| {
    let outputs = [Output::File, Output::Pipe, Output::Socket];
    outputs.map(|output| (output, run::run(output, &[]))).into()
});

fn before_the_program(output: Output, call: &str) -> usize {
    SOUND[&output].before_the_program(call)
}

fn judged(seen: &Seen, cost: Cost, faults: &[String]) {
    if let Err(why) = seen.judge(cost) {
        panic!("{why}; with {faults:?}, which may cost {cost:?}: {}", seen.evidence());
    }
}

/// Fails the first call, then the second, until a run has no such call left. Gives how many were failed.
fn exhaust(row: &Row, error: &str) -> usize {
    let first = before_the_program(row.output, row.call) + 1;
    for failed in 0..MOST_RUNS {
        let faults = [format!("{}:error={error}:when={}", row.call, first + failed)];
        let seen = run::run(row.output, &faults);
        if seen.injected(row.call) == 0 {
            judged(&seen, Cost::Nothing, &faults);
            return failed;
        }
        judged(&seen, row.cost, &faults);
    }
    panic!("{} still fails with {error} in run {MOST_RUNS}", row.call);
}

#[test]
fn p13_no_system_call_that_fails_once_loses_a_line_or_stops_the_server_unless_it_must() {
    if !may_trace() {
        return;
    }
    SOUND.values().for_each(|seen| judged(seen, Cost::Nothing, &[]));
    let jobs = TABLE.iter().flat_map(|row| row.errors.iter().map(move |error| (row, *error)));
    let failed = Mutex::new(BTreeMap::new());
    several_at_once(jobs, |(row, error)| {
        let count = exhaust(row, error);
        failed.lock().unwrap().insert((row.call, row.output, error), (count, row.cost));
    });
    let failed = failed.into_inner().unwrap();
    for ((call, output, error), (count, cost)) in &failed {
        eprintln!("{call} {error} with {output:?} as output: failed {count} times, may cost {cost:?}");
        assert!(*count > 0, "{call} is never called with {output:?} as output: the row shows nothing");
    }
    eprintln!("{} faults, one a run", failed.values().map(|(count, _)| count).sum::<usize>());
}

#[test]
fn p13_a_call_that_fails_for_ever_makes_neither_a_spin_nor_a_hang() {
    if !may_trace() {
        return;
    }
    let jobs = LASTING.iter().flat_map(|row| row.errors.iter().map(move |error| (row, *error)));
    // From the first call on, and from one in the middle.
    let jobs = jobs.flat_map(|(row, error)| [0, 7].map(|skipped| (row, error, skipped)));
    several_at_once(jobs, |(row, error, skipped)| {
        let first = before_the_program(row.output, row.call) + 1 + skipped;
        let faults = [format!("{}:error={error}:when={first}+", row.call)];
        let seen = run::run_with("500ms", row.output, &faults, Stop::Served);
        judged(&seen, if seen.injected(row.call) == 0 { Cost::Nothing } else { row.cost }, &faults);
    });
}

/// Two to four calls of the loop that fail again and again.
fn several(dice: &mut Dice) -> (Output, Vec<String>, Cost) {
    let output = dice.pick(&[Output::File, Output::Pipe, Output::Socket]);
    let writes = if output == Output::Socket { "sendmsg" } else { "writev" };
    // What ends the start or the run at once leaves nothing for the others to meet.
    let is_of_loop =
        |row: &&Row| !matches!(row.cost, Cost::Start | Cost::Run) && !["openat", "read"].contains(&row.call);
    let is_met =
        |row: &&Row| !["writev", "sendmsg"].contains(&row.call) || (row.call == writes && row.output == output);
    let rows: Vec<&Row> = TABLE.iter().filter(is_of_loop).filter(is_met).collect();
    let mut faults: BTreeMap<&str, String> = BTreeMap::new();
    let mut cost = Cost::Nothing;
    for _ in 0..2 + dice.below(3) {
        let row = dice.pick(&rows);
        let error = dice.pick(row.errors);
        if faults.contains_key(row.call) {
            continue;
        }
        // The others may cost lines when they come again and again: a pause that is longer than the drain, say.
        let is_borne = matches!(error, "EINTR" | "ECONNABORTED" | "EPROTO") || row.call == "write";
        if !is_borne || row.cost != Cost::Nothing {
            cost = Cost::Anything;
        }
        // Every second at most: a call that never succeeds is not the fault that is meant here.
        let first = before_the_program(output, row.call) + 1 + dice.size(8);
        faults.insert(row.call, format!("{}:error={error}:when={first}+{}", row.call, 2 + dice.below(4)));
    }
    (output, faults.into_values().collect(), cost)
}

fn chosen_seeds() -> Range<u64> {
    let Ok(range) = std::env::var("FAULT_SEEDS") else { return 0..100 };
    let number = |text: &str| text.parse::<u64>().expect("FAULT_SEEDS is FIRST..END");
    let (first, end) = range.split_once("..").expect("FAULT_SEEDS is FIRST..END");
    number(first)..number(end)
}

#[test]
fn p13_several_calls_that_fail_again_and_again_leave_whole_lines_and_no_spin() {
    if !may_trace() {
        return;
    }
    let injected = Mutex::new(BTreeMap::new());
    several_at_once(chosen_seeds(), |seed| {
        let (output, faults, cost) = several(&mut Dice::from_seed(seed));
        let seen = run::run(output, &faults);
        if let Err(why) = seen.judge(cost) {
            panic!("{why}; FAULT_SEEDS={seed}..{}, {faults:?}, may cost {cost:?}: {}", seed + 1, seen.evidence());
        }
        let mut injected = injected.lock().unwrap();
        for call in faults.iter().filter_map(|fault| fault.split(':').next()) {
            *injected.entry(call.to_owned()).or_insert(0) += seen.injected(call);
        }
    });
    let injected = injected.into_inner().unwrap();
    eprintln!("several at once: {} faults, {injected:?}", injected.values().sum::<usize>());
    assert!(injected.values().sum::<usize>() > 0, "nothing was injected: the test shows nothing");
}

#[test]
fn p11_a_disk_that_has_room_again_at_the_last_try_is_an_orderly_end() {
    if !may_trace() {
        return;
    }
    // The fifth try is due 0.8 s after the fourth; the drain, which is over sooner, makes it.
    let faults = ["writev:error=ENOSPC:when=1..4".to_owned()];
    let seen = run::run_with("300ms", Output::File, &faults, Stop::Injected(4));
    assert_eq!(seen.injected("writev"), 4, "the disk was full four times");
    judged(&seen, Cost::Nothing, &faults);
}
