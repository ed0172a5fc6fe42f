//! The crate through its public face, on a real model file: `PARLOR_TEST_MODEL`, which `cargo xtask test` sets.
//!
//! One test at a time: two models that compute at once on a small machine only wait for each other, and the tests
//! read an engine's figures.

mod completion;
mod scheduling;
mod weights;

use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use parlor_gguf::{Config, Done, Engine, Event, Finish, Generation, Request, Span};

const SEQUENCES: u32 = 2;
const CONTEXT_TOKENS: u32 = 256;

fn model_path() -> PathBuf {
    let path = std::env::var_os("PARLOR_TEST_MODEL").map(PathBuf::from);
    let path = path.filter(|path| path.is_file());
    path.expect(
        "PARLOR_TEST_MODEL must name the model file; run `cargo xtask test`, which gets it and sets this",
    )
}

/// One thread: with two on a machine that compiles something else, each waits for the other at every layer.
fn config() -> Config {
    Config {
        context_tokens: CONTEXT_TOKENS,
        sequences_max: SEQUENCES,
        threads: Some(1),
        chunk_tokens: 32,
        ..Config::new(model_path())
    }
}

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engine that most tests take turns with, idle at the start of each.
struct Turn {
    engine: &'static Engine,
    _alone: MutexGuard<'static, ()>,
}

impl std::ops::Deref for Turn {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        self.engine
    }
}

fn engine() -> Turn {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::load(&config()).expect("the model loads"));
    let alone = alone();
    until(&ENGINE, |engine| engine.stats().running == 0);
    Turn { engine: &ENGINE, _alone: alone }
}

/// Waits for what the inference thread does next; no test depends on how long.
fn until(engine: &Engine, is_so: impl Fn(&Engine) -> bool) {
    let gives_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_so(engine) {
        assert!(std::time::Instant::now() < gives_up, "it never came to that: {:?}", engine.stats());
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// A question in ChatML, which the model was trained on.
fn ask(question: &str) -> Request {
    Request {
        prompt: vec![
            Span::Control("<|im_start|>user\n".to_owned()),
            Span::Text(question.to_owned()),
            Span::Control("<|im_end|>\n<|im_start|>assistant\n".to_owned()),
        ],
        temperature: 0.0,
        max_tokens: 24,
        ..Request::default()
    }
}

/// Never ends by itself: the model is made to count.
fn count_on(max_tokens: u32) -> Request {
    let numbers = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18".to_owned();
    Request { prompt: vec![Span::Text(numbers)], temperature: 0.0, max_tokens, ..Request::default() }
}

fn complete(engine: &Engine, request: Request) -> (String, Done) {
    read(engine.start(request).expect("the engine takes it"))
}

fn read(generation: Generation) -> (String, Done) {
    let mut text = String::new();
    for event in generation.blocking() {
        match event {
            Event::Delta(delta) => text.push_str(&delta),
            Event::Done(done) => return (text, done),
            Event::Failed(error) => panic!("{error}"),
        }
    }
    panic!("the stream ended without an end");
}

fn finish(engine: &Engine, request: Request) -> Finish {
    complete(engine, request).1.finish
}
