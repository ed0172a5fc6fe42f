//! Credentials for one use that came in an answer: kept here, and the plugin sees a placeholder in their place.
//!
//! They never leave this process, and none serves twice.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use serde_json::Value;

use super::destination::denied;
use crate::message::HttpResponse;
use crate::plugin::manifest::{Placeholder, Ticket};
use crate::plugin::services::HttpFailure;

/// The tickets of one call: the last one of each name.
#[derive(Default)]
pub(super) struct Tickets(Mutex<BTreeMap<String, String>>);

impl Tickets {
    /// Takes what the manifest calls a ticket out of an answer, whatever its status. An answer in another form may
    /// hold it anywhere: nothing of that is shown.
    pub(super) fn keep(&self, tickets: &[Ticket], response: HttpResponse) -> HttpResponse {
        if tickets.is_empty() {
            return response;
        }
        let Ok(mut answer) = serde_json::from_slice::<Value>(&response.body) else {
            return HttpResponse { body: Bytes::new(), ..response };
        };
        for ticket in tickets {
            if let Some(value) = answer.pointer_mut(&ticket.value)
                && let Value::String(text) = value
            {
                let kept = std::mem::replace(text, Placeholder::Ticket(ticket.name.clone()).literal());
                self.lock().insert(ticket.name.clone(), kept);
            }
        }
        HttpResponse { body: Bytes::from(answer.to_string()), ..response }
    }

    pub(super) fn take(&self, name: &str) -> Result<String, HttpFailure> {
        let ticket = self.lock().remove(name);
        ticket.ok_or_else(|| {
            denied(format!("there is no ticket `{name}`: each serves once, ask for a new one"))
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().expect("nothing panics while it holds the tickets")
    }
}
