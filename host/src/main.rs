//! The binary `parlor`: reads the command line and does what it says.

use clap::Parser as _;
use parlor::command::{self, Cli};

#[cfg(all(unix, feature = "failpoints"))]
mod faults;

fn main() -> std::process::ExitCode {
    #[cfg(all(unix, feature = "failpoints"))]
    let _planted = faults::plant();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(command::run(cli))) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parlor: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
