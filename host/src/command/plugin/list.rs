//! `parlor plugin list`: what serves on a host, what is tried there, and what does not serve and why.

use std::path::Path;

use super::deployed::{self, Candidate, Host, Plugin, Release, Signer, lines, short};
use crate::auth::Role;
use crate::command::door::{Door, Entry};

#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    entry: Entry,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Of the table, whose last column ends its line.
type Row = [String; 7];

const TITLES: [&str; 7] = ["plugin", "kind", "version", "digest", "standing", "signed by", "used by"];

pub async fn run(config: &Path, wanted: &List) -> anyhow::Result<()> {
    let door = Door::open(config, &wanted.entry, Role::Viewer)?;
    let host = deployed::all(&door).await?;
    if wanted.json {
        println!("{}", serde_json::to_string(&host)?);
    } else if host.plugins.is_empty() && host.rejected.is_empty() {
        println!("no plugin is installed; bring one by `parlor plugin install FILE`");
    } else {
        print!("{}{}", table(&host), notes(&host));
    }
    Ok(())
}

fn table(host: &Host) -> String {
    let titles = TITLES.map(str::to_owned);
    let rows: Vec<Row> = std::iter::once(titles).chain(host.plugins.iter().flat_map(rows)).collect();
    let widths: [usize; 7] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    rows.iter().map(|row| line(row, &widths)).collect()
}

fn line(row: &Row, widths: &[usize; 7]) -> String {
    let cells: Vec<String> = row.iter().zip(widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
    format!("{}\n", cells.join("  ").trim_end())
}

/// The stable release, then those beside, before and after it.
fn rows(plugin: &Plugin) -> Vec<Row> {
    let row = |digest: &str, release: Option<&Release>, standing: String| {
        let version = release.map(|release| release.version.clone()).unwrap_or_default();
        let signer = release.map(|release| signer(release.signed_by.as_ref())).unwrap_or_default();
        let users = plugin.used_by.join(", ");
        [plugin.name.clone(), plugin.kind.clone(), version, short(digest).to_owned(), standing, signer, users]
    };
    let serving = |release: &Release, standing: String| row(&release.digest, Some(release), standing);
    let deployment = &plugin.deployment;
    let mut rows = vec![serving(&deployment.stable, "stable".to_owned())];
    rows.extend(deployment.candidate.iter().map(|candidate| serving(&candidate.release, trial(candidate))));
    let waiting = deployment.waiting.iter().map(|waiting| (&waiting.digest, "waiting"));
    let previous = deployment.previous.iter().map(|digest| (digest, "previous"));
    let quarantined = deployment.quarantined.iter().map(|it| (&it.digest, "quarantined"));
    let others = waiting.chain(previous).chain(quarantined);
    rows.extend(others.map(|(digest, standing)| row(digest, None, standing.to_owned())));
    rows
}

fn trial(candidate: &Candidate) -> String {
    match candidate.weight {
        Some(weight) => format!("candidate, {weight} %"),
        None => "candidate, shadow".to_owned(),
    }
}

fn signer(signer: Option<&Signer>) -> String {
    signer.map_or_else(|| "nobody trusted".to_owned(), |signer| signer.key_id.clone())
}

/// What a table has no room for, a line each.
fn notes(host: &Host) -> String {
    let mut notes = String::new();
    for Plugin { name, deployment, .. } in &host.plugins {
        if let Some(waiting) = &deployment.waiting {
            let digest = short(&waiting.digest);
            let asks = lines(&waiting.asks);
            notes.push_str(&format!(
                "\n{name} {digest} asks for more; `parlor plugin approve {name} {digest}` says yes to:\n{asks}"
            ));
        }
        for it in &deployment.quarantined {
            let digest = short(&it.digest);
            notes
                .push_str(&format!("\n{name} {digest} was taken out of service, {}: {}\n", it.at, it.reason));
        }
        if let Some(trouble) = &deployment.trouble {
            notes.push_str(&format!("\n{name} does not serve as wanted here: {trouble}\n"));
        }
    }
    for rejected in &host.rejected {
        notes.push_str(&format!("\n{} does not serve: {}\n", rejected.file, rejected.reason));
    }
    notes
}
