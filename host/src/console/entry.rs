//! Who is let in: by the name that he calls the door by, and by his token's role.
//!
//! A browser that was lured to a name that leads to this machine calls it by that name: it gets nothing. Tokens
//! come in a header alone, which no other site's page can set, so there is no session to ride on.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CACHE_CONTROL, HOST};
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::Console;
use crate::auth::Role;
use crate::doors::client::Client;
use crate::doors::frame::RequestId;
use crate::doors::guard;
use crate::doors::problem::Problem;
use crate::store::oversight::Actor;

/// What this machine calls itself.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Refuses a request that calls a door of this machine by another name, and keeps answers out of every cache.
pub async fn by_its_own_name(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let host = request.uri().host().or_else(|| request.headers().get(HOST)?.to_str().ok());
    if console.is_local && !host.is_some_and(is_own_name) {
        let message = "this door is this machine's own; call it by `localhost` or `127.0.0.1`";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "other_name", message));
    }
    let mut response = next.run(request).await;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn is_own_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    OWN_NAMES.iter().any(|own| own.eq_ignore_ascii_case(name))
}

macro_rules! roles {
    ($($(#[$about:meta])* $name:ident)*) => {
        $(
            $(#[$about])*
            pub struct $name(pub Actor);

            impl FromRequestParts<Arc<Console>> for $name {
                type Rejection = Problem;

                async fn from_request_parts(
                    parts: &mut Parts,
                    console: &Arc<Console>,
                ) -> Result<Self, Problem> {
                    actor(parts, console, Role::$name).map(Self)
                }
            }
        )*
    };
}

roles! {
    /// At least a viewer.
    Viewer
    /// At least an operator.
    Operator
    /// An admin.
    Admin
}

fn actor(parts: &Parts, console: &Console, needed: Role) -> Result<Actor, Problem> {
    let (caller, role) = guard::operator(&console.verifier, &parts.headers, needed)?;
    let request_id = parts.extensions.get::<RequestId>().map(|RequestId(id)| id.clone());
    Ok(Actor {
        person: caller.person,
        token: caller.token_id,
        role: role.as_str().to_owned(),
        request_id: request_id.unwrap_or_default(),
        client: Client::of(&parts.extensions).0.map(|address| address.to_string()),
    })
}

/// Who may read the log, whatever else he may.
pub struct LogReader;

impl FromRequestParts<Arc<Console>> for LogReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Problem> {
        guard::caller(&console.verifier, &parts.headers, guard::LOGS_READ).map(|_| Self)
    }
}

#[cfg(test)]
mod tests {
    use super::is_own_name;

    #[test]
    fn a_door_of_this_machine_is_called_by_its_own_names() {
        for own in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080"] {
            assert!(is_own_name(own), "{own}");
        }
        for other in
            ["", "evil.example", "127.0.0.1.evil.example:8080", "localhost:80:80", "::1", "localhost."]
        {
            assert!(!is_own_name(other), "{other}");
        }
    }
}
