//! What a value can be: each kind reads itself and says to editors what it takes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use minisign::PublicKey;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use url::Url;

use super::problem::shorten;
use super::reader::Reader;
use super::tree::{Entry, Node, What};
use super::{Meanwhile, Rate, WhenStale};

/// One chain is a handful of pipelines, one token a handful of issuers.
pub(super) const LIST_ITEMS_MAX: usize = 16;
/// HMAC-SHA-256 wants a key as long as its digest (RFC 7518, 3.2).
const SIGNING_SECRET_BYTES_MIN: usize = 32;

/// A kind of value.
pub(super) trait Read: Sized {
    /// `None` if something is wrong with it; then the reader holds at least one problem more.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;

    /// JSON Schema.
    fn schema() -> Value;
}

/// Text with something in it.
pub(super) struct Text(pub String);

impl Read for Text {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        parsed(
            node,
            reader,
            "text",
            |text| if text.is_empty() { Err(EMPTY.into()) } else { Ok(Text(text.into())) },
        )
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

const EMPTY: &str = "is empty";
const QUOTES: &str = "; put it in quotes";
const UNIT: &str = "; add a unit";

/// Reads text and what it stands for. An error of `parse` follows the text itself: "`x` is not …".
fn parsed<T>(
    node: &Node,
    reader: &mut Reader<'_>,
    expected: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    parsed_or(node, reader, expected, QUOTES, parse)
}

/// The same, with other advice for a number.
fn parsed_or<T>(
    node: &Node,
    reader: &mut Reader<'_>,
    expected: &str,
    advice: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let scalar = reader.text(node, expected, advice)?;
    parse(&scalar.text)
        .map_err(|reason| reader.problem(node.place, format!("{} {reason}", scalar.shown())))
        .ok()
}

/// An address and port to listen on.
pub(super) struct Address(pub SocketAddr);

const AN_ADDRESS: &str = "an address with a port such as `127.0.0.1:18789`";

impl Read for Address {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        parsed_or(node, reader, AN_ADDRESS, "", |text| {
            text.parse().map(Address).map_err(|_| not_an_address(text))
        })
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"(:\d{1,5}|\$\{.*)$"})
    }
}

fn not_an_address(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((_, port)) if port.parse::<u64>().is_ok_and(|port| port > u64::from(u16::MAX)) => {
            format!("has port {port}; ports end at 65535")
        }
        Some(("localhost", port)) => format!("is a name; write `127.0.0.1:{port}`"),
        _ => format!("is not {AN_ADDRESS}"),
    }
}

/// A path, relative to the folder of the file.
pub(super) struct FilePath(pub PathBuf);

impl Read for FilePath {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let path = parsed(node, reader, "a path", |text| match text {
            "" => Err(EMPTY.into()),
            _ if text.contains('\0') => Err("is not a path".into()),
            _ if text == "~" || text.starts_with("~/") => {
                Err("begins with `~`, which is the shell's; write `${HOME}`".into())
            }
            _ => Ok(text.to_owned()),
        })?;
        // Without the dots that come of joining: messages show it.
        Some(FilePath(reader.folder.join(path).components().collect()))
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

impl Read for bool {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let scalar = reader.plain(node, "`true` or `false`")?;
        let flag = scalar.text.parse().ok();
        if flag.is_none() {
            say_not(node, reader, &scalar.variables, "`true` or `false`");
        }
        flag
    }

    fn schema() -> Value {
        or_variable(json!({"type": "boolean"}))
    }
}

/// One of a few words.
pub(super) struct OneOf<T>(pub T);

/// What such a word can be.
pub(super) trait Words: Copy + Sized + 'static {
    /// `a`, `b` or `c`
    const EXPECTED: &'static str;
    const WORDS: &'static [(&'static str, Self)];
}

impl<T: Words> Read for OneOf<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        parsed(node, reader, T::EXPECTED, |text| {
            let found = T::WORDS.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| OneOf(*value)).ok_or_else(|| format!("is not {}", T::EXPECTED))
        })
    }

    fn schema() -> Value {
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": r"\$\{"}]})
    }
}

impl Words for Meanwhile {
    const EXPECTED: &'static str = "`queue`, `merge` or `interrupt`";
    const WORDS: &'static [(&'static str, Self)] =
        &[("queue", Meanwhile::Queue), ("merge", Meanwhile::Merge), ("interrupt", Meanwhile::Interrupt)];
}

