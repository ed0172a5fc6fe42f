//! `parlor serve`: the host, until SIGTERM or Ctrl-C.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::app::{App, Parts};
use crate::clock::SystemClock;
use crate::drain::Drain;

pub async fn run(path: &Path) -> anyhow::Result<()> {
    let config = super::load(path)?;
    let drain = Drain::new();
    drain.listen_to_signals().context("signals cannot be listened to")?;
    let compiler = std::env::current_exe().context("this program's own file cannot be found")?;
    raise_descriptors();
    let (listen, has_page) = (config.listen, config.chat.is_some());
    // Bound first: a taken port is told before anything slow begins.
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; is another parlor running?"))?;
    let app = App::build(config, Parts { clock: Arc::new(SystemClock), compiler, drain }).await?;
    let address = listener.local_addr()?;
    tracing::info!(address = %address, "serving");
    if has_page {
        tracing::info!("chat page: http://{address}/");
    }
    let late = app.serve(listener).await?;
    if !late.is_empty() {
        tracing::warn!(tasks = late.join(", "), "the grace period is over; these go on at the next start");
    }
    Ok(())
}

/// Takes as many open files as the system allows: each connection is one, and many systems begin with 1024.
#[cfg(unix)]
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(error = %error, "the limit of open files stays");
    }
}

#[cfg(not(unix))]
fn raise_descriptors() {}
