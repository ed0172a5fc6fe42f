//! The real binary `parlor`, started with a configuration of its own in a folder of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{CANARY, eventually, warm};

const JWT_SECRET: &str = "secret-canary-jwt-of-32-bytes-or-more";

/// The binary under test: the one that cargo built with this test, unless another one is named.
pub fn program() -> PathBuf {
    std::env::var_os("PARLOR_TEST_HOST").map_or_else(|| env!("CARGO_BIN_EXE_parlor").into(), PathBuf::from)
}

/// A configuration, and the environment that goes with it.
#[derive(Debug, Clone)]
pub struct Settings {
    pub config: Value,
    pub environment: BTreeMap<String, String>,
    /// Whether plugins that were compiled before are laid ready.
    pub is_warm: bool,
}

impl Settings {
    /// A host with plugins, without any channel.
    pub fn new() -> Self {
        let config = json!({
            "listen": "127.0.0.1:0",
            "admin": { "listen": "127.0.0.1:0" },
            "data": "data",
            "auth": { "jwt_secret": JWT_SECRET },
            "plugins": { "folder": warm::plugins(), "allow_unsigned": true },
            "models": {}, "channels": {}, "endpoints": {},
        });
        Self { config, environment: BTreeMap::new(), is_warm: true }
    }

    /// Sets a value by its path: `channels.team.history`.
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let pointer = format!("/{}", path.replace('.', "/"));
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = self.config.pointer_mut(parent).expect("the parent of what is set is there");
        parent[key] = value.into();
        self
    }

    /// Puts one more entry into a table whose keys have dots in them.
    pub fn insert(mut self, table: &str, key: &str, value: impl Into<Value>) -> Self {
        let pointer = format!("/{}", table.replace('.', "/"));
        self.config.pointer_mut(&pointer).expect("the table is there")[key] = value.into();
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// The lines that a host wrote, over all of its starts.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    address: Mutex<Option<SocketAddr>>,
    admin: Mutex<Option<SocketAddr>>,
}

impl Log {
    fn note(&self, line: String) {
        let fields = serde_json::from_str::<Value>(&line).unwrap_or_default();
        let door = match fields["message"].as_str() {
            Some("serving") => Some(&self.address),
            Some("admin door open") => Some(&self.admin),
            _ => None,
        };
        if let Some(door) = door {
            let address = fields["labels.address"].as_str().expect("the line of a door names its address");
            *door.lock().unwrap() = Some(address.parse().unwrap());
        }
        self.lines.lock().unwrap().push(line);
    }

    fn follow(self: &Arc<Self>, output: impl Read + Send + 'static) {
        let log = self.clone();
        let follow = move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { return };
                log.note(String::from_utf8_lossy(&line).into_owned());
            }
        };
        std::thread::spawn(follow);
    }
}

pub struct Host {
    folder: TempDir,
    settings: Settings,
    child: Option<Child>,
    log: Arc<Log>,
}

impl Host {
    /// Serves when this returns.
    pub async fn start(settings: &Settings) -> Host {
        let mut host = Host::at_rest(settings);
        host.run().await;
        host
    }

    /// A folder with everything in it, and no process yet.
    pub fn at_rest(settings: &Settings) -> Host {
        let folder = tempfile::tempdir().unwrap();
        if settings.is_warm {
            let plugins = settings.config["plugins"]["folder"].as_str().expect("a host has a plugin folder");
            warm::lay_into(&folder.path().join("data"), Path::new(plugins));
        }
        let host = Host { folder, settings: settings.clone(), child: None, log: Arc::default() };
        host.write_config();
        host
    }

    fn write_config(&self) {
        // JSON is YAML; spread over lines, so that places in it tell something.
        let text = serde_json::to_string_pretty(&self.settings.config).unwrap();
        std::fs::write(self.config_file(), text).unwrap();
    }

