//! F15: a plugin that calls where it may not. The test runs in a network of its own, where this machine, its private
//! neighbours, a cloud's metadata and one public address all answer: whoever is called is seen, and it must be the
//! public one alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::row::Row;
use crate::support::{Host, Model, Settings, client, guests};

/// Set for the same test below `unshare`.
const INSIDE: &str = "PARLOR_TEST_OWN_NETWORK";
const NAME: &str = "egress::f15_a_plugin_reaches_no_address_but_public_ones";
const PUBLIC: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// Of the network; loopback is there anyway.
const ADDRESSES: &str =
    "8.8.8.8/32 10.0.0.5/32 169.254.169.254/32 100.100.100.200/32 fd00::1/128 fd00:ec2::254/128";

/// What each URL says instead of a port.
const PORT: &str = "PORT";
/// URLs that an operator allowed by a setting, and whose address is still refused.
const ALLOWED_BY_SETTING: [&str; 17] = [
    "http://127.0.0.1:PORT/",
    "http://[::1]:PORT/",
    "http://169.254.169.254:PORT/latest/meta-data/",
    "http://100.100.100.200:PORT/latest/meta-data/",
    "http://[fd00::1]:PORT/",
    "http://[fd00:ec2::254]:PORT/",
    "http://0x7f.1:PORT/",
    "http://2130706433:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://127.1:PORT/",
    "http://0.0.0.0:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:a9fe:a9fe]:PORT/",
    "http://10.0.0.5:PORT/",
    "http://localhost:PORT/",
    "http://private.example.com:PORT/",
    "http://metadata.example.com:PORT/",
];
/// URLs that the manifest itself names.
const ALLOWED_BY_MANIFEST: [&str; 5] = [
    "https://169.254.169.254/",
    "https://100.100.100.200/",
    "https://localhost/",
    "https://[::1]/",
    "https://[fd00:ec2::254]/",
];
/// URLs that mean another host than they seem to, where `http://public.example.com:PORT/` is allowed.
const TRICKS: [&str; 12] = [
    "file:///etc/passwd",
    "gopher://127.0.0.1:PORT/",
    "//127.0.0.1:PORT/",
    "http://public.example.com:PORT@127.0.0.1:PORT/",
    "http://public.example.com@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\\@public.example.com:PORT/",
    "http://127.0.0.1:PORT#@public.example.com:PORT/",
    "http://127.0.0.1:PORT/?@public.example.com:PORT/",
    "http://public.example.com.:PORT@[::1]:PORT/",
    "http:///127.0.0.1:PORT/",
    "http://127.0.0.1:PORT/public.example.com",
    "http://public.example.com\u{ff0e}evil:PORT/",
];

/// Runs this very test again in a network of its own.
fn run_inside() {
    let folder = tempfile::tempdir().unwrap();
    let names = folder.path().join("resolv.conf");
    std::fs::write(&names, "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n").unwrap();
    let script = format!(
        r#"ip link set lo up; for address in {ADDRESSES}; do ip address add "$address" dev lo nodad 2>/dev/null ||
            ip address add "$address" dev lo; done; mount --bind "$1" /etc/resolv.conf; shift; exec "$@""#
    );
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--net", "--mount", "sh", "-ec", &script, "sh"]).arg(&names);
    unshare.arg(std::env::current_exe().unwrap()).args(["--exact", NAME, "--nocapture"]);
    // What it writes would be counted as another test.
    let output = unshare.env(INSIDE, "yes").output().expect("`unshare` of util-linux is there");
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "the test in a network of its own failed, or there can be none: {}\n{}{}",
        output.status,
        told(&output.stdout),
        told(&output.stderr)
    );
}

/// Who was called, by the address that the call came to.
#[derive(Debug, Clone, Default)]
struct Called(Arc<Mutex<Vec<IpAddr>>>);

