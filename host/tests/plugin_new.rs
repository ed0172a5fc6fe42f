//! `parlor plugin new`: the templates are built, tested and tried as whoever begins a plugin would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn parlor(folder: &Path, args: &[&str]) -> Command {
    let mut parlor = Command::new(env!("CARGO_BIN_EXE_parlor"));
    parlor.arg("plugin").args(args).current_dir(folder).env_remove("PARLOR_CONFIG");
    // One for all, kept between runs; and not what `cargo test` says to its own children.
    parlor.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-plugins"));
    parlor.env("CARGO_NET_OFFLINE", "true");
    parlor
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

/// The versions that this tree is built with, so that nothing is downloaded.
fn lock(folder: &Path) {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    std::fs::copy(lock, folder.join("Cargo.lock")).unwrap();
}

/// Begins a plugin, builds it, and runs its own tests.
fn begun(folder: &Path, name: &str, kind: &str) -> PathBuf {
    let told = done(&mut parlor(folder, &["new", name, "--kind", kind]));
    assert!(told.contains("parlor plugin build"), "{told}");
    let folder = folder.join(name);
    lock(&folder);
    let built = done(&mut parlor(&folder, &["build"]));
    assert!(built.contains(&format!("{name} 0.1.0")), "{built}");
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--offline"]).current_dir(&folder);
    cargo.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-plugins"));
    let tested = done(&mut cargo);
    assert!(tested.contains("2 passed; 0 failed"), "{tested}");
    assert!(!tested.contains("warning:") && !built.contains("warning:"), "{built}{tested}");
    folder
}

#[test]
fn a_new_adapter_builds_and_passes_in_the_real_host() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = begun(scratch.path(), "talk-box", "adapter");
    let told = done(&mut parlor(&folder, &["test", "talk-box.wasm", "--vectors", "vectors.json"]));
    assert!(told.contains("3 passed, 0 failed, 0 skipped"), "{told}");
    assert!(told.contains("ok    golden request: another token is refused"), "{told}");
    let checked = done(&mut parlor(&folder, &["check", "talk-box.wasm", "--json"]));
    let checked: Value = serde_json::from_str(checked.lines().next().unwrap()).unwrap();
    assert_eq!(
        (checked["serves"].as_bool(), checked["manifest"]["name"].as_str()),
        (Some(true), Some("talk-box"))
    );
}

#[test]
fn a_new_pipeline_builds_and_loads_in_the_real_host() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = begun(scratch.path(), "pirate", "pipeline");
    let told = done(&mut parlor(&folder, &["test", "pirate.wasm"]));
    assert!(told.contains("ok    pirate loads"), "{told}");
}

#[test]
fn names_and_places_that_will_not_do_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let refused = |args: &[&str]| {
        let output = parlor(scratch.path(), args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        text(&output)
    };
    assert!(refused(&["new", "Talk_Box"]).contains("no name for a plugin; use 1 to 63 of a-z"));
    assert!(refused(&["new", "9lives"]).contains("beginning with a letter"));
    assert!(refused(&["new", "match"]).contains("such as `my-match`"));
    std::fs::create_dir(scratch.path().join("full")).unwrap();
    std::fs::write(scratch.path().join("full/file"), "").unwrap();
    assert!(refused(&["new", "full"]).contains("`full` is there and not empty"));
    assert!(refused(&["new", "other", "--sdk", "full"]).contains("`full` is no SDK"));
    assert!(!scratch.path().join("other").exists());
    assert!(refused(&["build", "full"]).contains("begin one by `parlor plugin new`"));
}

#[test]
fn a_checkout_of_the_sdk_is_built_against_where_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk").canonicalize().unwrap();
    let named = sdk.to_str().unwrap();
    done(&mut parlor(scratch.path(), &["new", "beside", "--sdk", named]));
    let manifest = std::fs::read_to_string(scratch.path().join("beside/Cargo.toml")).unwrap();
    assert!(manifest.contains(&format!("parlor-sdk = {{ path = \"{named}\" }}")), "{manifest}");
    assert!(!scratch.path().join("beside/vendor").exists());
}

/// What is carried along is listed by hand: every file of the folders, and nothing that is not there any more.
#[test]
fn the_whole_sdk_comes_along() {
    let scratch = tempfile::tempdir().unwrap();
    done(&mut parlor(scratch.path(), &["new", "whole"]));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (from, to) in [("sdk/src", "vendor/sdk/src"), ("wit", "vendor/wit")] {
        let (ours, theirs) = (files(&root.join(from)), files(&scratch.path().join("whole").join(to)));
        assert_eq!(ours, theirs, "{from}");
    }
    for kind in ["adapter", "pipeline"] {
        let made = scratch.path().join(kind);
        done(&mut parlor(scratch.path(), &["new", "whole", "--kind", kind, "--folder", kind]));
        std::fs::remove_dir_all(made.join("vendor")).unwrap();
        assert_eq!(files(&made).len(), files(&root.join("sdk/templates").join(kind)).len(), "{kind}");
    }
}

/// Paths and bytes of everything below a folder.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(below) = open.pop() {
        for entry in std::fs::read_dir(&below).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push((path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// `parlor plugin dev`, and what it says line by line. It ends with the test.
struct Dev {
    child: std::process::Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Dev {
    fn begin(folder: &Path, plugins: &Path) -> Dev {
        let mut parlor = parlor(folder, &["dev", "--json", "--plugins"]);
        parlor.arg(plugins).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
        let mut child = parlor.spawn().unwrap();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        Dev { child, lines: std::io::BufRead::lines(output) }
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().expect("it goes on").unwrap()).unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_saved_file_is_built_and_put_where_a_host_takes_it() {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, plugins) = (scratch.path().join("live"), scratch.path().join("plugins"));
    std::fs::create_dir(&plugins).unwrap();
    done(&mut parlor(scratch.path(), &["new", "live", "--kind", "pipeline"]));
    lock(&folder);
    let save = |file: &str, from: &str, to: &str| {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    let mut dev = Dev::begin(&folder, &plugins);
    let placed = plugins.join("live.wasm");
    let first = dev.next();
    assert_eq!(first["placed"].as_str(), placed.to_str());
    save("src/lib.rs", "messages.push(", "messages.puhs(");
    let failed = dev.next();
    assert!(failed["failed"].as_str().unwrap().contains("cargo could not build it"), "{failed}");
    let file = std::fs::read(&placed).unwrap();
    save("src/lib.rs", "messages.puhs(", "messages.push(");
    assert_eq!(dev.next(), first);
    assert_eq!(std::fs::read(&placed).unwrap(), file);
    save("plugin.toml", "0.1.0", "0.2.0");
    assert_ne!(dev.next()["digest"], first["digest"]);
    assert_ne!(std::fs::read(&placed).unwrap(), file);
}
