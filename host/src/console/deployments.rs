//! `/plugins/…`: bringing releases, trying them beside the stable one, and going back.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Content, Fields, Named, invalid};
use super::entry::{Admin, Operator};
use super::{Console, Refusal, missing, unavailable};
use crate::deployment::{Bringing, Installed, NotDeployed};
use crate::doors::body;
use crate::doors::problem::Problem;
use crate::plugin::package::FILE_BYTES_MAX;
use crate::plugin::shelf::Share;
use crate::store::oversight::{Act, Actor};
use crate::telemetry;

/// How a release is brought. Without a share it takes the stable one's place at once.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct How {
    /// Of a hundred conversations so many are the new release's, as long as it is on trial.
    #[param(maximum = 100)]
    weight: Option<u8>,
    /// It runs beside the stable one and is compared with it; nothing of it is sent.
    shadow: Option<bool>,
    /// You have seen what it asks for beyond the stable one, and say yes.
    approve: Option<bool>,
}

/// Which release is on trial, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Of a release that is kept here; its beginning is enough.
    digest: String,
    /// Of a hundred conversations so many are its. Without it, it is a shadow: it runs beside the stable release and is
    /// compared with it, and nothing of it is sent.
    #[schema(value_type = Option<u8>, maximum = 100)]
    weight: Option<f64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Of the release that waits.
    digest: String,
}

/// What came of bringing a release.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcome {
    plugin: String,
    version: String,
    digest: String,
    /// `serves`, `on-trial`, or `waits` for a yes to what it `asks` for.
    outcome: &'static str,
    /// What it asks for beyond the stable release, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    asks: Vec<String>,
}

/// The bytes of a plugin's file.
pub struct File(Bytes);

impl FromRequest<Arc<Console>> for File {
    type Rejection = Problem;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Problem> {
        let bytes_max = usize::try_from(FILE_BYTES_MAX).unwrap_or(usize::MAX);
        let bounds = body::Bounds { bytes_max, ..console.bounds };
        body::read(request.into_body(), &bounds).await.map(File)
    }
}

