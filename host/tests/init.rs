//! `parlor init`, as typed: what it writes serves, secrets stay with their owner, and nothing is written over.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Any port that is free.
const FREE: &str = "127.0.0.1:0";
const SECRET: &str = "secret canary $1 #2";

fn plugins() -> PathBuf {
    let folder = std::env::var_os("PARLOR_TEST_PLUGINS")
        .expect("`PARLOR_TEST_PLUGINS` names no folder of built plugins: run `cargo xtask test`");
    PathBuf::from(folder)
}

fn parlor(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    for name in ["PARLOR_JWT_SECRET", "MODEL_API_KEY", "HOOK_SECRET", "PARLOR_CONFIG"] {
        command.env_remove(name);
    }
    command
}

/// `init` with a channel of the generic webhook, a model that says back, and any free ports: `doctor` tries them, and
/// two of these tests would have shared one.
fn init(folder: &Path, more: &[&str]) -> Command {
    let plugins = plugins();
    let wanted = [
        "init",
        "--yes",
        "--model",
        "echo",
        "--listen",
        FREE,
        "--admin-listen",
        FREE,
        "--channel",
        "webhook",
        "--channel-name",
    ];
    let mut command = parlor(folder, &wanted);
    command.args(["hook", "--plugins"]).arg(plugins).args(more);
    command
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeds(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    told(&output)
}

fn fails(mut command: Command, parts: &[&str]) -> String {
    let output = command.output().unwrap();
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in parts {
        assert!(told.contains(part), "{part:?} is missing in: {told}");
    }
    told
}

fn read(folder: &TempDir, file: &str) -> String {
    fs::read_to_string(folder.path().join(file)).unwrap()
}

#[test]
fn what_init_writes_serves_without_any_environment() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = init(folder.path(), &[]);
    command.env("HOOK_SECRET", SECRET);
    let told = succeeds(command);
    for part in ["wrote ", "ok    config", "webhook", "/webhook/hook", "parlor serve --config"] {
        assert!(told.contains(part), "{part:?} is missing in: {told}");
    }
    let secrets = folder.path().join("secrets.env");
    assert_eq!(fs::metadata(&secrets).unwrap().permissions().mode() & 0o777, 0o600);
    let (config, secrets) = (read(&folder, "parlor.yaml"), read(&folder, "secrets.env"));
    assert!(secrets.contains(&format!("\nHOOK_SECRET='{SECRET}'\n")), "{secrets}");
    assert!(!config.contains("canary") && !told.contains("canary"));
    assert!(config.contains("secret: \"${HOOK_SECRET}\" # Incoming requests are signed with it"), "{config}");
    assert!(config.contains("# wait_ms: 25000 # How long a response waits"), "{config}");
    succeeds(parlor(folder.path(), &["check"]));

    let mut serve =
        parlor(folder.path(), &["--log-format", "json", "serve"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(serve.stdout.take().unwrap()).lines();
    let serves = lines.map_while(Result::ok).any(|line| line.contains("\"serving\""));
    serve.kill().unwrap();
    serve.wait().unwrap();
    assert!(serves, "it serves");
}

#[test]
fn a_shell_reads_the_secrets_as_the_host_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = init(folder.path(), &[]);
    command.env("HOOK_SECRET", SECRET);
    succeeds(command);
    let script = "set -a; . ./secrets.env; printf %s \"$HOOK_SECRET\"";
    let output = Command::new("sh").current_dir(folder.path()).args(["-c", script]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), SECRET);
}

#[test]
fn the_environment_goes_before_the_secrets_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = init(folder.path(), &[]);
    command.env("HOOK_SECRET", SECRET);
    succeeds(command);
    let mut check = parlor(folder.path(), &["check"]);
    check.env("PARLOR_JWT_SECRET", "too short");
    fails(check, &["auth.jwt_secret"]);
}

#[test]
fn nothing_is_written_over_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secrets.env"), "MINE=1\n").unwrap();
    fails(init(folder.path(), &[]), &["secrets.env` is there already", "`--dir`", "`--force`"]);
    assert!(!folder.path().join("parlor.yaml").exists());
    assert_eq!(read(&folder, "secrets.env"), "MINE=1\n");
    let mut forced = init(folder.path(), &["--force"]);
    forced.env("HOOK_SECRET", SECRET);
    succeeds(forced);
    let first = read(&folder, "secrets.env");
    let mut again = init(folder.path(), &["--force"]);
    again.env("HOOK_SECRET", SECRET);
    succeeds(again);
    assert_ne!(read(&folder, "secrets.env"), first, "each has a signing secret of its own");
}

