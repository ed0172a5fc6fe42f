//! How the contract ages: what is frozen does not change, and the plugins that were built for it still serve.
//!
//! `cargo xtask freeze` writes the marker `wit/…/.frozen` and the archive beside these tests; until then there is
//! nothing to hold. A plugin of the archive is a binary of its day: it is never built again.

use std::fs;
use std::path::{Path, PathBuf};

use parlor::conformance::{self, Bench};
use parlor::trial::Trial;
use sha2::{Digest as _, Sha256};

const MARKER: &str = ".frozen";
/// What a plugin of any age must still do. The suite may grow stricter than an old plugin can know.
const ENDURING: [&str; 7] = [
    "a golden request brings a message that says who wrote what, and where",
    "the same request a second later is the same message",
    "a request that was made with other secrets is refused as unauthorized",
    "a short reply reaches the platform whole, by one message",
    "a long reply reaches it in parts that it takes, none of it lost, in its order",
    "a message comes to an answer, to silence or to the next stage within eight questions",
    "text that streams by comes to the same reply however it is cut",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Folders of `wit/` that are marked.
fn frozen() -> Vec<PathBuf> {
    entries(&root().join("wit")).into_iter().filter(|folder| folder.join(MARKER).is_file()).collect()
}

/// What differs from the marker, one sentence each.
fn changes(folder: &Path) -> Vec<String> {
    let marker = fs::read_to_string(folder.join(MARKER)).unwrap();
    let listed: Vec<(&str, &str)> = marker.lines().map(|line| line.split_once("  ").unwrap()).collect();
    let mut changes = Vec::new();
    for (hash, file) in &listed {
        match fs::read(folder.join(file)) {
            Err(_) => changes.push(format!("`{file}` is gone")),
            Ok(bytes) if hex::encode(Sha256::digest(&bytes)) != *hash => {
                changes.push(format!("`{file}` has changed"));
            }
            Ok(_) => {}
        }
    }
    let is_new = |file: &String| file != MARKER && listed.iter().all(|(_, name)| name != file);
    let files = entries(folder).into_iter().map(|path| name(&path));
    changes.extend(files.filter(is_new).map(|file| format!("`{file}` is new")));
    changes
}

#[test]
fn a_frozen_contract_has_not_changed() {
    for folder in frozen() {
        let changes = changes(&folder);
        assert!(
            changes.is_empty(),
            "`{}` is frozen: undo this, and put what is new into a folder beside it: {}",
            folder.display(),
            changes.join(", ")
        );
    }
}

#[test]
fn a_change_to_a_frozen_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for (name, text) in [("a.wit", "a"), ("b.wit", "b"), ("c.wit", "c")] {
        fs::write(file(name), text).unwrap();
    }
    let line =
        |name: &str| format!("{}  {name}\n", hex::encode(Sha256::digest(fs::read(file(name)).unwrap())));
    fs::write(file(MARKER), ["a.wit", "b.wit", "c.wit"].map(line).concat()).unwrap();
    assert!(changes(folder.path()).is_empty());
    fs::write(file("a.wit"), "a ").unwrap();
    fs::remove_file(file("b.wit")).unwrap();
    fs::write(file("d.wit"), "").unwrap();
    assert_eq!(changes(folder.path()), ["`a.wit` has changed", "`b.wit` is gone", "`d.wit` is new"]);
}

/// Loads it as `serve` does, golden requests included, and runs what endures.
async fn serves(plugin: &Path) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("archive").join(name(plugin));
    let trial = Trial::new(plugin, &kept, PathBuf::from(env!("CARGO_BIN_EXE_parlor"))).await;
    let trial = trial.unwrap_or_else(|error| panic!("{}: {error:#}", plugin.display()));
    let bench = Bench::new(trial.release().clone());
    let cases = conformance::cases_of(bench.manifest.kind).into_iter();
    let enduring: Vec<_> = cases.filter(|case| ENDURING.contains(&case.name)).collect();
    assert!(enduring.len() >= 2, "a case that endures was renamed");
    for case in enduring {
        let outcome = case.try_on(&bench).await;
        assert_eq!(outcome, Ok(()), "{}: {}", plugin.display(), case.name);
    }
}

#[tokio::test]
async fn the_archived_plugins_of_a_frozen_contract_still_serve() {
    for folder in frozen() {
        let archive = root().join("host/tests/archive").join(name(&folder));
        let plugins = entries(&archive);
        assert!(!plugins.is_empty(), "`{}` has no plugin in it", archive.display());
        for plugin in plugins {
            serves(&plugin).await;
        }
    }
}

/// The same with the plugins of today, so that the way is known to work before anything is archived.
#[tokio::test]
async fn the_plugins_of_today_would_serve_from_the_archive() {
    let plugins = std::env::var("PARLOR_TEST_PLUGINS").expect("`PARLOR_TEST_PLUGINS` is not set");
    for plugin in ["webhook.wasm", "wordguard.wasm"] {
        serves(&Path::new(&plugins).join(plugin)).await;
    }
}

/// It would be an archive of somebody's folders, and another one on each machine.
#[test]
fn a_built_plugin_does_not_tell_where_it_was_built() {
    let plugins = std::env::var("PARLOR_TEST_PLUGINS").expect("`PARLOR_TEST_PLUGINS` is not set");
    let tree = root().canonicalize().unwrap();
    let archived = frozen()
        .iter()
        .flat_map(|folder| entries(&root().join("host/tests/archive").join(name(folder))))
        .collect::<Vec<_>>();
    for plugin in entries(Path::new(&plugins)).into_iter().chain(archived) {
        let bytes = fs::read(&plugin).unwrap();
        for place in [tree.to_str().unwrap(), "registry/src"] {
            let is_told = bytes.windows(place.len()).any(|window| window == place.as_bytes());
            assert!(!is_told, "`{}` tells of `{place}`", plugin.display());
        }
    }
}
