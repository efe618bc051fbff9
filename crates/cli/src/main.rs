//! The `stvor` binary: flags, signals and what is printed. Everything else is in the libraries.

mod arguments;
mod mock_relay;

use std::process::ExitCode;

use arguments::Command;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os(), |name| std::env::var_os(name)) {
        Ok(Command::MockRelay(options)) => mock_relay::run(options),
        Err(refusal) => refusal.report(),
    }
}
