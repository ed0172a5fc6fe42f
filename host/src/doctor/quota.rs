//! How much of a quota is left, where an endpoint tells it in its headers.
//!
//! `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` is what most endpoints that speak OpenAI's API send
//! (<https://platform.openai.com/docs/guides/rate-limits>), some leave the last part out.

use http::HeaderMap;

use super::Finding;

/// Less than a tenth is near the end.
const NEAR: f64 = 0.1;

pub fn findings(model: &str, headers: &HeaderMap) -> Vec<Finding> {
    ["-requests", "-tokens", ""].iter().filter_map(|kind| near_its_end(model, kind, headers)).collect()
}

fn near_its_end(model: &str, kind: &str, headers: &HeaderMap) -> Option<Finding> {
    let text = |name: &str| headers.get(format!("x-ratelimit-{name}{kind}"))?.to_str().ok();
    let number = |name: &str| text(name)?.trim().parse::<f64>().ok();
    let (remaining, limit) = (number("remaining")?, number("limit")?);
    if limit <= 0.0 || remaining / limit >= NEAR {
        return None;
    }
    let unit = if kind.is_empty() { "calls" } else { &kind[1..] };
    let again = text("reset").map_or(String::new(), |reset| format!("; it is full again in {reset}"));
    Some(Finding::warn(
        "quota",
        model,
        format!("{remaining} of {limit} {unit} are left{again}"),
        "raise the quota at the provider, lower the load by the model's `concurrent`, or name another model",
    ))
}
