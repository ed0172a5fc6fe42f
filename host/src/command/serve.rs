//! `parlor serve`: the host, until SIGTERM or Ctrl-C.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::app::{App, Parts, Place};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::doors::server::descriptors;
use crate::drain::Drain;
use crate::random::SystemRandom;

pub async fn run(path: &Path) -> anyhow::Result<()> {
    let config = super::load(path)?;
    // Elsewhere stderr is the log's, whose every line is an object: it warns by itself.
    if std::io::stderr().is_terminal() {
        super::paint::caution(&config.plugins);
    }
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
    // Bound first: a taken port is told before anything slow begins.
    let listener =
        bind(config.listen, "is another parlor running? If not, set `listen` to another port").await?;
    let admin = match &config.admin {
        Some(admin) => Some(bind(admin.listen, "set `admin.listen` to another port").await?),
        None => None,
    };
    descriptors::make_room_for_plugins();
    let app = App::build(config, parts).await?;
    let late = app.serve(listener, admin).await?;
    if !late.is_empty() {
        tracing::warn!(tasks = late.join(", "), "the grace period is over; these go on at the next start");
    }
    Ok(())
}

async fn bind(address: SocketAddr, advice: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}; {advice}"))
}