    /// Sets a value of the configuration, for the starts that follow.
    #[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
    pub fn configure(&mut self, path: &str, value: impl Into<Value>) {
        self.settings = self.settings.clone().set(path, value);
        self.write_config();
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("parlor.yaml")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `parlor` with this host's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(["--log-format", "json", "--config"]).arg(self.config_file()).args(arguments);
        command.envs(&self.settings.environment).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A token for the host's own doors.
    pub fn token(&self) -> String {
        self.token_with(&[])
    }

    /// A token by these options of `parlor token`.
    pub fn token_with(&self, options: &[&str]) -> String {
        let output = self.output(&[&["token"], options].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Starts it on the data that there are, and waits until it serves.
    pub async fn run(&mut self) {
        self.begin();
        self.serves().await;
    }

    /// Waits until it serves.
    pub async fn serves(&mut self) {
        eventually("the host serves", || {
            self.assert_alive();
            *self.log.address.lock().unwrap()
        })
        .await;
    }

    /// Starts it without waiting for anything.
    pub fn begin(&mut self) {
        let command = self.command(&["serve"]);
        self.begin_with(command);
    }

    /// The same with another environment, for this start and those that follow.
    pub fn begin_with_environment(&mut self, environment: &[(&str, &str)]) {
        self.settings.environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.begin();
    }

    /// The same by another command, such as a shell that sets limits first.
    pub fn begin_with(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "the host runs already");
        self.forget_address();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.log.follow(child.stdout.take().unwrap());
        self.log.follow(child.stderr.take().unwrap());
        self.child = Some(child);
    }

    pub fn assert_alive(&mut self) {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
        assert!(ended.is_none(), "the host ended: {ended:?}\n{}", self.log_text());
    }

    /// Starts it with another environment, for this start and those that follow.
    pub async fn run_with(&mut self, environment: &[(&str, &str)]) {
        self.begin_with_environment(environment);
        self.serves().await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("there is a process to kill");
        child.kill().unwrap();
        child.wait().unwrap();
        self.forget_address();
    }

    /// SIGTERM; `ended` tells when it is over.
    pub fn terminate(&self) {
        let id = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for the end of the process.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("there is a process to wait for");
        let status = eventually("the host ends", || child.try_wait().unwrap()).await;
        self.forget_address();
        status
    }

    /// Drains it and starts it again on the same data.
    pub async fn restart(&mut self) {
        self.terminate();
        assert!(self.ended().await.success());
        self.run().await;
    }

    fn forget_address(&self) {
        *self.log.address.lock().unwrap() = None;
        *self.log.admin.lock().unwrap() = None;
    }

    pub fn address(&self) -> SocketAddr {
        self.log.address.lock().unwrap().expect("the host serves")
    }

    /// Where the host is from now on, for who calls it again after a restart; none while it is down.
    pub fn whereabouts(&self) -> impl Fn() -> Option<SocketAddr> + Send + Sync + Clone + 'static {
        let log = self.log.clone();
        move || *log.address.lock().unwrap()
    }

    /// At the operators' door, which opens a moment before the others.
    pub fn admin_url(&self, path: &str) -> String {
        let address = self.log.admin.lock().unwrap().expect("the admin door is open");
        format!("http://{address}{path}")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn process_id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// All that it wrote so far.
    pub fn log_text(&self) -> String {
        self.log.lines.lock().unwrap().join("\n")
    }

    /// The lines of the log that hold a text.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        self.log.lines.lock().unwrap().iter().filter(|line| line.contains(text)).cloned().collect()
    }

    /// Waits for a line that holds all of these texts.
    pub async fn wait_for_line(&self, texts: &[&str]) -> String {
        let is_it = |line: &&String| texts.iter().all(|text| line.contains(text));
        let look = || self.log.lines.lock().unwrap().iter().find(is_it).cloned();
        eventually(&format!("a line of the log with {texts:?}"), look).await
    }
}

/// The store's files hold what was said, and no secret, nor an address that speaks for a conversation.
fn secrets_in_store(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(data).into_iter().flatten().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        if ["secret-canary", "session-canary"].iter().any(|secret| text.contains(secret)) {
            found.push(entry.path());
        }
    }
    found
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        let lines = self.log.lines.lock().unwrap();
        if std::thread::panicking() {
            eprintln!("--- the host's log\n{}", lines.join("\n"));
            return;
        }
        let leaked: Vec<_> = lines.iter().filter(|line| line.to_lowercase().contains(CANARY)).collect();
        assert!(leaked.is_empty(), "the log tells what was said, who said it, or a secret: {leaked:#?}");
        let unsealed = secrets_in_store(&self.data());
        assert!(unsealed.is_empty(), "a secret stands in {unsealed:?}");
    }
}
