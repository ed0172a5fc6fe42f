//! Sending a reply: by session webhook while it lives, else by OpenAPI, or to a custom group robot.
//!
//! One part a call. The checkpoint counts the parts that are sent and remembers what was learnt:
//! that the session webhook is dead, that the token was renewed once.

use crate::{call_api, expire_token};
use parlor_sdk::{
    Delivered, Fault, HttpResponse, Outbound, Reply, clock,
    encoding::{base64, percent},
    fault::FaultKind,
    json::{FromJson, Value, object},
    secrets::{self, Digest, KeyForm, SecretError},
    settings, text,
};

const SESSION_HOSTS: [&str; 2] = ["https://oapi.dingtalk.com", "https://oapi.dingtalk.io"];
const SESSION_PATH: &str = "/robot/sendBySession?session=";
/// A session webhook this near its end is not used: the request takes its time.
const SESSION_MARGIN_MS: u64 = 60_000;
const ROBOT_URL: &str = "https://oapi.dingtalk.com/robot/send?access_token=${secret:robot_token}";
const ROBOT_SECRET: &str = "robot_secret";
/// `msgParam` may have 15,000 bytes and a body 20,000: this leaves room for title and mentions.
const PART_BYTES_MAX: usize = 14_000;
/// A part has at most 3,500 characters, which clients show without folding.
const CHARACTER_BYTES_MIN: usize = PART_BYTES_MAX / 3_500;
/// DingTalk shows a title in lists and notifications only.
const TITLE_CHARACTERS_MAX: usize = 40;
/// A robot that sends more than 20 messages a minute to a group is muted for ten minutes.
const THROTTLED_MS: u64 = 60_000;
/// How long to wait where the OpenAPI says that its rate is used up.
const API_THROTTLED_MS: u64 = 2_000;

/// Where a reply goes; made from a callback whose body nobody signed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Address {
    pub webhook: Option<String>,
    pub webhook_until_ms: Option<u64>,
    pub conversation: Option<String>,
    pub group: bool,
    pub staff: Option<String>,
    pub robot_code: String,
}

impl Address {
    /// As the host keeps it.
    pub fn encode(&self) -> Vec<u8> {
        let fields = [
            ("webhook", self.webhook.clone().into()),
            ("webhook_until_ms", self.webhook_until_ms.map(|until_ms| until_ms as f64).into()),
            ("conversation", self.conversation.clone().into()),
            ("group", self.group.into()),
            ("staff", self.staff.clone().into()),
            ("robot_code", self.robot_code.as_str().into()),
        ];
        object(fields).canonical().into_bytes()
    }

    /// None for the channel's default destination.
    fn decode(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let Some(fields) = decode(bytes)? else { return Ok(None) };
        let text = |name: &str| fields.text(name).map(str::to_owned);
        Ok(Some(Self {
            webhook: text("webhook"),
            webhook_until_ms: fields.get("webhook_until_ms").and_then(Value::as_u64),
            conversation: text("conversation"),
            group: fields.get("group").and_then(Value::as_bool).unwrap_or_default(),
            staff: text("staff"),
            robot_code: text("robot_code").unwrap_or_default(),
        }))
    }
}

/// How far a delivery got, and what it learnt.
#[derive(Clone, Debug, Default)]
struct Checkpoint {
    sent: usize,
    session_is_dead: bool,
    token_renewed: bool,
    ids: Vec<String>,
}

impl Checkpoint {
    fn encode(&self) -> Vec<u8> {
        let fields = [
            ("sent", Value::Number(self.sent as f64)),
            ("session_is_dead", self.session_is_dead.into()),
            ("token_renewed", self.token_renewed.into()),
            ("ids", self.ids.clone().into()),
        ];
        object(fields).canonical().into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let Some(fields) = decode(bytes)? else { return Ok(Self::default()) };
        let flag = |name: &str| fields.get(name).and_then(Value::as_bool).unwrap_or_default();
        Ok(Self {
            sent: fields.get("sent").and_then(Value::as_u64).unwrap_or_default() as usize,
            session_is_dead: flag("session_is_dead"),
            token_renewed: flag("token_renewed"),
            ids: fields.get("ids").and_then(Vec::from_json).unwrap_or_default(),
        })
    }
}

