//! `parlor doctor`, against things that are really broken: each is found with what to do about it, and a sound
//! set-up is passed over in silence.
#![cfg(unix)]

#[path = "doctor/component.rs"]
mod component;
#[path = "doctor/endpoint.rs"]
mod endpoint;
#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use endpoint::Endpoint;
use serde_json::{Value, json};
use support::{Envelope, Host, Platform, Settings, client, plugins};

/// What came of one examination.
struct Told {
    findings: Vec<Value>,
    code: Option<i32>,
}

impl Told {
    fn of(output: &Output) -> Told {
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&output.stderr)));
        Told { findings: told["findings"].as_array().unwrap().clone(), code: output.status.code() }
    }

    /// The finding of this level that says all of these, its remedy among them.
    fn has(&self, level: &str, check: &str, parts: &[&str]) -> &Value {
        let is_it = |finding: &&Value| {
            let text = format!("{} {} {}", finding["about"], finding["what"], finding["remedy"]);
            finding["level"] == level
                && finding["check"] == check
                && parts.iter().all(|part| text.contains(part))
        };
        let found = self.findings.iter().find(is_it);
        let found =
            found.unwrap_or_else(|| panic!("no {level} of `{check}` says {parts:?}: {:#?}", self.findings));
        let has_remedy = found["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty());
        assert_eq!(has_remedy, level == "warn" || level == "fail", "{found}");
        let is_failure = self.findings.iter().any(|finding| finding["level"] == "fail");
        assert_eq!(self.code, Some(i32::from(is_failure)));
        found
    }

    fn fails(&self, check: &str, parts: &[&str]) {
        self.has("fail", check, parts);
    }

    fn warns(&self, check: &str, parts: &[&str]) {
        self.has("warn", check, parts);
        assert_eq!(self.code, Some(0), "{:#?}", self.findings);
    }

    /// But for the plugins of this tree, which nobody signed; `plugins_that_nobody_signed_are_found` is about these.
    fn is_silent(&self) {
        self.is_silent_but_for("trust");
    }

    fn is_silent_but_for(&self, check: &str) {
        let is_loud = |finding: &&Value| finding["level"] == "warn" || finding["level"] == "fail";
        let loud: Vec<_> =
            self.findings.iter().filter(is_loud).filter(|finding| finding["check"] != check).collect();
        assert!(loud.is_empty(), "{loud:#?}");
        assert_eq!(self.code, Some(0));
    }
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Looks at a set-up that does not run.
async fn at_rest(settings: &Settings) -> Told {
    let host = Host::at_rest(settings);
    look(&host).await
}

async fn look(host: &Host) -> Told {
    Told::of(&output(host.command(&["doctor", "--json"])).await)
}

/// Looks at a host that runs, by a configuration that names the port which it was given.
async fn beside(host: &Host, settings: Settings) -> Told {
    let settings = settings.set("listen", host.address().to_string());
    look_by(host, &settings).await
}

/// Looks by another configuration in the same folder.
async fn look_by(host: &Host, settings: &Settings) -> Told {
    let file = host.folder().join("other.yaml");
    fs::write(&file, serde_json::to_string_pretty(&settings.config).unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
    command.arg("--config").arg(file).args(["doctor", "--json"]);
    Told::of(&output(command).await)
}

/// Channels, each with all that it needs, and stand-ins for every address that their plugins send to.
async fn sound() -> (Platform, Endpoint, Settings) {
    let (platform, endpoint) = (Platform::start().await, Endpoint::start().await);
    let settings = platform.join(platform.join_webhook(Settings::new(), json!({}), false));
    let stand_in = settings.config["endpoints"]["https://api.dingtalk.com"].clone();
    let settings = settings
        .insert("endpoints", "https://oapi.dingtalk.io", stand_in.clone())
        .insert("endpoints", "https://down-cdn.dingtalk.com", stand_in)
        .set("models.far", endpoint.model("big"))
        .set("default_model", "far");
    (platform, endpoint, settings)
}

fn with_model(model: Value) -> Settings {
    Settings::new().set("models.it", model)
}

#[cfg(feature = "native")]
fn local(path: &std::path::Path) -> Value {
    json!({ "backend": "gguf", "path": path, "context": 512, "max_batch_size": 1 })
}

#[cfg(feature = "native")]
fn sound_model() -> std::path::PathBuf {
    std::env::var("PARLOR_TEST_MODEL").expect("no weights file is named; run `cargo xtask test`").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_set_up_is_passed_over_in_silence() {
    let (_platform, _endpoint, settings) = sound().await;
    let told = at_rest(&settings).await;
    told.is_silent();
    told.has("ok", "clock", &["agrees with"]);
    told.has("ok", "model", &["knows `big`"]);
    told.has("ok", "plugin", &["webhook", "would serve"]);
    told.has("ok", "reach", &["https://api.dingtalk.com", "stand-in"]);
    told.has("skip", "signature", &["no host of this configuration runs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_host_that_runs_is_passed_over_in_silence() {
    let (_platform, _endpoint, settings) = sound().await;
    let host = Host::start(&settings).await;
    let id = Envelope::new("m-1", "s-1", "hello canary");
    assert!(id.post(&host.url("/webhook/hook")).await.is_ok());
    let told = beside(&host, settings.set("public_url", host.url("/"))).await;
    told.is_silent();
    told.has("ok", "port", &["serves here"]);
    told.has("ok", "callback", &["leads to this host"]);
    told.has("ok", "signature", &["hook", "1 webhooks were verified"]);
}

/// It was taken for another program at the port, and for another parlor in the folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_lets_in_no_address_of_this_machine_is_no_stranger() {
    let (_platform, _endpoint, settings) = sound().await;
    let settings = settings.set("allow", json!(["203.0.113.0/24"]));
    let host = Host::start(&settings).await;
    let told = beside(&host, settings.clone().set("public_url", host.url("/"))).await;
    told.is_silent();
    told.has("skip", "port", &["serves here", "`allow` keeps this machine out"]);
    told.has("skip", "callback", &["does not answer this machine"]);
    told.has("skip", "signature", &["does not answer this machine"]);
    let open = Host::start(&Settings::new()).await;
    let told = beside(&open, Settings::new().set("public_url", host.url("/"))).await;
    told.is_silent();
    told.has("skip", "callback", &["a parlor answers there", "`allow` keeps this machine out"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_no_connection_left_is_found() {
    let settings = Settings::new().set("limits", json!({ "connections": 1, "header_timeout": "60s" }));
    let host = Host::start(&settings).await;
    let held = std::net::TcpStream::connect(host.address()).unwrap();
    let is_full = || support::raw(host.address(), b"GET /health HTTP/1.0\r\n\r\n");
    while !is_full().await.starts_with("HTTP/1.1 503") {
        tokio::task::yield_now().await;
    }
    let told = beside(&host, settings).await;
    told.fails("serving", &["status 503: too many connections", "raise `limits.connections`"]);
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_data_folder_is_changed() {
    let (_platform, _endpoint, settings) = sound().await;
    let host = Host::at_rest(&settings.clone());
    fs::remove_dir_all(host.data()).unwrap();
    look(&host).await.is_silent();
    assert!(!host.data().exists());
}

#[cfg(feature = "native")]
#[tokio::test(flavor = "multi_thread")]
async fn findings_are_told_to_people_with_what_to_do_below() {
    let host = Host::at_rest(&with_model(local("nowhere.gguf".as_ref())));
    let output = output(host.command(&["doctor"])).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let line =
        text.lines().position(|line| line.starts_with("FAIL  model") && line.contains("it: no model file"));
    let below = text.lines().nth(line.unwrap_or_else(|| panic!("{text}")) + 1).unwrap();
    assert!(below.trim_start().starts_with("→ fetch the model"), "{text}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("1 of "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_of_the_configuration_come_with_their_places() {
    let told = at_rest(&Settings::new().set("chanels", json!({}))).await;
    told.fails("config", &["parlor.yaml:", "unknown key `chanels`", "did you mean `channels`?"]);
    let host = Host::at_rest(&Settings::new());
    fs::remove_file(host.config_file()).unwrap();
    let told = look(&host).await;
    let found = told.has("fail", "config", &["cannot read", "(No such file", "parlor init`"]);
    assert!(found["remedy"].as_str().unwrap().ends_with("by `parlor init`"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_others_can_read_are_found() {
    let host = Host::at_rest(&Settings::new().set("auth.jwt_secret", "${FROM_FILE}"));
    look(&host).await.fails("config", &["no variable `FROM_FILE`"]);
    let secrets = host.folder().join("secrets.env");
    fs::write(&secrets, "FROM_FILE=secret-canary-of-32-bytes-or-more\n").unwrap();
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o640)).unwrap();
    look(&host).await.fails("config", &["may be read by others (mode 640)", "chmod 600"]);
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();
    look(&host).await.is_silent();
    fs::write(&secrets, "FROM_FILE=secret canary\n").unwrap();
    look(&host).await.fails("config", &["secrets.env:1", "single quotes"]);
}

/// Takes connections and closes them.
fn listening() -> (std::net::SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.try_clone().unwrap();
    std::thread::spawn(move || while taken.accept().is_ok() {});
    (listener.local_addr().unwrap(), listener)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_found_and_who_has_it() {
    let (address, _taken) = listening();
    let told = at_rest(&Settings::new().set("listen", address.to_string())).await;
    told.fails("port", &[&address.to_string(), "is taken by another program", "set `listen`"]);
    let told = at_rest(&Settings::new().set("admin.listen", address.to_string())).await;
    told.fails("port", &[&address.to_string(), "is taken by another program", "set `admin.listen`"]);
    let process = format!("process {}", std::process::id());
    if cfg!(target_os = "linux") {
        told.fails("port", &[&process]);
    }
    let told = at_rest(&Settings::new().set("listen", "192.0.2.1:18789")).await;
    told.fails("port", &["is no address of this machine", "0.0.0.0:18789"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_parlor_at_the_port_or_in_the_folder_is_found() {
    let host = Host::start(&Settings::new()).await;
    let told = at_rest(&Settings::new().set("listen", host.address().to_string())).await;
    told.fails("port", &["another parlor serves here", "another data folder"]);
    look_by(&host, &Settings::new()).await.fails("data", &["another parlor holds this folder", "stop it"]);
}

/// The kernel refuses to make the host's files longer, as on a full disk.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_store_is_found() {
    let (_platform, _endpoint, settings) = sound().await;
    let mut host = Host::at_rest(&settings);
    let serve = host.command(&["serve"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(serve.get_program()).args(serve.get_args());
    host.begin_with(shell);
    host.serves().await;
    let process = rustix::process::Pid::from_raw(i32::try_from(host.process_id()).unwrap());
    let limit = rustix::process::Rlimit { current: Some(1), maximum: None };
    rustix::process::prlimit(process, rustix::process::Resource::Fsize, limit).unwrap();
    let envelope = Envelope::new("m-1", "s-1", "hello canary");
    assert_eq!(envelope.post(&host.url("/webhook/hook")).await.unwrap().0, 503);
    beside(&host, settings).await.fails("serving", &["store", "could not be stored", "see its log"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_found() {
    for (ahead, word) in [(3600, "3600 s behind"), (-90, "90 s ahead of")] {
        let endpoint = Endpoint::start().await;
        endpoint.clock_ahead(ahead);
        let told = at_rest(&with_model(endpoint.model("big"))).await;
        let found = told.has("fail", "clock", &["127.0.0.1", "NTP"]);
        let what = found["what"].as_str().unwrap();
        let (number, way) = word.split_once(' ').unwrap();
        let seconds: i64 = what.split_whitespace().find_map(|part| part.parse().ok()).unwrap();
        assert!((seconds - number.parse::<i64>().unwrap()).abs() <= 20 && what.contains(way), "{what}");
    }
    let endpoint = Endpoint::start().await;
    endpoint.clock_ahead(10);
    at_rest(&with_model(endpoint.model("big"))).await.is_silent();
}

#[cfg(feature = "native")]
#[tokio::test(flavor = "multi_thread")]
async fn a_model_file_that_is_missing_cut_or_another_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(sound_model()).unwrap();
    let cut = file("cut.gguf", &whole[..whole.len() - 4096]);
    at_rest(&with_model(local(&cut))).await.fails("model", &["it", "is truncated", "fetch the model again"]);
    let page = file("page.gguf", b"<html>");
    at_rest(&with_model(local(&page))).await.fails("model", &["is not a GGUF file"]);
    let nowhere = folder.path().join("nowhere.gguf");
    at_rest(&with_model(local(&nowhere))).await.fails("model", &["no model file at", "fetch the model"]);

    let mut other = local(&sound_model());
    other["sha256"] = "0".repeat(64).into();
    at_rest(&with_model(other)).await.fails("model", &["has SHA-256 `b179c95", "correct `sha256`"]);
    let mut long = local(&sound_model());
    long["context"] = 1_048_576.into();
    at_rest(&with_model(long.clone())).await.fails("model", &["trained for 8192", "set `context` to 8192"]);
    long["max_batch_size"] = 256.into();
    at_rest(&with_model(long)).await.fails("memory", &["of memory", "in all", "smaller model"]);

    let mut sound = local(&sound_model());
    sound["sha256"] = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53".into();
    let told = at_rest(&with_model(sound)).await;
    told.is_silent();
    told.has("ok", "memory", &["needs some"]);
}

#[cfg(not(feature = "native"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_runs_no_models_itself_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.gguf");
    fs::write(&file, b"GGUF and nothing else").unwrap();
    let model = json!({ "backend": "gguf", "path": file });
    at_rest(&with_model(model)).await.fails("model", &["no native models", "the feature `native`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_not_reached_is_found() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at =
        |endpoint: String| with_model(json!({ "backend": "openai", "endpoint": endpoint, "model": "big" }));
    let told = at_rest(&at(format!("http://{closed}/v1"))).await;
    told.fails("model", &["`127.0.0.1` cannot be reached", "models.it.endpoint"]);
    let told = at_rest(&at("http://no-such-host.invalid/v1".to_owned())).await;
    told.fails("model", &["its name does not resolve"]);
    let plain = Endpoint::start().await;
    let told = at_rest(&at(plain.origin.replace("http:", "https:"))).await;
    told.fails("model", &["`127.0.0.1` cannot be reached"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_is_found_and_never_shown() {
    let endpoint = Endpoint::start().await;
    endpoint.wants_key("secret-canary-other");
    let told = at_rest(&with_model(endpoint.model("big"))).await;
    told.fails("model", &["refuses the key (status 401", "models.it.api_key"]);
    assert!(!format!("{:?}", told.findings).contains("canary"), "{:#?}", told.findings);
    let mut without = endpoint.model("big");
    without.as_object_mut().unwrap().remove("api_key");
    at_rest(&with_model(without)).await.fails("model", &["wants a key", "set `models.it.api_key`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_the_endpoint_does_not_have_is_found() {
    let endpoint = Endpoint::start().await;
    let told = at_rest(&with_model(endpoint.model("huge"))).await;
    told.fails("model", &["has no model `huge`", "set `models.it.model` to one of `big`"]);
    // Not in the list, and answers all the same.
    at_rest(&with_model(endpoint.model("hidden"))).await.is_silent();
    endpoint.lists_nothing();
    at_rest(&with_model(endpoint.model("big"))).await.is_silent();
    let mut elsewhere = endpoint.model("big");
    elsewhere["endpoint"] = format!("{}/api", endpoint.origin).into();
    at_rest(&with_model(elsewhere)).await.fails("model", &["there is no such API at `/api`", "end in `/v1`"]);
    at_rest(&with_model(endpoint.model("huge")))
        .await
        .fails("model", &["has no model `huge`", "to a name that the provider lists"]);
    endpoint.refuses(400, "max_tokens is too small");
    at_rest(&with_model(endpoint.model("big"))).await.fails(
        "model",
        &["refuses a question (status 400: max_tokens is too small)", "what the provider says"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_near_its_end_is_found() {
    let endpoint = Endpoint::start().await;
    endpoint.quota(400, 500);
    at_rest(&with_model(endpoint.model("big"))).await.is_silent();
    endpoint.quota(3, 500);
    let told = at_rest(&with_model(endpoint.model("big"))).await;
    told.warns("quota", &["it", "3 of 500 requests are left", "full again in 6m0s", "raise the quota"]);
    endpoint.refuses(429, "you exceeded your current quota");
    at_rest(&with_model(endpoint.model("big")))
        .await
        .fails("quota", &["is used up", "exceeded your current quota"]);
    endpoint.refuses(402, "Insufficient Balance");
    at_rest(&with_model(endpoint.model("big"))).await.fails("model", &["is empty", "top it up"]);
    endpoint.refuses(500, "boom");
    at_rest(&with_model(endpoint.model("big"))).await.fails("model", &["fails (status 500: boom)"]);
}

/// A folder of the sound plugins and one file more, or another one.
fn folder_with(name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(plugins()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    fs::write(folder.path().join(name), bytes).unwrap();
    folder
}

fn plugin(name: &str) -> Vec<u8> {
    fs::read(plugins().join(format!("{name}.wasm"))).unwrap()
}

/// Wherever it stands: a component has its sections twice.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let (mut bytes, mut times) = (bytes.to_vec(), 0);
    while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[at..at + to.len()].copy_from_slice(to);
        times += 1;
    }
    assert!(times > 0, "what is to be replaced is there");
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_built_for_another_contract_is_found() {
    let (_platform, _endpoint, settings) = sound().await;
    let other = replaced(&plugin("webhook"), b"parlor:contract0.1", b"parlor:contract0.9");
    let folder = folder_with("webhook.wasm", &other);
    let told = at_rest(&settings.clone().set("plugins.folder", folder.path().to_str().unwrap())).await;
    told.fails("plugin", &["webhook.wasm", "built for contract `0.9`", "rebuild it with SDK 0.1"]);
    told.fails("channel", &["hook", "no plugin `webhook` is loaded"]);
    // Nobody asks for it: the host serves without it.
    let folder = folder_with("spare.wasm", &other);
    let told = at_rest(&settings.set("plugins.folder", folder.path().to_str().unwrap())).await;
    told.warns("plugin", &["spare.wasm", "built for contract `0.9`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_was_uploaded_is_not_missed() {
    let (_platform, _endpoint, settings) = sound().await;
    let empty = tempfile::tempdir().unwrap();
    let folder = empty.path().to_str().unwrap();
    let mut host = Host::start(&Settings::new().set("plugins.folder", folder)).await;
    let token = host.token_with(&["--role", "admin"]);
    for entry in fs::read_dir(plugins()).unwrap() {
        let upload = client().post(host.admin_url("/api/v1/admin/plugins")).bearer_auth(&token);
        let upload = upload.header("content-type", "application/wasm");
        let answer = upload.body(fs::read(entry.unwrap().path()).unwrap()).send().await.unwrap();
        assert!(answer.status().is_success(), "{:?}", answer.text().await);
    }
    host.terminate();
    host.ended().await;
    let settings = settings.set("plugins.folder", folder);
    look_by(&host, &settings).await.is_silent();
    fs::remove_dir_all(host.data().join("releases")).unwrap();
    look_by(&host, &settings).await.fails("channel", &["no plugin `"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_nobody_signed_are_found() {
    let (_platform, _endpoint, settings) = sound().await;
    at_rest(&settings)
        .await
        .warns("trust", &["no trusted key has signed", "dingtalk", "`plugins.trusted_keys`"]);
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["assistant", "dingtalk", "webhook"] {
        let body = plugin(name);
        let signature = minisign::sign(None, &pair.sk, &body[..], Some(name), None).unwrap();
        let signed = parlor::plugin::signature::attach(&body, &signature).unwrap();
        fs::write(folder.path().join(format!("{name}.wasm")), signed).unwrap();
    }
    let signed =
        settings.set("plugins", json!({ "folder": folder.path(), "trusted_keys": [pair.pk.to_base64()] }));
    at_rest(&signed).await.is_silent_but_for("");
    let other = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let told = at_rest(&signed.set("plugins.trusted_keys", json!([other.pk.to_base64()]))).await;
    told.fails(
        "plugin",
        &["webhook.wasm", "is none of `plugins.trusted_keys`", "add the author's public key"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_broken_or_breaks_its_promise_is_found() {
    let (_platform, _endpoint, settings) = sound().await;
    let with = |name: &str, bytes: &[u8]| {
        let folder = folder_with(name, bytes);
        let path = folder.path().to_str().unwrap().to_owned();
        (folder, settings.clone().set("plugins.folder", path))
    };
    let sound = plugin("webhook");
    let (_folder, cut) = with("webhook.wasm", &sound[..sound.len() / 2]);
    at_rest(&cut).await.fails("plugin", &["webhook.wasm", "copy the file again"]);
    let (_folder, text) = with("webhook.wasm", b"a letter");
    at_rest(&text).await.fails("plugin", &["not a WebAssembly file"]);
    let liar =
        replaced(&sound, b"reception = \"refuse\", status = 401", b"reception = \"refuse\", status = 409");
    let (_folder, liar) = with("webhook.wasm", &liar);
    at_rest(&liar).await.fails("plugin", &["its golden request", "another version of it"]);
    let (_folder, exotic) = with("webhook.wasm", &component::that_does_not_compile());
    at_rest(&exotic)
        .await
        .fails("plugin", &["webhook.wasm", "the compiler refuses it", "another build of it"]);
    let (_folder, hollow) = with("webhook.wasm", &component::that_does_not_link());
    at_rest(&hollow)
        .await
        .fails("plugin", &["webhook.wasm", "does not fit the contract", "build it again with the SDK"]);
    let (_folder, twice) = with("zz.wasm", &sound);
    at_rest(&twice)
        .await
        .warns("plugin", &["zz.wasm", "is the plugin `webhook` already", "remove one of the two"]);
    at_rest(&settings.clone().set("plugins.allow_unsigned", false))
        .await
        .fails("plugin", &["not signed", "allow_unsigned"]);
    at_rest(&settings.clone().environment("TMPDIR", "/nowhere"))
        .await
        .fails("plugin", &["plugins were not tried", "`TMPDIR`"]);
    let nowhere = settings.clone().set("plugins.folder", "nowhere");
    at_rest(&nowhere).await.fails("plugin", &["cannot read the plugin folder", "set `plugins.folder`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_lacks_something_is_found() {
    let (_platform, _endpoint, settings) = sound().await;
    let told = at_rest(
        &settings
            .clone()
            .set("channels.hook.secrets", json!({}))
            .set("channels.team.settings.robot_cod", "x")
            .set("channels.third", json!({ "adapter": "nobody" })),
    )
    .await;
    told.fails("channel", &["hook", "set the secret `secret`"]);
    told.fails("channel", &["team", "unknown setting `robot_cod`"]);
    told.fails("channel", &["third", "no plugin `nobody` is loaded", "or name one of ", "dingtalk"]);
    let empty = tempfile::tempdir().unwrap();
    let folder = empty.path().to_str().unwrap();
    at_rest(&settings.set("plugins.folder", folder))
        .await
        .fails("channel", &["hook", "put its `.wasm` file into", folder, "where there is none yet"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_not_reached_is_found() {
    let (_platform, _endpoint, settings) = sound().await;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = settings.insert("endpoints", "https://api.dingtalk.com", format!("http://{closed}"));
    at_rest(&settings).await.warns("reach", &["https://api.dingtalk.com", "cannot be reached", "endpoints"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_or_database_that_is_another_or_damaged_is_found() {
    let mut host = Host::start(&Settings::new()).await;
    host.terminate();
    host.ended().await;
    look(&host).await.is_silent();
    let (key, database) = (host.data().join("host.key"), host.data().join("parlor.db"));
    let sound = fs::read(&key).unwrap();

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    look(&host).await.fails("store", &["may be read by others (mode 644)", "chmod 600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, [7; 32]).unwrap();
    look(&host).await.fails("store", &["was sealed by another key", "restore its `host.key`"]);
    fs::write(&key, [7; 31]).unwrap();
    look(&host).await.fails("store", &["is not 32 bytes long", "restore it"]);
    fs::remove_file(&key).unwrap();
    look(&host).await.fails("store", &["host.key` is missing", "restore it"]);
    fs::write(&key, &sound).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    look(&host).await.is_silent();

    let stamp = |pragma: &str, value: i64| {
        let db = rusqlite::Connection::open(&database).unwrap();
        let before = db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
        db.pragma_update(None, pragma, value).unwrap();
        before
    };
    let version = stamp("user_version", 99_099);
    look(&host).await.fails("store", &["was written by a newer parlor (form 99", "run that one"]);
    stamp("user_version", version);
    let ours = stamp("application_id", 7);
    look(&host).await.fails("store", &["is another program's", "move it away"]);
    stamp("application_id", ours);
    look(&host).await.is_silent();

    let whole = fs::read(&database).unwrap();
    let mut damaged = whole.clone();
    damaged[4096..8192].fill(0xff);
    fs::write(&database, damaged).unwrap();
    look(&host).await.fails("store", &["is damaged", "restore a backup"]);
    fs::write(&database, "a letter from the sea, long enough to be a header of something").unwrap();
    look(&host).await.fails("store", &["is damaged"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_cannot_be_written_is_found() {
    let told = at_rest(&Settings::new().set("data", "parlor.yaml/data")).await;
    told.fails("data", &["is no folder", "set `data` to a folder"]);
    if rustix::process::geteuid().is_root() {
        return; // may write anywhere but where nobody may: see below
    }
    let host = Host::at_rest(&Settings::new());
    fs::set_permissions(host.data(), fs::Permissions::from_mode(0o500)).unwrap();
    let told = look(&host).await;
    fs::set_permissions(host.data(), fs::Permissions::from_mode(0o700)).unwrap();
    told.fails("data", &["may not write into", "give `"]);
}

/// A command in namespaces of its own, such as `--mount`; none where this machine gives nobody any.
#[cfg(target_os = "linux")]
fn apart(namespace: &str) -> Option<Command> {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.arg(namespace);
        unshare
    };
    let may = unshare().arg("true").output().is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("not tested: this machine gives nobody a namespace");
    }
    may.then(unshare)
}

/// `doctor` with a file system of its own as the data folder, which ends with the command.
#[cfg(target_os = "linux")]
async fn look_with_disk(host: &Host, options: &str) -> Option<Told> {
    let mut command = apart("--mount")?;
    let doctor = host.command(&["doctor", "--json"]);
    let script = format!("mount -t tmpfs -o {options} tmpfs \"$1\"; shift; exec \"$@\"");
    command.args(["sh", "-ec", &script, "sh"]).arg(host.data()).arg(doctor.get_program());
    command.args(doctor.get_args());
    Some(Told::of(&output(command).await))
}

/// `doctor` with this file over another one, for as long as the command runs.
#[cfg(all(target_os = "linux", feature = "native"))]
async fn look_with_file(host: &Host, text: &str, over: &str) -> Option<Told> {
    let mut command = apart("--mount")?;
    let (doctor, file) = (host.command(&["doctor", "--json"]), host.folder().join("laid-over"));
    fs::write(&file, text).unwrap();
    let script = "mount --bind \"$1\" \"$2\"; shift 2; exec \"$@\"";
    command.args(["sh", "-ec", script, "sh"]).arg(file).arg(over).arg(doctor.get_program());
    command.args(doctor.get_args());
    Some(Told::of(&output(command).await))
}

/// The machine is as large as its kernel says.
#[cfg(all(target_os = "linux", feature = "native"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_needs_more_memory_than_is_free_is_found() {
    let mut model = local(&sound_model());
    (model["context"], model["max_batch_size"]) = (8192.into(), 4.into());
    let host = Host::at_rest(&with_model(model));
    let memory =
        |free_kb: u32| format!("MemTotal:  4000000 kB\nMemFree:  1 kB\nMemAvailable:  {free_kb} kB\n");
    let Some(told) = look_with_file(&host, &memory(200_000), "/proc/meminfo").await else { return };
    told.warns("memory", &["it", "needs some", "and 204.80 MB are free", "end other programs"]);
    look_with_file(&host, &memory(3_000_000), "/proc/meminfo").await.unwrap().is_silent();
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_found() {
    let host = Host::at_rest(&Settings::new());
    let Some(told) = look_with_disk(&host, "size=24m").await else { return };
    told.fails("disk", &["only", "are free", "free some space"]);
    look_with_disk(&host, "size=512m").await.unwrap().warns("disk", &["only", "are free"]);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_lets_nobody_write_is_found() {
    let host = Host::at_rest(&Settings::new());
    let Some(told) = look_with_disk(&host, "ro,size=2g").await else { return };
    told.fails("data", &["may not write into", "set `data` to another folder"]);
}

/// Ports below 1024 take a right, which the command here gives up.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_takes_a_right_is_found() {
    let host = Host::at_rest(&Settings::new().set("listen", "0.0.0.0:80"));
    let Some(mut command) = apart("--net") else { return };
    let doctor = host.command(&["doctor", "--json"]);
    let right = ["--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"];
    command.arg("setpriv").args(right).arg(doctor.get_program()).args(doctor.get_args());
    Told::of(&output(command).await).fails("port", &["0.0.0.0:80", "may not take this port", "above 1023"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_open_files_are_found() {
    let host = Host::at_rest(&Settings::new());
    let doctor = host.command(&["doctor", "--json"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -n 400; exec "$0" "$@""#]).arg(doctor.get_program()).args(doctor.get_args());
    Told::of(&output(shell).await).warns("descriptors", &["may open 400 files", "LimitNOFILE=1152"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_for_platforms_that_does_not_lead_here_is_found() {
    let (_platform, endpoint, settings) = sound().await;
    let host = Host::start(&settings).await;
    let other = Host::start(&Settings::new()).await;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let with = async |public: String| beside(&host, settings.clone().set("public_url", public)).await;
    with(format!("http://{closed}")).await.fails("callback", &["cannot be reached from here", "firewall"]);
    with(endpoint.origin.clone()).await.fails("callback", &["is no parlor", "let the proxy pass"]);
    with(other.url("")).await.fails("callback", &["another parlor answers there", "correct `public_url`"]);
    let told = at_rest(&settings.clone().set("public_url", "http://bot.example.com")).await;
    told.warns("callback", &["platforms call https addresses only", "certificate"]);
    told.has("skip", "callback", &["start it and ask again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_with_another_secret_than_the_platform_is_found() {
    let (_platform, _endpoint, settings) = sound().await;
    let settings = settings.set("channels.hook.secrets.secret", "secret-canary-of-somebody-else");
    let host = Host::start(&settings).await;
    beside(&host, settings.clone()).await.has("skip", "signature", &["hook", "no webhook has come in"]);
    for n in 0..3 {
        let envelope = Envelope::new(&format!("m-{n}"), "s-1", "hello canary");
        assert_eq!(envelope.post(&host.url("/webhook/hook")).await.unwrap().0, 401);
        host.wait_for_line(&["webhook refused", r#""labels.channel":"hook""#]).await;
        let told = beside(&host, settings.clone()).await;
        match n {
            2 => told
                .fails("signature", &["hook", "3 webhooks could not be verified", "channels.hook.secrets"]),
            _ => told.warns("signature", &["hook", "could not be verified", "channels.hook.secrets"]),
        }
    }
}