impl Words for WhenStale {
    const EXPECTED: &'static str = "`answer`, `notice` or `drop`";
    const WORDS: &'static [(&'static str, Self)] =
        &[("answer", WhenStale::Answer), ("notice", WhenStale::Notice), ("drop", WhenStale::Drop)];
}

/// The scalar is something else; names the variable if it came out of one.
fn say_not(node: &Node, reader: &mut Reader<'_>, variables: &[String], expected: &str) {
    match variables.first() {
        Some(variable) => {
            reader.problem(node.place, format!("expected {expected}; `{variable}` holds something else"));
        }
        None => reader.mismatch(node, expected, ""),
    }
}

fn or_variable(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "string", "pattern": r"\$\{"}]})
}

/// A whole number.
pub(super) struct Count<const MIN: u32, const MAX: u32>(pub u32);

impl<const MIN: u32, const MAX: u32> Count<MIN, MAX> {
    pub fn size(&self) -> usize {
        usize::try_from(self.0).expect("a host has 32 bits or more")
    }
}

impl<const MIN: u32, const MAX: u32> Read for Count<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let expected = format!("a whole number from {MIN} to {MAX}");
        let scalar = reader.plain(node, &expected)?;
        match scalar.text.parse::<i128>() {
            Ok(count) if (i128::from(MIN)..=i128::from(MAX)).contains(&count) => {
                Some(Count(u32::try_from(count).expect("it lies between two u32")))
            }
            Ok(_) => {
                reader.problem(node.place, format!("{} is not {expected}", scalar.shown()));
                None
            }
            Err(_) => {
                say_not(node, reader, &scalar.variables, &expected);
                None
            }
        }
    }

    fn schema() -> Value {
        or_variable(json!({"type": "integer", "minimum": MIN, "maximum": MAX}))
    }
}

/// How freely a model chooses.
pub(super) struct Temperature(pub f32);

const TEMPERATURE_MAX: f32 = 2.0;
const A_TEMPERATURE: &str = "a number from 0 to 2";

impl Read for Temperature {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let scalar = reader.plain(node, A_TEMPERATURE)?;
        match scalar.text.parse::<f32>() {
            Ok(value) if (0.0..=TEMPERATURE_MAX).contains(&value) => return Some(Temperature(value)),
            Ok(_) => reader.problem(node.place, format!("{} is not {A_TEMPERATURE}", scalar.shown())),
            Err(_) => say_not(node, reader, &scalar.variables, A_TEMPERATURE),
        }
        None
    }

    fn schema() -> Value {
        or_variable(json!({"type": "number", "minimum": 0, "maximum": TEMPERATURE_MAX}))
    }
}

/// A span of time with its unit, bounds in milliseconds.
pub(super) struct Time<const MIN: u64, const MAX: u64>(pub Duration);

const A_DURATION: &str = "a duration such as `120s`, `5m`, `1h` or `500ms`";
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl<const MIN: u64, const MAX: u64> Read for Time<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let parse = |text: &str| bounded(text, A_DURATION, &TIME_UNITS, MIN, MAX);
        parsed_or(node, reader, A_DURATION, UNIT, parse).map(|ms| Time(Duration::from_millis(ms)))
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^\d+(ms|s|m|h|d)$|\$\{"})
    }
}

/// A number of bytes with its unit.
pub(super) struct Size<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    pub fn size(&self) -> usize {
        usize::try_from(self.0).expect("every bound of a size fits 32 bits")
    }
}

const A_SIZE: &str = "a size such as `512KiB` or `1MiB`";
const SIZE_UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

impl<const MIN: u64, const MAX: u64> Read for Size<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        parsed_or(node, reader, A_SIZE, UNIT, |text| bounded(text, A_SIZE, &SIZE_UNITS, MIN, MAX)).map(Size)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^\d+(B|KiB|MiB|GiB)$|\$\{"})
    }
}

fn bounded(text: &str, expected: &str, units: &[(&str, u64)], min: u64, max: u64) -> Result<u64, String> {
    let amount = with_unit(text, units).ok_or_else(|| format!("is not {expected}"))?;
    if (min..=max).contains(&amount) {
        return Ok(amount);
    }
    Err(format!("is not between {} and {}", in_unit(min, units), in_unit(max, units)))
}

/// A whole number right before one of the units, in the smallest of them.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

/// In the largest unit that leaves a whole number.
fn in_unit(amount: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().filter(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor));
    let (name, factor) = fitting.max_by_key(|(_, factor)| *factor).unwrap_or(&units[0]);
    format!("`{}{name}`", amount / factor)
}

