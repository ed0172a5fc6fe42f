//! What hurts: one function for each misdeed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use parlor_sdk::{
    Acceptance, Attachment, Fault, HttpResponse, MediaKind, Message, Outbound, Reception, clock, log,
    secrets, store,
};

use crate::say;

const MIB: usize = 1 << 20;
const ANSWER_PIECES: usize = 100;
const LOG_LINES: u32 = 1_000_000;
const HOST_CALLS: u32 = 10_000_000;
const NAP: Duration = Duration::from_secs(10);
const REQUESTS: u32 = 100_000;
const KEYS: u32 = 1_000_000;
const GUESSES: u32 = 1_000_000;
/// More than any field of a message may hold.
const HUGE_BYTES: usize = 3 * MIB;
const MANY: usize = 100_000;

/// What is done while a request is received.
pub fn at_once(path: &str) -> Result<Reception, Fault> {
    match path {
        "/ok" => Ok(say("well behaved")),
        "/trap" => panic!("this guest gives up"),
        "/abort" => std::process::abort(),
        "/loop" => run_for_ever(),
        "/recurse" => Ok(say(&recurse(0).to_string())),
        "/grow" => grow(),
        "/output" => Ok(Reception::Answer(overlong_response())),
        "/log" => Ok(say(&write_log("this guest talks too much"))),
        "/long-log" => Ok(say(&write_log(&"this guest talks too long ".repeat(1 << 12)))),
        "/storm" => Ok(say(&read_clock())),
        "/sleep" => Ok(say(&sleep())),
        "/random" => Ok(say(&take_random_bytes())),
        "/guess" => Ok(say(&guess())),
        "/http" => Ok(say(&send())),
        "/env" => Ok(say(&look_around())),
        other => match other.strip_prefix("/huge/") {
            Some(field) => huge(field),
            None => Err(Fault::invalid(format!("there is no misdeed `{other}`"))),
        },
    }
}

/// What is done while a reply is delivered; what came of it.
pub fn later(deed: &str) -> Result<String, Fault> {
    match deed {
        "nothing" => Ok("nothing".to_owned()),
        "trap" => panic!("this guest gives up"),
        "loop" => run_for_ever(),
        "flood" => Ok(flood()),
        "hoard" => Ok(hoard()),
        "requests" => Ok(send_for_ever()),
        "fault" => Err(Fault::invalid("x".repeat(HUGE_BYTES))),
        other => Err(Fault::invalid(format!("there is no misdeed `{other}`"))),
    }
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

/// One field of what is handed over has far more in it than anybody needs.
fn huge(field: &str) -> Result<Reception, Fault> {
    let much = || "x".repeat(HUGE_BYTES);
    let mut message = Message::new("id-canary", "conversation-canary", "person-canary", "hello");
    let mut acceptance = Acceptance::default();
    match field {
        "id" => message.id = much(),
        "conversation" => message.conversation = much(),
        "album" => message.album = Some(much()),
        "sender" => message.sender.id = much(),
        "name" => message.sender.name = Some(much()),
        "text" => message.text = much(),
        "quoted" => message.quoted = Some(much()),
        "address" => message.address = much().into(),
        "extra" => message.extra = vec![("x".to_owned(), much()), ("y".to_owned(), much())],
        "reference" => message.attachments = vec![Attachment::new(MediaKind::File, much())],
        "withdrawn" => acceptance.withdrawn = vec![much()],
        "many-withdrawn" => acceptance.withdrawn = vec![String::new(); MANY],
        "many-messages" => acceptance.messages = vec![message.clone(); 2000],
        "body" => return Ok(say(&much())),
        "header" => return Ok(Reception::Answer(HttpResponse::new(200).with_header("x-much", much()))),
        "fault" => return Err(Fault::invalid(much())),
        other => return Err(Fault::invalid(format!("there is no field `{other}`"))),
    }
    acceptance.messages.push(message);
    Ok(Reception::Accept(acceptance))
}

fn write_log(line: &str) -> String {
    for number in 0..LOG_LINES {
        log::info(line, &[("line", &number.to_string())]);
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

/// Guesses a secret until it is not let any more.
fn guess() -> String {
    let found = (0..GUESSES).find(|guess| secrets::equals("guarded", &guess.to_be_bytes()) == Ok(true));
    format!("{found:?}")
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

/// Writes as often and as much as it is let.
fn flood() -> String {
    let value = vec![7; 64 << 10];
    let began = Instant::now();
    let kept =
        (0..KEYS).take_while(|key| store::set(&format!("flood {}", key % 8), &value, None).is_ok()).count();
    format!("{kept} writes in {:?}", began.elapsed())
}

/// Fills its own memory with keys that never end.
fn hoard() -> String {
    let begin = clock::now_ms();
    let kept =
        (0..KEYS).take_while(|key| store::set(&format!("hoard {begin} {key}"), b"x", None).is_ok()).count();
    format!("{kept} keys")
}

/// Requests without end to where it may send.
fn send_for_ever() -> String {
    let mut last = String::new();
    let sent = (0..REQUESTS)
        .take_while(|_| match Outbound::get("https://echo.example.com/").send() {
            Ok(_) => true,
            Err(failure) => {
                last = failure.reason;
                false
            }
        })
        .count();
    format!("{sent} requests, then: {last}")
}

/// What the standard library can reach from in here.
fn look_around() -> String {
    let variables = std::env::vars().count();
    let arguments = std::env::args().count();
    let has_folder = std::fs::read_dir("/").is_ok();
    let has_file = std::fs::write("/tmp/unruly", "here").is_ok();
    let has_network = std::net::TcpStream::connect("127.0.0.1:80").is_ok();
    let listens = std::net::TcpListener::bind("127.0.0.1:0").is_ok();
    let has_datagrams = std::net::UdpSocket::bind("127.0.0.1:0").is_ok();
    let has_names = std::net::ToSocketAddrs::to_socket_addrs("localhost:80").is_ok();
    format!(
        "variables {variables}, arguments {arguments}, folder {has_folder}, file {has_file}, \
         network {has_network}, listens {listens}, datagrams {has_datagrams}, names {has_names}"
    )
}
