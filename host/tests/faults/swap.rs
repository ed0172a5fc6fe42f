//! F10: releases that come every tenth of a second while requests come in, one in five of them no good. Each request is
//! served, wholly by one release, never by a bad one, and old releases go from the process's memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::row::{Row, Times, is_long, ms, rounds};
use crate::support::{Host, Settings, fickle, keeping};

const SWAP_EVERY: Duration = Duration::from_millis(100);
/// Old releases are gone from memory this much after the last swap.
const FREED_WITHIN: Duration = Duration::from_secs(2);
const VISIBLE_WITHIN: Duration = Duration::from_secs(1);
const REQUESTS_A_SECOND: f64 = 500.0;

/// The plugin folder, and what gets into it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn file(&self) -> PathBuf {
        self.0.path().join("fickle.wasm")
    }

    /// As operators are told to: by a rename.
    fn put(&self, bytes: &[u8]) {
        let draft = self.0.path().join("draft");
        std::fs::write(&draft, bytes).unwrap();
        std::fs::rename(draft, self.file()).unwrap();
    }

    /// What must never serve, another one each time.
    fn put_bad(&self, number: usize) {
        let good = fickle::release("never", "sound");
        match number % 4 {
            0 => self.put(&good[..good.len() - 7]),
            // Written where it lies, as nobody should: half of it is there for a while.
            1 => std::fs::write(self.file(), &good[..good.len() / 2]).unwrap(),
            2 => {
                self.put(&fickle::packed(&fickle::MANIFEST.replace("text = \"hello\" }", "text = \"bye\" }")))
            }
            _ => self
                .put(&fickle::packed(&fickle::MANIFEST.replace("contract = \"0.1\"", "contract = \"9.9\""))),
        }
    }
}

/// What came of the requests.
#[derive(Default)]
struct Served {
    requests: AtomicUsize,
    /// What came instead of an answer.
    failed: Mutex<Vec<String>>,
    by_first: AtomicUsize,
    by_second: AtomicUsize,
    by_another: AtomicUsize,
}

impl Served {
    fn by(&self, release: &str) -> &AtomicUsize {
        match release {
            "one" => &self.by_first,
            "two" => &self.by_second,
            _ => &self.by_another,
        }
    }
}

/// Who answered, or what came instead of an answer. Each worker has a conversation of its own.
async fn ask(client: &reqwest::Client, url: &str, id: &str) -> Result<String, String> {
    let (worker, _) = id.split_once('-').expect("an id is a worker's");
    let said = json!({ "id": id, "conversation": worker, "text": format!("hello {id}") });
    let told = |error: reqwest::Error| format!("{id}: {error:?}");
    let response = client.post(url).json(&said).send().await.map_err(told)?;
    let (status, text) = (response.status(), response.text().await.map_err(told)?);
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    match body["release"].as_str() {
        Some(release) if body["text"] == format!("hello {id}") => Ok(release.to_owned()),
        _ => Err(format!("{id}: {status} {text}")),
    }
}

/// Asks as long as it is not told to stop, for each message twice, as platforms do; the times of the requests come back.
async fn work(url: String, worker: String, served: Arc<Served>, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let (client, mut times) = (keeping(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let (id, began) = (format!("{worker}-{}", times.len() / 2), Instant::now());
        match ask(&client, &url, &id).await {
            Ok(release) => drop(served.by(&release).fetch_add(1, Ordering::Relaxed)),
            Err(why) => served.failed.lock().unwrap().push(why),
        }
        served.requests.fetch_add(1, Ordering::Relaxed);
        times.push(began.elapsed());
    }
    times
}

/// Asks for so long, while `meanwhile` goes on beside it.
async fn asked(url: &str, name: &str, served: &Arc<Served>, meanwhile: impl Future<Output = ()>) -> Times {
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..rounds(4, 40))
        .map(|worker| {
            let worker = format!("{name}{worker}");
            tokio::spawn(work(url.to_owned(), worker, served.clone(), stop.clone()))
        })
        .collect();
    meanwhile.await;
    stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.await.unwrap());
    }
    Times::of(times)
}

