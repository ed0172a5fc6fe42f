//! Permissions in words, for the people who grant them. It decides nothing.

use std::fmt;
use std::time::Duration;

use super::{Egress, EgressHost, Kind, Placeholder, Rate, Spot, Template, TemplatePart, Token};

impl Kind {
    /// Its name in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adapter => "adapter",
            Self::Pipeline => "pipeline",
        }
    }

    /// As people call it.
    pub fn told(self) -> &'static str {
        match self {
            Self::Adapter => "an adapter",
            Self::Pipeline => "a pipeline",
        }
    }
}

impl fmt::Display for Rate {
    /// As a manifest writes it: `20/1m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, span(self.per))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the header `{name}`"),
            Self::Path => f.write_str("the path"),
            Self::Query(name) => write!(f, "the query field `{name}`"),
            Self::Json(pointer) => write!(f, "the body at `{pointer}`"),
        }
    }
}

impl Placeholder {
    /// As people call it: the secret `app_secret`.
    pub fn told(&self) -> String {
        match self {
            Self::Secret(name) => format!("the secret `{name}`"),
            Self::Token(name) => format!("the token `{name}`"),
            Self::Setting(name) => format!("the setting `{name}`"),
        }
    }
}

impl Egress {
    /// Where it leads: `https://api.example.com/v1/`.
    pub fn address(&self) -> String {
        match &self.host {
            EgressHost::Name { host, port: Some(port) } => format!("https://{host}:{port}{}", self.path),
            EgressHost::Name { host, port: None } => format!("https://{host}{}", self.path),
            EgressHost::Setting(name) if self.path == "/" => format!("${{setting:{name}}}"),
            EgressHost::Setting(name) => format!("${{setting:{name}}}{}", self.path),
        }
    }
}

impl Token {
    /// How it is minted: POST to `https://…` with the secret `app_secret`.
    pub fn told(&self) -> String {
        let mut put_in: Vec<String> = self.placeholders().map(Placeholder::told).collect();
        put_in.sort();
        put_in.dedup();
        let with = if put_in.is_empty() { String::new() } else { format!(" with {}", put_in.join(", ")) };
        format!("by {} to `{}`{with}", self.method, self.url)
    }
}

impl fmt::Display for Template {
    /// As the manifest writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            TemplatePart::Text(text) => f.write_str(text),
            TemplatePart::Placeholder(what) => f.write_str(&what.literal()),
        })
    }
}

/// A time as a manifest writes it: in the greatest unit that leaves no rest.
pub fn span(time: Duration) -> String {
    let milliseconds = time.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let whole = units.iter().find(|(unit, _)| milliseconds > 0 && milliseconds.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{milliseconds}ms"), |(unit, name)| format!("{}{name}", milliseconds / unit))
}

/// A size as a manifest writes it.
pub fn size(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes.div_ceil(1 << 10))
    }
}
