//! What really breaks a host, found by trying it, and what to do about it.
//!
//! One file for one thing that can break; each gives findings, and a sound one is a finding too. It changes
//! nothing and may run beside the host that it looks at. It does not know the command line, nor how a
//! configuration is read: `command` hands over one that is without problems.

mod callback;
mod client;
mod clock;
mod connection;
mod data;
mod descriptors;
mod endpoint;
mod finding;
mod memory;
mod plugins;
mod port;
mod quota;
mod reach;
mod redis;
mod signatures;
mod sources;
mod weights;

use std::path::PathBuf;
use std::sync::Arc;

pub use finding::{Finding, Level};
pub use plugins::TRUST;

use crate::app::{Parts, Place};
use crate::clock::{Clock, SystemClock};
use crate::config::{Backend, Config};
use crate::drain::Drain;
use crate::random::SystemRandom;
use client::Client;

/// Looks at everything that a configuration needs.
///
/// `compiler` is the `parlor` binary: plugins that nobody has compiled yet are compiled in a child process.
pub async fn examine(config: &Arc<Config>, compiler: PathBuf) -> Vec<Finding> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let parts = Parts {
        place: Place::Server,
        clock: clock.clone(),
        random: Arc::new(SystemRandom),
        compiler,
        drain: Drain::new(),
    };
    let client = match Client::new() {
        Ok(client) => client,
        Err(error) => {
            let what = format!("no HTTP client can be made: {error}");
            return vec![Finding::fail("network", "", what, "install the system's root certificates")];
        }
    };
    let server = port::server(config, &client).await;
    let mut findings = port::findings(config, &server);
    findings.extend(data::findings(&config.data, server.runs()));
    if let Some(redis) = &config.redis {
        findings.extend(redis::findings(redis).await);
    }
    findings.extend(descriptors::findings(config.limits.connections_max));
    findings.extend(memory_of_models(config, server.runs()).await);
    let (plugins, manifests) = plugins::findings(config, &parts).await;
    findings.extend(plugins);
    let (sources, models, reached) = tokio::join!(
        sources::findings(config),
        models(config, &client),
        reach::findings(config, &manifests, &client)
    );
    findings.extend(sources);
    findings.extend(models);
    findings.extend(reached);
    findings.push(clock::finding(&client.dates()));
    findings.extend(callback::findings(config, &server, &client).await);
    findings.extend(connection::findings(config, &manifests, &server));
    findings.extend(signatures::findings(config, &server, &client, clock).await);
    findings
}

/// Models that run in this process: reading them takes a while, and no async thread.
async fn memory_of_models(config: &Config, is_serving: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, model) in &config.models {
        if let Backend::Gguf(local) = &model.backend {
            let (name, local) = (name.clone(), weights::File::of(local));
            let read = tokio::task::spawn_blocking(move || weights::findings(&name, &local, is_serving));
            findings.extend(read.await.expect("reading a file does not panic"));
        }
    }
    findings
}

/// Models at an endpoint.
async fn models(config: &Config, client: &Client) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, model) in &config.models {
        if let Backend::OpenAi(remote) = &model.backend {
            findings.extend(endpoint::findings(name, remote, client).await);
        }
    }
    findings
}
