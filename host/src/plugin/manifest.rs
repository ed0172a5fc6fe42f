//! What a plugin says of itself: `plugin.toml`, parsed and checked whole.
//!
//! `Manifest::parse` finds all problems at once, each with its line and what to do. It does no I/O, grants
//! nothing and has never heard of the operator's configuration: `settings_problems` and `secrets_problems`
//! compare with it. `read` walks the TOML, `settings` is the schema, `permissions` the egress and the tokens;
//! `growth` is what one manifest asks for beyond another, and `told` how people read of it.

mod golden;
mod growth;
mod permissions;
mod quantity;
mod read;
mod settings;
mod told;
mod trial;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use golden::{Expectation, GoldenRequest, Reception, SelfTest, VectorRule};
pub use growth::grown;
pub use permissions::{
    Egress, EgressHost, Place, Placeholder, Rate, Spot, Template, TemplatePart, Ticket, Token, is_below,
};
pub use settings::Schema;
pub use told::{size, span};
pub use trial::{Answer, TrialRules};

use read::{Problems, Table};

/// Most linear memory that a plugin may ask for.
pub const MEMORY_BYTES_MAX: u64 = 64 << 20;
/// Most time of its own that a call may take.
pub const TIME_MAX: Duration = Duration::from_secs(10);
/// A manifest travels in a section of the component: it is read before anything is trusted.
pub const MANIFEST_BYTES_MAX: usize = 256 << 10;

/// More often than this, nobody could read what changed.
pub const UPDATE_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The last change of a reply may come this much later than its text.
pub const UPDATE_INTERVAL_MAX: Duration = Duration::from_secs(30);

/// No platform takes more requests to open one reply.
pub const OPENING_CALLS_MAX: u32 = 4;

/// More often than this no sign fades.
pub const KEEP_ALIVE_MIN: Duration = Duration::from_secs(1);
/// Longer than any turn that people wait for.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(3600);

const MEMORY_BYTES_DEFAULT: u64 = 16 << 20;
const TIME_DEFAULT: Duration = Duration::from_secs(2);

/// A checked `plugin.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// All of it, as it was written.
    pub text: Arc<str>,
    pub name: String,
    pub version: String,
    pub kind: Kind,
    /// Major and minor of the contract that it was built for, such as `0.1`.
    pub contract: String,
    pub license: String,
    pub description: String,
    /// The shortest time between two updates of one reply. None: the platform cannot edit what was sent, and
    /// `update` is never called.
    pub update_interval: Option<Duration>,
    /// Calls of `update` until a person sees the reply: each makes one step, and the next one follows at once.
    pub opening_calls: u32,
    /// While an answer is made, `update` is called at least this often, also with the text of the last one.
    pub keep_alive: Option<Duration>,
    /// Replies go out in the response to the request itself while these settings have these values; none: never.
    pub answers_in_response: Option<BTreeMap<String, Value>>,
    /// The host keeps a socket open to one of `sockets` while these settings have these values; none: never.
    pub connects: Option<BTreeMap<String, Value>>,
    pub settings: Schema,
    pub secrets: Vec<Secret>,
    pub egress: Vec<Egress>,
    /// Where long-lived sockets may lead.
    pub sockets: Vec<Egress>,
    pub tokens: Vec<Token>,
    pub limits: Limits,
    pub selftests: Vec<SelfTest>,
    pub vectors: Vec<VectorRule>,
    pub trial: TrialRules,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Adapter,
    Pipeline,
}

/// What a secret may serve, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretUse {
    Equals,
    Hmac,
    Digest,
    Aes,
    Ed25519,
    Envelope,
    Egress,
}

/// A secret that the plugin computes with by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub name: String,
    /// Shown to the operator who grants it.
    pub why: String,
    pub uses: Vec<SecretUse>,
    pub required: bool,
    /// What `key-form.base64` may drop from the front, such as `whsec_`. It is fixed here, since a plugin
    /// that could try prefixes at will would spell the secret out.
    pub prefix: Option<String>,
    /// All up to the first such text, and the text itself, is no secret: a platform names the bot by it in what it
    /// answers, where it stays. A value without it is wholly secret.
    pub public_until: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub memory_bytes: u64,
    /// A call's own time; the host calls that it waits for have deadlines of their own.
    pub time: Duration,
}

/// One thing wrong with a manifest and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

const KINDS: &[(&str, Kind)] = &[("adapter", Kind::Adapter), ("pipeline", Kind::Pipeline)];

const USES: &[(&str, SecretUse)] = &[
    ("equals", SecretUse::Equals),
    ("hmac", SecretUse::Hmac),
    ("digest", SecretUse::Digest),
    ("aes", SecretUse::Aes),
    ("ed25519", SecretUse::Ed25519),
    ("envelope", SecretUse::Envelope),
    ("egress", SecretUse::Egress),
];

impl SecretUse {
    /// Its name in a manifest.
    pub fn as_str(self) -> &'static str {
        USES.iter().find(|(_, serves)| *serves == self).map_or("", |(name, _)| name)
    }
}

