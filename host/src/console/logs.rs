//! `/logs`: the last lines of this process's log. They hold nothing that people say, but who was busy when; hence a
//! scope of their own.

use std::str::FromStr;

use axum::Json;
use serde::Deserialize;
use serde_json::Value;
use tracing::Level;
use utoipa::IntoParams;

use super::Refusal;
use super::asked::{self, Fields};
use super::entry::LogReader;
use super::page::{Page, Piece};
use crate::doors::problem::Problem;
use crate::telemetry::log::recent::{Numbered, Wanted, recent};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// `error`, `warn`, `info`, `debug` or `trace`: this level and those that are worse.
    #[param(pattern = "^(error|warn|info|debug|trace)$")]
    level: Option<String>,
    /// From this time on.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Before this time.
    #[param(format = DateTime)]
    until: Option<String>,
    /// Of one request and its turn.
    request_id: Option<String>,
    /// Of one channel.
    channel: Option<String>,
    /// Stands somewhere in the line.
    text: Option<String>,
}

/// Lines of the log by their ECS names, the latest first: the last 4 MiB since this process began.
#[utoipa::path(get, path = "/logs", tag = "logs", security(("token" = ["logs:read"])), params(Filter, Piece),
    responses(
        (status = 200, body = Page<Object>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal),
    ))]
pub async fn logs(
    _: LogReader,
    Fields(filter): Fields<Filter>,
    Fields(piece): Fields<Piece>,
) -> Result<Json<Page<Value>>, Problem> {
    let limit = piece.limit()?;
    let wanted = filter.wanted(piece.mark()?)?;
    let lines = recent().find(&wanted, limit as usize + 1);
    Ok(Json(Page::of(lines, limit, |last: &Numbered| last.number, |line| line.line)))
}

impl Filter {
    fn wanted(self, before: Option<u64>) -> Result<Wanted, Problem> {
        let read = |level: &str| {
            let is_known = ["error", "warn", "info", "debug", "trace"].contains(&level);
            let level = Level::from_str(level).ok().filter(|_| is_known);
            level.ok_or_else(|| asked::invalid("`level` takes error, warn, info, debug or trace"))
        };
        Ok(Wanted {
            level: self.level.as_deref().map(read).transpose()?,
            since: asked::time("since", self.since.as_deref())?,
            until: asked::time("until", self.until.as_deref())?,
            request_id: self.request_id,
            channel: self.channel,
            text: self.text,
            before,
        })
    }
}
