//! Requests to the open platform, and what its answers mean.
//!
//! A refusal comes with HTTP status 400 mostly, sometimes with 200: the code in the body tells. Most requests
//! carry a key of their own or do no harm twice, so one that may have got through is simply sent again.

use parlor_sdk::{
    Fault, FaultKind, HttpResponse, Outbound,
    http::{self, FailureKind},
    json::Value,
    settings,
};

/// How long to wait where the platform says that it was too much, but not for how long.
const THROTTLED_MS: u64 = 1_000;
/// A name of a permission is no longer, and there are no more of them in one answer that help.
const SCOPES_BYTES_MAX: usize = 200;

/// One of the two platforms, which differ in nothing else.
pub struct Domain {
    pub origin: &'static str,
    /// The manifest's recipe that mints its tokens.
    token: &'static str,
}

const FEISHU: Domain = Domain { origin: "https://open.feishu.cn", token: "tenant_token_feishu" };
const LARK: Domain = Domain { origin: "https://open.larksuite.com", token: "tenant_token_lark" };

/// The operator's.
pub fn domain() -> Result<&'static Domain, Fault> {
    let name = settings::get_or("domain", "feishu".to_owned())?;
    Ok(if name == "lark" { &LARK } else { &FEISHU })
}

/// A request with the app's token.
pub fn request(method: &str, path: &str) -> Result<Outbound, Fault> {
    let Domain { origin, token } = domain()?;
    let request = Outbound::new(method, format!("{origin}{path}"));
    Ok(request.header("authorization", format!("Bearer ${{token:{token}}}")))
}

/// The platform refused the token: the next use mints a new one.
pub fn expire_token() -> Result<(), Fault> {
    http::expire_token(domain()?.token);
    Ok(())
}

/// What came of a request.
pub enum Answer {
    /// Done, with its `data`.
    Done(Value),
    Refused(Refusal),
}

/// Why the platform did not do it.
#[derive(Debug)]
pub struct Refusal {
    /// Of the body; zero if there was none to read.
    pub code: i64,
    status: u16,
    /// When the rate is free again.
    reset_ms: Option<u64>,
    /// The permissions that the app lacks.
    scopes: String,
}

/// Sends a request that may be repeated.
pub fn send(request: Outbound) -> Result<Answer, Fault> {
    let response = request.send().map_err(|failure| match failure.kind {
        FailureKind::Throttled | FailureKind::Denied => failure.into(),
        _ => Fault { retry_after_ms: failure.retry_after_ms, ..Fault::unavailable(failure.reason) },
    })?;
    Ok(read(&response))
}

fn read(response: &HttpResponse) -> Answer {
    let body = response.parse().unwrap_or(Value::Null);
    let code = match body.get("code") {
        Some(Value::Number(code)) => *code as i64,
        _ => -1,
    };
    if code == 0 && response.is_success() {
        return Answer::Done(body.get("data").cloned().unwrap_or(Value::Null));
    }
    Answer::Refused(Refusal {
        code: code.max(0),
        status: response.status,
        reset_ms: reset_ms(response),
        scopes: scopes(body.text("msg").unwrap_or_default()),
    })
}

/// Seconds until the rate is free again.
fn reset_ms(response: &HttpResponse) -> Option<u64> {
    let reset =
        response.header("x-ogw-ratelimit-reset").and_then(|seconds| seconds.trim().parse::<u64>().ok());
    reset.map(|seconds| seconds.saturating_mul(1000)).or_else(|| response.retry_after_ms())
}

/// The names between the brackets of "… scopes is required: [im:message:send_as_bot]". Nothing else of the text
/// is repeated: it may quote what was sent.
fn scopes(msg: &str) -> String {
    let list = msg.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
    let plain = |c: &char| c.is_ascii_alphanumeric() || ":._-, ".contains(*c);
    list.chars().filter(plain).take(SCOPES_BYTES_MAX).collect()
}

impl Refusal {
    /// The token has expired, or is another app's.
    pub fn is_stale_token(&self) -> bool {
        matches!(self.code, 99_991_663 | 99_991_664 | 99_991_665 | 99_991_668 | 99_991_677)
            || (self.code == 0 && self.status == 401)
    }

    /// The card has stopped to grow: ten minutes after it began, or since somebody said so.
    pub fn is_closed_stream(&self) -> bool {
        matches!(self.code, 200_850 | 300_309)
    }

    /// A card's operations are numbered, and this number was used.
    pub fn is_old_sequence(&self) -> bool {
        self.code == 300_317
    }

    /// The app may not use what this request is about.
    pub fn lacks_scope(&self) -> bool {
        matches!(self.code, 99_991_672 | 99_991_679)
    }

    /// Neither this message nor another form of it can reach the person now.
    pub fn is_final(&self) -> bool {
        !matches!(self.kind(), FaultKind::Invalid | FaultKind::Other)
    }

    fn kind(&self) -> FaultKind {
        match self.code {
            99_991_400 | 230_020 | 11_232 | 11_233 | 11_247 => FaultKind::Throttled,
            // Taken back, deleted, or the bot, the thread or the chat is no more.
            230_002 | 230_011 | 230_013 | 230_018 | 230_019 | 230_035 | 230_053 | 230_110 | 231_003
            | 232_009 => FaultKind::Gone,
            // Permissions, an app that is not released, a bot that is switched off.
            99_991_661 | 99_991_662 | 99_991_663 | 99_991_664 | 99_991_665 | 99_991_668 | 99_991_671
            | 99_991_672 | 99_991_673 | 99_991_677 | 99_991_679 | 230_006 | 230_027 => {
                FaultKind::Unauthorized
            }
            230_001 | 230_022 | 230_025 | 230_028 | 230_055 | 230_099 | 99_992_402 => FaultKind::Invalid,
            // The platform's own trouble; a message of the same key that is on its way.
            2_200 | 230_049 => FaultKind::Unavailable,
            0 => by_status(self.status),
            _ if self.status == 429 => FaultKind::Throttled,
            _ if self.status >= 500 => FaultKind::Unavailable,
            _ => FaultKind::Other,
        }
    }

    /// For the host, which decides about a retry, and for the operator.
    pub fn fault(&self) -> Fault {
        let kind = self.kind();
        let reason = match (self.code, self.scopes.is_empty()) {
            (0, _) => format!("the open platform answered with status {} and no code", self.status),
            (code, false) => {
                format!(
                    "the app lacks a permission ({code}): grant one of `{}` and release a version",
                    self.scopes
                )
            }
            (code @ (230_006 | 230_027 | 99_991_662 | 99_991_672 | 99_991_673), true) => {
                format!("the app may not do this ({code}): look at its permissions, its bot and its release")
            }
            (code @ 99_991_661..=99_991_679, true) => {
                format!(
                    "the open platform refuses the token ({code}): check `app_id`, `app_secret` and `domain`"
                )
            }
            (code, true) => format!("the open platform answered code {code}"),
        };
        let throttled = kind == FaultKind::Throttled;
        let retry_after_ms = self.reset_ms.or(throttled.then_some(THROTTLED_MS)).filter(|_| throttled);
        Fault { kind, reason, retry_after_ms }
    }
}

/// A gateway's word without the platform's. All requests here may be repeated.
fn by_status(status: u16) -> FaultKind {
    match status {
        429 => FaultKind::Throttled,
        401 | 403 => FaultKind::Unauthorized,
        400..=499 => FaultKind::Invalid,
        _ => FaultKind::Unavailable,
    }
}
