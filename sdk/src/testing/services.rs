//! The native side of the seam: each service answered from the thread's [`super::Host`].

use super::{LogLine, State, with_state};
use crate::{
    http::{Failure, FailureKind, HttpResponse, Outbound},
    log::Level,
    store::StoreError,
};

pub(crate) use super::secrets::*;

pub(crate) fn setting(name: &str) -> Option<String> {
    with_state(|state| state.settings.get(name).cloned())
}

pub(crate) fn now_ms() -> u64 {
    with_state(|state| state.now_ms)
}

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    with_state(|state| state.lines.push(LogLine { level, message: message.to_owned(), fields }));
}

pub(crate) fn send(request: Outbound) -> Result<HttpResponse, Failure> {
    with_state(|state| {
        if state.receiving.is_some() {
            return Err(failure(FailureKind::Denied, "http is refused while a request is being received"));
        }
        state.sent.push(request);
        let nobody = || Err(failure(FailureKind::Refused, "no response is scripted"));
        state.scripted.pop_front().unwrap_or_else(nobody)
    })
}

pub(crate) fn expire_token(name: &str) {
    with_state(|state| state.expired.push(name.to_owned()));
}

fn failure(kind: FailureKind, reason: &str) -> Failure {
    Failure { kind, reason: reason.to_owned(), request_sent: false, retry_after_ms: None }
}

pub(crate) fn store_get(key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    with_store(|state| live(state, key))
}

pub(crate) fn store_set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), StoreError> {
    with_store(|state| {
        let until_ms = ttl_ms.map(|ttl| state.now_ms.saturating_add(ttl));
        state.store.insert(key.to_owned(), (value.to_vec(), until_ms));
    })
}

pub(crate) fn store_delete(key: &str) -> Result<(), StoreError> {
    with_store(|state| {
        state.store.remove(key);
    })
}

pub(crate) fn store_increment(key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, StoreError> {
    let old = store_get(key)?.and_then(|value| String::from_utf8(value).ok()?.parse::<i64>().ok());
    let sum = old.unwrap_or(0).saturating_add(by);
    store_set(key, sum.to_string().as_bytes(), ttl_ms)?;
    Ok(sum)
}

fn with_store<T>(act: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
    with_state(|state| {
        let is_down = state.is_store_down || state.receiving.is_some();
        if is_down { Err(StoreError::Unavailable) } else { Ok(act(state)) }
    })
}

fn live(state: &State, key: &str) -> Option<Vec<u8>> {
    let (value, until_ms) = state.store.get(key)?;
    until_ms.is_none_or(|until_ms| state.now_ms < until_ms).then(|| value.clone())
}
