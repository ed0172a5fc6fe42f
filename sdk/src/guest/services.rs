//! The component side of the seam: each service asked of the host.

use super::bindings::adapter::parlor::plugin as wit;
use crate::{
    http::{Failure, HttpResponse, Outbound},
    log::Level,
    secrets::{Digest, KeyForm, Padding, Part, Sealed, SecretError, Unsealed},
    store::StoreError,
};

pub(crate) fn setting(name: &str) -> Option<String> {
    wit::settings::get(name)
}

pub(crate) fn now_ms() -> u64 {
    wit::clock::now_ms()
}

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Trace => wit::log::Level::Trace,
        Level::Debug => wit::log::Level::Debug,
        Level::Info => wit::log::Level::Info,
        Level::Warn => wit::log::Level::Warn,
        Level::Error => wit::log::Level::Error,
        Level::Security => wit::log::Level::Security,
    };
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    wit::log::write(level, message, &fields);
}

pub(crate) fn send(request: Outbound) -> Result<HttpResponse, Failure> {
    wit::http::send(&request.into()).map(Into::into).map_err(Into::into)
}

pub(crate) fn expire_token(name: &str) {
    wit::http::expire_token(name);
}

fn store_error(error: wit::store::StoreError) -> StoreError {
    match error {
        wit::store::StoreError::Unavailable => StoreError::Unavailable,
        wit::store::StoreError::TooLarge => StoreError::TooLarge,
        wit::store::StoreError::Quota => StoreError::Quota,
    }
}

pub(crate) fn store_get(key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    wit::store::get(key).map_err(store_error)
}

pub(crate) fn store_set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), StoreError> {
    wit::store::set(key, value, ttl_ms).map_err(store_error)
}

pub(crate) fn store_delete(key: &str) -> Result<(), StoreError> {
    wit::store::delete(key).map_err(store_error)
}

pub(crate) fn store_increment(key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, StoreError> {
    wit::store::increment(key, by, ttl_ms).map_err(store_error)
}

fn secret_error(error: wit::secrets::SecretError) -> SecretError {
    match error {
        wit::secrets::SecretError::NotGranted => SecretError::NotGranted,
        wit::secrets::SecretError::NotSet => SecretError::NotSet,
        wit::secrets::SecretError::Malformed => SecretError::Malformed,
        wit::secrets::SecretError::Rejected => SecretError::Rejected,
        wit::secrets::SecretError::Unavailable => SecretError::Unavailable,
    }
}

pub(super) fn key_form(form: &KeyForm) -> wit::secrets::KeyForm {
    match form {
        KeyForm::Raw => wit::secrets::KeyForm::Raw,
        KeyForm::Base64(prefix) => wit::secrets::KeyForm::Base64(prefix.clone()),
        KeyForm::Sha256 => wit::secrets::KeyForm::Sha256,
    }
}

fn parts(parts: &[Part]) -> Vec<wit::secrets::Part> {
    let part = |part: &Part| match part {
        Part::Bytes(bytes) => wit::secrets::Part::Bytes(bytes.clone()),
        Part::Secret(form) => wit::secrets::Part::Secret(key_form(form)),
        Part::Body => wit::secrets::Part::Body,
    };
    parts.iter().map(part).collect()
}

fn algorithm(digest: Digest) -> wit::secrets::DigestAlgorithm {
    match digest {
        Digest::Md5 => wit::secrets::DigestAlgorithm::Md5,
        Digest::Sha1 => wit::secrets::DigestAlgorithm::Sha1,
        Digest::Sha256 => wit::secrets::DigestAlgorithm::Sha256,
        Digest::Sha512 => wit::secrets::DigestAlgorithm::Sha512,
    }
}

pub(crate) fn equals(secret: &str, presented: &[u8]) -> Result<bool, SecretError> {
    wit::secrets::equals(secret, presented).map_err(secret_error)
}

pub(crate) fn hmac(
    secret: &str,
    digest: Digest,
    key: &[Part],
    message: &[Part],
) -> Result<Vec<u8>, SecretError> {
    wit::secrets::hmac(secret, algorithm(digest), &parts(key), &parts(message)).map_err(secret_error)
}

pub(crate) fn hmac_verify(
    secret: &str,
    digest: Digest,
    key: &[Part],
    message: &[Part],
    presented: &[u8],
) -> Result<bool, SecretError> {
    wit::secrets::hmac_verify(secret, algorithm(digest), &parts(key), &parts(message), presented)
        .map_err(secret_error)
}

pub(crate) fn digest_verify(
    secret: &str,
    digest: Digest,
    pieces: &[Part],
    sorted: bool,
    presented: &[u8],
) -> Result<bool, SecretError> {
    wit::secrets::digest_verify(secret, algorithm(digest), &parts(pieces), sorted, presented)
        .map_err(secret_error)
}

pub(crate) fn aes_cbc_decrypt(
    secret: &str,
    form: &KeyForm,
    padding: Padding,
    ciphertext: &[u8],
) -> Result<Vec<u8>, SecretError> {
    let padding = match padding {
        Padding::Pkcs7To16 => wit::secrets::Padding::Pkcs716,
        Padding::Pkcs7To32 => wit::secrets::Padding::Pkcs732,
    };
    wit::secrets::aes_cbc_decrypt(secret, &key_form(form), padding, ciphertext).map_err(secret_error)
}

pub(crate) fn ed25519_sign(secret: &str, message: &[u8]) -> Result<Vec<u8>, SecretError> {
    wit::secrets::ed25519_sign(secret, message).map_err(secret_error)
}

pub(crate) fn ed25519_verify(secret: &str, message: &[u8], signature: &[u8]) -> Result<bool, SecretError> {
    wit::secrets::ed25519_verify(secret, message, signature).map_err(secret_error)
}

pub(crate) fn ed25519_verify_with(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    wit::secrets::ed25519_verify_with(public_key, message, signature)
}

fn unsealed(value: wit::secrets::Unsealed) -> Unsealed {
    Unsealed { message: value.message, owner: value.owner }
}

pub(crate) fn unseal(
    token: &str,
    key: &str,
    timestamp: &str,
    nonce: &str,
    ciphertext: &str,
    signature: &str,
) -> Result<Unsealed, SecretError> {
    wit::secrets::unseal(token, key, timestamp, nonce, ciphertext, signature)
        .map(unsealed)
        .map_err(secret_error)
}

pub(crate) fn unseal_unsigned(key: &str, ciphertext: &str) -> Result<Unsealed, SecretError> {
    wit::secrets::unseal_unsigned(key, ciphertext).map(unsealed).map_err(secret_error)
}

pub(crate) fn seal(
    token: &str,
    key: &str,
    nonce: &str,
    message: &[u8],
    owner: &str,
) -> Result<Sealed, SecretError> {
    let sealed = wit::secrets::seal(token, key, nonce, message, owner).map_err(secret_error)?;
    let wit::secrets::Sealed { ciphertext, signature, timestamp, nonce } = sealed;
    Ok(Sealed { ciphertext, signature, timestamp, nonce })
}
