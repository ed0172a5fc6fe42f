//! `/plugins`: what serves, what it may do, and what does not serve and why.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::asked::Named;
use super::entry::Viewer;
use super::{Console, Refusal, channels, missing};
use crate::doors::problem::Problem;
use crate::plugin::Release;
use crate::plugin::manifest::{Egress, EgressHost, Kind, Manifest, Secret};
use crate::plugin::signature::Signer;

#[derive(Debug, Serialize, ToSchema)]
pub struct Plugins {
    items: Vec<Plugin>,
    /// Whether plugins serve that no trusted key has signed: for development alone.
    allow_unsigned: bool,
    /// Files of the plugin folder that do not serve.
    rejected: Vec<Rejected>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Rejected {
    file: String,
    /// Why, and what to do about it.
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Plugin {
    name: String,
    /// `adapter` or `pipeline`.
    kind: &'static str,
    version: String,
    /// Of its file, SHA-256 in hex.
    digest: String,
    description: String,
    /// The trusted key that signed its file; none: it serves since unsigned plugins are allowed.
    signed_by: Option<SignedBy>,
    /// Channels that use it.
    used_by: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SignedBy {
    /// As minisign writes it.
    key_id: String,
    /// What was signed along with the file.
    comment: String,
}

/// A plugin and what it may do.
#[derive(Debug, Serialize, ToSchema)]
pub struct PluginDetail {
    #[serde(flatten)]
    plugin: Plugin,
    /// The contract that it was built for.
    contract: String,
    license: String,
    /// Most linear memory of a call.
    memory_bytes: u64,
    /// A call's own time.
    time_ms: u64,
    secrets: Vec<NeededSecret>,
    egress: Vec<Destination>,
    /// JSON Schema of its settings.
    #[schema(value_type = Object)]
    settings: Value,
}

#[derive(Debug, Serialize, ToSchema)]
struct NeededSecret {
    name: String,
    why: String,
    /// What it may serve, and nothing else.
    uses: Vec<&'static str>,
    required: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct Destination {
    /// A host by its name, or a setting that holds a URL.
    to: String,
    methods: Vec<String>,
    /// Paths are this or go on below it.
    path: String,
}

/// Plugins that serve, and files that do not.
#[utoipa::path(get, path = "/plugins", tag = "plugins", security(("token" = ["role:viewer"])), responses(
    (status = 200, body = Plugins), (status = 401, body = Refusal), (status = 403, body = Refusal),
))]
pub async fn list(_: Viewer, State(console): State<Arc<Console>>) -> Json<Plugins> {
    let releases = console.shelf.names().into_iter().filter_map(|name| console.shelf.release(&name));
    let rejected = console.rejected.iter();
    let rejected = rejected.map(|(file, reason)| Rejected { file: file.clone(), reason: reason.clone() });
    Json(Plugins {
        items: releases.map(|release| plugin(&console, &release)).collect(),
        allow_unsigned: console.config.plugins.allow_unsigned,
        rejected: rejected.collect(),
    })
}

/// One plugin: what it needs and may do.
#[utoipa::path(get, path = "/plugins/{plugin}", tag = "plugins", security(("token" = ["role:viewer"])),
    params(("plugin" = String, Path)),
    responses(
        (status = 200, body = PluginDetail), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal),
    ))]
pub async fn one(
    _: Viewer,
    State(console): State<Arc<Console>>,
    Named(name): Named<String>,
) -> Result<Json<PluginDetail>, Problem> {
    let release = console.shelf.release(&name).ok_or_else(|| missing("plugin"))?;
    let Manifest { contract, license, limits, secrets, egress, settings, .. } = &release.manifest;
    Ok(Json(PluginDetail {
        plugin: plugin(&console, &release),
        contract: contract.clone(),
        license: license.clone(),
        memory_bytes: limits.memory_bytes,
        time_ms: u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX),
        secrets: secrets.iter().map(NeededSecret::of).collect(),
        egress: egress.iter().map(Destination::of).collect(),
        settings: settings.json().clone(),
    }))
}

fn plugin(console: &Console, release: &Release) -> Plugin {
    let Manifest { name, kind, version, description, .. } = &release.manifest;
    let uses = |facts: &channels::Facts<'_>| facts.adapter == Some(name) || facts.pipelines.contains(name);
    let users = channels::all(&console.config).into_iter().filter(uses);
    Plugin {
        name: name.clone(),
        kind: match kind {
            Kind::Adapter => "adapter",
            Kind::Pipeline => "pipeline",
        },
        version: version.clone(),
        digest: release.digest.clone(),
        description: description.clone(),
        signed_by: release.provenance.signer().map(SignedBy::of),
        used_by: users.map(|facts| facts.name).collect(),
    }
}

impl SignedBy {
    fn of(signer: &Signer) -> Self {
        SignedBy { key_id: signer.key_id.clone(), comment: signer.comment.clone() }
    }
}

impl NeededSecret {
    fn of(secret: &Secret) -> Self {
        NeededSecret {
            name: secret.name.clone(),
            why: secret.why.clone(),
            uses: secret.uses.iter().map(|serves| serves.as_str()).collect(),
            required: secret.required,
        }
    }
}

impl Destination {
    fn of(egress: &Egress) -> Self {
        let to = match &egress.host {
            EgressHost::Name { host, port: Some(port) } => format!("{host}:{port}"),
            EgressHost::Name { host, port: None } => host.clone(),
            EgressHost::Setting(name) => format!("${{setting:{name}}}"),
        };
        Destination { to, methods: egress.methods.clone(), path: egress.path.clone() }
    }
}
