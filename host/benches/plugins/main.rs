//! What a call into an adapter costs, and what of that is the sandbox.
//!
//! Told `CASE CALLS` on its standard input it makes those calls and answers with the nanoseconds of CPU and of the
//! clock on the wall, so that whoever drives it (`cargo xtask bench plugins`) can let its rounds take turns with
//! those of a native build. Before that, the plugin has to give every vector its verdict. It knows no platform: the
//! plugin, the vectors, their algorithm and the place of a message's text are arguments. The cases are in `calls`, what
//! they are fed in `vectors`. With a target the code keeps to what every processor of that kind can do, also one that
//! is made up by a tool which counts instructions.

mod calls;
mod plugin;
mod stopwatch;
mod vectors;

use std::io::{BufRead, Write};

use anyhow::{Context as _, Result, bail};
use calls::{Calls, Case, Length};
use parlor::message;

/// A message that fills a screen or two.
const LONG_BYTES: usize = 16 << 10;

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [parlor, plugin, vectors, algorithm, place, target @ ..] = args.as_slice() else {
        eprintln!(
            "arguments: PARLOR PLUGIN VECTORS ALGORITHM PLACE [TARGET]; `cargo xtask bench plugins` gives them"
        );
        return Ok(());
    };
    let text = std::fs::read_to_string(vectors).with_context(|| format!("cannot read `{vectors}`"))?;
    let mut rows = vectors::rows(&text, algorithm).with_context(|| format!("`{vectors}`"))?;
    let short = vectors::accepted(&rows)?.clone();
    let long = short.lengthened(place, LONG_BYTES)?;
    rows.push(long.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let target = target.first().map(String::as_str);
    let calls = Calls::prepare(parlor.as_ref(), plugin.as_ref(), target)?;
    runtime.block_on(calls.check(&rows))?;
    let (short, long) = (calls.feed(&short)?, calls.feed(&long)?);
    println!("{}", Case::ALL.map(|(word, ..)| word).join(" "));
    for line in std::io::stdin().lock().lines() {
        let (case, length, number) = parse(&line?)?;
        let fed = if length == Length::Long { &long } else { &short };
        let spent = runtime.block_on(fed.run(case, number))?;
        println!("{} {}", spent.cpu.as_nanos(), spent.wall.as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn parse(line: &str) -> Result<(Case, Length, u32)> {
    let Some((word, number)) = line.split_once(' ') else { bail!("`{line}` is not `CASE CALLS`") };
    let case = Case::ALL.into_iter().find(|(known, ..)| *known == word);
    let (_, case, length) = case.with_context(|| format!("there is no case `{word}`"))?;
    Ok((case, length, number.parse().with_context(|| format!("`{number}` is no number of calls"))?))
}
