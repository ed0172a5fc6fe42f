//! What the adapter's `receive` costs when it is no component: the baseline of `cargo xtask bench plugins`.
//!
//! The same crate, called natively over the SDK's doubles, which compute with secrets for real. It has to give every
//! vector its verdict first. Then, told `CASE CALLS` on its standard input, it answers with the nanoseconds of CPU
//! and of the clock on the wall.

use parlor_dingtalk::DingTalk;
use parlor_sdk::{HttpRequest, Reception, testing::Host};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value as Json;
use std::{
    hint::black_box,
    io::{BufRead, Write},
    time::{Duration, Instant},
};

const CASE: &str = "native";

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
    let accepted = rows.iter().find(|row| row["expected"]["accept"] == true).expect("a row is accepted");

    let (host, request) = feed(accepted);
    println!("{CASE}");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("what drives this writes lines");
        let calls = line.strip_prefix(CASE).and_then(|rest| rest.trim().parse().ok());
        let (cpu, wall) = time(&host, &request, calls.expect("`native CALLS`"));
        println!("{} {}", cpu.as_nanos(), wall.as_nanos());
        std::io::stdout().flush().expect("what drives this reads");
    }
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
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let parts = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    let (Ok(seconds), Ok(nanoseconds)) = parts else { return Duration::ZERO };
    Duration::new(seconds, nanoseconds)
}