/// What this plugin wrote earlier; none for no bytes.
fn decode(bytes: &[u8]) -> Result<Option<Value>, Fault> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let value = Value::read_bytes(bytes);
    value
        .map(Some)
        .map_err(|_| Fault::internal("an address or a checkpoint is not one that this plugin wrote"))
}

/// What came of one request.
enum Outcome {
    /// Sent; the platform's id if it gave one.
    Sent(Option<String>),
    /// The session webhook is no more; nothing was sent.
    SessionIsDead,
    /// The token is stale; nothing was sent.
    TokenIsStale,
}

/// One message to send.
struct Part<'a> {
    title: &'a str,
    text: String,
    /// Calls the person who asked, if it goes to a group.
    calls: bool,
}

/// Whether this is an address that DingTalk hands out. Nobody signed it: any other could be a trap.
pub fn is_session_webhook(url: &str) -> bool {
    let session = SESSION_HOSTS.iter().find_map(|host| url.strip_prefix(host)?.strip_prefix(SESSION_PATH));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%*+=/".contains(&byte);
    session.is_some_and(|session| !session.is_empty() && session.bytes().all(plain))
}

/// Sends the next part.
pub fn finish(address: &[u8], checkpoint: &[u8], reply: &Reply) -> Result<Delivered, Fault> {
    let address = Address::decode(address)?;
    let mut checkpoint = Checkpoint::decode(checkpoint)?;
    let parts = split(&reply.text);
    let title = title(reply);
    let Some(text) = parts.get(checkpoint.sent) else { return Ok(Delivered::Done(checkpoint.ids)) };
    let title = match parts.len() {
        1 => title,
        count => format!("{title} ({}/{count})", checkpoint.sent + 1),
    };
    let calls = checkpoint.sent == 0 && !reply.is_unasked();
    let part = Part { title: &title, text: text.clone(), calls };
    match send(address.as_ref(), &checkpoint, part)? {
        Outcome::Sent(id) => {
            checkpoint.sent += 1;
            checkpoint.ids.extend(id);
            if checkpoint.sent == parts.len() {
                return Ok(Delivered::Done(checkpoint.ids));
            }
        }
        Outcome::SessionIsDead => checkpoint.session_is_dead = true,
        Outcome::TokenIsStale => {
            expire_token();
            checkpoint.token_renewed = true;
        }
    }
    Ok(Delivered::More(checkpoint.encode()))
}

/// The reply in parts, with nothing in it that would call everyone.
fn split(markdown: &str) -> Vec<String> {
    let shown: String = markdown.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let quiet = quieten(&shown);
    let weigh = |grapheme: &str| {
        let escaped =
            grapheme.bytes().map(|byte| if matches!(byte, b'"' | b'\\' | b'\n' | b'\t') { 2 } else { 1 });
        escaped.sum::<usize>().max(grapheme.chars().count() * CHARACTER_BYTES_MIN)
    };
    text::split_by(&quiet, PART_BYTES_MAX, weigh)
}

/// Puts a zero-width space after an `@` that would mention everyone: models repeat what they read.
fn quieten(markdown: &str) -> String {
    let mut quiet = String::with_capacity(markdown.len());
    for (offset, character) in markdown.char_indices() {
        quiet.push(character);
        let rest = &markdown[offset + character.len_utf8()..];
        if matches!(character, '@' | '＠') && calls_everyone(rest) {
            quiet.push('\u{200b}');
        }
    }
    quiet
}

fn calls_everyone(after_at: &str) -> bool {
    let words = ["all", "everyone", "所有人", "全体"];
    let rest = after_at.trim_start_matches([' ', '\u{a0}', '\u{3000}']);
    words.iter().any(|word| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
}

/// The reply's title, else the beginning of its first line.
fn title(reply: &Reply) -> String {
    let first = || {
        reply.text.lines().map(|line| line.trim_matches(['#', '*', '`', ' '])).find(|line| !line.is_empty())
    };
    let title = reply.title.as_deref().or_else(first).unwrap_or("…");
    quieten(&title.chars().filter(|c| !c.is_control()).take(TITLE_CHARACTERS_MAX).collect::<String>())
}

/// To the group robot if there is no address or the operator wants all replies there.
fn send(address: Option<&Address>, checkpoint: &Checkpoint, part: Part) -> Result<Outcome, Fault> {
    let destination: String = settings::get_or("destination", "conversation".to_owned())?;
    let Some(address) = address.filter(|_| destination != "group-robot") else {
        return by_group_robot(&part);
    };
    match live_webhook(address, checkpoint) {
        Some(webhook) => by_session(webhook, address, part),
        None => by_api(address, checkpoint, &part),
    }
}

/// The session webhook, checked once more: the address may be older than this release.
fn live_webhook<'a>(address: &'a Address, checkpoint: &Checkpoint) -> Option<&'a str> {
    let until_ms = address.webhook_until_ms.unwrap_or(u64::MAX);
    let is_live = !checkpoint.session_is_dead && clock::now_ms().saturating_add(SESSION_MARGIN_MS) < until_ms;
    address.webhook.as_deref().filter(|url| is_live && is_session_webhook(url))
}

