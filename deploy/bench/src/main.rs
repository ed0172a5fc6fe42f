//! What a request costs at the host's door with an adapter behind it, as a component and as a library.
//!
//! One process, one runtime, one accept loop for both, and a crowd of clients that keep their connections. Told `CASE
//! CALLS` on its standard input it sends so many requests and answers with the nanoseconds of the server's CPU and of
//! the clock on the wall, so that whoever drives it (`cargo xtask bench plugins`) can let rounds take turns. It stands
//! above the host and the plugins and nothing stands on it. Read on in `door`, then `library`, `component` and `crowd`.

mod component;
mod crowd;
mod door;
mod library;
mod sample;

use std::io::{BufRead, Write};

use anyhow::{Context as _, Result, bail};
use door::{Case, Door};
use sample::Sample;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [parlor, plugin, vectors, algorithm] = args.as_slice() else {
        eprintln!("arguments: PARLOR PLUGIN VECTORS ALGORITHM; `cargo xtask bench plugins` gives them");
        return Ok(());
    };
    let sample = Sample::read(vectors.as_ref(), algorithm).with_context(|| format!("`{vectors}`"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let door = runtime.block_on(Door::open(parlor.as_ref(), plugin.as_ref(), &sample))?;
    for (_, case) in Case::ALL {
        crowd::check(door.address, case, &sample)?;
    }
    println!("{}", Case::ALL.map(|(word, _)| word).join(" "));
    for line in std::io::stdin().lock().lines() {
        let (case, requests) = parse(&line?)?;
        let spent = crowd::send(door.address, case, &sample, requests)?;
        println!("{} {}", spent.cpu.as_nanos(), spent.wall.as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn parse(line: &str) -> Result<(Case, u32)> {
    let Some((word, number)) = line.split_once(' ') else { bail!("`{line}` is not `CASE CALLS`") };
    let case = Case::ALL.into_iter().find(|(known, _)| *known == word);
    let (_, case) = case.with_context(|| format!("there is no case `{word}`"))?;
    Ok((case, number.trim().parse().with_context(|| format!("`{number}` is no number of requests"))?))
}
