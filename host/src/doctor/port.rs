//! Who is at `listen` and `admin.listen`: nobody, this configuration's own host, or somebody else.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::Finding;
use super::client::Client;
use crate::config::Config;
use crate::store::sqlite;

const CHECK: &str = "port";
/// A parlor on this machine answers at once, also when it is busy.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

pub enum Server {
    /// The host of this data folder serves; what `/health` and `/ready` say.
    Ours { health: Value, ready: Value },
    /// It serves, and turns this machine away: the status, and its word for it.
    Mute { status: u16, message: String },
    /// A parlor that serves from another data folder.
    Other,
    /// Nobody answers as a parlor does.
    None,
}

impl Server {
    /// Whether this configuration's host runs.
    pub fn runs(&self) -> bool {
        matches!(self, Server::Ours { .. } | Server::Mute { .. })
    }
}

/// How this machine reaches `listen`.
pub fn local(listen: SocketAddr, path: &str) -> Url {
    let ip = match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address.ip(),
    };
    let address = SocketAddr::new(ip, listen.port());
    Url::parse(&format!("http://{address}{path}")).expect("an address with a port makes a URL")
}

pub async fn server(config: &Config, client: &Client) -> Server {
    if config.listen.port() == 0 {
        return Server::None;
    }
    let ask = async |path: &str| {
        client.ask(client.get(local(config.listen, path)).timeout(PROBE_TIMEOUT)).await.ok()
    };
    let Some(answer) = ask("/health").await else { return Server::None };
    let health = answer.json().unwrap_or_default();
    let is_held = sqlite::is_in_use(&config.data);
    if is_parlor(&health) {
        let ready = async || ask("/ready").await.and_then(|answer| answer.json()).unwrap_or_default();
        return if is_held { Server::Ours { health, ready: ready().await } } else { Server::Other };
    }
    match health["error"]["message"].as_str() {
        Some(message) if is_held => Server::Mute { status: answer.status, message: message.to_owned() },
        _ => Server::None,
    }
}

/// Whether this is what a parlor says of its health.
pub fn is_parlor(health: &Value) -> bool {
    health["status"].is_string() && health["version"].is_string() && health["instance"].is_string()
}

pub fn findings(config: &Config, server: &Server) -> Vec<Finding> {
    let about = config.listen.to_string();
    match server {
        Server::Ours { health, ready } => serving(&about, health, ready),
        Server::Mute { status, message } => vec![turned_away(&about, *status, message)],
        Server::Other => vec![Finding::fail(
            CHECK,
            &about,
            "another parlor serves here, from another data folder",
            "stop it, or set `listen` to another port",
        )],
        Server::None => {
            let admin = config.admin.as_ref().map(|admin| bind(admin.listen, "admin.listen"));
            std::iter::once(bind(config.listen, "listen")).chain(admin).collect()
        }
    }
}

fn serving(about: &str, health: &Value, ready: &Value) -> Vec<Finding> {
    let version = health["version"].as_str().unwrap_or_default();
    let mut findings = vec![Finding::ok(CHECK, about, format!("parlor {version} serves here"))];
    for check in ready["checks"].as_array().into_iter().flatten() {
        if check["ok"] == false {
            let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
            let remedy = "see its log; what is loading needs time, what failed needs to be mended";
            findings.push(Finding::fail("serving", &text("name"), text("detail"), remedy));
        }
    }
    findings
}

/// A list of addresses without this machine's is the operator's will; anything else is not.
fn turned_away(about: &str, status: u16, message: &str) -> Finding {
    if status == 403 {
        let what =
            "the host serves here, and its `allow` keeps this machine out: how it fares was not tested";
        return Finding::skip(CHECK, about, what);
    }
    let what = format!("the host turns requests away (status {status}: {message})");
    Finding::fail("serving", about, what, "see its log; raise `limits.connections` if all of them are wanted")
}

/// Takes the port for a moment, as `serve` would for long. `key` is where the configuration has it.
fn bind(listen: SocketAddr, key: &str) -> Finding {
    let about = listen.to_string();
    let error = match TcpListener::bind(listen) {
        Ok(_) => return Finding::ok(CHECK, &about, "is free"),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::AddrInUse => {
            let holder = holder(listen.port()).map_or(String::new(), |holder| format!(": {holder}"));
            Finding::fail(
                CHECK,
                &about,
                format!("is taken by another program{holder}"),
                format!("stop it, or set `{key}` to another port"),
            )
        }
        ErrorKind::AddrNotAvailable => Finding::fail(
            CHECK,
            &about,
            "is no address of this machine",
            format!(
                "set `{key}` to `127.0.0.1:{0}`, or to `0.0.0.0:{0}` for all of its addresses",
                listen.port()
            ),
        ),
        ErrorKind::PermissionDenied => Finding::fail(
            CHECK,
            &about,
            "this user may not take this port",
            "take one above 1023 and let a proxy listen on it, or grant `CAP_NET_BIND_SERVICE`",
        ),
        _ => Finding::fail(
            CHECK,
            &about,
            format!("cannot be taken: {error}"),
            format!("set `{key}` to another address"),
        ),
    }
}

/// The program that listens on a port, as far as this user may see it: the socket's inode in `/proc/net`, then
/// whose descriptor that is.
fn holder(port: u16) -> Option<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let inodes: Vec<String> = tables
        .iter()
        .flat_map(|table| table.lines())
        .filter_map(|line| listening_inode(line, port))
        .collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let held = processes.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let mut open = std::fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let is_it = open.any(|fd| {
            let target = std::fs::read_link(fd.path()).unwrap_or_default();
            inodes.iter().any(|inode| target.as_os_str() == format!("socket:[{inode}]").as_str())
        });
        let name = std::fs::read_to_string(entry.path().join("comm")).ok().filter(|_| is_it)?;
        Some(format!("`{}`, process {id}", name.trim()))
    });
    held.take(1).next()
}

/// `  0: 0100007F:4965 00000000:0000 0A … 12345`: address, state (0A listens), and as the tenth field the inode.
fn listening_inode(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, hex) = fields.get(1)?.rsplit_once(':')?;
    let is_it = u16::from_str_radix(hex, 16).ok()? == port && *fields.get(3)? == "0A";
    fields.get(9).filter(|_| is_it).map(|inode| (*inode).to_owned())
}
