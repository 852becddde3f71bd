//! The program: everything is in the library's door, `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lumberjack::cli::main()
}
