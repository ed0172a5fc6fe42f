//! The operator's settings for this plugin, from the channel's entry in the configuration.
//!
//! The manifest's `settings` schema says which there are; the host checks them against it before
//! the plugin is ever called.

use crate::{
    fault::Fault,
    json::{FromJson, Value},
    seam,
};

/// One setting as `T`; none if it is unset.
///
/// # Errors
/// It is of another type than `T`, which means that the manifest's schema and the code differ.
pub fn get<T: FromJson>(name: &str) -> Result<Option<T>, Fault> {
    let Some(json) = seam::setting(name) else { return Ok(None) };
    let value = Value::read(&json).ok().and_then(|value| T::from_json(&value));
    value
        .map(Some)
        .ok_or_else(|| Fault::invalid(format!("setting `{name}` is not of the type that the manifest names")))
}

/// One setting as `T`, or `default` if it is unset.
///
/// # Errors
/// As for [`get`].
pub fn get_or<T: FromJson>(name: &str, default: T) -> Result<T, Fault> {
    Ok(get(name)?.unwrap_or(default))
}