impl Called {
    /// Answers at a port on every address.
    async fn listen(&self, port: u16) -> u16 {
        let any = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await.unwrap();
        let port = any.local_addr().unwrap().port();
        let called = self.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = any.accept().await.unwrap();
                called.0.lock().unwrap().push(stream.local_addr().unwrap().ip().to_canonical());
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let read = stream.read(&mut head).await.unwrap_or_default();
                    let head = String::from_utf8_lossy(&head[..read]).into_owned();
                    stream.write_all(answer(&head, port).as_bytes()).await.ok();
                });
            }
        });
        port
    }

    fn at(&self, address: IpAddr) -> usize {
        self.0.lock().unwrap().iter().filter(|called| **called == address).count()
    }

    fn elsewhere(&self) -> Vec<IpAddr> {
        self.0.lock().unwrap().iter().filter(|called| **called != PUBLIC).copied().collect()
    }
}

fn answer(head: &str, port: u16) -> String {
    let (status, more) = match head.split(' ').nth(1) {
        Some("/inwards") => ("302 Found", format!("location: http://127.0.0.1:{port}/\r\n")),
        Some("/to-metadata") => {
            ("307 Temporary Redirect", format!("location: http://169.254.169.254:{port}/\r\n"))
        }
        _ => ("200 OK", String::new()),
    };
    format!("HTTP/1.1 {status}\r\n{more}content-length: 2\r\nconnection: close\r\n\r\n{{}}")
}

/// Names of this network; `rebinding` is public at each odd question, and this machine at each even one.
#[derive(Debug, Clone, Default)]
struct Names(Arc<Mutex<BTreeMap<String, usize>>>);

impl Names {
    async fn serve(&self) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).await.unwrap();
        let names = self.clone();
        tokio::spawn(async move {
            let mut question = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut question).await.unwrap();
                if let Some(answer) = names.answer(&question[..length]) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
    }

    fn asked(&self, name: &str) -> usize {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    fn address(&self, name: &str) -> Option<Ipv4Addr> {
        let mut asked = self.0.lock().unwrap();
        let times = asked.entry(name.to_owned()).or_default();
        *times += 1;
        match name {
            "public.example.com" => Some(PUBLIC),
            "private.example.com" => Some(PRIVATE),
            "metadata.example.com" => Some(Ipv4Addr::new(169, 254, 169, 254)),
            "rebinding.example.com" if *times % 2 == 1 => Some(PUBLIC),
            "rebinding.example.com" => Some(Ipv4Addr::LOCALHOST),
            _ => None,
        }
    }

    /// RFC 1035: the question back, and one address of type A that lives for no time.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let mut labels = Vec::new();
        let mut at = 12;
        while *question.get(at)? != 0 {
            let length = usize::from(question[at]);
            labels.push(String::from_utf8_lossy(question.get(at + 1..at + 1 + length)?).to_lowercase());
            at += 1 + length;
        }
        let asked = question.get(..at + 5)?;
        let is_of_v4 = asked[at + 1..at + 3] == [0, 1];
        let address = if is_of_v4 { self.address(&labels.join(".")) } else { None };
        let mut answer =
            [&asked[..2], &[0x81, 0x80, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]].concat();
        answer.extend_from_slice(&asked[12..]);
        if let Some(address) = address {
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend_from_slice(&address.octets());
        }
        Some(answer)
    }
}

/// A host with a channel for each URL that an operator allows, by its number.
async fn host(targets: &[String], port: u16) -> (Host, Model) {
    let mut settings = Settings::new().set("plugins.folder", guests().to_str().unwrap()).insert(
        "endpoints",
        "https://echo.example.com",
        format!("http://metadata.example.com:{port}"),
    );
    for (number, target) in targets.iter().enumerate() {
        let channel = json!({ "adapter": "unruly", "settings": { "target": target } });
        settings = settings.set(&format!("channels.c{number}"), channel);
    }
    let model = Model::start().await;
    (Host::start(&model.join(settings)).await, model)
}