/// So many in a span of time.
pub(super) struct Frequency {
    count: u32,
    per: Duration,
}

const A_RATE: &str = "a rate such as `10/s`, `20/1m` or `500/h`";
const RATE_COUNT_MAX: u32 = 10_000;
const RATE_SPAN_MS_MAX: u64 = 86_400_000;

impl Frequency {
    /// Without a burst of its own, all of one span may come at once.
    pub fn with_burst(&self, burst: Option<u32>) -> Rate {
        let interval = self.per.as_micros().div_ceil(u128::from(self.count));
        let interval = Duration::from_micros(u64::try_from(interval).expect("a span is a day at most"));
        Rate { interval, burst: burst.unwrap_or(self.count) }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("is not {A_RATE}");
        let (count, span) = text.split_once('/').ok_or_else(wrong)?;
        let span = if span.starts_with(|c: char| c.is_ascii_digit()) { span } else { &format!("1{span}") };
        let count = count.parse::<u32>().map_err(|_| wrong())?;
        let span = with_unit(span, &TIME_UNITS).ok_or_else(wrong)?;
        if !(1..=RATE_COUNT_MAX).contains(&count) || !(1..=RATE_SPAN_MS_MAX).contains(&span) {
            return Err(format!("is not between 1 and {RATE_COUNT_MAX} in a span of `1d` at most"));
        }
        Ok(Frequency { count, per: Duration::from_millis(span) })
    }
}

impl Read for Frequency {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        parsed_or(node, reader, A_RATE, "; say in which time", Frequency::parse)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^\d+/\d*(ms|s|m|h|d)$|\$\{"})
    }
}

/// Addresses and networks: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.
pub(super) struct Networks(pub Vec<IpNet>);

/// More than the largest platforms publish.
const NETWORKS_MAX: usize = 1024;
const A_NETWORK: &str = "an address or a network such as `192.0.2.7`, `10.0.0.0/8` or `2001:db8::/32`";

impl Read for Networks {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        list_of(node, reader, NETWORKS_MAX, |item, reader| parsed(item, reader, A_NETWORK, network))
            .map(Networks)
    }

    fn schema() -> Value {
        let item = json!({"type": "string", "pattern": r"^[0-9A-Fa-f:.]+(/\d{1,3})?$|\$\{"});
        json!({"type": "array", "items": item, "maxItems": NETWORKS_MAX})
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let net = net.map_err(|_| format!("is not {A_NETWORK}"))?;
    if net.addr() != net.network() {
        return Err(format!("is one address with the size of a network; write `{}`", net.trunc()));
    }
    Ok(net)
}

/// An `http` or `https` URL without a query, a fragment and a password in it.
pub(super) struct WebUrl(pub Url);

const A_URL: &str = "a URL such as `https://bot.example.com`";

impl Read for WebUrl {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        // Not shown: a URL may have a password in it.
        let scalar = reader.text(node, A_URL, "")?;
        web_url(&scalar.text).map_err(|reason| reader.problem(node.place, reason)).ok().map(WebUrl)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^https?://|\$\{"})
    }
}

/// The URL of a queue that keeps order: its name ends in `.fifo`.
pub(super) struct QueueUrl(pub Url);

impl Read for QueueUrl {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let scalar = reader.text(node, A_URL, "")?;
        let url = web_url(&scalar.text).and_then(|url| match url.path().ends_with(".fifo") {
            true => Ok(url),
            false => Err("the queue's name does not end in `.fifo`: take a FIFO queue, which keeps \
                          conversations in order"
                .to_owned()),
        });
        url.map_err(|reason| reader.problem(node.place, reason)).ok().map(QueueUrl)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^https?://.*\.fifo$|\$\{"})
    }
}

/// The URLs of a Redis: one, or the nodes of a Cluster.
pub(super) struct RedisUrls(pub Vec<SecretString>);

const A_REDIS: &str = "a URL such as `redis://10.0.0.5:6379`";
/// Nodes to begin with; a Cluster tells of all others itself.
const A_REDIS_PATTERN: &str = r"^(rediss?://|redis\+unix:///)|\$\{";

