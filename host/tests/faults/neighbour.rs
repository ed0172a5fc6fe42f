//! F9 again, from the other side: what a plugin notices of another one that loops, or that is being compiled. Its calls
//! alone and beside the other take turns, so that what else the machine does falls on both.

use std::time::Instant;

use serde_json::json;

use crate::row::{Row, Times, median, rounds};
use crate::support::{Host, Model, Settings, client, distinct::Original, guests, keeping, plugins};

/// The factor by which a neighbour's slow calls may become slower beside a loop.
const SLOWER_MAX: f64 = 1.2;
/// The same while a plugin compiles, with the lowest priority that the host can ask for and on all processors.
const SLOWER_WHILE_COMPILING_MAX: f64 = 1.5;

/// A host with an adapter that misbehaves and another one beside it.
pub async fn two_adapters() -> (Host, Model) {
    let settings = Settings::new()
        .set("plugins.folder", guests().to_str().unwrap())
        .set("channels.wild", json!({ "adapter": "unruly" }))
        .set("channels.calm", json!({ "adapter": "slate" }));
    let model = Model::start().await;
    (Host::start(&model.join(settings)).await, model)
}

/// Calls the neighbour and tells how long each call took, for as long as `goes_on` says of the calls so far. It refuses
/// what is no message, and does so well.
async fn call(host: &Host, mut goes_on: impl FnMut(usize) -> bool) -> Times {
    let (client, url) = (keeping(), host.url("/webhook/calm"));
    let mut times = Vec::new();
    while goes_on(times.len()) {
        let began = Instant::now();
        let status = client.post(&url).body("{}").send().await.unwrap().status().as_u16();
        times.push(began.elapsed());
        assert_eq!(status, 400, "a neighbour noticed something");
    }
    Times::of(times)
}

/// So many calls.
pub async fn neighbour(host: &Host, calls: usize) -> Times {
    call(host, |made| made < calls).await
}

/// Rounds of a neighbour's calls, alone and beside something.
#[derive(Debug, Default)]
struct Rounds {
    ratios: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, row: &Row, alone: &Times, beside: &Times) {
        row.raw("alone, µs", self.ratios.len(), &alone.micros());
        row.raw("beside, µs", self.ratios.len(), &beside.micros());
        self.ratios.push(beside.share(0.99).as_secs_f64() / alone.share(0.99).as_secs_f64());
    }

    fn judge(self, row: &mut Row, ratio_max: f64) {
        let (rounds, ratio) = (self.ratios.len(), median(self.ratios));
        row.in_time(ratio <= ratio_max, format!("p99 {ratio:.2} times that alone (median of {rounds})"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_a_neighbour_is_as_quick_beside_a_loop() {
    let mut row = Row::new("F9", "a neighbour's p99 beside a plugin that loops");
    row.rounds = rounds(1, 9);
    let calls = rounds(50, 1000);
    let (host, _model) = two_adapters().await;
    neighbour(&host, calls).await;
    let mut all = Rounds::default();
    for _ in 0..row.rounds {
        let alone = neighbour(&host, calls).await;
        let url = host.url("/webhook/wild/loop");
        let looping = tokio::spawn(async move {
            loop {
                assert_eq!(client().get(&url).send().await.unwrap().status().as_u16(), 500);
            }
        });
        let beside = neighbour(&host, calls).await;
        assert!(!looping.is_finished(), "it is beside a loop");
        looping.abort();
        all.add(&row, &alone, &beside);
    }
    all.judge(&mut row, SLOWER_MAX);
    row.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_a_neighbour_is_as_quick_while_a_plugin_compiles() {
    const MANIFEST: &str = include_str!("../../../plugins/adapters/webhook/plugin.toml");
    let mut row = Row::new("F9", "a neighbour's p99 while a plugin compiles");
    row.rounds = rounds(1, 9);
    let calls_min = rounds(50, 1000);
    let (host, _model) = two_adapters().await;
    let original = Original::read(&plugins(), "webhook", MANIFEST);
    let admin = host.token_with(&["--role", "admin"]);
    neighbour(&host, calls_min).await;
    let mut all = Rounds::default();
    for round in 0..row.rounds {
        let name = format!("sibling-{round}");
        let file = original.sibling("webhook", &name, u32::try_from(round).unwrap());
        let url = host.admin_url("/api/v1/admin/plugins");
        let bringing = client().post(url).bearer_auth(&admin).body(file).send();
        let bringing = tokio::spawn(async move { bringing.await.unwrap().status().as_u16() });
        let beside = call(&host, |_| !bringing.is_finished()).await;
        assert_eq!(bringing.await.unwrap(), 200, "the plugin was compiled and serves");
        let alone = neighbour(&host, beside.count().max(calls_min)).await;
        all.add(&row, &alone, &beside);
    }
    row.holds(host.lines_with("\"compiling\"").len() >= row.rounds, "not each plugin was compiled");
    all.judge(&mut row, SLOWER_WHILE_COMPILING_MAX);
    row.close();
}
