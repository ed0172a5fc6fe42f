//! The doors of the host: what listens, and what each path answers.
//!
//! They know HTTP, tokens and bounds. What a message means they do not know: the chat door asks a [`chat::Talk`],
//! its socket a [`socket::Attend`], `openai` an [`openai::Complete`], health asks a [`health::Readiness`], and
//! `webhook` hands on to the ingress. Reading order: `server` takes connections, `frame` wraps every request,
//! `client` finds out whose it is, then one file for each door.

pub mod body;
pub mod chat;
pub mod client;
pub mod frame;
pub mod guard;
pub mod health;
pub mod openai;
pub mod page;
pub mod problem;
pub mod server;
pub mod socket;
pub mod webhook;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::post;

use crate::auth::Verifier;
use crate::config::CHAT_CHANNEL;
use crate::drain::Drain;
use crate::telemetry::Metrics;
use chat::Talk;
use health::Readiness;
use page::Page;
use socket::{Attend, Sockets};

/// What the doors need from the rest of the host.
pub struct Doors {
    pub verifier: Verifier,
    /// None: no chat door and no page.
    pub talk: Option<Arc<dyn Talk>>,
    /// None: no chat socket.
    pub attend: Option<Arc<dyn Attend>>,
    pub page: Page,
    pub readiness: Arc<dyn Readiness>,
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
    pub bounds: body::Bounds,
    pub origins: client::Origins,
    /// Whom the chat door, its socket and its page are open to.
    pub chat_allowed: client::Allowed,
}

/// The host's own paths and `more`, all in one frame.
pub fn router(doors: Doors, more: Router) -> Router {
    let probes = health::routes(health::Probes {
        readiness: doors.readiness.clone(),
        metrics: doors.metrics.clone(),
        drain: doors.drain.clone(),
        verifier: Some(doors.verifier.clone()),
    });
    let mut router = Router::new();
    let gate = client::Gate { origins: Arc::new(doors.origins.clone()), metrics: doors.metrics.clone() };
    if let Some(talk) = doors.talk.clone() {
        let own = page::routes().route("/api/v1/chat", post(chat::chat).layer(axum::Extension(talk)));
        router = router.merge(
            own.merge(chat_socket(&doors))
                .route_layer(middleware::from_fn_with_state(chat_gate(&doors), client::admit_to_own)),
        );
    }
    router
        .with_state(Arc::new(doors))
        .merge(probes)
        .merge(more)
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn_with_state(gate, client::admit))
        .layer(middleware::from_fn(frame::frame))
}

fn chat_socket(doors: &Doors) -> Router<Arc<Doors>> {
    let Some(attend) = doors.attend.clone() else { return Router::new() };
    let (metrics, drain) = (doors.metrics.clone(), doors.drain.clone());
    socket::routes(Sockets { verifier: doors.verifier.clone(), attend, metrics, drain }).with_state(())
}

/// What the host's own doors to a conversation have before them.
fn chat_gate(doors: &Doors) -> client::OwnGate {
    client::OwnGate {
        allowed: Arc::new(doors.chat_allowed.clone()),
        channel: CHAT_CHANNEL,
        metrics: doors.metrics.clone(),
    }
}
