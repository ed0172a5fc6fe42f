//! `parlor plugin sign`: puts a signature into a plugin's file, or makes a key pair to sign with.
//!
//! Keys and signatures are minisign's, so that either tool does what the other does. Secret keys are read here and
//! nowhere else.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use minisign::SignatureBox;
use serde_json::json;

use super::{describe, file, keys};
use crate::plugin::package::{self, Package};
use crate::plugin::signature::{self, Trust};

#[derive(Debug, clap::Args)]
pub struct Sign {
    /// The plugin's `.wasm` file; the signature is put into it
    #[arg(required_unless_present = "generate")]
    file: Option<PathBuf>,
    #[command(flatten)]
    key: keys::Secret,
    /// Make a key pair: the secret key at `--key`, the public one beside it
    #[arg(long, conflicts_with_all = ["file", "signature", "comment", "output", "replace"])]
    generate: bool,
    /// Put in a signature that minisign made of the file, instead of making one
    #[arg(long, value_name = "MINISIG", conflicts_with_all = ["comment", "password_file", "key"])]
    signature: Option<PathBuf>,
    /// What is signed along with the file; its name, version and the time if left out
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Where the signed file goes, instead of into its place
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the signature that the file has
    #[arg(long)]
    replace: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(wanted: &Sign) -> anyhow::Result<()> {
    match &wanted.file {
        Some(path) => sign(wanted, path),
        None => generate(wanted),
    }
}

fn sign(wanted: &Sign, path: &Path) -> anyhow::Result<()> {
    let name = || format!("`{}`", path.display());
    let bytes = package::load(path)?;
    let package = Package::check(path.to_owned(), bytes, &Trust::anybody()).with_context(name)?;
    let body = unsigned(&package, wanted.replace).with_context(name)?;
    let (signature, public) = match &wanted.signature {
        Some(minisig) => (read(minisig)?, None),
        None => {
            let pair = wanted.key.read()?;
            (make(&pair, body, &comment(wanted, &package)?)?, Some(pair.pk))
        }
    };
    let signed = signature::attach(body, &signature)?;
    let signer = signature::signer(&signature)?;
    let to = wanted.output.as_deref().unwrap_or(path);
    file::replace(to, &signed)?;
    let key = public.map(|key| key.to_base64());
    if wanted.json {
        println!(
            "{}",
            json!({ "file": to, "key_id": signer.key_id, "comment": signer.comment, "public_key": key })
        );
        return Ok(());
    }
    println!("{}: signed by {}", to.display(), describe::signer(&signer));
    match key {
        Some(key) => println!("hosts load it that have `{key}` in `plugins.trusted_keys`"),
        None => println!("see whether it fits: parlor plugin verify {} --key RW…", to.display()),
    }
    Ok(())
}

/// The bytes to sign: all but the signature that is there.
fn unsigned(package: &Package, may_replace: bool) -> anyhow::Result<&[u8]> {
    match signature::split(&package.bytes)? {
        None => Ok(&package.bytes),
        Some((body, _)) if may_replace => Ok(body),
        Some((_, there)) => bail!(
            "it is signed already, by {}; add `--replace` to sign it anew",
            describe::signer(&signature::signer(&there)?)
        ),
    }
}

fn read(minisig: &Path) -> anyhow::Result<SignatureBox> {
    let name = || format!("`{}`", minisig.display());
    let text = std::fs::read(minisig).with_context(|| format!("cannot read {}", name()))?;
    signature::read(&text).with_context(name)
}

fn make(pair: &minisign::KeyPair, body: &[u8], comment: &str) -> anyhow::Result<SignatureBox> {
    let signed = minisign::sign(Some(&pair.pk), &pair.sk, std::io::Cursor::new(body), Some(comment), None);
    signed.map_err(|error| anyhow::anyhow!("it cannot be signed: {error}"))
}

fn comment(wanted: &Sign, package: &Package) -> anyhow::Result<String> {
    if let Some(comment) = &wanted.comment {
        let is_plain = !comment.chars().any(char::is_control) && comment.len() <= COMMENT_BYTES_MAX;
        ensure!(is_plain, "`--comment` is one line of at most {COMMENT_BYTES_MAX} bytes");
        return Ok(comment.trim().to_owned());
    }
    let now = time::OffsetDateTime::now_utc().replace_nanosecond(0)?;
    let now = now.format(&time::format_description::well_known::Rfc3339)?;
    Ok(format!("{} {}, {now}", package.manifest.name, package.manifest.version))
}

/// A line that people read.
const COMMENT_BYTES_MAX: usize = 512;

fn generate(wanted: &Sign) -> anyhow::Result<()> {
    let made = wanted.key.generate()?;
    let key = made.public.to_base64();
    if wanted.json {
        let (secret, public) = (&made.secret_file, &made.public_file);
        println!("{}", json!({ "secret_key_file": secret, "public_key_file": public, "public_key": key }));
        return Ok(());
    }
    println!(
        "secret key  {}  keep it to yourself, and a copy of it in a safe place",
        made.secret_file.display()
    );
    println!("public key  {}  give it away with your plugins", made.public_file.display());
    println!(
        "\nwho trusts your plugins writes into parlor.yaml:\n\n  plugins:\n    trusted_keys: [\"{key}\"]"
    );
    Ok(())
}