impl Read for RedisUrls {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let urls = match &node.what {
            What::List(items) if items.is_empty() => {
                reader.problem(node.place, "the list is empty");
                return None;
            }
            What::List(_) => Vec::<RedisUrl>::read(node, reader)?,
            _ => vec![RedisUrl::read(node, reader)?],
        };
        if urls.len() > 1 && urls.iter().any(|url| !matches!(url.0.path(), "" | "/" | "/0")) {
            reader.problem(node.place, "the nodes of a Cluster have no databases; take `/…` away");
            return None;
        }
        Some(RedisUrls(urls.into_iter().map(|url| url.0.as_str().into()).collect()))
    }

    fn schema() -> Value {
        let mut list = Vec::<RedisUrl>::schema();
        list["minItems"] = json!(1);
        json!({"anyOf": [RedisUrl::schema(), list]})
    }
}

struct RedisUrl(Url);

impl Read for RedisUrl {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        // Not shown: a password may be in it.
        let scalar = reader.text(node, A_REDIS, "")?;
        redis_url(&scalar.text).map_err(|reason| reader.problem(node.place, reason)).ok().map(RedisUrl)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": A_REDIS_PATTERN})
    }
}

fn redis_url(text: &str) -> Result<Url, String> {
    const ENCODE: &str = "a password with `/`, `@`, `#`, `?` or `%` in it has to be percent-encoded";
    let url = Url::parse(text).map_err(|reason| format!("expected {A_REDIS}: {reason}; {ENCODE}"))?;
    let is_socket = url.scheme() == "redis+unix";
    if !is_socket && !matches!(url.scheme(), "redis" | "rediss") {
        return Err("expected a URL that begins with `redis://`, or with `rediss://` for TLS".to_owned());
    }
    if url.fragment().is_some() || (url.query().is_some() && !is_socket) {
        return Err(format!("a URL here ends before `?` and `#`; {ENCODE}"));
    }
    if is_socket {
        return Ok(url);
    }
    let database = url.path().trim_start_matches('/');
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("expected {A_REDIS}: it names no host; {ENCODE}"));
    }
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return Err(format!("behind the host stands a database's number or nothing; {ENCODE}"));
    }
    Ok(url)
}

pub(super) fn web_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|reason| format!("expected {A_URL}: {reason}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("expected a URL that begins with `https://` or `http://`".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL here has no user and password in it; take them out".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a URL here ends before `?` and `#`".to_owned());
    }
    Ok(url)
}

/// A scheme, host and port: `https://api.example.com`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin(pub String);

impl Origin {
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = web_url(text)?;
        if url.path() != "/" {
            return Err("an origin is scheme, host and port alone; take the path away".to_owned());
        }
        Ok(Origin(url.origin().ascii_serialization()))
    }

    pub fn url(&self) -> Url {
        Url::parse(&self.0).expect("an origin is written out of a URL")
    }
}

impl Read for Origin {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let scalar = reader.text(node, "an origin such as `http://127.0.0.1:9001`", "")?;
        Origin::parse(&scalar.text).map_err(|reason| reader.problem(node.place, reason)).ok()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^https?://[^/?#]+/?$|\$\{"})
    }
}

/// Text that no log, message or dump may show.
pub(super) struct Secret(pub SecretString);

impl Read for Secret {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        secret(node, reader, 1).map(Secret)
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

/// The secret that signs the host's own tokens.
pub(super) struct SigningSecret(pub SecretString);

impl Read for SigningSecret {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        secret(node, reader, SIGNING_SECRET_BYTES_MIN).map(SigningSecret)
    }

    fn schema() -> Value {
        // No minimum: `${X}` is short.
        json!({"type": "string", "minLength": 1})
    }
}

fn secret(node: &Node, reader: &mut Reader<'_>, bytes_min: usize) -> Option<SecretString> {
    let scalar = reader.text(node, "text", QUOTES)?;
    let advice = match scalar.variables.first() {
        Some(variable) => format!("; set `{variable}`"),
        None => String::new(),
    };
    let text = scalar.text;
    if text.is_empty() {
        reader.problem(node.place, format!("the secret is empty{advice}"));
    } else if text.trim() != text {
        reader.problem(
            node.place,
            "the secret begins or ends with white space, such as a line break of a file",
        );
    } else if text.len() < bytes_min {
        let length = text.len();
        reader.problem(
            node.place,
            format!("the secret has {length} bytes and needs {bytes_min} or more{advice}"),
        );
    } else {
        return Some(SecretString::from(text));
    }
    None
}

/// SHA-256 in hex; kept in lower case.
pub(super) struct Sha256(pub String);

