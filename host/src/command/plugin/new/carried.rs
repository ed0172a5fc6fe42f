//! What the binary carries for the authors of plugins: the templates, the SDK and the contract, as text.
//!
//! A test holds the lists against the folders.

use toml::{Table, Value};

/// A file's path and text.
type File = (&'static str, &'static str);

macro_rules! carried {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../../../../../", $path)))),*]
    };
}

macro_rules! template {
    ($folder:literal: $($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../../../../../sdk/templates/", $folder, "/", $path)))),*]
    };
}

pub const ADAPTER: &[File] = template! {
    "adapter":
    "Cargo.toml.template",
    "README.md",
    "gitignore",
    "plugin.toml",
    "src/lib.rs",
    "tests/requests.rs",
    "vectors.json",
};

pub const PIPELINE: &[File] = template! {
    "pipeline":
    "Cargo.toml.template",
    "README.md",
    "gitignore",
    "plugin.toml",
    "src/lib.rs",
    "tests/turns.rs",
};

const SDK: &[File] = carried! {
    "sdk/README.md",
    "sdk/examples/echo.rs",
    "sdk/examples/echo.toml",
    "sdk/src/adapter.rs",
    "sdk/src/clock.rs",
    "sdk/src/connection.rs",
    "sdk/src/encoding.rs",
    "sdk/src/fault.rs",
    "sdk/src/guest.rs",
    "sdk/src/guest/adapter.rs",
    "sdk/src/guest/bindings.rs",
    "sdk/src/guest/connection.rs",
    "sdk/src/guest/convert.rs",
    "sdk/src/guest/pipeline.rs",
    "sdk/src/guest/services.rs",
    "sdk/src/http.rs",
    "sdk/src/json.rs",
    "sdk/src/lib.rs",
    "sdk/src/log.rs",
    "sdk/src/message.rs",
    "sdk/src/pipeline.rs",
    "sdk/src/register.rs",
    "sdk/src/secrets.rs",
    "sdk/src/settings.rs",
    "sdk/src/store.rs",
    "sdk/src/testing.rs",
    "sdk/src/testing/secrets.rs",
    "sdk/src/testing/services.rs",
    "sdk/src/text.rs",
    "wit/0.1/.frozen",
    "wit/0.1/adapter.wit",
    "wit/0.1/host.wit",
    "wit/0.1/pipeline.wit",
    "wit/0.1/types.wit",
    "wit/0.1/worlds.wit",
    "wit/README.md",
};

const SDK_MANIFEST: &str = include_str!("../../../../../sdk/Cargo.toml");
const WORKSPACE: &str = include_str!("../../../../../Cargo.toml");

/// The SDK as a crate of its own, and beside it the contract that it is built against.
pub fn sdk() -> anyhow::Result<Vec<(String, String)>> {
    let files = SDK.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    Ok(files.chain([("sdk/Cargo.toml".to_owned(), alone(SDK_MANIFEST, WORKSPACE)?)]).collect())
}

/// The manifest of a member with what it takes from its workspace, and without what only its own tests need.
fn alone(member: &str, workspace: &str) -> anyhow::Result<String> {
    let mut member: Table = member.parse()?;
    let workspace: Table = workspace.parse()?;
    for table in ["dev-dependencies", "example", "lints"] {
        member.remove(table);
    }
    let root =
        |table: &str| workspace.get("workspace").and_then(|root| root.get(table)).and_then(Value::as_table);
    inherit(member.get_mut("package"), root("package"));
    inherit(member.get_mut("dependencies"), root("dependencies"));
    for (_, target) in member.get_mut("target").and_then(Value::as_table_mut).into_iter().flatten() {
        inherit(target.get_mut("dependencies"), root("dependencies"));
    }
    Ok(member.to_string())
}

fn inherit(into: Option<&mut Value>, from: Option<&Table>) {
    for (name, value) in into.and_then(Value::as_table_mut).into_iter().flatten() {
        let is_inherited = value.get("workspace").and_then(Value::as_bool) == Some(true);
        if let Some(found) = from.and_then(|from| from.get(name)).filter(|_| is_inherited) {
            *value = found.clone();
        }
    }
}