fn markdown(part: &Part) -> Value {
    object([("title", part.title.into()), ("text", part.text.as_str().into())])
}

/// A message to `oapi`. It never mentions everyone.
fn robot_message(part: &Part, at_user: Option<&str>) -> Value {
    let at_users: Vec<&str> = at_user.into_iter().collect();
    let at = object([("atUserIds", at_users.into()), ("isAtAll", false.into())]);
    object([("msgtype", "markdown".into()), ("markdown", markdown(part)), ("at", at)])
}

fn by_session(webhook: &str, address: &Address, mut part: Part) -> Result<Outcome, Fault> {
    let mention = if part.calls { mention(address)? } else { None };
    if let Some(staff) = mention {
        part.text = format!("@{staff}\n\n{}", part.text);
    }
    let request = Outbound::post(webhook).json(&robot_message(&part, mention));
    let limit_key = address.conversation.as_deref().unwrap_or("session");
    judge_robot(&request.limit_key(limit_key).send()?)
}

/// The person who asked, in a group. Markdown shows a mention only if the text has it too; the id comes from an
/// unsigned body, so it must be a plain one.
fn mention(address: &Address) -> Result<Option<&str>, Fault> {
    let is_wanted = address.group && settings::get_or("mention_sender", true)?;
    let plain = |staff: &&str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=64).contains(&staff.len()) && staff.bytes().all(is_plain) && !calls_everyone(staff)
    };
    Ok(address.staff.as_deref().filter(plain).filter(|_| is_wanted))
}

fn by_group_robot(part: &Part) -> Result<Outcome, Fault> {
    let timestamp = clock::now_ms().to_string();
    let url = match sign_robot(&timestamp) {
        Ok(sign) => format!("{ROBOT_URL}&timestamp={timestamp}&sign={}", percent(&sign)),
        // A robot may be guarded by keywords or addresses instead.
        Err(SecretError::NotSet) => ROBOT_URL.to_owned(),
        Err(error) => return Err(error.into()),
    };
    let request = Outbound::post(url).json(&robot_message(part, None));
    match judge_robot(&request.limit_key("robot").send()?)? {
        Outcome::SessionIsDead => Err(Fault::unauthorized("DingTalk does not know `robot_token` (300001)")),
        outcome => Ok(outcome),
    }
}

fn sign_robot(timestamp: &str) -> Result<String, SecretError> {
    let signed = [secrets::Part::from(format!("{timestamp}\n")), secrets::Part::Secret(KeyForm::Raw)];
    let key = [secrets::Part::Secret(KeyForm::Raw)];
    secrets::hmac(ROBOT_SECRET, Digest::Sha256, &key, &signed).map(|sign| base64(&sign))
}

/// `oapi` answers 200 to everything and tells the truth in `errcode`.
fn judge_robot(response: &HttpResponse) -> Result<Outcome, Fault> {
    let answer = response.parse();
    let Some(Value::Number(errcode)) = answer.as_ref().and_then(|answer| answer.get("errcode")) else {
        return Err(status_fault(response));
    };
    let errcode = *errcode as i64;
    let fault = match errcode {
        0 => return Ok(Outcome::Sent(None)),
        300_001 => return Ok(Outcome::SessionIsDead),
        -1 => Fault::unavailable("DingTalk is busy (-1)"),
        130_101 | 130_102 | 90_030 | 660_026 => {
            Fault::throttled(format!("DingTalk says that the robot sends too fast ({errcode})"), THROTTLED_MS)
        }
        310_000 => Fault::unauthorized("DingTalk refuses the robot's sign, keyword or address (310000)"),
        88 | 40_014 | 42_001 | 300_005 => {
            Fault::unauthorized(format!("DingTalk refuses the robot's token ({errcode})"))
        }
        460_101 | 101_002 => {
            Fault::invalid(format!("DingTalk says that the message is too large ({errcode})"))
        }
        40_035 | 43_004 | 400_001..=400_999 => {
            Fault::invalid(format!("DingTalk refuses the message's form ({errcode})"))
        }
        _ => Fault::other(format!("DingTalk answered errcode {errcode}")),
    };
    Err(fault)
}