impl Read for Sha256 {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        parsed(node, reader, "a SHA-256 of 64 hex digits", |text| {
            let is_digest = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
            if is_digest {
                Ok(Sha256(text.to_lowercase()))
            } else {
                Err("is not a SHA-256 of 64 hex digits".into())
            }
        })
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^[0-9A-Fa-f]{64}$|\$\{"})
    }
}

/// Public keys of minisign: the second line of a `.pub` file.
pub(super) struct PublicKeys(pub Vec<PublicKey>);

/// Of as many authors as anybody trusts.
const PUBLIC_KEYS_MAX: usize = 64;
const A_PUBLIC_KEY: &str =
    "a minisign public key: 56 characters that begin with `RW`, the second line of a `.pub` file";
/// The one algorithm that a key may be of.
const ED25519: &[u8] = b"Ed";

impl Read for PublicKeys {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        list_of(node, reader, PUBLIC_KEYS_MAX, |item, reader| parsed(item, reader, A_PUBLIC_KEY, public_key))
            .map(PublicKeys)
    }

    fn schema() -> Value {
        let item = json!({"type": "string", "pattern": r"^RW[0-9A-Za-z+/]{54}$|\$\{"});
        json!({"type": "array", "items": item, "maxItems": PUBLIC_KEYS_MAX})
    }
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    let key = PublicKey::from_base64(text).ok().filter(|key| key.to_bytes().starts_with(ED25519));
    key.ok_or_else(|| format!("is not {A_PUBLIC_KEY}"))
}

/// The name of a plugin or channel: it stands in URLs, metrics and file names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(pub String);

const NAME_CHARS_MAX: usize = 63;

/// Whether a text may be a channel's name.
///
/// # Errors
/// What follows the text in a message: "is not …".
pub fn check_channel_name(text: &str) -> Result<(), String> {
    Name::parse(text).map(drop)
}

impl Name {
    fn parse(text: &str) -> Result<Self, String> {
        if is_name(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-") {
            return Ok(Name(text.to_owned()));
        }
        Err("is not a name: 1 to 63 of `a-z`, `0-9` and `-`, a letter or digit first".to_owned())
    }
}

fn is_name(text: &str, is_letter: impl Fn(char) -> bool, between: &str) -> bool {
    text.starts_with(&is_letter)
        && text.len() <= NAME_CHARS_MAX
        && text.chars().all(|c| is_letter(c) || between.contains(c))
}

impl Read for Name {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        parsed(node, reader, "a name", Name::parse)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^[a-z0-9][a-z0-9-]{0,62}$|\$\{"})
    }
}

/// What a bus is called, in Redis too, where names such as `chat:messages` are usual.
pub(super) struct BusName(pub String);

impl BusName {
    fn parse(text: &str) -> Result<Self, String> {
        if is_name(text, |c| c.is_ascii_alphanumeric(), "._:/-") {
            return Ok(BusName(text.to_owned()));
        }
        Err("is not a bus's name: 1 to 63 letters, digits, `.`, `_`, `:`, `/` and `-`, a letter or digit first"
            .to_owned())
    }
}

impl Read for BusName {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        parsed(node, reader, "a bus's name", BusName::parse)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,62}$|\$\{"})
    }
}

/// The name that the operator gives a model.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ModelName(pub String);

impl ModelName {
    fn parse(text: &str) -> Result<Self, String> {
        if is_name(text, |c| c.is_ascii_alphanumeric(), "._-") {
            return Ok(ModelName(text.to_owned()));
        }
        Err("is not a model's name: 1 to 63 letters, digits, `.`, `_` and `-`, a letter or digit first"
            .to_owned())
    }
}

impl Read for ModelName {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        parsed(node, reader, "a model's name", ModelName::parse)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$|\$\{"})
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        list_of(node, reader, LIST_ITEMS_MAX, T::read)
    }

    fn schema() -> Value {
        json!({"type": "array", "items": T::schema(), "maxItems": LIST_ITEMS_MAX})
    }
}