impl Manifest {
    /// Reads `plugin.toml`. All problems come at once, in the order of their lines.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        if text.len() > MANIFEST_BYTES_MAX {
            let text = format!("the manifest is larger than {} KiB: shorten it", MANIFEST_BYTES_MAX >> 10);
            return Err(vec![Problem { line: 1, text }]);
        }
        let (document, errors) = toml::de::DeTable::parse_recoverable(text);
        let problems = Problems::new(text);
        for error in &errors {
            problems.add(error.span().map_or(0, |span| span.start), error.message());
        }
        let manifest = Self::read(text, Table::root(&problems, document.get_ref()));
        problems.or(manifest)
    }

    fn read(text: &str, table: Table<'_>) -> Self {
        let settings = settings::read(&table);
        let secrets = unique(&table, table.tables("secrets"), read_secret, |secret| &secret.name);
        let tokens = unique(&table, table.tables("tokens"), permissions::read_token, |token| &token.name);
        let kind = table.choice("kind", KINDS).unwrap_or(Kind::Adapter);
        let manifest = Self {
            text: text.into(),
            name: read_name(&table),
            version: table.need("version", quantity::version),
            kind,
            contract: table.need("contract", quantity::contract),
            license: table.need("license", quantity::line),
            description: table.need("description", quantity::line),
            update_interval: table.parsed("update-interval", update_interval),
            opening_calls: table.number("opening-calls", 1..=OPENING_CALLS_MAX).unwrap_or(1),
            keep_alive: table.parsed("keep-alive", keep_alive),
            answers_in_response: read_conditions(&table, "answers-in-response", &settings),
            connects: read_conditions(&table, "connects", &settings),
            egress: table.tables("egress").map(permissions::read_egress).collect(),
            sockets: table.tables("sockets").map(permissions::read_socket).collect(),
            limits: table.table("limits").map_or_else(Limits::default, read_limits),
            selftests: table.tables("selftest").map(|test| golden::read_selftest(test, kind)).collect(),
            vectors: table.tables("vectors").map(golden::read_vectors).collect(),
            trial: table.table("trial").map_or_else(TrialRules::default, trial::read),
            settings,
            secrets,
            tokens,
        };
        permissions::check_references(&table, &manifest);
        check_sockets(&table, &manifest);
        if kind == Kind::Pipeline && manifest.update_interval.is_some() {
            table.problem("`update-interval` is for adapters: leave it out");
        }
        if manifest.opening_calls > 1 && !table.has("update-interval") {
            table.problem(
                "`opening-calls` is for replies that are updated: name an `update-interval`, or leave it out",
            );
        }
        if manifest.keep_alive.is_some() && !table.has("update-interval") {
            table.problem(
                "`keep-alive` is for replies that are updated: name an `update-interval`, or leave it out",
            );
        }
        table.finish();
        manifest
    }

    /// What is wrong with an operator's settings for this plugin, one sentence each.
    pub fn settings_problems(&self, given: &BTreeMap<String, Value>) -> Vec<String> {
        self.settings.problems(given)
    }

    /// The settings that are a file's path to the operator and the file's lines to the plugin.
    pub fn settings_files(&self) -> impl Iterator<Item = &str> {
        self.settings.files()
    }

    /// The models that an operator's settings name, each with its setting.
    pub fn settings_models(&self, given: &BTreeMap<String, Value>) -> Vec<(String, String)> {
        self.settings.models(given)
    }

    /// The operator's settings with the schema's defaults where they are silent.
    pub fn with_defaults(&self, given: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
        self.settings.with_defaults(given)
    }

    /// Whether each request is answered in its own response, under these settings with their defaults.
    pub fn does_answer_in_response(&self, settings: &BTreeMap<String, Value>) -> bool {
        hold(self.answers_in_response.as_ref(), settings)
    }

    /// Whether the host keeps a socket open for it, under these settings with their defaults.
    pub fn does_connect(&self, settings: &BTreeMap<String, Value>) -> bool {
        hold(self.connects.as_ref(), settings)
    }

    /// All tickets that its destinations give.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.egress.iter().flat_map(|egress| &egress.tickets)
    }

    /// What is wrong with the names of the secrets that an operator gave, one sentence each.
    pub fn secrets_problems<'a>(&self, given: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let given: Vec<&str> = given.into_iter().collect();
        let names: Vec<&str> = self.secrets.iter().map(|secret| secret.name.as_str()).collect();
        let unknown = given.iter().filter(|name| !names.contains(name));
        let unknown = unknown.map(|name| format!("unknown secret `{name}`{}", read::neighbour(name, &names)));
        let missing = self.secrets.iter().filter(|secret| secret.required && !given.contains(&&*secret.name));
        let missing = missing.map(|secret| format!("set the secret `{}`: {}", secret.name, secret.why));
        unknown.chain(missing).collect()
    }

    /// The same plugin, if it asked for nothing but what every plugin has.
    pub fn without_permissions(&self) -> Manifest {
        let (secrets, tokens, egress, sockets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Manifest { secrets, tokens, egress, sockets, ..self.clone() }
    }

    /// The secret of this name, if the manifest asks for one.
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.iter().find(|secret| secret.name == name)
    }

    /// The recipe of this token, if the manifest has one.
    pub fn token(&self, name: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.name == name)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: MEMORY_BYTES_DEFAULT, time: TIME_DEFAULT }
    }
}

