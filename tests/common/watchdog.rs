//! The last resort against a test that hangs, though everything that it waits for has a deadline: one that takes too long
//! ends the process, and its name is the last word. A test is watched from its first call of [`watch`] on, which the
//! helpers that start something make for it.

use std::io::Write;
use std::process::Command;
use std::sync::{Mutex, Once};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// How long a test may take; the longest takes a tenth of it. `LUMBERJACK_TEST_SECONDS` is another number, for runs that
/// are made longer or a machine that is far slower.
const MOST: Duration = Duration::from_secs(180);

static WATCHED: Mutex<Vec<(ThreadId, String, Instant)>> = Mutex::new(Vec::new());

thread_local! {
    static THIS: This = This::new();
}

/// Has the test in this thread watched; a thread that a test has begun is watched with that one.
pub(crate) fn watch() {
    THIS.with(|_| ());
}

/// A test that is watched until its thread ends: the runner gives each test one of its own, with its name.
struct This(ThreadId);

impl This {
    fn new() -> Self {
        static START: Once = Once::new();
        START.call_once(|| drop(thread::spawn(watch_all)));
        let this = thread::current();
        if let Some(name) = this.name() {
            WATCHED.lock().unwrap().push((this.id(), name.to_owned(), Instant::now()));
        }
        Self(this.id())
    }
}

impl Drop for This {
    fn drop(&mut self) {
        WATCHED.lock().unwrap().retain(|(thread, ..)| *thread != self.0);
    }
}

fn watch_all() {
    let seconds = std::env::var("LUMBERJACK_TEST_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    let most = seconds.map_or(MOST, Duration::from_secs);
    loop {
        let late = WATCHED.lock().unwrap().iter().find(|(.., begun)| begun.elapsed() > most).cloned();
        if let Some((_, name, begun)) = late {
            let _ = writeln!(
                std::io::stderr(),
                "\n{name} has run for {} s: it hangs, and this ends all tests of its binary. If it may take so long, set \
                 LUMBERJACK_TEST_SECONDS.",
                begun.elapsed().as_secs()
            );
            end_children();
            std::process::abort();
        }
        thread::park_timeout(Duration::from_millis(500));
    }
}

/// No guard is dropped any more: what the tests have started would go on.
fn end_children() {
    let own = std::process::id().to_string();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name may hold anything; behind its bracket are the state and the parent.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if parent == Some(&own) {
            let _ = Command::new("kill").arg("-KILL").arg(entry.file_name()).status();
        }
    }
}