#[test]
fn a_secret_that_nobody_gave_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let told = fails(
        init(folder.path(), &[]),
        &["FAIL  config", "no variable `HOOK_SECRET`", "write HOOK_SECRET into"],
    );
    assert!(told.contains("secrets.env"), "{told}");
    assert!(read(&folder, "secrets.env").contains("\n# HOOK_SECRET=\n"));
}

/// The files stood there then, and kept the next try from writing.
#[test]
fn what_no_host_could_serve_by_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let told =
        fails(init(folder.path(), &["--public-url", "https://a.example/?b"]), &["nothing was written"]);
    assert!(told.contains("public_url: a URL here ends before `?`"), "{told}");
    let ask = |name: &str| {
        let mut command =
            parlor(folder.path(), &["init", "--yes", "--model", "echo", "--channel", "webhook"]);
        command.args(["--channel-name", name, "--plugins"]).arg(plugins());
        command
    };
    fails(ask("My Team"), &["`My Team` is not a name", "1 to 63"]);
    fails(ask("chat"), &["nothing was written", "`chat` is taken", "choose another"]);
    let bare = folder.path().join("bare");
    fs::create_dir(&bare).unwrap();
    let mut command = parlor(folder.path(), &["init", "--yes", "--channel", "webhook", "--plugins"]);
    command.arg(&bare);
    fails(command, &["there is no adapter `webhook`; there are none", "`--plugins`"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn without_a_terminal_it_says_how_to_answer() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = plugins();
    let ask = |more: &[&str]| {
        let mut command = parlor(folder.path(), &["init", "--plugins"]);
        command.arg(&plugins).args(more);
        command
    };
    fails(ask(&[]), &["there is no terminal to ask on", "`--channel`", "`--yes`"]);
    fails(ask(&["--channel", "none"]), &["there is no terminal", "`--model`"]);
    fails(ask(&["--channel", "nobody"]), &["there is no adapter `nobody`", "webhook"]);
    fails(ask(&["--channel", "webhook", "--setting", "wait_m=1"]), &["unknown setting `wait_m`", "wait_ms"]);
    fails(ask(&["--channel", "none", "--model", "nowhere"]), &["`nowhere` is no model", "`recommended`"]);
    fails(ask(&["--channel", "none", "--model", "endpoint"]), &["`--endpoint`"]);
    assert!(!folder.path().join("parlor.yaml").exists());
}

#[test]
fn settings_are_written_as_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let url = "https://push.example.com/a?b=$c";
    let setting = format!("callback_url={url}");
    let mut command = init(folder.path(), &["--setting", "wait_ms=1000", "--setting", &setting]);
    command.env("HOOK_SECRET", SECRET);
    command.output().unwrap();
    let config = read(&folder, "parlor.yaml");
    assert!(config.contains("wait_ms: 1000 #"), "{config}");
    assert!(config.contains(&format!("callback_url: \"{}\" #", url.replace('$', "$$"))), "{config}");
    succeeds(parlor(folder.path(), &["check"]));
}

#[test]
fn an_endpoint_that_does_not_answer_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{closed}/v1");
    let mut command = parlor(
        folder.path(),
        &["init", "--yes", "--channel", "none", "--listen", FREE, "--admin-listen", FREE, "--plugins"],
    );
    command.arg(plugins()).args(["--endpoint", &endpoint, "--model-name", "big", "--json"]);
    command.env("MODEL_API_KEY", "sk-canary");
    let output = command.output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_it = |finding: &&Value| finding["check"] == "model" && finding["level"] == "fail";
    let found = told["findings"].as_array().unwrap().iter().find(is_it).unwrap();
    assert!(found["what"].as_str().unwrap().contains("cannot be reached"), "{found}");
    assert_eq!(output.status.code(), Some(1));
    assert!(read(&folder, "parlor.yaml").contains("api_key: \"${MODEL_API_KEY}\""));
    assert!(read(&folder, "secrets.env").contains("MODEL_API_KEY=sk-canary"));
}

#[cfg(feature = "native")]
#[test]
fn a_model_on_this_machine_is_named_with_its_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let model = std::env::var("PARLOR_TEST_MODEL").expect("no weights file is named; run `cargo xtask test`");
    let mut command = parlor(
        folder.path(),
        &["init", "--yes", "--channel", "none", "--listen", FREE, "--admin-listen", FREE, "--plugins"],
    );
    command.arg(plugins()).args(["--model", &model]);
    let told = succeeds(command);
    assert!(told.contains("is whole and has its SHA-256"), "{told}");
    assert!(
        read(&folder, "parlor.yaml")
            .contains("sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 #")
    );
}