fn read_name(table: &Table<'_>) -> String {
    table.need("name", |text| {
        let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let rest = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        let fits = first && rest && text.len() <= 63;
        fits.then(|| text.to_owned())
            .ok_or_else(|| "use 1 to 63 of a-z, 0-9 and `-`, beginning with a letter or digit".to_owned())
    })
}

fn read_secret(table: Table<'_>) -> Secret {
    let uses = table.choices("uses", USES);
    if uses.is_empty() && !table.has_problem_at("uses") {
        table.problem("say in `uses` what this secret serves, such as `uses = [\"hmac\"]`");
    }
    let secret = Secret {
        name: table.need("name", quantity::word),
        why: table.need("why", quantity::line),
        uses,
        required: table.bool("required").unwrap_or(true),
        prefix: table.parsed("prefix", quantity::line),
        public_until: table.parsed("public-until", quantity::mark),
    };
    if secret.public_until.is_some() && !secret.uses.contains(&SecretUse::Egress) {
        table.problem(
            "`public-until` is for secrets that are put into requests: add `egress` to `uses`, or leave it out",
        );
    }
    table.finish();
    secret
}

fn read_conditions(
    table: &Table<'_>,
    key: &'static str,
    settings: &Schema,
) -> Option<BTreeMap<String, Value>> {
    let conditions: BTreeMap<String, Value> = match table.json(key)? {
        Value::Object(fields) => fields.into_iter().collect(),
        _ => {
            table.problem(format!("`{key}`: a table of settings and their values is wanted"));
            return None;
        }
    };
    for problem in settings.problems(&conditions) {
        table.problem(format!("`{key}`: {problem}"));
    }
    Some(conditions)
}

/// Whether settings have the values of such a table.
fn hold(conditions: Option<&BTreeMap<String, Value>>, settings: &BTreeMap<String, Value>) -> bool {
    let holds = |(name, value): (&String, &Value)| settings.get(name) == Some(value);
    conditions.is_some_and(|conditions| conditions.iter().all(holds))
}

fn check_sockets(table: &Table<'_>, manifest: &Manifest) {
    match (manifest.connects.is_some(), manifest.sockets.is_empty()) {
        (true, true) => table.problem("`connects` needs a destination: name it in `[[sockets]]`"),
        (false, false) => table.problem(
            "say in `connects` when the host keeps a socket open: `connects = {}` for always, or with the \
             settings that ask for it, such as `connects = { mode = \"stream\" }`",
        ),
        _ => {}
    }
    if manifest.kind == Kind::Pipeline && manifest.connects.is_some() {
        table.problem("`connects` is for adapters: leave it out");
    }
}

fn read_limits(table: Table<'_>) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        memory_bytes: table.parsed("memory", memory).unwrap_or(default.memory_bytes),
        time: table.parsed("time", time).unwrap_or(default.time),
    };
    table.finish();
    limits
}

fn update_interval(text: &str) -> Result<Duration, String> {
    let (min, max) = (UPDATE_INTERVAL_MIN, UPDATE_INTERVAL_MAX);
    let interval = quantity::duration(text)?;
    let bounds = format!("name a time from {min:?} to {max:?}");
    if (min..=max).contains(&interval) { Ok(interval) } else { Err(bounds) }
}

fn keep_alive(text: &str) -> Result<Duration, String> {
    let (min, max) = (KEEP_ALIVE_MIN, KEEP_ALIVE_MAX);
    let time = quantity::duration(text)?;
    let bounds = format!("name a time from {min:?} to {max:?}");
    if (min..=max).contains(&time) { Ok(time) } else { Err(bounds) }
}

fn memory(text: &str) -> Result<u64, String> {
    let bytes = quantity::bytes(text)?;
    let most = format!("the host gives a plugin at most {} MiB: ask for less", MEMORY_BYTES_MAX >> 20);
    if bytes > MEMORY_BYTES_MAX { Err(most) } else { Ok(bytes) }
}

fn time(text: &str) -> Result<Duration, String> {
    let time = quantity::duration(text)?;
    let most = format!("the host gives a call at most {} s: ask for less", TIME_MAX.as_secs());
    if time > TIME_MAX { Err(most) } else { Ok(time) }
}

/// Reads each table and reports a name that stands twice.
fn unique<'a, T>(
    parent: &Table<'a>,
    tables: impl Iterator<Item = Table<'a>>,
    read: fn(Table<'a>) -> T,
    name: fn(&T) -> &str,
) -> Vec<T> {
    let mut all: Vec<T> = Vec::new();
    for table in tables {
        let at = table.at();
        let one = read(table);
        if !name(&one).is_empty() && all.iter().any(|other| name(other) == name(&one)) {
            parent.problem_at(at, format!("`{}` is named twice: rename one", name(&one)));
        }
        all.push(one);
    }
    all
}
