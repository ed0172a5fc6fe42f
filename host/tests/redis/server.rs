//! Real Redis servers, one alone or a Cluster of three masters, that end with the test process however it ends.
//!
//! A shell waits at each server's side for the other end of its standard input to be closed, and kills it then.
//! The server alone listens on a socket in its folder; only what needs an address gets a port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use redis::{Client, Connection};
use tempfile::TempDir;

/// Far more than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(20);
const CLUSTER_SLOTS: u16 = 16_384;
const MASTERS: u16 = 3;

/// `PARLOR_TEST_REDIS` names the program; `cargo xtask test` gets it.
fn program() -> PathBuf {
    let program = std::env::var_os("PARLOR_TEST_REDIS");
    program.expect("`PARLOR_TEST_REDIS` is the path of `redis-server`; `cargo xtask clients` gets one").into()
}

/// A running server. Dropping it kills it.
pub struct Server {
    shell: Child,
    url: String,
}

impl Server {
    /// On a socket in the folder, where its log is.
    pub fn start(folder: &Path, settings: &[&str]) -> Server {
        let socket = folder.join("socket");
        let socket = socket.to_str().unwrap();
        let url = format!("redis+unix://{socket}");
        let settings = [&["--port", "0", "--unixsocket", socket], settings].concat();
        Server::run(folder, url, &settings)
    }

    /// At a port that was free a moment ago.
    pub fn start_at_port(folder: &Path, port: u16, settings: &[&str]) -> Server {
        let text = port.to_string();
        let settings = [&["--bind", "127.0.0.1", "--port", &text], settings].concat();
        Server::run(folder, format!("redis://127.0.0.1:{port}"), &settings)
    }

    fn run(folder: &Path, url: String, settings: &[&str]) -> Server {
        const ENDS_WITH_ME: &str = r#""$@" >"$LOG" 2>&1 & server=$!; cat >/dev/null; kill -9 $server; wait"#;
        let mut shell = Command::new("sh");
        shell.args(["-c", ENDS_WITH_ME, "sh"]).arg(program()).args(["--save", "", "--dir"]).arg(folder);
        shell.args(settings).env("LOG", folder.join("log")).stdin(Stdio::piped());
        let shell = shell.spawn().unwrap();
        let server = Server { shell, url };
        server.wait_until_it_answers(folder);
        server
    }

    fn wait_until_it_answers(&self, folder: &Path) {
        let began = Instant::now();
        loop {
            let client = Client::open(self.url.as_str()).unwrap();
            let answer =
                client.get_connection().and_then(|mut line| redis::cmd("PING").query::<String>(&mut line));
            if answer.is_ok() {
                return;
            }
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "redis-server does not answer: {answer:?}\n{log}");
            std::thread::sleep(GLANCE);
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A line of the test's own, past the store.
    pub fn line(&self) -> Connection {
        Client::open(self.url.as_str()).unwrap().get_connection().unwrap()
    }

    /// Goes on being there, and does nothing more.
    pub fn stop(&self) {
        let info: String = redis::cmd("INFO").arg("server").query(&mut self.line()).unwrap();
        let id = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim();
        let process = rustix::process::Pid::from_raw(id.parse().unwrap()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.shell.stdin.take());
        self.shell.wait().ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Kept for the whole process; a static is not dropped, and a shell removes its folder.
fn lasting_folder() -> PathBuf {
    const REMOVED_WITH_ME: &str = r#"cat >/dev/null; sleep 1; rm -rf "$1""#;
    let folder = quick_folder().keep();
    let mut shell = Command::new("sh");
    shell.args(["-c", REMOVED_WITH_ME, "sh"]).arg(&folder).stdin(Stdio::piped());
    // Its standard input is open for as long as this process.
    std::mem::forget(shell.spawn().unwrap());
    folder
}

/// Without a disk's latency, where the system has such a place.
pub fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// One server for all tests of the process; each takes a prefix of its own.
pub fn alone() -> &'static Server {
    static ALONE: OnceLock<Server> = OnceLock::new();
    ALONE.get_or_init(|| Server::start(&lasting_folder(), &["--appendonly", "yes"]))
}

/// Three masters that share the slots; the addresses of all.
pub fn cluster() -> &'static [String] {
    static CLUSTER: OnceLock<(Vec<Server>, Vec<String>)> = OnceLock::new();
    &CLUSTER
        .get_or_init(|| {
            let servers: Vec<Server> = (0..MASTERS).map(|_| start_member(&lasting_folder())).collect();
            join(&servers);
            let urls = servers.iter().map(|server| server.url.clone()).collect();
            (servers, urls)
        })
        .1
}

/// A Cluster of a test's own: three masters, and a replica of the first.
pub fn cluster_with_replica(folders: &[TempDir; 4]) -> (Vec<Server>, Server) {
    let mut servers: Vec<Server> = folders.iter().map(|folder| start_member(folder.path())).collect();
    let replica = servers.pop().unwrap();
    join(&servers);
    let first: String = redis::cmd("CLUSTER").arg("MYID").query(&mut servers[0].line()).unwrap();
    let (port, bus) = port_and_bus(&servers[0]);
    meet(&replica, port, bus);
    let copies = || {
        let mut replicate = redis::cmd("CLUSTER");
        replicate.arg("REPLICATE").arg(&first).exec(&mut replica.line()).is_ok()
    };
    wait_until("the replica knows its master", copies);
    let is_copied = || {
        let info: String = redis::cmd("INFO").arg("replication").query(&mut replica.line()).unwrap();
        info.contains("master_link_status:up")
    };
    wait_until("the replica follows its master", is_copied);
    (servers, replica)
}

/// A failover begins once a master was silent for as long.
const SILENCE: &str = "1000";

fn start_member(folder: &Path) -> Server {
    let (port, bus) = (free_port(), free_port().to_string());
    let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", SILENCE];
    Server::start_at_port(folder, port, &[&cluster[..], &["--appendonly", "yes"]].concat())
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn join(servers: &[Server]) {
    let share = CLUSTER_SLOTS / MASTERS + 1;
    let (first, bus) = port_and_bus(&servers[0]);
    for (number, server) in (0..).zip(servers) {
        let mut line = server.line();
        let last = (share * (number + 1)).min(CLUSTER_SLOTS) - 1;
        let mut add = redis::cmd("CLUSTER");
        add.arg("ADDSLOTSRANGE").arg(share * number).arg(last).exec(&mut line).unwrap();
        meet(server, first, bus);
    }
    for server in servers {
        let is_joined = || {
            let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut server.line()).unwrap();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        wait_until("the Cluster comes together", is_joined);
    }
}

fn meet(server: &Server, port: u16, bus: u16) {
    let mut meet = redis::cmd("CLUSTER");
    meet.arg("MEET").arg("127.0.0.1").arg(port).arg(bus).exec(&mut server.line()).unwrap();
}

pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(GLANCE);
    }
}

fn port_and_bus(server: &Server) -> (u16, u16) {
    let mut line = server.line();
    let me: String = redis::cmd("CLUSTER").arg("NODES").query(&mut line).unwrap();
    let address = me.split(' ').nth(1).unwrap();
    let bus = address.rsplit('@').next().unwrap().split(',').next().unwrap().parse().unwrap();
    let port = server.url.rsplit(':').next().unwrap().parse().unwrap();
    (port, bus)
}
