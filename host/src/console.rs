//! The admin door: what operators see of a host, and what they change.
//!
//! An address of its own, on this machine alone unless the configuration says otherwise. Each handler's first
//! argument says which role it needs; what is changed and what people said that was looked at is in the audit. It
//! does not know how tokens are made, nor what a turn does. Reading order: `entry` lets somebody in, `asked` reads
//! what he asks, then one file for each thing.

mod asked;
mod audit;
mod bus;
mod channels;
mod conversations;
mod dead_letters;
mod deployments;
mod entry;
mod jobs;
mod limits;
mod logs;
mod overview;
mod page;
mod plugins;
mod tokens;

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router, middleware};
use http::StatusCode;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Revocations, Verifier};
use crate::config::Config;
use crate::deployment::Deployments;
use crate::doors::client::{self, Allowed, Gate, Origins};
use crate::doors::health::{self, Probes, Readiness};
use crate::doors::problem::{self, Problem};
use crate::doors::{body, frame};
use crate::plugin::Shelf;
use crate::store::StoreError;
use crate::turn::Turns;

/// What the door needs of the host.
pub struct Console {
    pub turns: Arc<Turns>,
    pub shelf: Arc<Shelf>,
    pub config: Arc<Config>,
    pub deployments: Arc<Deployments>,
    pub readiness: Arc<dyn Readiness>,
    pub verifier: Verifier,
    pub revocations: Revocations,
    pub bounds: body::Bounds,
    /// The door is reached from this machine alone: then it is called by this machine's names.
    pub is_local: bool,
}

/// Where all operations are.
const BELOW: &str = "/api/v1/admin/";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Parlor's admin API",
        description = "What operators see of a host, and what they change. Every change is an entry of the audit.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(Refusal, Refused)),
    modifiers(&TokenScheme)
)]
struct Api;

/// Every operation says which role or scope its token needs.
struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "A token of `parlor token --role viewer|operator|admin`, with `--scope logs:read` for logs",
            ))
            .build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Why something was refused.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape that `Problem` has, for the schema")]
struct Refusal {
    error: Refused,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape that `Problem` has, for the schema")]
struct Refused {
    /// A word for programs.
    code: String,
    /// A sentence for people.
    message: String,
}

/// All that the door answers.
pub fn router(console: Console) -> Router {
    let gate = Gate { origins: Arc::new(origins(&console.config)), metrics: console.turns.metrics.clone() };
    let probes = health::routes(Probes {
        readiness: console.readiness.clone(),
        metrics: console.turns.metrics.clone(),
        drain: console.turns.drain.clone(),
        verifier: None,
    });
    let console = Arc::new(console);
    let (api, mut document) = api().split_for_parts();
    name_operations(&mut document);
    api.with_state(console.clone())
        .route("/api/v1/openapi.json", get(move || async { Json(document) }))
        .merge(probes)
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn_with_state(console, entry::by_its_own_name))
        .layer(middleware::from_fn_with_state(gate, client::admit))
        .layer(middleware::from_fn(frame::frame))
}

fn api() -> OpenApiRouter<Arc<Console>> {
    let own = OpenApiRouter::new()
        .routes(routes!(overview::overview))
        .routes(routes!(channels::list))
        .routes(routes!(channels::one))
        .routes(routes!(plugins::list, deployments::install))
        .routes(routes!(plugins::one))
        .routes(routes!(deployments::approve))
        .routes(routes!(deployments::promote))
        .routes(routes!(deployments::roll_back))
        .routes(routes!(deployments::try_beside, deployments::withdraw))
        .routes(routes!(conversations::list))
        .routes(routes!(conversations::one, conversations::forget))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::one, dead_letters::discard))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(jobs::say))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::one))
        .routes(routes!(jobs::cancel))
        .routes(routes!(bus::listen))
        .routes(routes!(limits::limits))
        .routes(routes!(logs::logs))
        .routes(routes!(audit::list))
        .routes(routes!(audit::check))
        .routes(routes!(tokens::list))
        .routes(routes!(tokens::revoke));
    OpenApiRouter::with_openapi(Api::openapi()).nest(BELOW.trim_end_matches('/'), own)
}

/// An operation is known by its name to programs that are made out of the document, and handlers of different things
/// are called alike.
fn name_operations(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let things = path.trim_start_matches(BELOW).replace(['{', '}'], "").replace('/', "-");
        let operations = [("get", &mut item.get), ("post", &mut item.post), ("delete", &mut item.delete)];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                operation.operation_id = Some(format!("{method}-{things}"));
            }
        }
    }
}

fn origins(config: &Config) -> Origins {
    let allowed = config.admin.as_ref().map_or_else(Vec::new, |admin| admin.allow.clone());
    Origins { allowed: Allowed(allowed), trusted_proxies: config.trusted_proxies.clone() }
}

/// Nothing was changed, and nothing that had to be written down was shown.
fn unavailable(error: StoreError) -> Problem {
    tracing::error!(error = %error, "the store did not answer an operator");
    let message = "the store does not answer, and nothing was changed; the log knows more";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", message)
}

fn missing(what: &'static str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
}
