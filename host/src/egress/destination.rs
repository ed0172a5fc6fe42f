//! Where a request goes: the URL read strictly, and the rule of the manifest that allows it.
//!
//! It knows the rules, but neither secrets nor the network.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use crate::plugin::manifest::{Egress as Rule, EgressHost, Manifest, TemplatePart, Token, is_below};
use crate::plugin::services::{FailureKind, HttpFailure, Outbound};

/// Longer URLs are refused by most servers anyway.
const URL_BYTES_MAX: usize = 8192;

/// An allowed request: which rule allows it, and the URL with its placeholders still in it.
#[derive(Debug)]
pub(super) struct Destination<'a> {
    pub rule: &'a Rule,
    /// Which of the manifest's rules it is.
    pub index: usize,
    pub url: Url,
}

impl<'a> Destination<'a> {
    /// Whether the rule allows this URL too, after placeholders were filled.
    pub(super) fn still_fits(&self, settings: &BTreeMap<String, Value>, filled: &Url) -> bool {
        fits(self.rule, settings, filled)
    }

    /// Finds the rule that allows this request.
    pub(super) fn find(
        manifest: &'a Manifest,
        settings: &BTreeMap<String, Value>,
        request: &Outbound,
    ) -> Result<Self, HttpFailure> {
        let url = parse(&request.url)?;
        if let Some(token) = manifest.tokens.iter().find(|token| is_mint(token, &url)) {
            let name = &token.name;
            return Err(denied(format!(
                "the token `{name}` is minted by the host alone: write `${{token:{name}}}`"
            )));
        }
        let allows = |rule: &Rule| allows(rule, settings, &request.method, &url);
        match manifest.egress.iter().enumerate().find(|(_, rule)| allows(rule)) {
            Some((index, rule)) => Ok(Self { rule, index, url }),
            None => Err(denied(format!(
                "the manifest of `{}` names no `[[egress]]` for {} to `{}` at this path: add one",
                manifest.name,
                shown(&request.method),
                url.host_str().unwrap_or_default(),
            ))),
        }
    }
}

/// A refusal before anything was sent.
pub(super) fn denied(reason: impl Into<String>) -> HttpFailure {
    HttpFailure { kind: FailureKind::Denied, reason: reason.into(), request_sent: false, retry_after: None }
}

/// A method as an error text may show it.
fn shown(method: &str) -> &str {
    let plain = method.len() <= 16 && method.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain { method } else { "this method" }
}

/// The URL read strictly: nothing in it may mean one thing here and another at the server.
fn parse(text: &str) -> Result<Url, HttpFailure> {
    let odd = |c: char| c == '\\' || c.is_whitespace() || c.is_control();
    if text.len() > URL_BYTES_MAX || text.contains(odd) {
        return Err(denied("the URL is too long, or holds blanks, control characters or backslashes"));
    }
    let behind = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if behind.is_none_or(|behind| behind.starts_with('/')) {
        return Err(denied("the URL does not begin with `https://` and a host"));
    }
    let url = Url::parse(text).map_err(|error| denied(format!("the URL cannot be read: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() || !url.has_host() {
        return Err(denied("the URL holds a user, a password or a fragment, or has no host: leave them out"));
    }
    let path = text.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if dots || hides_letters(&path) || ["%2e", "%2f", "%5c", "%00"].iter().any(|trick| path.contains(trick)) {
        return Err(denied("the URL's path holds dots, or encodes slashes or letters: write it plainly"));
    }
    Ok(url)
}

/// Whether this is where a token is minted: asked directly, its answer would hand the token to the plugin.
fn is_mint(token: &Token, url: &Url) -> bool {
    let Some(TemplatePart::Text(text)) = token.url.0.first() else { return false };
    let Ok(mint) = Url::parse(text) else { return false };
    let (from, path) = (plain_path(&mint), plain_path(url));
    let goes_on = token.url.0.len() > 1 && mint.query().is_none();
    mint.origin() == url.origin() && (path == from || goes_on && path.starts_with(&from))
}

/// A path as a careless server reads it: without case, repeated slashes and one at the end.
fn plain_path(url: &Url) -> String {
    let segments = url.path().split('/').filter(|segment| !segment.is_empty());
    segments.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("/")
}

/// Whether a path encodes letters or digits: nobody needs to, and servers read them as if they were plain.
fn hides_letters(path: &str) -> bool {
    let hex = path.split('%').skip(1).filter_map(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok());
    hex.into_iter().any(|byte| byte.is_ascii_alphanumeric())
}

fn allows(rule: &Rule, settings: &BTreeMap<String, Value>, method: &str, url: &Url) -> bool {
    rule.methods.iter().any(|allowed| allowed == method) && fits(rule, settings, url)
}

fn fits(rule: &Rule, settings: &BTreeMap<String, Value>, url: &Url) -> bool {
    match &rule.host {
        EgressHost::Name { host, port } => {
            let same = url.scheme() == "https" && url.host_str() == Some(host) && url.port() == *port;
            same && is_below(url.path(), &rule.path)
        }
        EgressHost::Setting(name) => {
            let set = settings.get(name).and_then(Value::as_str).and_then(|text| Url::parse(text).ok());
            set.is_some_and(|set| fits_setting(rule, &set, url))
        }
    }
}

/// The operator who set the URL may allow plain HTTP by it.
fn fits_setting(rule: &Rule, set: &Url, url: &Url) -> bool {
    let known = matches!(set.scheme(), "http" | "https") && set.origin() == url.origin();
    let path = if rule.path == "/" {
        set.path().to_owned()
    } else {
        format!("{}{}", set.path().trim_end_matches('/'), rule.path)
    };
    known && is_below(url.path(), &path)
}
