//! `/webhook/{channel}[/…]`: where platforms knock.
//!
//! The request is read within its bounds and handed to the turns' intake; what comes back is sent as it is.
//! A 2xx from here means stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::{HeaderName, HeaderValue, StatusCode};

use super::body;
use super::client::{Allowed, Client};
use super::frame::RequestId;
use super::guard;
use super::problem::Problem;
use crate::auth::Verifier;
use crate::ingress;
use crate::message::HttpResponse;
use crate::turn::Turns;

/// What this door needs.
pub struct Webhooks {
    pub turns: Arc<Turns>,
    /// How the outside calls this host, without a trailing slash, unless a request brings its [`Origin`].
    pub public: String,
    pub bounds: body::Bounds,
    /// Who may choose the releases that serve him.
    pub verifier: Verifier,
    /// Whom channels are open to, where not to everybody.
    pub allowed: BTreeMap<String, Allowed>,
}

impl Webhooks {
    /// Before a byte of the body is read: whether the address may, and how often.
    async fn admit(&self, channel: &str, client: Client) -> Result<(), Problem> {
        if let Some(allowed) = self.allowed.get(channel) {
            allowed.check(client, channel, &self.turns.metrics)?;
        }
        Ok(self.turns.limits.webhook(channel, client.0).await?)
    }
}

/// How the outside called this host for one request: an extension of it, where each may tell another.
#[derive(Debug, Clone)]
pub struct Origin(pub String);

pub fn routes(webhooks: Webhooks) -> Router {
    let webhooks = Arc::new(webhooks);
    Router::new()
        .route("/webhook/{channel}", any(at_mount))
        .route("/webhook/{channel}/", any(at_mount))
        .route("/webhook/{channel}/{*below}", any(below_mount))
        .with_state(webhooks)
}

async fn at_mount(
    state: State<Arc<Webhooks>>,
    id: Extension<RequestId>,
    Path(channel): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    take(&state, &id.0.0, &channel, request).await
}

async fn below_mount(
    state: State<Arc<Webhooks>>,
    id: Extension<RequestId>,
    Path((channel, _)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    take(&state, &id.0.0, &channel, request).await
}

async fn take(
    webhooks: &Webhooks,
    request_id: &str,
    channel: &str,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    webhooks.admit(channel, Client::of(&parts.extensions)).await?;
    let favour = guard::favour(&webhooks.verifier, &parts.headers)?;
    let content = body::read(content, &webhooks.bounds).await?;
    let mount = format!("/webhook/{channel}");
    let public = parts.extensions.get().map_or(&webhooks.public, |Origin(public)| public);
    let request = ingress::read(&parts, content, &mount, public)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "not_utf8", error.to_string()))?;
    Ok(answer(webhooks.turns.take(channel, request, favour, request_id).await))
}

/// An adapter's response as HTTP; one that HTTP cannot carry is a defect of the adapter.
fn answer(response: HttpResponse) -> Response {
    let broken = || {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "bad_response", "the adapter's response is not HTTP")
            .into_response()
    };
    let Ok(status) = StatusCode::from_u16(response.status) else { return broken() };
    let mut sent = Response::new(Body::from(response.body));
    *sent.status_mut() = status;
    for (name, value) in response.headers.iter().filter(|(name, _)| !is_framing(name)) {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            return broken();
        };
        sent.headers_mut().append(name, value);
    }
    sent
}

/// How a message ends is the server's to say: an adapter's word for it could smuggle a second one to a proxy.
fn is_framing(name: &str) -> bool {
    const FRAMING: [&str; 7] =
        ["content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer"];
    FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing))
}
