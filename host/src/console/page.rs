//! Lists that come in pieces: so many items, and a mark where the next piece begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::invalid;
use crate::doors::problem::Problem;

/// Items of a piece, if nobody says how many.
const ITEMS: u32 = 50;
/// What a person reads at once, and a bound for what is held in memory.
const ITEMS_MAX: u32 = 500;

/// Which piece of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Piece {
    /// Items at most, 1 to 500; 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// The `next` of the piece before.
    #[param(max_length = 1024)]
    after: Option<String>,
}

/// A piece of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// What `after` takes for the next piece; missing at the end of the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Piece {
    pub fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(ITEMS);
        let is_sound = (1..=ITEMS_MAX).contains(&limit);
        is_sound.then_some(limit).ok_or_else(|| invalid(format!("`limit` takes 1 to {ITEMS_MAX}")))
    }

    /// Where the piece begins.
    pub fn mark<M: DeserializeOwned>(&self) -> Result<Option<M>, Problem> {
        let Some(after) = &self.after else { return Ok(None) };
        let read = URL_SAFE_NO_PAD.decode(after).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let message = "`after` names no piece: it takes the `next` of the piece before";
        read.map(Some).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no_such_piece", message))
    }
}

impl<T> Page<T> {
    /// Of one item more than the piece has, if there are as many: it tells that the list goes on.
    pub fn of<I, M: Serialize>(
        mut items: Vec<I>,
        limit: u32,
        mark: impl Fn(&I) -> M,
        show: impl Fn(I) -> T,
    ) -> Self {
        let limit = limit as usize;
        let goes_on = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| goes_on).map(|last| {
            let json = serde_json::to_vec(&mark(last)).expect("a mark is numbers and texts");
            URL_SAFE_NO_PAD.encode(json)
        });
        Page { items: items.into_iter().map(show).collect(), next: last }
    }
}