/// Lets the guest of a channel call a URL; what it says that came of it.
async fn call(host: &Host, channel: usize, how: &str, url: &str, id: &str) -> String {
    let request = client().post(host.url(&format!("/webhook/c{channel}/later/call/{how}")));
    let status = request.header("x-request-id", id).body(url.to_owned()).send().await.unwrap().status();
    assert_eq!(status, 200, "{url}");
    let line = host.wait_for_line(&["deed done", &format!("id={id} ")]).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    let told = line.as_object().unwrap().values().find_map(|value| value.as_str()?.split_once("outcome="));
    told.expect("an outcome").1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_a_plugin_reaches_no_address_but_public_ones() {
    if std::env::var_os(INSIDE).is_none() {
        return run_inside();
    }
    let mut row = Row::new("F15", "private, metadata and rebound addresses, redirects, tricks with URLs");
    let (called, names) = (Called::default(), Names::default());
    names.serve().await;
    let port = called.listen(0).await;
    called.listen(443).await;
    for address in
        [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into(), PRIVATE.into(), PUBLIC.into()]
    {
        drop(
            tokio::net::TcpStream::connect((address, port))
                .await
                .expect("every address of this network answers"),
        );
    }
    while called.0.lock().unwrap().len() < 4 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    called.0.lock().unwrap().clear();

    let at_port = |url: &str| url.replace(PORT, &port.to_string());
    let mut targets: Vec<String> = ALLOWED_BY_SETTING.map(at_port).into();
    let rebinding = targets.len();
    targets.push(at_port("http://rebinding.example.com:PORT/"));
    let public = targets.len();
    targets.push(at_port("http://public.example.com:PORT/"));
    let (host, _model) = host(&targets, port).await;

    let found = call(&host, public, "get", &targets[public], "control").await;
    row.holds(
        found == "answered 200" && called.at(PUBLIC.into()) == 1,
        format!("the public address: {found}"),
    );
    let allowed = ALLOWED_BY_SETTING.iter().map(|url| at_port(url)).enumerate();
    let by_manifest = ALLOWED_BY_MANIFEST.iter().map(|url| (public, (*url).to_owned()));
    let tricks = TRICKS.iter().map(|url| (public, at_port(url)));
    for (number, (channel, url)) in allowed.chain(by_manifest).chain(tricks).enumerate() {
        let told = call(&host, channel, "get", &url, &format!("call-{number}")).await;
        row.rounds += 1;
        row.holds(told.starts_with("Denied, sent: false"), format!("{url}: {told}"));
    }
    let stood_in = call(&host, public, "get", "https://echo.example.com/", "stood-in").await;
    row.holds(stood_in.contains("where a cloud hands out credentials"), format!("a stand-in: {stood_in}"));
    for path in ["inwards", "to-metadata"] {
        let url = format!("{}{path}", targets[public]);
        let told = call(&host, public, "redirect", &url, path).await;
        row.rounds += 1;
        row.holds(told.starts_with("redirected; Denied, sent: false"), format!("/{path}: {told}"));
    }
    for number in 0..6 {
        let asked = names.asked("rebinding.example.com");
        let told = call(&host, rebinding, "get", &targets[rebinding], &format!("rebinding-{number}")).await;
        row.rounds += 1;
        let asks = names.asked("rebinding.example.com") - asked;
        row.holds(asks == 1, format!("a name was looked up {asks} times for one request"));
        let wanted = if number % 2 == 0 { "answered 200" } else { "Denied, sent: false" };
        row.holds(told.starts_with(wanted), format!("rebinding, {number}: {told}"));
    }
    row.holds(called.at(PUBLIC.into()) == 1 + 2 + 3, format!("{:?}", called.0.lock().unwrap()));
    row.holds(called.elsewhere().is_empty(), format!("somebody else was called: {:?}", called.elsewhere()));
    row.figure(format!("{} calls to what is not public", called.elsewhere().len()));
    row.close();
}
