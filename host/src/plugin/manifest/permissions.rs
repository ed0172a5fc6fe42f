//! Where a plugin may send, what is put in where, and how its tokens are minted.
//!
//! Only what the manifest says: `egress` does it. Placeholders are parsed here, once, so that nothing later
//! looks for `${` in text that people write.

use std::time::Duration;

use url::Url;

use super::read::{Table, neighbour};
use super::{Manifest, SecretUse, quantity};

const REFRESH_MARGIN_DEFAULT: Duration = Duration::from_secs(300);

/// A destination that the plugin may send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    pub host: EgressHost,
    pub methods: Vec<String>,
    /// The request's path is this or goes on below it.
    pub path: String,
    pub places: Vec<Place>,
    /// Requests of one limit key.
    pub rate: Option<Rate>,
    /// All requests to this destination, each of these at once.
    pub rates_in_all: Vec<Rate>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressHost {
    /// A host by its name, over HTTPS; no port means 443.
    Name { host: String, port: Option<u16> },
    /// Origin and path of the URL that the operator put into this setting.
    Setting(String),
}

/// One placeholder at one spot of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub what: Placeholder,
    pub at: Spot,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Placeholder {
    Secret(String),
    Token(String),
    Setting(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// In the value of this header; lower case.
    Header(String),
    Path,
    /// In the value of this query field.
    Query(String),
    /// In the text at this JSON pointer of the body.
    Json(String),
}

/// So many requests in such a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

/// How a token is minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub name: String,
    pub method: String,
    pub url: Template,
    pub headers: Vec<(String, Template)>,
    pub body: Option<Template>,
    /// JSON pointer to the token in the answer.
    pub value: String,
    /// JSON pointer to its lifetime in seconds.
    pub lifetime: Option<String>,
    pub lifetime_default: Option<Duration>,
    /// So long before its end a new one is minted.
    pub refresh_margin: Duration,
}

/// A text of the manifest with placeholders in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template(pub Vec<TemplatePart>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    Text(String),
    Placeholder(Placeholder),
}

impl Placeholder {
    /// As it stands in a text: `${secret:name}`.
    pub fn literal(&self) -> String {
        format!("${{{self}}}")
    }
}

impl std::fmt::Display for Placeholder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret(name) => write!(f, "secret:{name}"),
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Setting(name) => write!(f, "setting:{name}"),
        }
    }
}

/// Whether a path is the prefix or goes on below it, segment by segment.
pub fn is_below(path: &str, prefix: &str) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else { return false };
    rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/')
}

impl Template {
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|part| match part {
            TemplatePart::Placeholder(what) => Some(what),
            TemplatePart::Text(_) => None,
        })
    }

    /// The text with each placeholder put in by `fill`.
    pub fn render<E>(&self, fill: impl Fn(&Placeholder) -> Result<String, E>) -> Result<String, E> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                TemplatePart::Text(plain) => text.push_str(plain),
                TemplatePart::Placeholder(what) => text.push_str(&fill(what)?),
            }
        }
        Ok(text)
    }
}

impl Token {
    /// What is put into its recipe.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        let headers = self.headers.iter().map(|(_, value)| value);
        std::iter::once(&self.url).chain(headers).chain(&self.body).flat_map(Template::placeholders)
    }
}

pub(super) fn read_egress(table: Table<'_>) -> Egress {
    let places = table.texts("places").into_iter();
    let places = places.filter_map(|(text, at)| report(&table, at, place(text))).collect();
    let methods = table.texts("methods").into_iter();
    let methods: Vec<String> =
        methods.filter_map(|(text, at)| report(&table, at, quantity::method(text))).collect();
    if methods.is_empty() && !table.has_problem_at("methods") {
        table
            .problem("say in `methods` what this destination is called with, such as `methods = [\"POST\"]`");
    }
    let rates_in_all = table.texts("rates-in-all").into_iter();
    let rates_in_all =
        rates_in_all.filter_map(|(text, at)| report(&table, at, quantity::rate(text))).collect();
    let egress = Egress {
        host: table.need("host", |text| host(text).map(Some)).unwrap_or(EgressHost::Setting(String::new())),
        methods,
        path: table.parsed("path", path).unwrap_or_else(|| "/".to_owned()),
        places,
        rate: table.parsed("rate", quantity::rate),
        rates_in_all,
    };
    table.finish();
    egress
}

pub(super) fn read_token(table: Table<'_>) -> Token {
    let headers = table.pairs("headers").into_iter();
    let headers = headers.filter_map(|(name, value)| report(&table, table.at(), token_header(&name, &value)));
    let token = Token {
        name: table.need("name", quantity::word),
        method: table.need("method", quantity::method),
        url: table.need("url", token_url),
        headers: headers.collect(),
        body: table.parsed("body", template),
        value: table.need("value", quantity::pointer),
        lifetime: table.parsed("lifetime", quantity::pointer),
        lifetime_default: table.parsed("lifetime-default", quantity::duration),
        refresh_margin: table.parsed("refresh-margin", quantity::duration).unwrap_or(REFRESH_MARGIN_DEFAULT),
    };
    if token.lifetime.is_none() && token.lifetime_default.is_none() {
        table.problem("say how long the token lives: `lifetime` (a JSON pointer) or `lifetime-default`");
    }
    table.finish();
    token
}

fn report<T>(table: &Table<'_>, at: usize, result: Result<T, String>) -> Option<T> {
    result.map_err(|what| table.problem_at(at, what)).ok()
}

