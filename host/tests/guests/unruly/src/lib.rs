//! An adapter that misbehaves in the way that the request's path names, so that tests see what it can hurt.
//!
//! It verifies nobody and takes nothing in, and no server should ever load it. What the host makes of each
//! misdeed stands in `host/tests/isolation.rs`.

use std::hint::black_box;
use std::time::Duration;

use parlor_sdk::{
    Adapter, Fault, HttpRequest, HttpResponse, Outbound, Reception, clock, log, register_adapter,
};

const MIB: usize = 1 << 20;
const ANSWER_PIECES: usize = 100;
const LOG_LINES: u32 = 1_000_000;
const HOST_CALLS: u32 = 10_000_000;
const NAP: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Unruly;

impl Adapter for Unruly {
    fn receive(&self, request: &HttpRequest) -> Result<Reception, Fault> {
        match request.path.as_str() {
            "/ok" => Ok(say("well behaved")),
            "/trap" => panic!("this guest gives up"),
            "/loop" => run_for_ever(),
            "/recurse" => Ok(say(&recurse(0).to_string())),
            "/grow" => grow(),
            "/output" => Ok(Reception::Answer(overlong_response())),
            "/log" => Ok(say(&write_log())),
            "/storm" => Ok(say(&read_clock())),
            "/sleep" => Ok(say(&sleep())),
            "/random" => Ok(say(&take_random_bytes())),
            "/http" => Ok(say(&send())),
            "/env" => Ok(say(&look_around())),
            other => Err(Fault::invalid(format!("there is no misdeed `{other}`"))),
        }
    }
}

fn say(text: &str) -> Reception {
    Reception::Answer(HttpResponse::text(200, text))
}

fn run_for_ever() -> ! {
    loop {
        black_box(0);
    }
}

#[allow(unconditional_recursion, reason = "this is the misdeed")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + 1
}

/// Takes memory until it is refused, and says in a panic how much that was.
fn grow() -> ! {
    let mut taken: Vec<Vec<u8>> = Vec::with_capacity(1 << 12);
    loop {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(MIB).is_err() {
            let count = taken.len();
            drop(taken); // a panic's words take memory too
            panic!("memory was refused after {count} MiB");
        }
        piece.resize(MIB, 1);
        taken.push(black_box(piece));
    }
}

/// A response of 100 MiB out of a memory that could never hold it: each header's value is the same MiB.
fn overlong_response() -> HttpResponse {
    let value = "x".repeat(MIB).leak();
    let headers = (0..ANSWER_PIECES).map(|at| {
        // SAFETY: the text is never freed by anybody else, since it leaked, nor written again. It would be freed
        // once for each header after the call, but the host refuses to read so much and traps before that.
        let same = unsafe { String::from_raw_parts(value.as_mut_ptr(), MIB, MIB) };
        (format!("x-piece-{at}"), same)
    });
    HttpResponse { headers: headers.collect(), ..HttpResponse::new(200) }
}

fn write_log() -> String {
    for line in 0..LOG_LINES {
        log::info("this guest talks too much", &[("line", &line.to_string())]);
    }
    "all lines are written".to_owned()
}

fn read_clock() -> String {
    (0..HOST_CALLS).fold(0, |_, _| black_box(clock::now_ms())).to_string()
}

fn sleep() -> String {
    std::thread::sleep(NAP);
    "slept well".to_owned()
}

/// More random bytes than the guest has room for, of which the host would have to make room first. The standard
/// library asks for few at a time, so this goes past it.
#[cfg(target_arch = "wasm32")]
fn take_random_bytes() -> String {
    #[link(wasm_import_module = "wasi:random/random@0.2.0")]
    unsafe extern "C" {
        #[link_name = "get-random-bytes"]
        fn get_random_bytes(count: u64, list: *mut [usize; 2]);
    }
    const COUNT: u64 = 60 << 20;
    let mut list = [0; 2];
    // SAFETY: `list` has room for what comes back: where the bytes are and how many.
    unsafe { get_random_bytes(COUNT, &mut list) };
    format!("{} random bytes", list[1])
}

#[cfg(not(target_arch = "wasm32"))]
fn take_random_bytes() -> String {
    "only in a component".to_owned()
}

fn send() -> String {
    match Outbound::get("https://example.com/").send() {
        Ok(response) => format!("sent, and {} came back", response.status),
        Err(failure) => format!("{:?}, sent: {}", failure.kind, failure.request_sent),
    }
}

/// What the standard library can reach from in here.
fn look_around() -> String {
    let variables = std::env::vars().count();
    let arguments = std::env::args().count();
    let has_folder = std::fs::read_dir("/").is_ok();
    let has_file = std::fs::write("/tmp/unruly", "here").is_ok();
    let has_network = std::net::TcpStream::connect("127.0.0.1:80").is_ok();
    let has_names = std::net::ToSocketAddrs::to_socket_addrs("localhost:80").is_ok();
    format!(
        "variables {variables}, arguments {arguments}, folder {has_folder}, file {has_file}, \
         network {has_network}, names {has_names}"
    )
}

register_adapter!(Unruly);
