//! `parlor serve`: the host, until SIGTERM or Ctrl-C.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::app::{App, Parts, Place};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::drain::Drain;
use crate::random::SystemRandom;

pub async fn run(path: &Path) -> anyhow::Result<()> {
    let config = super::load(path)?;
    let compiler = std::env::current_exe().context("this program's own file cannot be found")?;
    let parts = Parts {
        place: Place::Server,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        compiler,
        drain: Drain::new(),
    };
    if crate::function::is_here() {
        return answer_events(config, parts).await;
    }
    listen(config, parts).await
}

/// As a function: no port, no signals of our own; the platform hands events over.
async fn answer_events(config: Config, parts: Parts) -> anyhow::Result<()> {
    let app = App::build(config, Parts { place: Place::Function, ..parts }).await?;
    tracing::info!("answering the events of a function platform");
    app.serve_events().await
}

async fn listen(config: Config, parts: Parts) -> anyhow::Result<()> {
    parts.drain.listen_to_signals().context("signals cannot be listened to")?;
    let (listen, has_page) = (config.listen, config.chat.is_some());
    // Bound first: a taken port is told before anything slow begins.
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; is another parlor running?"))?;
    let app = App::build(config, parts).await?;
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
