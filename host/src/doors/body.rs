//! A request's body, read whole within bounds.
//!
//! It does not know what the bytes mean.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;

use super::problem::Problem;

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub bytes_max: usize,
    /// For the whole body, so that a client cannot drip.
    pub timeout: Duration,
}

/// The whole body, or 413, 408, or 400 for one that broke off.
pub async fn read(body: Body, bounds: &Bounds) -> Result<Bytes, Problem> {
    // What is announced as too long is refused before a byte of it is read.
    if body.size_hint().lower() > bounds.bytes_max as u64 {
        return Err(too_large(bounds));
    }
    let reading = Limited::new(body, bounds.bytes_max).collect();
    match tokio::time::timeout(bounds.timeout, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => Err(failed(error.as_ref(), bounds)),
        Err(_) => Err(timed_out(bounds)),
    }
}

fn failed(error: &(dyn Error + 'static), bounds: &Bounds) -> Problem {
    if error.is::<LengthLimitError>() {
        return too_large(bounds);
    }
    Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "the body broke off before its end")
}

fn too_large(bounds: &Bounds) -> Problem {
    let message = format!("the body is longer than {} bytes", bounds.bytes_max);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

fn timed_out(bounds: &Bounds) -> Problem {
    let message = format!("the body did not arrive within {} s", bounds.timeout.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
}
