//! F4, F6 and F19: two nodes on one Redis behind nginx. A node is told to end under load, or killed, and Redis is, or it
//! falls silent.
//!
//! nginx runs by `deploy/nginx/parlor.conf`, with addresses of this test's own. Nobody's message is lost or answered
//! twice, and a platform is told 503 while there is nothing that could keep its message.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::knock::{Chats, Knock, Talk, all_answered, eventually_slowly};
use crate::load::{self, Fate, Load};
use crate::row::{Row, ms, rounds};
use crate::server::{Server, quick_folder};
use crate::support::{Host, Model, PATIENCE, Platform, Settings, client};
use crate::term::EXIT_MAX;

const SYNCED: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
const LEASE: Duration = Duration::from_secs(30);
/// Beside the lease: the look for what is due, and the answer itself.
pub const TAKEOVER_MAX: Duration = LEASE.saturating_add(Duration::from_secs(5));
const RECOVERY_MAX: Duration = Duration::from_secs(5);
const REFUSED_WITHIN: Duration = Duration::from_secs(2);
const ERRORS_FOR_MAX: Duration = Duration::from_secs(2);
const ERROR_SHARE_MAX: f64 = 0.005;
/// Of F4, and questions whose answers are under way then.
const A_SECOND: u32 = 200;
const ASKED: usize = 8;
/// Turns that wait for the model when a node dies.
pub const HELD: usize = 12;

