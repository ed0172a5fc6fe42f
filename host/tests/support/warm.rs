//! Compiled plugins, kept between tests: compiling takes seconds, and each host of a test has a folder of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use serde_json::json;

/// What a host needs to find its compiled plugins again: they are sealed by a key out of this one.
const KEY: &str = "host.key";
const COMPILED: &str = "compiled";

/// The built plugins.
pub fn plugins() -> PathBuf {
    let folder = std::env::var_os("PARLOR_TEST_PLUGINS")
        .expect("`PARLOR_TEST_PLUGINS` names no folder of built plugins: run `cargo xtask test`");
    PathBuf::from(folder)
}

/// Lays key and compiled plugins into an empty data folder.
pub fn lay_into(data: &Path) {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    let template = TEMPLATE.get_or_init(prepare);
    fs::create_dir_all(data.join(COMPILED)).unwrap();
    fs::copy(template.join(KEY), data.join(KEY)).unwrap();
    for entry in fs::read_dir(template.join(COMPILED)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, data.join(COMPILED).join(path.file_name().unwrap())).unwrap();
    }
}

/// Starts a host once on the folder that all tests copy from, so that what is missing there is compiled.
fn prepare() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("warm");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let config = json!({
        "listen": "127.0.0.1:0",
        "data": "data",
        "auth": { "jwt_secret": "of no use to anybody, but long enough" },
        "plugins": { "folder": plugins(), "allow_unsigned": true },
    });
    fs::write(folder.join("parlor.yaml"), config.to_string()).unwrap();
    let mut host = std::process::Command::new(env!("CARGO_BIN_EXE_parlor"))
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
