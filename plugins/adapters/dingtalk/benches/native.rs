//! What the adapter's `receive` costs when it is no component: the baseline of `cargo xtask bench plugins`.
//!
//! The same crate, called natively over the SDK's doubles, which compute with secrets for real. It has to give every
//! vector its verdict first. Then, told `CASE CALLS` on its standard input, it answers with the nanoseconds of CPU
//! and of the clock on the wall. The longer message is made as `host/benches/plugins/vectors.rs` makes it.

use parlor_dingtalk::DingTalk;
use parlor_sdk::{HttpRequest, Reception, testing::Host};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value as Json;
use std::{
    hint::black_box,
    io::{BufRead, Write},
    time::{Duration, Instant},
};

const CASES: [&str; 2] = ["native", "native-long"];
/// Set by who counts instructions instead, by a tool that hides the page on which the kernel shows its clocks.
const COUNTED: &str = "PARLOR_BENCH_COUNTED";
/// Where a message's text stands in the body; the signature does not cover it.
const PLACE: &str = "/text/content";
const LONG_BYTES: usize = 16 << 10;
const WORDS: &str = "and so on 等等 ";

fn main() {
    // `cargo bench` adds a flag of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [vectors, algorithm] = args.as_slice() else {
        eprintln!("arguments: VECTORS ALGORITHM; `cargo xtask bench plugins` gives them");
        return;
    };
    let file = std::fs::read_to_string(vectors).expect("the vectors can be read");
    let file: Json = serde_json::from_str(&file).expect("the vectors are JSON");
    let rows = file["vectors"].as_array().expect("the file has a list `vectors`");
    let rows: Vec<&Json> = rows.iter().filter(|row| row["algo"] == *algorithm).collect();
    rows.iter().for_each(|row| check(row));
    assert!(rows.iter().any(|row| row["expected"]["accept"] == false), "no row is refused");
    let accepted = *rows.iter().find(|row| row["expected"]["accept"] == true).expect("a row is accepted");

    let long = lengthened(accepted);
    check(&long);
    println!("{}", CASES.join(" "));
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("what drives this writes lines");
        let (case, calls) = line.split_once(' ').expect("`CASE CALLS`");
        // One at a time: a new host takes the place of the thread's old one.
        let (host, request) = feed(if case == CASES[1] { &long } else { accepted });
        let (cpu, wall) = time(&host, &request, calls.trim().parse().expect("a number of calls"));
        println!("{} {}", cpu.as_nanos(), wall.as_nanos());
        std::io::stdout().flush().expect("what drives this reads");
    }
}

fn lengthened(row: &Json) -> Json {
    let mut row = row.clone();
    let body = row["inputs"]["body"].as_str().expect("a row has `body`");
    let mut json: Json = serde_json::from_str(body).expect("a body is JSON");
    let more = (LONG_BYTES - body.len()) / WORDS.len() + 1;
    let text = json.pointer_mut(PLACE).expect("a body has a text");
    *text = format!("{}{}", text.as_str().unwrap_or_default(), WORDS.repeat(more)).into();
    row["inputs"]["body"] = json.to_string().into();
    row
}

fn feed(row: &Json) -> (Host, HttpRequest) {
    let inputs = &row["inputs"];
    let host = Host::new()
        .secret("app_secret", inputs["app_secret"].as_str().expect("a row has `app_secret`"))
        .clock_ms(inputs["now_ms"].as_u64().expect("a row has `now_ms`"));
    let mut request = HttpRequest::post(inputs["body"].as_str().expect("a row has `body`"));
    for (name, value) in inputs["headers"].as_object().into_iter().flatten() {
        // What a row leaves out is null.
        if let Some(value) = value.as_str() {
            request = request.with_header(name, value);
        }
    }
    (host, request)
}

fn check(row: &Json) {
    let (host, request) = feed(row);
    let accepted = match host.receive(&DingTalk, &request) {
        Ok(Reception::Accept(acceptance)) => acceptance.messages.len() == 1,
        Ok(other) => panic!("row {}: {other:?}", row["id"]),
        Err(_) => false,
    };
    assert_eq!(Some(accepted), row["expected"]["accept"].as_bool(), "row {}", row["id"]);
}

fn time(host: &Host, request: &HttpRequest, calls: u32) -> (Duration, Duration) {
    let (began, cpu_began) = (Instant::now(), cpu());
    for _ in 0..calls {
        let reception = host.receive(&DingTalk, black_box(request));
        assert!(black_box(reception).is_ok());
    }
    (cpu() - cpu_began, began.elapsed())
}

fn cpu() -> Duration {
    if std::env::var_os(COUNTED).is_some() {
        return Duration::ZERO;
    }
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let parts = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    let (Ok(seconds), Ok(nanoseconds)) = parts else { return Duration::ZERO };
    Duration::new(seconds, nanoseconds)
}
