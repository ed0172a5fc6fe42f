//! `parlor token`: a signed token for the doors, printed to standard output.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::auth::Issuer;
use crate::clock::SystemClock;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, clap::Args)]
pub struct Token {
    /// What its bearer may do; may be given several times
    #[arg(long, default_values_t = ["chat:write".to_owned()])]
    scope: Vec<String>,
    /// Days until it expires, at most 90
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// Whom it is for; conversations of different subjects are kept apart
    #[arg(long)]
    subject: Option<String>,
}

pub fn run(path: &Path, wanted: &Token) -> anyhow::Result<()> {
    let config = super::load(path)?;
    let issuer = config.auth.issuers.first().context("`auth.issuer` names no issuer")?;
    let audience = config.auth.audience.first().context("`auth.audience` names no audience")?;
    let issuer = Issuer::new(&config.auth.jwt_secret, issuer, audience, Arc::new(SystemClock));
    let scopes: Vec<&str> = wanted.scope.iter().map(String::as_str).collect();
    println!("{}", issuer.issue(&scopes, DAY * wanted.days, wanted.subject.as_deref())?);
    Ok(())
}
