//! A plugin's file in words: what it is, who signed it, what it may do. And the same as JSON.

use serde_json::{Value, json};

use crate::command::paint;
use crate::plugin::inspection::Inspection;
use crate::plugin::manifest::{Egress, Manifest, Placeholder, Secret, Token, size, span};
use crate::plugin::signature::{Provenance, SignatureError, Signer};

/// A table of a word and what there is to say to it, under the plugin's name.
pub fn text(seen: &Inspection, has_colours: bool) -> String {
    let mut lines = vec![title(seen)];
    let mut row = |word: &str, what: String| lines.push(format!("  {word:9}  {what}"));
    row("file", format!("{} bytes, SHA-256 {}", seen.bytes, seen.digest));
    row("signature", signature(&seen.provenance, has_colours));
    row("contract", seen.contract.clone().unwrap_or_else(|| "none".to_owned()));
    each("imports", imports(seen), &mut row);
    if let Some(manifest) = &seen.manifest {
        row("licence", manifest.license.clone());
        permissions(manifest, &mut row);
    }
    lines.join("\n") + "\n"
}

fn title(seen: &Inspection) -> String {
    match &seen.manifest {
        Some(manifest) => format!(
            "{} {}, {}: {}",
            manifest.name,
            manifest.version,
            manifest.kind.told(),
            manifest.description
        ),
        None => "no plugin, or one whose manifest cannot be read".to_owned(),
    }
}

fn signature(provenance: &Result<Provenance, SignatureError>, has_colours: bool) -> String {
    match provenance {
        Ok(Provenance::Signed(signer)) => format!("by the trusted key {}", self::signer(signer)),
        Ok(Provenance::Claimed(signer)) => {
            let what = format!(
                "by the key {}, which is not among the trusted ones: not verified",
                self::signer(signer)
            );
            paint::red(&what, has_colours)
        }
        Ok(Provenance::Unsigned) => paint::red("none: anybody may have made it", has_colours),
        Err(error) => paint::red(&error.to_string(), has_colours),
    }
}

/// A key's id, and what was signed along with the file.
pub fn signer(signer: &Signer) -> String {
    let comment = signer.comment.replace('\t', " ");
    if comment.is_empty() { signer.key_id.clone() } else { format!("{} ({comment})", signer.key_id) }
}

/// What the interfaces of the contract are for.
const INTERFACES: [(&str, &str); 7] = [
    ("types", "the contract's nouns"),
    ("settings", "reads the settings of its channel"),
    ("secrets", "computes with its secrets by name, without seeing them"),
    ("http", "sends to the destinations below"),
    ("store", "keeps small values of its own"),
    ("log", "writes lines into the host's log"),
    ("clock", "knows the time"),
];

/// The contract's interfaces with what they are for, those of the system by their number: it gets empty ones.
fn imports(seen: &Inspection) -> Vec<String> {
    let (system, own): (Vec<&String>, Vec<&String>) =
        seen.imports.iter().partition(|name| name.starts_with("wasi:"));
    let mut told: Vec<String> = own.into_iter().map(|name| interface(name)).collect();
    if !system.is_empty() {
        told.push(format!("{} of `wasi:`, without files, sockets or environment", system.len()));
    }
    told
}

fn interface(name: &str) -> String {
    let word = name.strip_prefix("parlor:plugin/").and_then(|rest| rest.split('@').next());
    let known = INTERFACES.iter().find(|(interface, _)| word == Some(interface));
    known.map_or_else(|| format!("{name}, which no host offers"), |(word, what)| format!("{word}: {what}"))
}

fn permissions(manifest: &Manifest, row: &mut impl FnMut(&str, String)) {
    let limits = &manifest.limits;
    row(
        "limits",
        format!("{} of memory, {} of its own a call", size(limits.memory_bytes), span(limits.time)),
    );
    each("secrets", manifest.secrets.iter().map(secret).collect(), row);
    each("tokens", manifest.tokens.iter().map(token).collect(), row);
    each("egress", manifest.egress.iter().flat_map(egress).collect(), row);
    each("settings", manifest.settings.names().map(str::to_owned).collect::<Vec<_>>(), row);
    let golden = manifest.selftests.len();
    row(
        "self-test",
        if golden == 1 { "1 golden request".to_owned() } else { format!("{golden} golden requests") },
    );
}

