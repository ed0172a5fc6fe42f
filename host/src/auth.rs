//! Tokens of the doors: HS256 JWTs, issued and verified.
//!
//! It knows neither HTTP nor who is asked for what: a door names the scope it needs and turns an
//! [`AuthError`] into 401 or 403. Claims follow RFC 7519, `scope` RFC 8693 (a string) or a plain array.

mod role;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

pub use role::Role;

use crate::clock::{Clock, Millis};

/// A longer token is refused unread: ours take some 300 bytes, and no proxy passes longer headers.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// A token that lives longer is not issued: a leak must end by itself.
pub const LIFE_MAX: Duration = Duration::from_hours(90 * 24);
/// How far the clocks of two machines may differ.
pub const LEEWAY: Duration = Duration::from_mins(1);
/// The shortest secret: HS256 wants as many bytes as its digest has (RFC 7518 §3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// Who holds a verified token, and what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The subject, else the token's own id: stable for one holder. Reaches a log only hashed.
    pub person: String,
    pub token_id: Option<String>,
    pub issuer: String,
    pub scopes: Vec<String>,
    /// When the token ends, by our clock and with all leeway.
    pub expires_at: Millis,
}

/// Why a token did not open a door. A caller of the door learns only which of the two it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("the token is missing or not valid; get one by `parlor token`")]
    Unauthorized(Reason),
    #[error("the token lacks the scope `{0}`; get one by `parlor token --scope {0}`")]
    MissingScope(String),
    #[error("the token's bearer is no {0}; get a token by `parlor token --role {0}`")]
    MissingRole(Role),
}

/// What exactly was wrong: for the log, never for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Missing,
    TooLong,
    Malformed,
    Algorithm,
    Signature,
    Issuer,
    Audience,
    Expired,
    NotYet,
    Anonymous,
    Revoked,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Reason::Missing => "no token",
            Reason::TooLong => "token too long",
            Reason::Malformed => "not a token, or a claim is missing or of the wrong type",
            Reason::Algorithm => "algorithm is not HS256",
            Reason::Signature => "signature does not match",
            Reason::Issuer => "issuer is not configured",
            Reason::Audience => "audience is not configured",
            Reason::Expired => "expired",
            Reason::NotYet => "issued in the future or not valid yet",
            Reason::Anonymous => "neither `sub` nor `jti`",
            Reason::Revoked => "revoked",
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("a token cannot live for {asked_days} days; ask for 90 at most")]
    TooLong { asked_days: u64 },
    #[error("a token must live for one second at least")]
    TooShort,
    #[error("a token needs a scope, such as `chat:write`; a scope has no space in it")]
    Scope,
    #[error("the token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// Makes tokens that a [`Verifier`] with the same secret takes.
pub struct Issuer {
    key: EncodingKey,
    issuer: String,
    audience: String,
    clock: Arc<dyn Clock>,
}

impl Issuer {
    pub fn new(secret: &SecretString, issuer: &str, audience: &str, clock: Arc<dyn Clock>) -> Self {
        let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
        Self { key, issuer: issuer.to_owned(), audience: audience.to_owned(), clock }
    }

    pub fn issue(
        &self,
        scopes: &[&str],
        life: Duration,
        subject: Option<&str>,
    ) -> Result<String, IssueError> {
        check_wish(scopes, life)?;
        let now = self.clock.now() / 1000;
        let claims = Issued {
            iss: &self.issuer,
            aud: &self.audience,
            iat: now,
            exp: now + life.as_secs(),
            jti: Uuid::new_v4().to_string(),
            sub: subject,
            scope: scopes,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key).map_err(IssueError::Sign)
    }
}

fn check_wish(scopes: &[&str], life: Duration) -> Result<(), IssueError> {
    if life > LIFE_MAX {
        return Err(IssueError::TooLong { asked_days: life.as_secs().div_ceil(86_400) });
    }
    if life.as_secs() == 0 {
        return Err(IssueError::TooShort);
    }
    let is_word = |scope: &&str| !scope.is_empty() && !scope.contains(char::is_whitespace);
    if scopes.is_empty() || !scopes.iter().all(is_word) {
        return Err(IssueError::Scope);
    }
    Ok(())
}

#[derive(Serialize)]
struct Issued<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    scope: &'a [&'a str],
}

/// Tokens that count no more, by their ids; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Revocations(Arc<RwLock<BTreeMap<String, Millis>>>);

impl Revocations {
    /// These and no others, each with the time until which it has to be remembered.
    pub fn set(&self, revoked: BTreeMap<String, Millis>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = revoked;
    }

    fn holds(&self, token_id: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(token_id)
    }
}

/// Checks tokens against one secret and the configured issuers and audiences.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    rules: Validation,
    clock: Arc<dyn Clock>,
    revocations: Revocations,
}

