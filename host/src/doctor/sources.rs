//! Where plugins' releases come from: does each source answer, let this host in, and have something that could be one.

use futures_util::future::join_all;

use super::Finding;
use crate::config::Config;
use crate::plugin::package::FILE_BYTES_MAX;
use crate::source::{Source, SourceError};

const CHECK: &str = "source";

pub async fn findings(config: &Config) -> Vec<Finding> {
    match Source::all(&config.plugins.sources, FILE_BYTES_MAX) {
        Ok(sources) => join_all(sources.iter().map(finding)).await,
        Err(error) => vec![failure("", &error)],
    }
}

async fn finding(source: &Source) -> Finding {
    match source.examine().await {
        Ok(()) => Finding::ok(CHECK, &source.address, "answers, and has something there"),
        Err(error) => failure(&source.address, &error),
    }
}

/// Where the error itself does not say what to do.
fn failure(address: &str, error: &SourceError) -> Finding {
    let remedy = match error {
        SourceError::NoPlugin(_) | SourceError::TooLarge { .. } => {
            "push the plugin's `.wasm` file, as it was built"
        }
        SourceError::Client(_) => "install the system's root certificates",
        _ => "open the way out to it (DNS, firewall), and see that it runs: new releases do not come from it",
    };
    Finding::of_chain(CHECK, address, error, remedy)
}
