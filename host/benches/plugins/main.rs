//! What a call into an adapter costs, and what of that is the sandbox.
//!
//! Told `CASE CALLS` on its standard input it makes those calls and answers with the nanoseconds of CPU and of the
//! clock on the wall, so that whoever drives it (`cargo xtask bench plugins`) can let its rounds take turns with
//! those of a native build. Before that, the plugin has to give every vector its verdict. It knows no platform: the
//! plugin, the vectors and their algorithm are arguments. The cases are in `calls`, what they are fed in `vectors`.

mod calls;
mod plugin;
mod stopwatch;
mod vectors;

use std::io::{BufRead, Write};

use anyhow::{Context as _, Result, bail};
use calls::{Calls, Case};
use parlor::message;

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [parlor, plugin, vectors, algorithm] = args.as_slice() else {
        eprintln!("arguments: PARLOR PLUGIN VECTORS ALGORITHM; `cargo xtask bench plugins` gives them");
        return Ok(());
    };
    let text = std::fs::read_to_string(vectors).with_context(|| format!("cannot read `{vectors}`"))?;
    let rows = vectors::rows(&text, algorithm).with_context(|| format!("`{vectors}`"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let calls = Calls::prepare(parlor.as_ref(), plugin.as_ref())?;
    runtime.block_on(calls.check(&rows))?;
    let ready = calls.feed(vectors::accepted(&rows)?)?;
    println!("{}", Case::ALL.map(|(word, _)| word).join(" "));
    for line in std::io::stdin().lock().lines() {
        let (case, number) = parse(&line?)?;
        let spent = runtime.block_on(ready.run(case, number))?;
        println!("{} {}", spent.cpu.as_nanos(), spent.wall.as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn parse(line: &str) -> Result<(Case, u32)> {
    let Some((word, number)) = line.split_once(' ') else { bail!("`{line}` is not `CASE CALLS`") };
    let case = Case::ALL.into_iter().find(|(known, _)| *known == word);
    let (_, case) = case.with_context(|| format!("there is no case `{word}`"))?;
    Ok((case, number.parse().with_context(|| format!("`{number}` is no number of calls"))?))
}
