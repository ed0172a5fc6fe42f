//! Prints how fast the engine is on this machine: prompt tokens and generated tokens a second, alone and side by side.
//!
//! `PARLOR_TEST_MODEL=model.gguf cargo run --release -p parlor-gguf --example speed [threads]`

use std::error::Error;
use std::time::Instant;

use parlor_gguf::{Config, Engine, Event, Generation, Request, Span, system_info};

const PROMPT_WORDS: usize = 510;
const TOKENS: u32 = 64;
const STREAMS: u32 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::var_os("PARLOR_TEST_MODEL").ok_or("set PARLOR_TEST_MODEL to a .gguf file")?;
    let threads = std::env::args().nth(1).map(|threads| threads.parse()).transpose()?;
    let began = Instant::now();
    let engine =
        Engine::load(&Config { context_tokens: 1024, sequences_max: STREAMS, threads, ..Config::new(path) })?;
    println!("load            {:>8.2} s   ({})", began.elapsed().as_secs_f64(), system_info());

    let began = Instant::now();
    let prompt = words("word ", PROMPT_WORDS);
    let (prompt_tokens, _) = wait(engine.start(Request { max_tokens: 1, ..prompt.clone() })?);
    println!(
        "prompt {prompt_tokens:>4}     {:>8.1} tokens/s",
        f64::from(prompt_tokens) / began.elapsed().as_secs_f64()
    );

    let began = Instant::now();
    let (_, tokens) = wait(engine.start(Request { max_tokens: TOKENS, ..prompt })?);
    println!("generation x1   {:>8.1} tokens/s", f64::from(tokens) / began.elapsed().as_secs_f64());

    let began = Instant::now();
    let streams: Result<Vec<Generation>, _> = (0..STREAMS)
        .map(|n| engine.start(Request { max_tokens: TOKENS, ..words(&format!("{n} "), 32) }))
        .collect();
    let readers: Vec<_> = streams?.into_iter().map(|stream| std::thread::spawn(|| wait(stream).1)).collect();
    let tokens: u32 = readers.into_iter().map(|reader| reader.join().unwrap_or(0)).sum();
    println!("generation x{STREAMS}   {:>8.1} tokens/s", f64::from(tokens) / began.elapsed().as_secs_f64());
    Ok(())
}

fn words(word: &str, count: usize) -> Request {
    let prompt = vec![Span::Text(word.repeat(count))];
    Request { prompt, temperature: 0.8, seed: Some(1), ..Request::default() }
}

/// Tokens of the prompt and of the completion.
fn wait(generation: Generation) -> (u32, u32) {
    let done = generation.blocking().find_map(|event| match event {
        Event::Done(done) => Some((done.prompt_tokens, done.completion_tokens)),
        _ => None,
    });
    done.unwrap_or_default()
}
