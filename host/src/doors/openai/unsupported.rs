//! Parameters of the API that nothing here could do. Each has values that ask for nothing: those may be sent, since
//! clients write them out of habit. All others are refused by name.
//!
//! The list is that of `completion_create_params` in the official client for Python, 3.54.0.

use serde_json::Value;

use super::complaint::Complaint;
use super::table::Table;

/// They say who asks, for the provider's own use, and have no effect on the answer.
const WITHOUT_EFFECT: [&str; 3] = ["user", "safety_identifier", "prompt_cache_key"];

/// Whether a value asks for nothing.
type Idle = fn(&Value) -> bool;

const UNSUPPORTED: [(&str, Idle, &str); 21] = [
    ("audio", never, "answers are text"),
    ("frequency_penalty", is_zero, "leave it out, or send 0"),
    ("function_call", never, "use `tool_choice`"),
    ("functions", never, "use `tools`"),
    ("logit_bias", is_empty, "leave it out"),
    ("logprobs", is_false, "leave it out, or send false"),
    ("metadata", is_empty, "nothing is stored that it could be found by; leave it out"),
    ("modalities", is_text_alone, "answers are text; leave it out, or send [\"text\"]"),
    ("moderation", never, "leave it out"),
    ("n", is_one, "each request has one answer; send as many requests as you want answers"),
    ("parallel_tool_calls", is_true, "leave it out, or send true"),
    ("prediction", never, "leave it out"),
    ("presence_penalty", is_zero, "leave it out, or send 0"),
    ("prompt_cache_options", never, "leave it out"),
    ("prompt_cache_retention", is_in_memory, "leave it out, or send in_memory"),
    ("reasoning_effort", never, "leave it out"),
    ("service_tier", is_any_tier, "leave it out, or send auto"),
    ("store", is_false, "completions are not kept for later; leave it out, or send false"),
    ("top_logprobs", is_zero, "leave it out, or send 0"),
    ("verbosity", is_medium, "say in the messages how long the answer shall be"),
    ("web_search_options", never, "leave it out"),
];

/// Takes out what has no effect, and refuses what would need one.
pub fn refuse(body: &mut Table) -> Result<(), Complaint> {
    for name in WITHOUT_EFFECT {
        body.text(name)?;
    }
    for (name, is_idle, advice) in UNSUPPORTED {
        if body.take(name).is_some_and(|value| !is_idle(&value)) {
            return Err(Complaint::unsupported(name, advice));
        }
    }
    Ok(())
}

fn never(_: &Value) -> bool {
    false
}

fn is_zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
}

fn is_one(value: &Value) -> bool {
    value.as_u64() == Some(1)
}

fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true)
}

fn is_false(value: &Value) -> bool {
    value.as_bool() == Some(false)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn is_text_alone(value: &Value) -> bool {
    value.as_array().is_some_and(|kinds| !kinds.is_empty() && kinds.iter().all(|kind| kind == "text"))
}

fn is_any_tier(value: &Value) -> bool {
    value == "auto" || value == "default"
}

fn is_in_memory(value: &Value) -> bool {
    value == "in_memory"
}

fn is_medium(value: &Value) -> bool {
    value == "medium"
}