/// One line for each, the word before the first; `none` if there are none.
fn each(word: &str, whats: Vec<String>, row: &mut impl FnMut(&str, String)) {
    if whats.is_empty() {
        row(word, "none".to_owned());
    }
    for (index, what) in whats.into_iter().enumerate() {
        row(if index == 0 { word } else { "" }, what);
    }
}

fn secret(secret: &Secret) -> String {
    let uses: Vec<&str> = secret.uses.iter().map(|serves| serves.as_str()).collect();
    let optional = if secret.required { "" } else { ", optional" };
    let public = secret.public_until.as_ref();
    let public = public.map(|mark| format!(", public up to its first `{mark}`")).unwrap_or_default();
    format!("`{}` for {}{optional}{public}: {}", secret.name, uses.join(", "), secret.why)
}

fn token(token: &Token) -> String {
    format!("`{}`, minted {}", token.name, token.told())
}

fn egress(egress: &Egress) -> Vec<String> {
    let mut lines = vec![format!("{} to `{}`{}", egress.methods.join(", "), egress.address(), rates(egress))];
    let places = egress.places.iter().filter(|place| !matches!(place.what, Placeholder::Setting(_)));
    lines.extend(places.map(|place| format!("  with {} in {}", place.what.told(), place.at)));
    lines
}

fn rates(egress: &Egress) -> String {
    let of_key = egress.rate.map(|rate| format!(", {rate} of one limit key")).unwrap_or_default();
    let in_all: Vec<String> = egress.rates_in_all.iter().map(ToString::to_string).collect();
    if in_all.is_empty() { of_key } else { format!("{of_key}, {} in all", in_all.join(" and ")) }
}

/// Everything that is known of it.
pub fn json(seen: &Inspection) -> Value {
    json!({
        "bytes": seen.bytes,
        "digest": seen.digest,
        "signature": provenance_json(&seen.provenance),
        "contract": seen.contract,
        "imports": seen.imports,
        "exports": seen.exports,
        "manifest": seen.manifest.as_ref().map(manifest_json),
    })
}

/// `state` is `signed`, `claimed`, `unsigned` or `refused`.
pub fn provenance_json(provenance: &Result<Provenance, SignatureError>) -> Value {
    let by = |state: &str, signer: &Signer| json!({ "state": state, "key_id": signer.key_id, "comment": signer.comment });
    match provenance {
        Ok(Provenance::Signed(signer)) => by("signed", signer),
        Ok(Provenance::Claimed(signer)) => by("claimed", signer),
        Ok(Provenance::Unsigned) => json!({ "state": "unsigned" }),
        Err(error) => json!({ "state": "refused", "reason": error.to_string() }),
    }
}

fn manifest_json(manifest: &Manifest) -> Value {
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "kind": manifest.kind.as_str(),
        "license": manifest.license,
        "description": manifest.description,
        "limits": { "memory_bytes": manifest.limits.memory_bytes, "time_ms": manifest.limits.time.as_millis() },
        "secrets": manifest.secrets.iter().map(secret_json).collect::<Vec<_>>(),
        "tokens": manifest.tokens.iter().map(token_json).collect::<Vec<_>>(),
        "egress": manifest.egress.iter().map(egress_json).collect::<Vec<_>>(),
        "settings": manifest.settings.json(),
        "golden_requests": manifest.selftests.len(),
    })
}

fn secret_json(secret: &Secret) -> Value {
    let uses: Vec<&str> = secret.uses.iter().map(|serves| serves.as_str()).collect();
    json!({
        "name": secret.name,
        "why": secret.why,
        "uses": uses,
        "required": secret.required,
        "public_until": secret.public_until,
    })
}

fn token_json(token: &Token) -> Value {
    let put_in: Vec<String> = token.placeholders().map(ToString::to_string).collect();
    json!({ "name": token.name, "method": token.method, "url": token.url.to_string(), "put_in": put_in })
}

fn egress_json(egress: &Egress) -> Value {
    let places = egress
        .places
        .iter()
        .map(|place| json!({ "what": place.what.to_string(), "at": place.at.to_string() }));
    json!({
        "to": egress.address(),
        "methods": egress.methods,
        "places": places.collect::<Vec<_>>(),
        "rate": egress.rate.map(|rate| rate.to_string()),
        "rates_in_all": egress.rates_in_all.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
