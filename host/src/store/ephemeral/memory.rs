//! What plugins remember: values by space and key, some with an end of their life.
//!
//! A key past its life is not there, whether the sweep has been there or not.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Millis;
use crate::store::StoreError;
use crate::store::sqlite::{KEY_BYTES_MAX, KEYS_MAX, VALUE_BYTES_MAX};

#[derive(Debug, Default)]
pub struct Memory(BTreeMap<String, BTreeMap<String, Value>>);

#[derive(Debug)]
struct Value {
    bytes: Vec<u8>,
    until: Option<Millis>,
}

impl Value {
    fn lives(&self, now: Millis) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Memory {
    pub fn get(&self, space: &str, now: Millis, key: &str) -> Option<&[u8]> {
        let value = self.0.get(space)?.get(key)?;
        value.lives(now).then_some(value.bytes.as_slice())
    }

    pub fn set(
        &mut self,
        space: &str,
        now: Millis,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<(), StoreError> {
        check_size(key, value)?;
        self.make_room(space, now, key)?;
        let until = ttl.map(|ttl| now.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)));
        let value = Value { bytes: value.to_vec(), until };
        self.0.entry(space.to_owned()).or_default().insert(key.to_owned(), value);
        Ok(())
    }

    /// Lets a new key in only if the space has room; dead keys make room first.
    fn make_room(&mut self, space: &str, now: Millis, key: &str) -> Result<(), StoreError> {
        let Some(values) = self.0.get_mut(space) else { return Ok(()) };
        if values.len() < KEYS_MAX || values.contains_key(key) {
            return Ok(());
        }
        values.retain(|_, value| value.lives(now));
        if values.len() < KEYS_MAX { Ok(()) } else { Err(StoreError::Quota { limit: KEYS_MAX }) }
    }

    pub fn delete(&mut self, space: &str, key: &str) {
        self.0.get_mut(space).and_then(|values| values.remove(key));
    }

    pub fn increment(
        &mut self,
        space: &str,
        now: Millis,
        key: &str,
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, StoreError> {
        check_size(key, &[])?;
        let Some(value) = self.get(space, now, key) else {
            self.set(space, now, key, by.to_string().as_bytes(), ttl)?;
            return Ok(by);
        };
        let text = std::str::from_utf8(value).ok();
        let count: i64 = text.and_then(|text| text.parse().ok()).ok_or(StoreError::NotANumber)?;
        let sum = count.saturating_add(by);
        if let Some(value) = self.0.get_mut(space).and_then(|values| values.get_mut(key)) {
            value.bytes = sum.to_string().into_bytes();
        }
        Ok(sum)
    }

    /// Forgets keys past their life.
    pub fn sweep(&mut self, now: Millis) -> u64 {
        let mut swept = 0;
        for values in self.0.values_mut() {
            let before = values.len();
            values.retain(|_, value| value.lives(now));
            swept += (before - values.len()) as u64;
        }
        swept
    }
}

fn check_size(key: &str, value: &[u8]) -> Result<(), StoreError> {
    for (bytes, limit) in [(key.len(), KEY_BYTES_MAX), (value.len(), VALUE_BYTES_MAX)] {
        if bytes > limit {
            return Err(StoreError::TooLarge { bytes, limit });
        }
    }
    Ok(())
}