fn by_api(address: &Address, checkpoint: &Checkpoint, part: &Part) -> Result<Outcome, Fault> {
    let (path, receiver) = match (address.group, &address.conversation, &address.staff) {
        (true, Some(conversation), _) => {
            ("/v1.0/robot/groupMessages/send", ("openConversationId", conversation.as_str().into()))
        }
        (false, _, Some(staff)) => {
            ("/v1.0/robot/oToMessages/batchSend", ("userIds", vec![staff.as_str()].into()))
        }
        _ => {
            return Err(Fault::gone(
                "the session webhook has expired, and the OpenAPI cannot reach this person",
            ));
        }
    };
    if address.robot_code.is_empty() || settings::get::<String>("app_key")?.is_none() {
        return Err(Fault::gone(
            "the session webhook has expired: set `robot_code` and `app_key` to reply by OpenAPI",
        ));
    }
    let message = object([
        ("robotCode", address.robot_code.as_str().into()),
        receiver,
        ("msgKey", "sampleMarkdown".into()),
        ("msgParam", markdown(part).canonical().into()),
    ]);
    let limit_key = address.conversation.as_deref().unwrap_or("direct");
    let response = call_api(path).json(&message).limit_key(limit_key).send()?;
    if is_stale_token(&response) && !checkpoint.token_renewed {
        return Ok(Outcome::TokenIsStale);
    }
    judge_api(&response)
}

fn api_code(response: &HttpResponse) -> String {
    response.parse().and_then(|answer| answer.text("code").map(str::to_owned)).unwrap_or_default()
}

fn is_stale_token(response: &HttpResponse) -> bool {
    response.status == 401 || api_code(response).contains("InvalidAuthentication")
}

fn judge_api(response: &HttpResponse) -> Result<Outcome, Fault> {
    if !response.is_success() {
        return Err(api_fault(response));
    }
    let answer = response.parse().unwrap_or(Value::Null);
    let names_anyone = |list: &str| answer.get(list).is_some_and(|list| !list.items().is_empty());
    if names_anyone("flowControlledStaffIdList") {
        return Err(Fault::throttled("DingTalk holds messages to this person back", THROTTLED_MS));
    }
    if names_anyone("invalidStaffIdList") {
        return Err(Fault::gone("DingTalk does not know this person any more"));
    }
    Ok(Outcome::Sent(answer.text("processQueryKey").map(str::to_owned)))
}

/// Why the OpenAPI said no, by its code and else by its status. Its text is not repeated: it may
/// quote what was sent.
pub fn api_fault(response: &HttpResponse) -> Fault {
    let code: String =
        api_code(response).chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').take(80).collect();
    let kind = match code.as_str() {
        "" => return status_fault(response),
        code if code.contains("QpsLimit") || code.contains("Throttling") => FaultKind::Throttled,
        code if code.contains("InvalidAuthentication") || code.starts_with("Forbidden") => {
            FaultKind::Unauthorized
        }
        _ if response.status >= 500 => return status_fault(response),
        _ => FaultKind::Invalid,
    };
    let retry_after_ms =
        (kind == FaultKind::Throttled).then(|| response.retry_after_ms().unwrap_or(API_THROTTLED_MS));
    Fault { kind, reason: format!("DingTalk's OpenAPI answered `{code}`"), retry_after_ms }
}

/// A gateway's 5xx may come after the message went through; 503 says that it did not.
fn status_fault(response: &HttpResponse) -> Fault {
    let status = response.status;
    let reason = format!("DingTalk answered with status {status} and no code");
    match status {
        429 => Fault::throttled(reason, response.retry_after_ms().unwrap_or(THROTTLED_MS)),
        401 | 403 => Fault::unauthorized(reason),
        503 => Fault::unavailable(reason),
        400..=499 => Fault::invalid(reason),
        _ => Fault::uncertain(reason),
    }
}