/// A running nginx, which does not outlive this.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    async fn start(nodes: [SocketAddr; 2]) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let shipped = include_str!("../../../deploy/nginx/parlor.conf");
        let changes = [
            ("10.0.0.1:18789", nodes[0].to_string()),
            ("10.0.0.2:18789", nodes[1].to_string()),
            ("listen 80;", format!("listen {address};")),
        ];
        let own = changes.iter().fold(shipped.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        let bodies = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {};\n", folder.path().join(what).display()));
        let log = folder.path().join("error.log");
        let config = format!(
            "daemon off; master_process off; pid {}; error_log {};\nevents {{ worker_connections 4096; }}\n\
             http {{ access_log off;\n{}{own}\n}}\n",
            folder.path().join("pid").display(),
            log.display(),
            bodies.concat(),
        );
        std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let child = Nginx::command(folder.path()).stdin(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            let told = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "nginx does not serve: {told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Nginx { child, address, _folder: folder }
    }

    fn command(folder: &Path) -> Command {
        let program = std::env::var_os("PARLOR_TEST_NGINX")
            .expect("`PARLOR_TEST_NGINX` is the path of nginx; `cargo xtask clients` gets one");
        let mut command = Command::new(program);
        command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
        command.arg("-e").arg(folder.join("error.log"));
        command
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub struct Nodes {
    pub hosts: [Host; 2],
    nginx: Nginx,
    pub platform: Platform,
    pub chats: Chats,
    pub model: Model,
    redis: Option<Server>,
    folder: TempDir,
}

impl Nodes {
    async fn start() -> Nodes {
        Nodes::start_with(|_, settings| settings).await
    }

    /// Each node with settings of its own, by its number.
    pub async fn start_with(change: impl Fn(usize, Settings) -> Settings) -> Nodes {
        let folder = quick_folder();
        let redis = Server::start(folder.path(), &SYNCED);
        let (platform, model) = (Platform::start().await, Model::start().await);
        let chats = Chats::Pushed(platform.clone());
        let settings = model.join(chats.join(Settings::new())).set("store", json!({ "redis": redis.url() }));
        let settings = settings.set("channels.hook.limits", json!({ "concurrent": 64 }));
        let settings = [0, 1].map(|node| change(node, settings.clone()));
        let hosts = [Host::start(&settings[0]).await, Host::start(&settings[1]).await];
        let nginx = Nginx::start(hosts.each_ref().map(Host::address)).await;
        Nodes { hosts, nginx, platform, chats, model, redis: Some(redis), folder }
    }

    pub fn knocks(&self, talks: &[Talk]) -> Vec<Knock> {
        talks.iter().map(|talk| self.chats.knock(&talk.conversation, &talk.texts[0])).collect()
    }

    /// A question at the host's own door through nginx, whose answer the model holds back; its status.
    fn ask(&self, query: String) -> tokio::task::JoinHandle<Option<u16>> {
        self.model.hold(&query);
        let url = format!("http://{}/api/v1/chat", self.nginx.address);
        let asking = client().post(url).bearer_auth(self.hosts[0].token()).json(&json!({ "query": query }));
        tokio::spawn(async move { asking.send().await.ok().map(|answer| answer.status().as_u16()) })
    }

    /// Why messages were not stored, in the nodes' own words.
    fn refusals(&self) -> BTreeSet<String> {
        let lines = self.hosts.iter().flat_map(|host| host.lines_with("could not be stored"));
        lines.filter_map(|line| Some(line.split_once("\"error.")?.1.to_owned())).collect()
    }

    /// Starts a node again, at another address.
    pub async fn run(&mut self, node: usize) {
        self.hosts[node].run().await;
        self.nginx = Nginx::start(self.hosts.each_ref().map(Host::address)).await;
    }

    /// What was not acknowledged, until it is.
    async fn send_again(&self, knocks: &[Knock], load: &Load) {
        for (knock, (fate, _)) in knocks.iter().zip(&load.fates) {
            if *fate != Fate::Status(200) {
                let address = self.nginx.address;
                knock.deliver(move || Some(address)).await;
            }
        }
    }
}

pub fn talks(name: &str, count: usize) -> Vec<Talk> {
    (0..count).map(|number| Talk::new(format!("{name}-{number}"), 1)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_node_that_dies_is_not_missed() {
    let mut row = Row::new("F19", "one of two nodes killed under load, behind nginx");
    row.rounds = rounds(1, 5);
    let (a_second, seconds) = (rounds(50, 500), rounds(4, 20));
    let (mut errors, mut sent, mut all) = (0, 0, Vec::new());
    let mut nodes = Nodes::start().await;
    for round in 0..row.rounds {
        let held = talks(&format!("held{round}"), HELD);
        held.iter().for_each(|talk| nodes.model.hold(&talk.texts[0]));
        for knock in nodes.knocks(&held) {
            let status = knock.post(nodes.nginx.address).await.unwrap();
            row.holds(status == 200, format!("before the fault: {status}"));
        }
        let asked = || held.iter().map(|talk| nodes.model.times_asked(&talk.texts[0])).sum::<usize>();
        eventually_slowly("the model is asked", || asked() == HELD).await;
        let of_round = talks(&format!("load{round}"), a_second * seconds);
        let knocks = nodes.knocks(&of_round);
        let loading = load::send(knocks.clone(), u32::try_from(a_second).unwrap(), nodes.nginx.address);
        let loading = tokio::spawn(loading);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let killed = Instant::now();
        nodes.hosts[round % 2].kill();
        held.iter().for_each(|talk| nodes.model.release(&talk.texts[0]));
        let load = loading.await.unwrap();
        let failed: Vec<usize> =
            (0..load.fates.len()).filter(|at| load.fates[*at].0 != Fate::Status(200)).collect();
        let span = failed.last().zip(failed.first()).map_or(0, |(last, first)| last - first);
        let span = Duration::from_secs(1) * u32::try_from(span).unwrap() / u32::try_from(a_second).unwrap();
        row.in_time(span <= ERRORS_FOR_MAX, format!("errors for {}", ms(span)));
        (errors, sent) = (errors + failed.len(), sent + load.fates.len());
        nodes.send_again(&knocks, &load).await;
        for talk in &held {
            eventually_slowly("a turn is taken over", || talk.is_answered(&nodes.chats)).await;
        }
        row.recovered(killed.elapsed());
        row.holds(asked() > HELD, "no turn was under way on the node that died");
        all.extend(held.into_iter().chain(of_round));
        nodes.run(round % 2).await;
    }
    all_answered(&all, &nodes.chats, &mut row).await;
    row.holds(row.doubled == 0, "something is doubled");
    row.in_time(errors as f64 <= sent as f64 * ERROR_SHARE_MAX, format!("{errors} errors of {sent}"));
    let taken_over = row.recovery.unwrap_or_default();
    row.in_time(taken_over <= TAKEOVER_MAX, format!("all taken over within {}", ms(taken_over)));
    row.close();
}

/// Questions that are being answered on this node.
async fn asked_at(host: &Host) -> usize {
    let figures = client().get(host.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = figures.lines().find_map(|line| line.strip_prefix("parlor_chat_connections "));
    line.and_then(|open| open.parse().ok()).expect("the figure is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_a_node_that_is_told_to_end_is_not_missed() {
    let mut row = Row::new("F4", "SIGTERM at one of two nodes under 200 webhooks a second, behind nginx");
    row.rounds = rounds(1, 20);
    let mut nodes = Nodes::start_with(|_, settings| settings.set("chat", json!({}))).await;
    let (mut sent, mut failures, mut longest, mut all) = (0, 0, Duration::ZERO, Vec::new());
    for round in 0..row.rounds {
        let queries = (0..ASKED).map(|number| format!("canary question {round} {number}."));
        let asking: Vec<_> = queries.map(|query| nodes.ask(query)).collect();
        let asked = || nodes.model.times_asked(&format!("canary question {round} "));
        eventually_slowly("the model is asked", || asked() == ASKED).await;
        let of_round = talks(&format!("term{round}"), A_SECOND as usize * 3);
        let loading = tokio::spawn(load::send(nodes.knocks(&of_round), A_SECOND, nodes.nginx.address));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ending = round % 2;
        row.holds(asked_at(&nodes.hosts[ending]).await > 0, "nothing was under way on the node that ends");
        let began = Instant::now();
        nodes.hosts[ending].terminate();
        (0..ASKED).for_each(|number| nodes.model.release(&format!("canary question {round} {number}.")));
        row.holds(nodes.hosts[ending].ended().await.success(), "it ended badly");
        longest = longest.max(began.elapsed());
        let load = loading.await.unwrap();
        let failed: Vec<Fate> =
            load.fates.iter().map(|(fate, _)| *fate).filter(|it| *it != Fate::Status(200)).collect();
        row.holds(failed.is_empty(), format!("webhooks: {failed:?}, {:?}", nodes.refusals()));
        failures += failed.len();
        for asking in asking {
            let status = asking.await.unwrap();
            row.holds(status == Some(200), format!("a question: {status:?}"));
            failures += usize::from(status != Some(200));
        }
        sent += load.fates.len() + ASKED;
        all.extend(of_round);
        nodes.run(ending).await;
    }
    all_answered(&all, &nodes.chats, &mut row).await;
    row.holds(row.doubled == 0, "something is doubled");
    row.in_time(longest <= EXIT_MAX, format!("exit within {}", ms(longest)));
    row.figure(format!("{failures} of {sent} requests dropped or refused"));
    row.close();
}

/// Load while Redis is gone, and after it.
async fn without_redis(mut row: Row, fault: impl Fn(&mut Option<Server>)) {
    row.rounds = rounds(1, 3);
    let (a_second, seconds) = (20, rounds(2, 60));
    let (mut nodes, mut all) = (Nodes::start().await, Vec::new());
    let mut slowest = Duration::ZERO;
    for round in 0..row.rounds {
        let before = talks(&format!("before{round}"), 10);
        let load = load::send(nodes.knocks(&before), a_second, nodes.nginx.address).await;
        row.holds(load.acknowledged().count() == before.len(), "not all was well before the fault");
        fault(&mut nodes.redis);
        let during = talks(&format!("during{round}"), a_second as usize * seconds);
        let knocks = nodes.knocks(&during);
        let load = load::send(knocks.clone(), a_second, nodes.nginx.address).await;
        let refused = load.count(|fate| fate == Fate::Status(503));
        row.holds(refused > 0, "Redis was not missed");
        row.holds(load.acknowledged().count() == 0, "something was acknowledged that nothing keeps");
        let others = load.count(|fate| ![Fate::Status(503), Fate::Status(200)].contains(&fate));
        row.holds(others == 0, format!("{others} times another status than 503, or none"));
        slowest = load.fates.iter().map(|(_, time)| *time).fold(slowest, Duration::max);
        if let Some(server) = nodes.redis.take() {
            server.kill();
        }
        nodes.redis = Some(Server::start(nodes.folder.path(), &SYNCED));
        let back = Instant::now();
        knocks[0].deliver(|| Some(nodes.nginx.address)).await;
        row.recovered(back.elapsed());
        nodes.send_again(&knocks, &load).await;
        all.extend(before.into_iter().chain(during));
    }
    all_answered(&all, &nodes.chats, &mut row).await;
    row.holds(row.doubled == 0, "something is doubled");
    row.in_time(slowest <= REFUSED_WITHIN, format!("refused within {}", ms(slowest)));
    let recovery = row.recovery.unwrap_or_default();
    row.in_time(recovery <= RECOVERY_MAX, format!("taken again within {}", ms(recovery)));
    row.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_redis_is_killed_and_comes_back() {
    let row = Row::new("F6", "Redis killed, and back; two nodes behind nginx");
    without_redis(row, |redis| redis.take().unwrap().kill()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_redis_falls_silent_and_comes_back() {
    let row = Row::new("F6", "Redis takes connections and says nothing, and is back; two nodes behind nginx");
    without_redis(row, |redis| redis.as_ref().unwrap().stop()).await;
}
