//! `parlor plugin new`: a crate that builds, passes its tests and serves as it is.
//!
//! The files are those of `sdk/templates`, with the plugin's name in the place of `my-plugin`. The SDK is not in a
//! registry, so that a copy comes along, unless a checkout is named.

mod carried;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use serde_json::json;

/// Where the template's `Cargo.toml` looks for the SDK.
const VENDORED: &str = "vendor/sdk";
/// Names that a crate cannot have, out of those that a plugin can.
const RESERVED: [&str; 12] = [
    "alloc",
    "async",
    "const",
    "core",
    "crate",
    "extern",
    "match",
    "parlor-sdk",
    "static",
    "std",
    "super",
    "test",
];

#[derive(Debug, clap::Args)]
pub struct New {
    /// What the plugin is called: a-z, 0-9 and `-`
    name: String,
    /// What it is
    #[arg(long, value_enum, default_value = "adapter")]
    kind: Template,
    /// Where to make it, instead of in a folder of its name here
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// A checkout's folder `sdk` to build against, instead of a copy of the SDK
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Template {
    /// Speaks a chat platform
    Adapter,
    /// Turns messages into prompts and completions into replies
    Pipeline,
}

pub fn run(wanted: &New) -> anyhow::Result<()> {
    check_name(&wanted.name)?;
    let folder = wanted.folder.clone().unwrap_or_else(|| PathBuf::from(&wanted.name));
    let is_empty = std::fs::read_dir(&folder).map_or(true, |mut entries| entries.next().is_none());
    ensure!(
        is_empty,
        "`{}` is there and not empty; take another name, or another place by `--folder`",
        folder.display()
    );
    let files = files(wanted)?;
    for (path, text) in &files {
        write(&folder.join(path), text)?;
    }
    if wanted.json {
        let files: Vec<&String> = files.iter().map(|(path, _)| path).collect();
        println!("{}", json!({ "folder": folder, "name": wanted.name, "files": files }));
    } else {
        print!("{}", next(wanted, &folder));
    }
    Ok(())
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits =
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_word) && name.len() <= 63;
    ensure!(
        fits,
        "`{name}` is no name for a plugin; use 1 to 63 of a-z, 0-9 and `-`, beginning with a letter"
    );
    let is_taken = RESERVED.contains(&name) || name.ends_with('-');
    ensure!(
        !is_taken,
        "`{name}` cannot name a crate of Rust; take another name, such as `my-{}`",
        name.trim_end_matches('-')
    );
    Ok(())
}

/// All files by their paths.
fn files(wanted: &New) -> anyhow::Result<Vec<(String, String)>> {
    let template = match wanted.kind {
        Template::Adapter => carried::ADAPTER,
        Template::Pipeline => carried::PIPELINE,
    };
    let mut files: Vec<(String, String)> =
        template.iter().map(|(path, text)| (placed(path), named(text, &wanted.name))).collect();
    match &wanted.sdk {
        None => {
            files.extend(carried::sdk()?.into_iter().map(|(path, text)| (format!("vendor/{path}"), text)))
        }
        Some(sdk) => depend_on(sdk, &mut files)?,
    }
    Ok(files)
}

/// Under the names that cargo and git know, which a template cannot have within this tree.
fn placed(path: &str) -> String {
    match path {
        "Cargo.toml.template" => "Cargo.toml".to_owned(),
        "gitignore" => ".gitignore".to_owned(),
        path => path.to_owned(),
    }
}

fn named(text: &str, name: &str) -> String {
    let type_name: String = name.split('-').map(capitalised).collect();
    text.replace("my-plugin", name)
        .replace("my_plugin", &name.replace('-', "_"))
        .replace("MyPlugin", &type_name)
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

fn depend_on(sdk: &Path, files: &mut [(String, String)]) -> anyhow::Result<()> {
    let found = sdk.canonicalize().ok().filter(|sdk| sdk.join("src/register.rs").is_file());
    let sdk = found
        .with_context(|| format!("`{}` is no SDK; name the folder `sdk` of a checkout", sdk.display()))?;
    let sdk = sdk.to_string_lossy().replace('\\', "/");
    for (_, text) in files {
        *text = text.replace(VENDORED, &sdk);
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, text));
    written.with_context(|| format!("cannot write `{}`", path.display()))
}

fn next(wanted: &New, folder: &Path) -> String {
    let New { name, kind, .. } = wanted;
    let (kind, test) = match kind {
        Template::Adapter => ("an adapter", format!("parlor plugin test {name}.wasm --vectors vectors.json")),
        Template::Pipeline => ("a pipeline", format!("parlor plugin test {name}.wasm")),
    };
    let folder = folder.display();
    format!(
        "{folder}: {kind}, `src/lib.rs` and its manifest `plugin.toml`; README.md says more\n\nnext:\n  \
         cd {folder}\n  parlor plugin build\n  {test}\n"
    )
}
