//! Plugins and channels, taken the whole way that `serve` takes them: read, compiled, linked, tried, wired.

use std::sync::Arc;

use super::{Finding, Level};
use crate::app::Parts;
use crate::app::examine::{Examined, examine};
use crate::config::Config;
use crate::plugin::loader::{LoadError, Rejected};
use crate::plugin::manifest::Manifest;
use crate::scratch::Scratch;

const CHECK: &str = "plugin";
/// How a problem tells of a plugin that is not in the folder.
const MISSED: &str = "no plugin `";
/// Whether strangers' code may serve. Shown in red.
pub const TRUST: &str = "trust";

/// Findings, and what the plugins that would serve say of themselves.
pub async fn findings(config: &Arc<Config>, parts: &Parts) -> (Vec<Finding>, Vec<Manifest>) {
    let folder = config.plugins.folder.display().to_string();
    let needs_plugins =
        !config.channels.is_empty() || config.chat.as_ref().is_some_and(|chat| !chat.pipelines.is_empty());
    let scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => {
            let what = format!("plugins were not tried: no folder for it can be made ({error})");
            return (
                vec![Finding::fail(CHECK, &folder, what, "check the folder that `TMPDIR` names")],
                Vec::new(),
            );
        }
    };
    match examine(config, parts, scratch.path()).await {
        Ok(examined) => {
            let signatures = signatures(config, &examined.unsigned);
            let has_sources = !config.plugins.sources.is_empty();
            let (mut findings, manifests) = told(&folder, examined, needs_plugins, has_sources);
            findings.push(signatures);
            (findings, manifests)
        }
        Err(error) => {
            let remedy = "set `plugins.folder` to the folder of the `.wasm` files; an empty one will do without channels";
            (vec![Finding::fail(CHECK, &folder, format!("{error:#}"), remedy)], Vec::new())
        }
    }
}

fn told(
    folder: &str,
    examined: Examined,
    needs_plugins: bool,
    has_sources: bool,
) -> (Vec<Finding>, Vec<Manifest>) {
    let Examined { rejected, problems, manifests, .. } = examined;
    let is_missed = problems.iter().any(|problem| problem.contains(MISSED));
    let mut findings: Vec<Finding> = rejected.iter().map(|rejected| refusal(rejected, is_missed)).collect();
    findings.extend(problems.iter().map(|problem| match problem.contains(MISSED) && has_sources {
        true => elsewhere(channel(problem)),
        false => channel(problem),
    }));
    for manifest in &manifests {
        let what = format!("{} {} would serve", kind(manifest), manifest.version);
        findings.push(Finding::ok(CHECK, &manifest.name, what));
    }
    if findings.is_empty() && !needs_plugins {
        findings.push(Finding::ok(CHECK, folder, "there are none, and no channel needs one"));
    }
    (findings, manifests)
}

fn signatures(config: &Config, unsigned: &[String]) -> Finding {
    if !config.plugins.allow_unsigned {
        let what = match config.plugins.trusted_keys.len() {
            0 => "signed plugins alone are loaded, and no key is trusted yet: none is".to_owned(),
            1 => "plugins are loaded that the trusted key has signed".to_owned(),
            keys => format!("plugins are loaded that one of {keys} trusted keys has signed"),
        };
        return Finding::ok(TRUST, "", what);
    }
    let which = match unsigned {
        [] => "none does now".to_owned(),
        names => format!("now {}", names.join(", ")),
    };
    Finding::warn(
        TRUST,
        "",
        format!("plugins may serve that no trusted key has signed; {which}"),
        "where others can reach it, name their authors' keys in `plugins.trusted_keys` and remove `plugins.allow_unsigned`",
    )
}

fn kind(manifest: &Manifest) -> &'static str {
    match manifest.kind {
        crate::plugin::manifest::Kind::Adapter => "adapter",
        crate::plugin::manifest::Kind::Pipeline => "pipeline",
    }
}

/// A file that no channel asks for does not keep the host from serving.
fn refusal(rejected: &Rejected, is_missed: bool) -> Finding {
    let about = rejected.path.file_name().unwrap_or_default().to_string_lossy();
    let finding = Finding::of_chain(CHECK, &about, &rejected.source, remedy(&rejected.source));
    if is_missed { finding } else { Finding { level: Level::Warn, ..finding } }
}

/// Where the error itself does not say.
fn remedy(error: &LoadError) -> &'static str {
    match error {
        LoadError::Package(_) => "build it again with the SDK, or take it out of the folder",
        LoadError::Compile(_) => "take another build of it; see what the compiler says",
        LoadError::Link(_) => "build it again with the SDK of this host's contract",
        LoadError::SelfTest(_) => "take another version of it: what its author promises does not hold here",
        LoadError::SecondOfItsName(_) => "remove one of the two",
        LoadError::NotDeployed(_) => "take it out of the folder, or mend what it says",
    }
}

/// It may come by a source: what those have is fetched when the host starts, and not here.
fn elsewhere(finding: Finding) -> Finding {
    let what = format!("{}, unless one of `plugins.sources` brings it", finding.what);
    Finding { level: Level::Warn, what, ..finding }
}

/// `channel `team`: adapter: set the secret `app_secret`: why it is needed`
fn channel(problem: &str) -> Finding {
    let (about, what) = problem.split_once(": ").unwrap_or(("", problem));
    let about = about.trim_start_matches("channel ").trim_matches('`');
    Finding::of_error("channel", about, what, "correct the channel in the configuration")
}
