//! `parlor model list`: what is configured, what lies there, and what each file is.

use std::path::Path;

use serde_json::{Value, json};

use super::Candidate;
use crate::config::{Backend, Config};
use crate::weights::{self, Header, Note};

#[derive(Debug, clap::Args)]
pub struct List {
    /// One JSON array
    #[arg(long)]
    json: bool,
}

/// One line of the list.
struct Row {
    name: Option<String>,
    backend: &'static str,
    /// The file, or the endpoint.
    place: String,
    bytes: Option<u64>,
    header: Option<Header>,
    state: &'static str,
    problem: Option<String>,
}

pub fn run(path: &Path, wanted: &List) -> anyhow::Result<()> {
    let config = super::configured(path)?;
    let rows = rows(config.as_ref(), &super::folder(path))?;
    if wanted.json {
        println!("{}", Value::Array(rows.iter().map(Row::json).collect()));
    } else if rows.is_empty() {
        println!(
            "no model is configured, and none lies in {}; get one by `parlor model pull`",
            super::folder(path).display()
        );
    } else {
        rows.iter().for_each(|row| println!("{}", row.line()));
    }
    Ok(())
}

fn rows(config: Option<&Config>, folder: &Path) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = config.into_iter().flat_map(remote).collect();
    rows.extend(super::candidates(config, folder)?.into_iter().map(local));
    Ok(rows)
}

fn remote(config: &Config) -> Vec<Row> {
    let row = |(name, model): (&String, &crate::config::Model)| {
        let (backend, place) = match &model.backend {
            Backend::Gguf(_) => return None,
            Backend::OpenAi(remote) => ("openai", format!("{} at {}", remote.model, shown(&remote.endpoint))),
            Backend::Echo => ("echo", String::new()),
        };
        Some(Row {
            name: Some(name.clone()),
            backend,
            place,
            bytes: None,
            header: None,
            state: "remote",
            problem: None,
        })
    };
    config.models.iter().filter_map(row).collect()
}

/// Without a password that may stand in it.
fn shown(endpoint: &url::Url) -> String {
    format!("{}{}", endpoint.origin().ascii_serialization(), endpoint.path())
}

fn local(candidate: Candidate) -> Row {
    let (header, problem) = match weights::inspect(&candidate.path) {
        Ok(header) => (header, None),
        Err(problem) => (None, Some(problem)),
    };
    Row {
        bytes: std::fs::metadata(&candidate.path).map(|found| found.len()).ok(),
        place: candidate.path.display().to_string(),
        state: state(&candidate, problem.is_some()),
        name: candidate.name,
        backend: "gguf",
        header,
        problem,
    }
}

fn state(candidate: &Candidate, is_broken: bool) -> &'static str {
    if is_broken {
        return "broken";
    }
    match (weights::noted(&candidate.path), &candidate.sha256) {
        (Note::None, _) => "not verified",
        (Note::Stale(_), _) => "changed since it was verified",
        (Note::Verified(found), Some(wanted)) if found != *wanted => {
            "another file than the configuration names"
        }
        (Note::Verified(_), _) => "verified",
    }
}

impl Row {
    fn line(&self) -> String {
        let name = self.name.as_deref().unwrap_or("(not configured)");
        let mut line = format!("{name}  {}", self.backend);
        let parts = [Some(self.place.clone()).filter(|place| !place.is_empty()), self.figures()];
        for part in parts.into_iter().flatten() {
            line.push_str("  ");
            line.push_str(&part);
        }
        if self.backend == "gguf" {
            line.push_str("  ");
            line.push_str(self.state);
        }
        if let Some(problem) = &self.problem {
            line.push_str(": ");
            line.push_str(problem);
        }
        line
    }

    fn figures(&self) -> Option<String> {
        let size = self.bytes.map(|bytes| indicatif::DecimalBytes(bytes).to_string());
        let header = self.header.as_ref().map(|header| {
            let quantisation = header.quantisation.as_deref().unwrap_or("unknown quantisation");
            format!("{} {quantisation} {}", header.architecture, count(header.parameters))
        });
        let figures: Vec<String> = [size, header].into_iter().flatten().collect();
        (!figures.is_empty()).then(|| figures.join("  "))
    }

    fn json(&self) -> Value {
        let header = self.header.as_ref();
        json!({
            "name": self.name, "backend": self.backend, "place": self.place, "bytes": self.bytes,
            "architecture": header.map(|header| &header.architecture),
            "quantisation": header.and_then(|header| header.quantisation.as_ref()),
            "parameters": header.map(|header| header.parameters),
            "context_trained": header.and_then(|header| header.context_trained),
            "state": self.state, "problem": self.problem,
        })
    }
}

/// `134.5 M`
fn count(parameters: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "one digit is shown")]
    let millions = parameters as f64 / 1e6;
    if millions < 1000.0 { format!("{millions:.0} M") } else { format!("{:.1} B", millions / 1000.0) }
}