/// `api.example.com`, `api.example.com:8443` or `${setting:callback_url}`.
fn host(text: &str) -> Result<EgressHost, String> {
    if text.starts_with("${") {
        return match placeholder(text)? {
            Placeholder::Setting(name) => Ok(EgressHost::Setting(name)),
            _ => Err(format!("`{text}`: a host stands here by its name or as `${{setting:NAME}}`")),
        };
    }
    let wrong =
        || format!("`{text}` is no host: write it in lower case without scheme or path, no wildcards");
    let url = Url::parse(&format!("https://{text}/")).map_err(|_| wrong())?;
    let (host, port) = (url.host_str().unwrap_or_default(), url.port());
    let same = text == host || port.is_some_and(|port| text == format!("{host}:{port}"));
    if !same || host.contains('*') {
        return Err(wrong());
    }
    Ok(EgressHost::Name { host: host.to_owned(), port })
}

fn path(text: &str) -> Result<String, String> {
    let url = Url::parse(&format!("https://host{text}"));
    let same = text.starts_with('/') && url.is_ok_and(|url| url.path() == text) && !text.contains('%');
    same.then(|| text.to_owned())
        .ok_or_else(|| format!("`{text}` is no path: begin with `/`, without `..`, `%`, query or fragment"))
}

/// `secret:robot_token@query:access_token`.
fn place(text: &str) -> Result<Place, String> {
    let wrong = || format!("`{text}` is no place: write one like `secret:NAME@header:authorization`");
    let (what, at) = text.split_once('@').ok_or_else(wrong)?;
    Ok(Place { what: named(what).ok_or_else(wrong)?, at: spot(at).ok_or_else(wrong)?? })
}

fn spot(text: &str) -> Option<Result<Spot, String>> {
    match text.split_once(':') {
        None if text == "path" => Some(Ok(Spot::Path)),
        Some(("header", name)) => Some(quantity::header(name).map(Spot::Header)),
        Some(("query", name)) if !name.is_empty() => Some(Ok(Spot::Query(name.to_owned()))),
        Some(("json", pointer)) => Some(quantity::pointer(pointer).map(Spot::Json)),
        _ => None,
    }
}

/// `secret:NAME`, `token:NAME` or `setting:NAME`.
fn named(text: &str) -> Option<Placeholder> {
    let (kind, name) = text.split_once(':')?;
    let name = quantity::word(name).ok()?;
    match kind {
        "secret" => Some(Placeholder::Secret(name)),
        "token" => Some(Placeholder::Token(name)),
        "setting" => Some(Placeholder::Setting(name)),
        _ => None,
    }
}

fn placeholder(text: &str) -> Result<Placeholder, String> {
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner
        .and_then(named)
        .ok_or_else(|| format!("`{text}` is no placeholder: write `${{secret:NAME}}` or `${{setting:NAME}}`"))
}

/// A text of the manifest with its placeholders found.
fn template(text: &str) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let end = rest[start..].find('}').map(|end| start + end + 1);
        let end = end.ok_or_else(|| "a `${` has no `}`".to_owned())?;
        if start > 0 {
            parts.push(TemplatePart::Text(rest[..start].to_owned()));
        }
        parts.push(TemplatePart::Placeholder(placeholder(&rest[start..end])?));
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        parts.push(TemplatePart::Text(rest.to_owned()));
    }
    Ok(Template(parts))
}

fn token_header(name: &str, value: &str) -> Result<(String, Template), String> {
    Ok((quantity::header(name)?, template(value)?))
}

/// Its origin stands in the manifest, so that the operator who grants it sees where secrets go.
fn token_url(text: &str) -> Result<Template, String> {
    let template = template(text)?;
    let wrong = || format!("`{text}`: begin with `https://`, a host and a path, then placeholders");
    let Some(TemplatePart::Text(first)) = template.0.first() else { return Err(wrong()) };
    let url = Url::parse(first).map_err(|_| wrong())?;
    let origin = format!("{}/", url.origin().ascii_serialization());
    let plain = url.scheme() == "https" && url.username().is_empty() && url.fragment().is_none();
    if plain && first.starts_with(&origin) { Ok(template) } else { Err(wrong()) }
}

/// Whether every name in a permission is one that the manifest defines.
pub(super) fn check_references(table: &Table<'_>, manifest: &Manifest) {
    for (egress, at) in manifest.egress.iter().zip(table.tables("egress").map(|table| table.at())) {
        if let EgressHost::Setting(name) = &egress.host
            && !name.is_empty()
        {
            check(table, at, manifest, &Placeholder::Setting(name.clone()));
        }
        egress.places.iter().for_each(|place| check(table, at, manifest, &place.what));
    }
    for (token, at) in manifest.tokens.iter().zip(table.tables("tokens").map(|table| table.at())) {
        for what in token.placeholders() {
            match what {
                Placeholder::Token(_) => table.problem_at(at, "a token's recipe cannot hold another token"),
                _ => check(table, at, manifest, what),
            }
        }
    }
}

fn check(table: &Table<'_>, at: usize, manifest: &Manifest, what: &Placeholder) {
    let (name, kind, known): (_, _, Vec<&str>) = match what {
        Placeholder::Secret(name) => (name, "secret", manifest.secrets.iter().map(|s| &*s.name).collect()),
        Placeholder::Token(name) => (name, "token", manifest.tokens.iter().map(|t| &*t.name).collect()),
        Placeholder::Setting(name) => (name, "setting", manifest.settings.names().collect()),
    };
    if !known.contains(&name.as_str()) {
        table.problem_at(at, format!("unknown {kind} `{name}`{}", neighbour(name, &known)));
    }
    let secret = manifest.secret(name).filter(|_| kind == "secret");
    if secret.is_some_and(|secret| !secret.uses.contains(&SecretUse::Egress)) {
        table.problem_at(at, format!("the secret `{name}` is put in here: add `egress` to its `uses`"));
    }
}
