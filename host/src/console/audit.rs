//! `/audit`: who did what, and whether the record is whole.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::asked::Fields;
use super::entry::Admin;
use super::page::{Page, Piece};
use super::{Console, Refusal, unavailable};
use crate::clock::rfc3339;
use crate::doors::problem::Problem;
use crate::store::oversight::{self, Chain};

#[derive(Debug, Serialize, ToSchema)]
pub struct Entry {
    /// From 1, without a gap.
    seq: u64,
    #[schema(format = DateTime)]
    at: String,
    /// The token's subject, or its id.
    person: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    request_id: String,
    /// Such as `dead-letter.replay`.
    act: String,
    /// What it was done to.
    target: String,
    /// Over this entry and the hash of the one before.
    hash: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuditCheck {
    is_whole: bool,
    /// Entries that are kept and hold together.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    /// The last entry: whoever keeps its hash elsewhere can tell later that none was cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_hash: Option<String>,
    /// This entry was changed, or the one before it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken_at: Option<u64>,
}

/// Entries, the latest first.
#[utoipa::path(get, path = "/audit", tag = "audit", security(("token" = ["role:admin"])), params(Piece),
    responses(
        (status = 200, body = Page<Entry>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn list(
    _: Admin,
    State(console): State<Arc<Console>>,
    Fields(piece): Fields<Piece>,
) -> Result<Json<Page<Entry>>, Problem> {
    let (limit, before) = (piece.limit()?, piece.mark::<u64>()?);
    let entries = console.turns.store.audit(before, limit + 1).await.map_err(unavailable)?;
    Ok(Json(Page::of(entries, limit, |last| last.seq, Entry::from)))
}

/// Looks through all entries that are kept: whether one was changed or taken out.
#[utoipa::path(get, path = "/audit/check", tag = "audit", security(("token" = ["role:admin"])), responses(
    (status = 200, body = AuditCheck),
    (status = 401, body = Refusal), (status = 403, body = Refusal), (status = 503, body = Refusal),
))]
pub async fn check(_: Admin, State(console): State<Arc<Console>>) -> Result<Json<AuditCheck>, Problem> {
    Ok(Json(console.turns.store.audit_chain().await.map_err(unavailable)?.into()))
}

impl From<oversight::Entry> for Entry {
    fn from(entry: oversight::Entry) -> Self {
        let oversight::Entry { seq, at, actor, act, target, hash } = entry;
        let oversight::Actor { person, token, role, request_id, client } = actor;
        Entry { seq, at: rfc3339(at), person, token, role, client, request_id, act, target, hash }
    }
}

impl From<Chain> for AuditCheck {
    fn from(chain: Chain) -> Self {
        match chain {
            Chain::Whole { entries, last } => {
                let (last_seq, last_hash) = last.unzip();
                AuditCheck { is_whole: true, entries: Some(entries), last_seq, last_hash, broken_at: None }
            }
            Chain::Broken { seq } => AuditCheck {
                is_whole: false,
                entries: None,
                last_seq: None,
                last_hash: None,
                broken_at: Some(seq),
            },
        }
    }
}
