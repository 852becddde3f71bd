//! The program: all of it is in the library's module `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lumberjack::cli::main()
}
