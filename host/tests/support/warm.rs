//! Compiled plugins, kept between tests: compiling takes seconds, and each host of a test has a folder of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// What a host needs to find its compiled plugins again: they are sealed by a key out of this one.
const KEY: &str = "host.key";
const COMPILED: &str = "compiled";

/// Guests that only tests load.
pub fn guests() -> PathBuf {
    let folder = std::env::var_os("PARLOR_TEST_GUESTS")
        .expect("`PARLOR_TEST_GUESTS` names no folder of built test guests: run `cargo xtask test`");
    PathBuf::from(folder)
}

/// The built plugins.
pub fn plugins() -> PathBuf {
    let folder = std::env::var_os("PARLOR_TEST_PLUGINS")
        .expect("`PARLOR_TEST_PLUGINS` names no folder of built plugins: run `cargo xtask test`");
    PathBuf::from(folder)
}

/// Lays key and compiled plugins of a folder into an empty data folder.
pub fn lay_into(data: &Path, plugins: &Path) {
    static TEMPLATES: Mutex<BTreeMap<PathBuf, (PathBuf, Vec<PathBuf>)>> = Mutex::new(BTreeMap::new());
    let is_guests = std::env::var_os("PARLOR_TEST_GUESTS").is_some_and(|guests| plugins == guests);
    // A folder that a test made has plugins in it that are among these.
    let plugins = if is_guests { guests() } else { self::plugins() };
    let mut templates = TEMPLATES.lock().unwrap();
    let (key, compiled) = &*templates.entry(plugins.clone()).or_insert_with(|| {
        let template = prepare(&plugins);
        (template.join(KEY), compiled(&template.join(COMPILED), &plugins))
    });
    fs::create_dir_all(data.join(COMPILED)).unwrap();
    fs::copy(key, data.join(KEY)).unwrap();
    for path in compiled {
        fs::copy(path, data.join(COMPILED).join(path.file_name().unwrap())).unwrap();
    }
}

/// The files that belong to the plugins of today: the cache keeps those of earlier builds.
fn compiled(folder: &Path, plugins: &Path) -> Vec<PathBuf> {
    let files = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let plugins: Vec<PathBuf> = files(plugins);
    let digests: Vec<String> =
        plugins.iter().map(|path| hex::encode(Sha256::digest(fs::read(path).unwrap()))).collect();
    let mut compiled: Vec<PathBuf> = files(folder);
    let is_of_today = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        digests.iter().any(|digest| name.starts_with(digest))
    };
    compiled.retain(is_of_today);
    compiled
}

/// Starts a host once on the folder that all tests copy from, so that what is missing there is compiled.
fn prepare(plugins: &Path) -> PathBuf {
    let name = plugins.file_name().expect("the folder of plugins has a name").to_string_lossy();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("warm-{name}"));
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let config = json!({
        "listen": "127.0.0.1:0",
        "admin": { "enabled": false },
        "data": "data",
        "auth": { "jwt_secret": "of no use to anybody, but long enough" },
        "plugins": { "folder": plugins, "allow_unsigned": true },
    });
    fs::write(folder.join("parlor.yaml"), config.to_string()).unwrap();
    let mut host = std::process::Command::new(super::host::program())
        .args(["--log-format", "json", "serve", "--config"])
        .arg(folder.join("parlor.yaml"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let log = std::io::BufReader::new(host.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(log).map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"serving\"")), "the host that compiles does not serve");
    host.kill().unwrap();
    host.wait().unwrap();
    folder.join("data")
}
