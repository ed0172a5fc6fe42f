//! What is asked, read strictly: a misspelt field is refused by name, not passed over.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::Console;
use crate::clock::{self, Millis};
use crate::doors::body;
use crate::doors::problem::Problem;

pub fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message.into())
}

/// The fields of the query.
pub struct Fields<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Console>> for Fields<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Console>) -> Result<Self, Problem> {
        let read = Query::try_from_uri(&parts.uri);
        read.map(|Query(fields)| Fields(fields)).map_err(|error| invalid(error.body_text()))
    }
}

/// The names in the path.
pub struct Named<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Console>> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Problem> {
        let read = Path::from_request_parts(parts, console).await;
        read.map(|Path(names)| Named(names)).map_err(|error| invalid(error.body_text()))
    }
}

/// A body of JSON; none, or `null`, is as good as `{}`.
pub struct Content<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Console>> for Content<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Problem> {
        let bytes = body::read(request.into_body(), &console.bounds).await?;
        let bytes = match bytes.trim_ascii() {
            b"" | b"null" => b"{}",
            told => told,
        };
        // A list of values in the right order would pass for an object otherwise.
        if bytes.first() != Some(&b'{') {
            return Err(invalid("the body is not a JSON object"));
        }
        serde_json::from_slice(bytes).map(Content).map_err(|error| invalid(format!("the body: {error}")))
    }
}

/// A time of the query.
pub fn time(field: &str, text: Option<&str>) -> Result<Option<Millis>, Problem> {
    let read = |text| {
        let form = || invalid(format!("`{field}` takes a time such as `2026-02-28T23:59:59Z`"));
        clock::from_rfc3339(text).ok_or_else(form)
    };
    text.map(read).transpose()
}