/// Brings a release: the body is the plugin's file. It serves once it has been verified, compiled and tried, and what
/// served before goes on until then.
#[utoipa::path(post, path = "/plugins", tag = "plugins", security(("token" = ["role:admin"])), params(How),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Outcome), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 408, body = Refusal), (status = 413, body = Refusal),
        (status = 409, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn install(
    Admin(actor): Admin,
    State(console): State<Arc<Console>>,
    Fields(how): Fields<How>,
    File(bytes): File,
) -> Result<Json<Outcome>, Problem> {
    let share = share(how.weight, how.shadow)?;
    let package = console.deployments.check(bytes.into()).map_err(|error| refused(&error))?;
    let (plugin, version, digest) =
        (package.manifest.name.clone(), package.manifest.version.clone(), package.digest.clone());
    write_down(&console, &plugin, format!("install {digest}"), &actor).await?;
    let how = Bringing { share, is_approved: how.approve == Some(true) };
    let installed = console.deployments.install(package, how).await.map_err(|error| refused(&error))?;
    Ok(Json(outcome(plugin, version, digest, installed)))
}

/// Says yes to what a waiting release asks for; it serves then.
#[utoipa::path(post, path = "/plugins/{plugin}/approve", tag = "plugins", security(("token" = ["role:admin"])),
    params(("plugin" = String, Path)), request_body = Approval,
    responses(
        (status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 403, body = Refusal),
        (status = 404, body = Refusal), (status = 408, body = Refusal), (status = 413, body = Refusal),
        (status = 409, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn approve(
    Admin(actor): Admin,
    State(console): State<Arc<Console>>,
    Named(plugin): Named<String>,
    Content(approval): Content<Approval>,
) -> Result<StatusCode, Problem> {
    change(&console, &plugin, format!("approve {}", approval.digest), &actor).await?;
    done(console.deployments.approve(&plugin, &approval.digest).await.map(drop))
}

/// Makes the candidate the stable release.
#[utoipa::path(post, path = "/plugins/{plugin}/promote", tag = "plugins", security(("token" = ["role:operator"])),
    params(("plugin" = String, Path)),
    responses(
        (status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 403, body = Refusal),
        (status = 404, body = Refusal), (status = 409, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn promote(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named(plugin): Named<String>,
) -> Result<StatusCode, Problem> {
    change(&console, &plugin, "promote".to_owned(), &actor).await?;
    done(console.deployments.promote(&plugin).await)
}

/// Goes back to the release before the stable one.
#[utoipa::path(post, path = "/plugins/{plugin}/rollback", tag = "plugins", security(("token" = ["role:operator"])),
    params(("plugin" = String, Path)),
    responses(
        (status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 403, body = Refusal),
        (status = 404, body = Refusal), (status = 409, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn roll_back(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named(plugin): Named<String>,
) -> Result<StatusCode, Problem> {
    change(&console, &plugin, "rollback".to_owned(), &actor).await?;
    done(console.deployments.roll_back(&plugin).await)
}

/// Lets a release that is kept here run beside the stable one, or changes the candidate's share.
#[utoipa::path(put, path = "/plugins/{plugin}/candidate", tag = "plugins", security(("token" = ["role:operator"])),
    params(("plugin" = String, Path)), request_body = Trial,
    responses(
        (status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 403, body = Refusal),
        (status = 404, body = Refusal), (status = 408, body = Refusal), (status = 413, body = Refusal),
        (status = 409, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn try_beside(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named(plugin): Named<String>,
    Content(trial): Content<Trial>,
) -> Result<StatusCode, Problem> {
    let share = share(trial.weight.map(whole).transpose()?, None)?.unwrap_or(Share::Shadow);
    change(&console, &plugin, format!("try {}, {share:?}", trial.digest), &actor).await?;
    done(console.deployments.try_beside(&plugin, &trial.digest, share).await)
}

/// Ends the candidate's trial: the stable release serves alone.
#[utoipa::path(delete, path = "/plugins/{plugin}/candidate", tag = "plugins",
    security(("token" = ["role:operator"])), params(("plugin" = String, Path)),
    responses(
        (status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 403, body = Refusal),
        (status = 404, body = Refusal), (status = 409, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn withdraw(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named(plugin): Named<String>,
) -> Result<StatusCode, Problem> {
    change(&console, &plugin, "withdraw the candidate".to_owned(), &actor).await?;
    done(console.deployments.withdraw(&plugin).await)
}

/// A number of JSON, for which 35 and 35.0 are one.
fn whole(weight: f64) -> Result<u8, Problem> {
    let is_whole = weight.fract() == 0.0 && (0.0..=100.0).contains(&weight);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was looked at")]
    is_whole.then_some(weight as u8).ok_or_else(|| invalid("`weight` is a whole number from 0 to 100"))
}

fn share(weight: Option<u8>, shadow: Option<bool>) -> Result<Option<Share>, Problem> {
    match (weight, shadow) {
        (Some(_), Some(true)) => {
            let message = "a shadow has no weight: say one of the two";
            Err(Problem::new(StatusCode::CONFLICT, "contradiction", message))
        }
        (Some(weight), _) if weight > 100 => Err(invalid("`weight` is a number from 0 to 100")),
        (Some(weight), _) => Ok(Some(Share::Weight(weight))),
        (None, Some(true)) => Ok(Some(Share::Shadow)),
        (None, _) => Ok(None),
    }
}

fn outcome(plugin: String, version: String, digest: String, installed: Installed) -> Outcome {
    let (outcome, asks) = match installed {
        Installed::Serves => ("serves", Vec::new()),
        Installed::OnTrial(_) => ("on-trial", Vec::new()),
        Installed::Waits(asks) => ("waits", asks),
    };
    Outcome { plugin, version, digest, outcome, asks }
}

/// The same of a plugin that is there.
async fn change(console: &Console, plugin: &str, change: String, actor: &Actor) -> Result<(), Problem> {
    console.shelf.serving(plugin).ok_or_else(|| missing("plugin"))?;
    write_down(console, plugin, change, actor).await
}

/// Before anything is changed.
async fn write_down(console: &Console, plugin: &str, change: String, actor: &Actor) -> Result<(), Problem> {
    let act = Act::Deploy { plugin: plugin.to_owned(), change };
    console.turns.store.act(console.turns.clock.now(), &act, actor).await.map_err(unavailable)?;
    Ok(())
}

fn done(outcome: Result<(), NotDeployed>) -> Result<StatusCode, Problem> {
    outcome.map(|()| StatusCode::NO_CONTENT).map_err(|error| refused(&error))
}

fn refused(error: &NotDeployed) -> Problem {
    let (status, code) = match error {
        NotDeployed::NoSuchPlugin(_)
        | NotDeployed::NoSuchRelease { .. }
        | NotDeployed::NoCandidate(_)
        | NotDeployed::NothingBefore(_) => (StatusCode::NOT_FOUND, "not_found"),
        NotDeployed::Store(_) | NotDeployed::Depot { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
        }
        _ => (StatusCode::CONFLICT, "release_refused"),
    };
    Problem::new(status, code, telemetry::chain(error))
}
