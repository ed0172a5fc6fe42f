//! `/tokens`: revoking one, and which count no more.
//!
//! Tokens are issued by `parlor token`, which needs the signing secret; this door can only take away.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::{Content, invalid};
use super::entry::Admin;
use super::page::Page;
use super::{Console, Refusal, missing, unavailable};
use crate::auth::{LEEWAY, LIFE_MAX};
use crate::clock::{Millis, rfc3339};
use crate::doors::problem::Problem;
use crate::store::oversight::{Act, Actor};

/// The longest id: a UUID takes 36.
const ID_CHARS_MAX: usize = 128;

#[derive(Debug, Serialize, ToSchema)]
pub struct Revoked {
    /// The token's `jti`.
    id: String,
    /// When it would have ended by itself; it is not remembered longer.
    #[schema(format = DateTime)]
    until: String,
}

/// Which token: itself, or its `jti`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "say which token by `token` or by `id`, and nothing else")]
pub enum Revoke {
    Token(ByToken),
    Id(ById),
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ByToken {
    token: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ById {
    #[schema(min_length = 1, max_length = 128)]
    id: String,
}

/// Tokens that count no more.
#[utoipa::path(get, path = "/tokens/revoked", tag = "tokens", security(("token" = ["role:admin"])), responses(
    (status = 200, body = Page<Revoked>),
    (status = 401, body = Refusal), (status = 403, body = Refusal), (status = 503, body = Refusal),
))]
pub async fn list(_: Admin, State(console): State<Arc<Console>>) -> Result<Json<Page<Revoked>>, Problem> {
    let revoked = console.turns.store.revoked(console.turns.clock.now()).await.map_err(unavailable)?;
    let items = revoked.into_iter().map(|(id, until)| Revoked { id, until: rfc3339(until) });
    Ok(Json(Page { items: items.collect(), next: None }))
}

/// Revokes a token: no door takes it any more, and lines that it opened end within 20 s.
#[utoipa::path(post, path = "/tokens/revoke", tag = "tokens", security(("token" = ["role:admin"])),
    request_body = Revoke,
    responses(
        (status = 200, body = Revoked), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal), (status = 408, body = Refusal),
        (status = 413, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn revoke(
    Admin(actor): Admin,
    State(console): State<Arc<Console>>,
    Content(which): Content<Revoke>,
) -> Result<Json<Revoked>, Problem> {
    let (id, until) = which.token(&console)?;
    remember(&console, id.clone(), until, &actor).await?;
    Ok(Json(Revoked { id, until: rfc3339(until) }))
}

async fn remember(console: &Console, token: String, until: Millis, actor: &Actor) -> Result<(), Problem> {
    let (store, now) = (&console.turns.store, console.turns.clock.now());
    store.act(now, &Act::Revoke { token, until }, actor).await.map_err(unavailable)?;
    // From now on here; other processes on the same store look again soon.
    console.revocations.set(store.revoked(now).await.map_err(unavailable)?);
    Ok(())
}

impl Revoke {
    /// Its id, and until when it has to be remembered.
    fn token(self, console: &Console) -> Result<(String, Millis), Problem> {
        match self {
            Revoke::Token(ByToken { token }) => {
                let caller =
                    console.verifier.caller(&token).map_err(|_| missing("token that counts here"))?;
                let id = caller.token_id.ok_or_else(|| missing("token with a `jti` to know it by"))?;
                Ok((id, caller.expires_at))
            }
            Revoke::Id(ById { id }) if (1..=ID_CHARS_MAX).contains(&id.chars().count()) => {
                let life = u64::try_from((LIFE_MAX + LEEWAY).as_millis()).unwrap_or(u64::MAX);
                Ok((id, console.turns.clock.now().saturating_add(life)))
            }
            Revoke::Id(_) => Err(invalid(format!("`id` takes 1 to {ID_CHARS_MAX} characters"))),
        }
    }
}
