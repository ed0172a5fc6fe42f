//! A function platform: the emulator of cargo-lambda runs the function, moto's SQS keeps its queue.
//!
//! Neither is ours. The emulator hands events over by the real runtime API; the queue drops repeats, keeps groups in
//! order and checks every signature, as the official client makes it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Host, Settings, client, eventually};

pub const REGION: &str = "eu-central-1";
/// More than any turn of a test takes; the emulator gives up on a caller after it.
const TIMEOUT_S: &str = "60";
/// What the owner of a new account asks before signatures are checked.
const UNCHECKED_REQUESTS: &str = "4";

fn packages() -> PathBuf {
    let folder = std::env::var_os("PARLOR_TEST_PYTHONPATH");
    folder.expect("`PARLOR_TEST_PYTHONPATH` is not set: run `cargo xtask test`").into()
}

fn python() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", packages()).env("PYTHONDONTWRITEBYTECODE", "1");
    // The official client would look for its owner's files otherwise.
    python.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    python
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A child that ends with the test.
struct Process(Child);

impl Process {
    async fn listening(command: &mut Command, port: u16) -> Process {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut process = Process(child);
        eventually("a port is listened to", || {
            let ended = process.0.try_wait().unwrap();
            assert!(ended.is_none(), "the process ended: {ended:?}");
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .await;
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The emulator, and the function that fetches its events.
pub struct Function {
    pub host: Host,
    origin: String,
    _emulator: Process,
    _project: TempDir,
}

impl Function {
    pub async fn start(settings: &Settings) -> Function {
        let function = Function::at_rest(settings).await;
        function.host.wait_for_line(&["answering the events of a function platform"]).await;
        function
    }

    /// Started, and perhaps refused by now.
    pub async fn at_rest(settings: &Settings) -> Function {
        let (port, project) = (free_port(), project());
        let mut emulator = Command::new(packages().join("bin/cargo-lambda"));
        emulator.args(["lambda", "watch", "--only-lambda-apis", "--invoke-address", "127.0.0.1"]);
        emulator.args(["--invoke-port", &port.to_string(), "--timeout", TIMEOUT_S]);
        let emulator = Process::listening(emulator.current_dir(project.path()), port).await;
        let runtime = format!("http://127.0.0.1:{port}/.rt");
        let settings = settings
            .clone()
            .environment("AWS_LAMBDA_RUNTIME_API", &runtime)
            .environment("AWS_LAMBDA_FUNCTION_NAME", "_")
            .environment("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .environment("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .environment("AWS_LAMBDA_MAX_CONCURRENCY", "4");
        let mut host = Host::at_rest(&settings);
        host.begin();
        Function { host, origin: format!("http://127.0.0.1:{port}"), _emulator: emulator, _project: project }
    }

    /// As the function's URL.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Hands any event over; what the function says, or its error.
    pub async fn invoke(&self, event: &Value) -> Value {
        let url = self.url("/2015-03-31/functions/_/invocations");
        let response = client().post(url).body(event.to_string()).send().await.unwrap();
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }
}

/// The emulator wants a Rust project where it runs, which it does not build.
fn project() -> TempDir {
    let project = tempfile::tempdir().unwrap();
    std::fs::create_dir(project.path().join("src")).unwrap();
    let manifest = "[package]\nname = \"host\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
    std::fs::write(project.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::write(project.path().join("src/main.rs"), "fn main() {}\n").unwrap();
    project
}

/// A FIFO queue of one owner.
pub struct Queue {
    server: Option<Process>,
    origin: String,
    keys: Value,
}

impl Queue {
    pub async fn start() -> Queue {
        let port = free_port();
        let mut moto = python();
        moto.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        moto.env("INITIAL_NO_AUTH_ACTION_COUNT", UNCHECKED_REQUESTS);
        let server = Process::listening(&mut moto, port).await;
        let origin = format!("http://127.0.0.1:{port}");
        let keys = owner(&["make", &origin]);
        Queue { server: Some(server), origin, keys }
    }

    /// Gives the queue and the right to use it to a function.
    pub fn join(&self, settings: Settings) -> Settings {
        let text = |name: &str| self.keys[name].as_str().unwrap().to_owned();
        settings
            .set("function", json!({ "queue": text("url") }))
            .environment("AWS_REGION", REGION)
            .environment("AWS_ACCESS_KEY_ID", &text("id"))
            .environment("AWS_SECRET_ACCESS_KEY", &text("secret"))
    }

    /// What lies in it, as records of an event; each is out of sight from then on.
    pub fn take(&self) -> Vec<Value> {
        let records = owner(&["take", &self.origin, &self.keys.to_string()]);
        records.as_array().unwrap().clone()
    }

    pub fn stop(&mut self) {
        self.server = None;
    }
}

/// What the owner of the queue does, by the official client.
fn owner(arguments: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/sqs_owner.py");
    let output = python().arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// An event of a batch.
pub fn batch(records: &[Value]) -> Value {
    json!({ "Records": records })
}
