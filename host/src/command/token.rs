//! `parlor token`: a signed token for the doors, printed to standard output.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::auth::{Issuer, Role};
use crate::clock::SystemClock;
use crate::doors::guard;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, clap::Args)]
pub struct Token {
    /// What its bearer may do; may be given several times. Without it and `--role`: `chat:write`
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(guard::SCOPES))]
    scope: Vec<String>,
    /// What its bearer is at the admin door: `viewer`, `operator` or `admin`
    #[arg(long)]
    role: Option<Role>,
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
    println!("{}", issuer.issue(&wanted.scopes(), DAY * wanted.days, wanted.subject.as_deref())?);
    Ok(())
}

impl Token {
    fn scopes(&self) -> Vec<&str> {
        let role = self.role.map(Role::scope);
        let scopes: Vec<&str> = self.scope.iter().map(String::as_str).chain(role).collect();
        if scopes.is_empty() { vec![guard::CHAT_WRITE] } else { scopes }
    }
}
