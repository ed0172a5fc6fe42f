//! `/plugins`: what serves, what it may do, and what does not serve and why.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::asked::Named;
use super::entry::Viewer;
use super::{Console, Refusal, missing};
use crate::clock::rfc3339;
use crate::config::mouth::{self, Mouth};
use crate::deployment::{self, Figures};
use crate::doors::problem::Problem;
use crate::plugin::Release;
use crate::plugin::manifest::{Egress, EgressHost, Kind, Manifest, Secret};
use crate::plugin::shelf::{Candidate, Serving, Share};
use crate::plugin::signature::Signer;

#[derive(Debug, Serialize, ToSchema)]
pub struct Plugins {
    items: Vec<Plugin>,
    /// Whether plugins serve that no trusted key has signed: for development alone.
    allow_unsigned: bool,
    /// Files of the plugin folder that do not serve, and sources that bring nothing that does.
    rejected: Vec<Rejected>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Rejected {
    /// Its name, or the address of a source.
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
    deployment: Deployment,
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

/// Which releases of a plugin serve, served and may serve.
#[derive(Debug, Serialize, ToSchema)]
struct Deployment {
    stable: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<Trial>,
    /// Digests of those before the stable one, newest first: a rollback goes to the first.
    previous: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Waiting>,
    /// Releases that were taken out of service, newest first.
    quarantined: Vec<Quarantined>,
    /// Why this host does not serve what is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// A release that serves on this host, and how it does since it began to.
#[derive(Debug, Serialize, ToSchema)]
struct Standing {
    digest: String,
    version: String,
    /// The trusted key that signed its file.
    signed_by: Option<SignedBy>,
    calls: u64,
    /// Traps, calls out of time, results other than the stable release's.
    bad: u64,
    /// Calls that the plugin itself failed.
    faults: u64,
    /// Of a pipeline in shadow: turns that it would have begun otherwise than the stable release. It stays all the same.
    other_steps: u64,
    /// The guest's own time, the 95th percentile of the last calls, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    p95_us: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Trial {
    #[serde(flatten)]
    standing: Standing,
    /// Of a hundred conversations so many are its; none: it is a shadow.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u8>,
}

/// A release that waits for a yes to what it asks for beyond the stable one.
#[derive(Debug, Serialize, ToSchema)]
struct Waiting {
    digest: String,
    asks: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Quarantined {
    digest: String,
    reason: String,
    #[schema(format = DateTime)]
    at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct NeededSecret {
    name: String,
    why: String,
    /// What it may serve, and nothing else.
    uses: Vec<&'static str>,
    required: bool,
    /// All up to the first such text is no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_until: Option<String>,
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
    let serving = console.shelf.names().into_iter().filter_map(|name| console.shelf.serving(&name));
    let rejected = console.deployments.rejected().into_iter();
    let rejected = rejected.map(|(file, reason)| Rejected { file, reason });
    Json(Plugins {
        items: serving.map(|serving| plugin(&console, &serving)).collect(),
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
    let serving = console.shelf.serving(&name).ok_or_else(|| missing("plugin"))?;
    let manifest = &serving.stable.release.manifest;
    let Manifest { contract, license, limits, secrets, egress, settings, .. } = manifest;
    Ok(Json(PluginDetail {
        plugin: plugin(&console, &serving),
        contract: contract.clone(),
        license: license.clone(),
        memory_bytes: limits.memory_bytes,
        time_ms: u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX),
        secrets: secrets.iter().map(NeededSecret::of).collect(),
        egress: egress.iter().map(Destination::of).collect(),
        settings: settings.json().clone(),
    }))
}

fn deployment(console: &Console, name: &str, serving: &Serving) -> Deployment {
    let wanted = console.deployments.wanted(name);
    let standing = |release: &Release| {
        let Figures { calls, bad, faults, other_steps, p95 } = console.deployments.figures(&release.digest);
        Standing {
            digest: release.digest.clone(),
            version: release.manifest.version.clone(),
            signed_by: release.provenance.signer().map(SignedBy::of),
            calls,
            bad,
            faults,
            other_steps,
            p95_us: p95.map(|p95| u64::try_from(p95.as_micros()).unwrap_or(u64::MAX)),
        }
    };
    let trial = |candidate: &Candidate| Trial {
        standing: standing(&candidate.fitted.release),
        weight: match candidate.share {
            Share::Weight(weight) => Some(weight),
            Share::Shadow => None,
        },
    };
    Deployment {
        stable: standing(&serving.stable.release),
        candidate: serving.candidate.as_ref().map(trial),
        previous: wanted.previous.clone(),
        waiting: wanted.waiting.as_ref().map(Waiting::of),
        quarantined: wanted.quarantined.iter().map(Quarantined::of).collect(),
        trouble: console.deployments.trouble(name),
    }
}

fn plugin(console: &Console, serving: &Serving) -> Plugin {
    let release = &serving.stable.release;
    let Manifest { name, kind, version, description, .. } = &release.manifest;
    let uses = |mouth: &Mouth<'_>| mouth.plugins().any(|used| used == name);
    let users = mouth::all(&console.config).into_iter().filter(uses);
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
        used_by: users.map(|mouth| mouth.name).collect(),
        deployment: deployment(console, name, serving),
    }
}

impl Waiting {
    fn of(waiting: &deployment::Waiting) -> Self {
        Waiting { digest: waiting.digest.clone(), asks: waiting.asks.clone() }
    }
}

impl Quarantined {
    fn of(quarantined: &deployment::Quarantined) -> Self {
        let deployment::Quarantined { digest, reason, at } = quarantined;
        Quarantined { digest: digest.clone(), reason: reason.clone(), at: rfc3339(*at) }
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
            public_until: secret.public_until.clone(),
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