/// Compiled releases that the process has in its memory.
fn mapped(pid: u32) -> usize {
    let maps = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("maps")).unwrap();
    let files = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let compiled = files.filter(|file| file.contains(".cwasm"));
    compiled.collect::<std::collections::BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_releases_come_ten_times_a_second_and_each_request_is_served_by_one() {
    let mut row = Row::new("F10", "a release each 100 ms, one in five of them no good, under load");
    row.rounds = rounds(40, 600);
    let folder = Folder(tempfile::tempdir().unwrap());
    let (one, two) = (fickle::release("one", "sound"), fickle::release("two", "sound"));
    folder.put(&one);
    let settings = Settings::new()
        .set("plugins.folder", folder.0.path().to_str().unwrap())
        .set("models", json!({ "echo": { "backend": "echo" } }))
        .set("default_model", "echo")
        .set("channels.team", json!({ "adapter": "fickle", "pipelines": [] }));
    let mut host = Host::at_rest(&Settings { is_warm: false, ..settings });
    host.run().await;
    let url = host.url("/webhook/team");
    // Both are compiled from here on.
    until_visible(&folder, &url, "a", [("two", &two), ("one", &one)]).await;
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let (at_rest, served) = (Arc::new(Served::default()), Arc::new(Served::default()));
    let rest = if is_long() { 10_000 } else { 1_000 };
    let steady = asked(&url, "s", &at_rest, tokio::time::sleep(Duration::from_millis(rest))).await;
    let swapping = async {
        for round in 0..row.rounds {
            match round % 5 {
                4 => folder.put_bad(round / 5),
                number if number % 2 == 0 => folder.put(&two),
                _ => folder.put(&one),
            }
            tokio::time::sleep(SWAP_EVERY).await;
        }
    };
    let began = Instant::now();
    let swapped = asked(&url, "w", &served, swapping).await;
    let rate = count(&served.requests) as f64 / began.elapsed().as_secs_f64();
    let visible = until_visible(&folder, &url, "v", [("one", &one), ("two", &two)]).await;
    tokio::time::sleep(FREED_WITHIN).await;
    let failed = [&at_rest, &served].map(|served| served.failed.lock().unwrap().clone()).concat();
    row.holds(failed.is_empty(), format!("{} requests failed: {failed:?}", failed.len()));
    row.holds(count(&served.by_another) == 0, "a bad release served");
    let both = count(&served.by_first) > 0 && count(&served.by_second) > 0;
    row.holds(both, "one of the two served nobody while they were swapped");
    let in_memory = mapped(host.process_id());
    row.holds(in_memory <= 2, format!("{in_memory} compiled releases in memory"));
    row.figure(format!(
        "{} requests while swapping, {} by the second",
        count(&served.requests),
        count(&served.by_second)
    ));
    // What swapping alone does to them is judged in `swaps`: here the bad ones are compiled beside it.
    row.figure(format!("p99 {} swapping, {} at rest", ms(swapped.share(0.99)), ms(steady.share(0.99))));
    row.in_time(rate >= REQUESTS_A_SECOND, format!("{rate:.0} requests a second"));
    row.in_time(visible <= VISIBLE_WITHIN, format!("served {} after the rename", ms(visible)));
    row.close();
}

/// The longest time from a rename to the first reply of the release.
async fn until_visible(folder: &Folder, url: &str, name: &str, releases: [(&str, &Vec<u8>); 2]) -> Duration {
    let (client, mut longest) = (keeping(), Duration::ZERO);
    for round in 0..6 {
        let (label, bytes) = releases[round % 2];
        folder.put(bytes);
        let began = Instant::now();
        let mut tries = 0;
        while ask(&client, url, &format!("{name}{round}-{tries}")).await.as_deref() != Ok(label) {
            tries += 1;
            assert!(began.elapsed() < Duration::from_secs(30), "`{label}` does not come to serve");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        longest = longest.max(began.elapsed());
    }
    longest
}