impl Verifier {
    pub fn new(
        secret: &SecretString,
        issuers: &[String],
        audiences: &[String],
        clock: Arc<dyn Clock>,
    ) -> Self {
        let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
        Self { key, rules: rules(issuers, audiences), clock, revocations: Revocations::default() }
    }

    /// Refuses these as well.
    pub fn without(self, revocations: Revocations) -> Self {
        Self { revocations, ..self }
    }

    /// Who holds this token, if it is valid now.
    pub fn caller(&self, token: &str) -> Result<Caller, AuthError> {
        let caller = self.claims(token).and_then(|claims| {
            self.check_times(&claims)?;
            caller(claims)
        });
        let caller = caller.map_err(AuthError::Unauthorized)?;
        if self.is_revoked(&caller) {
            return Err(AuthError::Unauthorized(Reason::Revoked));
        }
        Ok(caller)
    }

    /// The same, if the token has the scope.
    pub fn verify(&self, token: &str, needed_scope: &str) -> Result<Caller, AuthError> {
        let caller = self.caller(token)?;
        if caller.scopes.iter().any(|scope| scope == needed_scope) {
            return Ok(caller);
        }
        Err(AuthError::MissingScope(needed_scope.to_owned()))
    }

    fn is_revoked(&self, caller: &Caller) -> bool {
        caller.token_id.as_deref().is_some_and(|id| self.revocations.holds(id))
    }

    /// How long a caller who stays may stay: nothing once `verify` would refuse the token.
    pub fn life_left(&self, caller: &Caller) -> Duration {
        if self.is_revoked(caller) {
            return Duration::ZERO;
        }
        Duration::from_millis(caller.expires_at.saturating_sub(self.clock.now()))
    }

    fn claims(&self, token: &str) -> Result<Claims, Reason> {
        if token.is_empty() {
            return Err(Reason::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Reason::TooLong);
        }
        let TokenData { header, claims } =
            jsonwebtoken::decode::<Claims>(token, &self.key, &self.rules).map_err(|error| reason(&error))?;
        // We know no extension, so a token that insists on one is not for us (RFC 7515 §4.1.11).
        if header.crit.is_some() { Err(Reason::Malformed) } else { Ok(claims) }
    }

    fn check_times(&self, claims: &Claims) -> Result<(), Reason> {
        let now = self.clock.now() / 1000;
        if now >= claims.ends_at() {
            return Err(Reason::Expired);
        }
        let starts = [claims.iat, claims.nbf].into_iter().flatten();
        if starts.into_iter().any(|start| start.0 > now + LEEWAY.as_secs()) {
            return Err(Reason::NotYet);
        }
        Ok(())
    }
}

/// What the library checks. Times are ours: it would read the machine's clock.
fn rules(issuers: &[String], audiences: &[String]) -> Validation {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_required_spec_claims(&["exp", "iss", "aud"]);
    rules.set_issuer(issuers);
    rules.set_audience(audiences);
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules
}

fn reason(error: &jsonwebtoken::errors::Error) -> Reason {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => Reason::Signature,
        ErrorKind::InvalidIssuer => Reason::Issuer,
        ErrorKind::InvalidAudience => Reason::Audience,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Reason::Algorithm,
        _ => Reason::Malformed,
    }
}

fn caller(claims: Claims) -> Result<Caller, Reason> {
    let expires_at = claims.ends_at().saturating_mul(1000);
    let person = claims.sub.or_else(|| claims.jti.clone()).filter(|person| !person.is_empty());
    let person = person.ok_or(Reason::Anonymous)?;
    let scopes = claims.scope.map(Scopes::into_list).unwrap_or_default();
    Ok(Caller { person, token_id: claims.jti, issuer: claims.iss, scopes, expires_at })
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    exp: Seconds,
    iat: Option<Seconds>,
    nbf: Option<Seconds>,
    jti: Option<String>,
    sub: Option<String>,
    scope: Option<Scopes>,
}

impl Claims {
    /// The second from which on the token is refused.
    fn ends_at(&self) -> u64 {
        self.exp.0.saturating_add(LEEWAY.as_secs())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scopes {
    List(Vec<String>),
    Words(String),
}

impl Scopes {
    fn into_list(self) -> Vec<String> {
        match self {
            Scopes::List(scopes) => scopes,
            Scopes::Words(words) => {
                words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
            }
        }
    }
}

/// A `NumericDate`: a JSON number, perhaps with a fraction, never text.
#[derive(Debug, Clone, Copy)]
struct Seconds(u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let whole = number.as_u64().or_else(|| number.as_f64().and_then(whole_seconds));
        whole.map(Seconds).ok_or_else(|| serde::de::Error::custom("a time is a positive number of seconds"))
    }
}

fn whole_seconds(seconds: f64) -> Option<u64> {
    // Past this, a double no longer counts single seconds.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (0.0..EXACT_MAX).contains(&seconds).then_some(seconds as u64)
}
