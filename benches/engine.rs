//! What the engine costs: framer, format, wheel and budget alone, then a whole turn of the server over a network in memory.
//! `cargo bench --bench engine` prints a table; `-- PART` only the cases whose names hold PART; `-- CASE PASSES` runs
//! one case so often and prints how many of its units that were, which is what `benches/instructions` counts. In the
//! table each case has a process of its own: what one leaves of the heap decides what the next pays for memory.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "engine/budget.rs"]
mod budget;
#[path = "engine/format.rs"]
mod format;
#[path = "engine/framer.rs"]
mod framer;
#[path = "engine/turn.rs"]
mod turn;
#[path = "engine/wheel.rs"]
mod wheel;

use std::hint::black_box;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How long one sample lasts at least: a thousand times what the clock can tell, and short enough for 60 cases.
const SAMPLE: Duration = Duration::from_millis(15);
/// Samples a case; odd, so that one is in the middle.
const SAMPLES: usize = 9;
/// The case that the column "x copy" is in terms of.
const COPY: &str = "reference/copy";
/// In place of a number of passes: as many as a measurement takes.
const MEASURE: &str = "measure";

/// One question, asked again and again.
pub(crate) struct Case {
    pub(crate) name: String,
    /// What is counted: `line`, `arm`.
    pub(crate) unit: &'static str,
    /// How many of them a pass makes.
    pub(crate) units: u64,
    /// How many bytes a pass takes in; 0 where there are none.
    pub(crate) bytes: usize,
    /// Builds what a pass needs; only when the case is run.
    pub(crate) prepare: Box<dyn Fn() -> Pass>,
}

/// One pass, long enough that the call through a pointer is nothing beside it.
pub(crate) type Pass = Box<dyn FnMut()>;

fn references() -> Vec<Case> {
    let input = framer::lines_of(128, b"\n");
    let units = framer::newlines(&input);
    let bytes = input.len();
    let copied = input.clone();
    let copy = move || {
        let (input, mut out) = (copied.clone(), Vec::new());
        Box::new(move || {
            for chunk in input.chunks(64 * 1024) {
                out.clear();
                out.extend_from_slice(black_box(chunk));
                black_box(&out);
            }
        }) as Pass
    };
    let naive = move || {
        let (input, mut line, mut out) = (input.clone(), Vec::new(), Vec::new());
        Box::new(move || {
            for chunk in input.chunks(64 * 1024) {
                out.clear();
                for byte in black_box(chunk) {
                    line.push(*byte);
                    if *byte == b'\n' {
                        out.append(&mut line);
                    }
                }
                black_box(&out);
            }
        }) as Pass
    };
    let case = |name: &str, prepare| Case { name: name.to_owned(), unit: "line", units, bytes, prepare };
    vec![case(COPY, Box::new(copy)), case("reference/byte-by-byte", Box::new(naive))]
}

fn cases() -> Vec<Case> {
    [references(), framer::cases(), format::cases(), wheel::cases(), budget::cases(), turn::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// Nanoseconds a pass: the middle sample, the quickest and the slowest of them.
fn measure(case: &Case) -> [f64; 3] {
    let mut pass = (case.prepare)();
    let mut passes = 1_u32;
    // Doubled until a sample lasts long enough, which warms up what there is to warm up.
    while time(&mut pass, passes) < SAMPLE && passes < 1 << 24 {
        passes *= 2;
    }
    let mut samples: Vec<f64> =
        (0..SAMPLES).map(|_| time(&mut pass, passes).as_secs_f64() * 1e9 / f64::from(passes)).collect();
    samples.sort_by(f64::total_cmp);
    [samples[SAMPLES / 2], samples[0], samples[SAMPLES - 1]]
}

/// [`measure`], in another process.
fn measure_apart(case: &Case) -> [f64; 3] {
    let run = Command::new(std::env::current_exe().unwrap()).args([&case.name, MEASURE]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    let samples: Vec<f64> = said.split_whitespace().map_while(|word| word.parse().ok()).collect();
    samples.try_into().unwrap_or_else(|_| panic!("{}: {said}{}", case.name, String::from_utf8_lossy(&run.stderr)))
}

fn time(pass: &mut Pass, passes: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..passes {
        pass();
    }
    start.elapsed()
}

#[allow(clippy::cast_precision_loss)] // no count here comes near 2^52
fn print_table(cases: &[&Case]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{:<34} {:>12} {:>19} {:>8} {:>8}", "case", "ns", "quickest - slowest", "GB/s", "x copy")?;
    let mut copy_ns_per_byte = None;
    for case in cases {
        let samples = measure_apart(case);
        let [middle, least, most] = samples.map(|ns| ns / case.units as f64);
        let per_unit = format!("{middle:.2}/{}", case.unit);
        let range = format!("{least:.2} - {most:.2}");
        write!(out, "{:<34} {per_unit:>12} {range:>19}", case.name)?;
        if case.bytes > 0 {
            let ns_per_byte = samples[0] / case.bytes as f64;
            if case.name == COPY {
                copy_ns_per_byte = Some(ns_per_byte);
            }
            let ratio = copy_ns_per_byte.map_or(String::new(), |copy| format!("{:.2}", ns_per_byte / copy));
            write!(out, " {:>8.3} {ratio:>8}", 1.0 / ns_per_byte)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    // Cargo adds the first one.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let cases = cases();
    match args.as_slice() {
        [name, passes] => {
            let Some(case) = cases.iter().find(|case| case.name == *name) else {
                eprintln!("engine: there is no case {name}; without arguments all are run");
                return ExitCode::from(2);
            };
            if passes == MEASURE {
                let [middle, least, most] = measure(case);
                println!("{middle} {least} {most}");
            } else if let Ok(passes) = passes.parse::<u64>() {
                let mut pass = (case.prepare)();
                (0..passes).for_each(|_| pass());
                println!("{} {}", case.units * passes, case.unit);
            } else {
                eprintln!("engine: {passes} is not a number of passes");
                return ExitCode::from(2);
            }
        }
        parts => {
            let is_meant = |case: &&Case| case.name == COPY || parts.iter().all(|part| case.name.contains(part));
            // A reader that is gone, `| head`, has seen enough.
            let _ = print_table(&cases.iter().filter(is_meant).collect::<Vec<_>>());
        }
    }
    ExitCode::SUCCESS
}