fn list_of<T>(
    node: &Node,
    reader: &mut Reader<'_>,
    items_max: usize,
    read: impl Fn(&Node, &mut Reader<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let What::List(items) = &node.what else {
        reader.mismatch(node, "a list", "");
        return None;
    };
    if items.len() > items_max {
        reader.problem(node.place, format!("the list has {} items; at most {items_max}", items.len()));
        return None;
    }
    let read = |(at, item)| reader.within_item(at, |reader| read(item, reader));
    let read: Vec<Option<T>> = items.iter().enumerate().map(read).collect();
    read.into_iter().collect()
}

/// One text, or a list of them with something in it.
pub(super) struct OneOrMore(pub Vec<String>);

impl Read for OneOrMore {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let texts = match &node.what {
            What::List(items) if items.is_empty() => {
                reader.problem(node.place, "the list is empty");
                return None;
            }
            What::List(_) => Vec::<Text>::read(node, reader)?,
            _ => vec![Text::read(node, reader)?],
        };
        Some(OneOrMore(texts.into_iter().map(|text| text.0).collect()))
    }

    fn schema() -> Value {
        let mut list = Vec::<Text>::schema();
        list["minItems"] = json!(1);
        json!({"anyOf": [Text::schema(), list]})
    }
}

/// A table whose keys are the operator's.
pub(super) trait ReadKey: Ord + Sized {
    /// An error follows the key: "`x` is not …".
    fn read_key(key: &str) -> Result<Self, String>;

    /// A regular expression for editors.
    const PATTERN: &'static str;
}

impl ReadKey for Name {
    fn read_key(key: &str) -> Result<Self, String> {
        Name::parse(key)
    }

    const PATTERN: &'static str = "^[a-z0-9][a-z0-9-]{0,62}$";
}

impl ReadKey for ModelName {
    fn read_key(key: &str) -> Result<Self, String> {
        ModelName::parse(key)
    }

    const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
}

impl ReadKey for Origin {
    fn read_key(key: &str) -> Result<Self, String> {
        Origin::parse(key).map_err(|reason| format!("is not an origin: {reason}"))
    }

    const PATTERN: &'static str = "^https?://[^/?#]+/?$";
}

/// The name of a setting or secret of an adapter, or behind a pipeline's name and a dot, of that pipeline.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SettingName(pub String);

impl ReadKey for SettingName {
    fn read_key(key: &str) -> Result<Self, String> {
        let setting = match key.split_once('.') {
            Some((pipeline, setting)) if Name::parse(pipeline).is_ok() => setting,
            Some(_) => "",
            None => key,
        };
        if is_name(setting, |c| c.is_ascii_alphanumeric(), "_-") {
            return Ok(SettingName(key.to_owned()));
        }
        Err("is neither `setting` nor `pipeline.setting`".to_owned())
    }

    const PATTERN: &'static str = r"^([a-z0-9][a-z0-9-]{0,62}\.)?[A-Za-z0-9][A-Za-z0-9_-]{0,62}$";
}

impl<K: ReadKey, V: Read> Read for BTreeMap<K, V> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let What::Table(entries) = &node.what else {
            let advice = if node.description() == "nothing" { "; remove the key, or write `{}`" } else { "" };
            reader.mismatch(node, "a table", advice);
            return None;
        };
        let read: Vec<Option<(K, V)>> = entries.iter().map(|entry| read_entry(entry, reader)).collect();
        read.into_iter().collect()
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "propertyNames": {"pattern": K::PATTERN},
            "additionalProperties": V::schema(),
        })
    }
}

fn read_entry<K: ReadKey, V: Read>(entry: &Entry, reader: &mut Reader<'_>) -> Option<(K, V)> {
    reader.within(&entry.key, |reader| {
        let key = K::read_key(&entry.key)
            .map_err(|reason| reader.problem(entry.place, format!("`{}` {reason}", shorten(&entry.key))))
            .ok();
        let value = V::read(&entry.value, reader);
        key.zip(value)
    })
}

/// Any value: what it must be, a plugin's manifest says.
pub(super) struct Any(pub Value);

impl Read for Any {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        any(node, reader).map(Any)
    }

    fn schema() -> Value {
        json!({})
    }
}

fn any(node: &Node, reader: &mut Reader<'_>) -> Option<Value> {
    match &node.what {
        What::Scalar { .. } => reader.scalar(node, "a value").map(|scalar| scalar.value()),
        What::List(items) => {
            let read = |(at, item)| reader.within_item(at, |reader| any(item, reader));
            let values: Vec<Option<Value>> = items.iter().enumerate().map(read).collect();
            values.into_iter().collect()
        }
        What::Table(entries) => {
            let read = |entry: &Entry| {
                let value = reader.within(&entry.key, |reader| any(&entry.value, reader))?;
                Some((entry.key.clone(), value))
            };
            let values: Vec<Option<(String, Value)>> = entries.iter().map(read).collect();
            values.into_iter().collect::<Option<Map<_, _>>>().map(Value::Object)
        }
    }
}
