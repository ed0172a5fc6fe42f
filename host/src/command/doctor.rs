//! `parlor doctor`: a line for each thing that was looked at, and below it what to do. Exit code 1 if one fails.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::load::{self, Trouble};
use super::paint;
use crate::doctor::{self, Finding, Level, TRUST};

const CHECK: &str = "config";

#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// One JSON object with all findings
    #[arg(long)]
    json: bool,
}

pub async fn run(path: &Path, wanted: &Doctor) -> anyhow::Result<()> {
    let findings = examine(path).await?;
    if wanted.json {
        println!("{}", serde_json::json!({ "ok": failed(&findings) == 0, "findings": findings }));
    } else {
        print!("{}", text(&findings, paint::has_colours(&std::io::stdout())));
    }
    conclude(&findings)
}

/// Everything that a configuration needs, or what is wrong with the configuration.
pub async fn examine(path: &Path) -> anyhow::Result<Vec<Finding>> {
    let config = match load::config(path) {
        Ok(config) => Arc::new(config),
        Err(trouble) => return Ok(problems(path, &trouble)),
    };
    let compiler = std::env::current_exe().context("this program's own file cannot be found")?;
    let what = format!("no problems; {} channels, {} models", config.channels.len(), config.models.len());
    let mut findings = vec![Finding::ok(CHECK, &path.display().to_string(), what)];
    findings.extend(doctor::examine(&config, compiler).await);
    Ok(findings)
}

/// An error if something fails.
pub fn conclude(findings: &[Finding]) -> anyhow::Result<()> {
    match failed(findings) {
        0 => Ok(()),
        failed => anyhow::bail!("{failed} of {} checks failed", findings.len()),
    }
}

fn failed(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.level == Level::Fail).count()
}

/// Without a sound configuration nothing else can be looked at.
fn problems(path: &Path, trouble: &Trouble) -> Vec<Finding> {
    match trouble {
        Trouble::Problems { file, problems } => problems
            .iter()
            .map(|problem| {
                let path =
                    if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
                let about = format!("{file}:{}:{}", problem.line, problem.column);
                Finding::of_error(
                    CHECK,
                    &about,
                    &format!("{path}{}", problem.message),
                    "correct the file at this place",
                )
            })
            .collect(),
        other => {
            vec![Finding::of_chain(CHECK, &path.display().to_string(), other, "make one by `parlor init`")]
        }
    }
}

/// A line for each finding, and what to do below those that need it.
pub fn text(findings: &[Finding], has_colours: bool) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let word = match finding.level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
            Level::Skip => "skip",
        };
        let about = if finding.about.is_empty() { String::new() } else { format!("{}: ", finding.about) };
        let line = format!("{word}  {:width$}  {about}{}", finding.check, finding.what);
        let is_red = finding.level == Level::Fail || finding.level == Level::Warn && finding.check == TRUST;
        text.push_str(&paint::red(&line, has_colours && is_red));
        text.push('\n');
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("{:1$}→ {remedy}\n", "", 6 + width + 2));
        }
    }
    text
}
