//! Not a fault either, but what a plugin costs a host that has very many: private memory, the time to compile it, and
//! the time to load it once it is compiled. Each is the difference between a host with one and a host with all, so that
//! what a host costs by itself is in none of them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::holdings::{Holdings, cpu};
use crate::row::{Row, is_long, median, rounds};
use crate::support::{Host, Settings, client, distinct::Original, plugins};

const MANIFEST: &str = include_str!("../../../plugins/pipelines/assistant/plugin.toml");
const PRIVATE_BYTES_MAX: f64 = 150_000.0;
/// The same in the short form, in which few plugins have to bear what a start leaves behind.
const PRIVATE_BYTES_MAX_OF_FEW: f64 = 1_000_000.0;
/// Fewer than a host has open by itself; with a thousand plugins it makes the limit that most systems have.
const DESCRIPTORS_BESIDE: usize = 24;
/// A thousand plugins are compiled within this.
const START_TIME_MAX: Duration = Duration::from_secs(3600);
/// Over which the CPU of a host is looked at that has nothing to do.
const LOOK: Duration = Duration::from_secs(10);

/// A host on a folder of so many plugins, with the chat door open to the last of them.
struct Stage {
    host: Host,
    _folder: tempfile::TempDir,
    last: String,
    descriptors: usize,
}

/// What a start took, and how the host was after it.
#[derive(Debug, Clone, Copy)]
struct Start {
    time: Duration,
    held: Holdings,
    /// CPU when nobody asks it anything, as a share of one processor.
    idle: f64,
}

impl Stage {
    fn with(number: usize) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        lay(folder.path(), number);
        let last = name(number - 1);
        let settings = Settings::new()
            .set("plugins.folder", folder.path().to_str().unwrap())
            .set("models", json!({ "echo": { "backend": "echo" } }))
            .set("default_model", "echo")
            .set("chat", json!({ "pipelines": [last] }));
        Stage {
            host: Host::at_rest(&Settings { is_warm: false, ..settings }),
            _folder: folder,
            last,
            descriptors: number + DESCRIPTORS_BESIDE,
        }
    }

    /// Starts it as most systems would, with a soft limit of descriptors that is too low for a file of each plugin.
    async fn start(&mut self) -> Duration {
        let serve = self.host.command(&["serve"]);
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -Sn {}; exec \"$0\" \"$@\"", self.descriptors)]);
        limited.arg(serve.get_program()).args(serve.get_args()).stdin(Stdio::null());
        let began = Instant::now();
        self.host.begin_with(limited);
        let whereabouts = self.host.whereabouts();
        while whereabouts().is_none() {
            self.host.assert_alive();
            assert!(began.elapsed() < START_TIME_MAX, "it does not come to serve: {}", self.host.log_text());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        began.elapsed()
    }

    /// Starts it, looks at it and stops it again. Nobody else runs the same program meanwhile: what is mapped of it
    /// would be shared, and not counted.
    async fn look(&mut self) -> Start {
        let time = self.start().await;
        let held = Holdings::at_rest(&self.host, Duration::from_secs(2)).await;
        let idle = self.idle().await;
        self.stop().await;
        Start { time, held, idle }
    }

    async fn stop(&mut self) {
        self.host.terminate();
        assert!(self.host.ended().await.success());
    }

    async fn idle(&self) -> f64 {
        let look = if is_long() { LOOK } else { LOOK / 10 };
        let before = cpu(&self.host);
        tokio::time::sleep(look).await;
        (cpu(&self.host) - before).as_secs_f64() / look.as_secs_f64()
    }

    /// A turn through the last plugin.
    async fn ask(&self) -> Value {
        let asked = client().post(self.host.url("/api/v1/chat")).bearer_auth(self.host.token());
        let answer = asked.json(&json!({ "query": "is it you? canary" })).send().await.unwrap();
        assert_eq!(answer.status(), 200, "`{}` does not answer", self.last);
        answer.json().await.unwrap()
    }

    async fn listed(&self) -> usize {
        let admin = self.host.token_with(&["--role", "admin"]);
        let asked = client().get(self.host.admin_url("/api/v1/admin/plugins")).bearer_auth(admin);
        let list: Value = asked.send().await.unwrap().json().await.unwrap();
        list["items"].as_array().unwrap().len()
    }
}

fn name(number: usize) -> String {
    format!("assistant-{number}")
}

fn lay(folder: &Path, number: usize) {
    let original = Original::read(&plugins(), "assistant", MANIFEST);
    for number in 0..number {
        let file = original.sibling("assistant", &name(number), u32::try_from(number).unwrap());
        std::fs::write(folder.join(name(number)).with_extension("wasm"), file).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scale_very_many_plugins_in_one_host() {
    let mut row = Row::new("scale", "distinct plugins in one host");
    row.rounds = rounds(24, 1000);
    let (mut one, mut all) = (Stage::with(1), Stage::with(row.rounds));
    let others = (row.rounds - 1) as f64;
    let each = |of_all: f64, of_one: f64| (of_all - of_one) / others;
    let ms_each = |all: Start, one: Start| each(all.time.as_secs_f64(), one.time.as_secs_f64()) * 1000.0;
    let (compiled_one, compiled_all) = (one.look().await, all.look().await);
    row.figure(format!("compiled and loaded in {:.0} ms each", ms_each(compiled_all, compiled_one)));
    all.start().await;
    let listed = all.listed().await;
    row.holds(listed == row.rounds, format!("{listed} plugins serve"));
    all.ask().await;
    all.stop().await;
    let (mut times, mut private, mut mapped, mut idle) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds(1, 5) {
        let (of_one, of_all) = (one.look().await, all.look().await);
        times.push(ms_each(of_all, of_one));
        private.push(each(of_all.held.private_bytes as f64, of_one.held.private_bytes as f64));
        mapped.push(each(of_all.held.mapped_bytes as f64, of_one.held.mapped_bytes as f64));
        row.raw(
            "ms to load, private bytes, bytes mapped of files: each",
            round,
            &[times[round], private[round], mapped[round]],
        );
        row.raw("idle share of a processor with all, with one", round, &[of_all.idle, of_one.idle]);
        idle.push((of_all.idle - of_one.idle) * 100.0);
    }
    row.figure(format!("idle CPU +{:.1} % of a processor for all", median(idle)));
    row.figure(format!("loaded in {:.1} ms each", median(times)));
    row.figure(format!("mapped of files {:.0} kB each", median(mapped) / 1e3));
    let private = median(private);
    row.holds(private <= PRIVATE_BYTES_MAX_OF_FEW, format!("{private:.0} bytes each"));
    row.in_time(private <= PRIVATE_BYTES_MAX, format!("private memory {:.0} kB each", private / 1e3));
    row.close();
}
