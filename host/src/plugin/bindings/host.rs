//! The host's side of the contract: each import of a plugin, answered from its `Services`.

use super::adapter::parlor::plugin::{clock, http, log, secrets, settings, store, types};
use crate::plugin::guest::{Guest, Line, OwnTime, WaitedTooLong};
use crate::plugin::secrets as keyring;
use crate::plugin::services::{FailureKind, HttpFailure, MemoryError, Outbound};

use std::time::Duration;

/// What one log line of a plugin may hold.
const LOG_BYTES_MAX: usize = 4 << 10;
const LOG_FIELDS_MAX: usize = 16;

type Result<T> = wasmtime::Result<T>;

impl types::Host for Guest {}

impl settings::Host for Guest {
    fn get(&mut self, name: String) -> Result<Option<String>> {
        Ok(self.services.settings.get(&name).cloned())
    }
}

impl clock::Host for Guest {
    fn now_ms(&mut self) -> Result<u64> {
        Ok(self.services.clock.now())
    }
}

impl log::Host for Guest {
    fn write(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) -> Result<()> {
        let message = cut(message);
        let fields: Vec<_> = fields
            .into_iter()
            .take(LOG_FIELDS_MAX)
            .map(|(name, value)| format!("{}={}", cut(name), cut(value)))
            .collect();
        let (plugin, fields) = (&*self.services.plugin, fields.join(" "));
        match self.budget.log_line(message.len() + fields.len()) {
            Line::Written => {}
            Line::Dropped => return Ok(()),
            Line::Last => {
                tracing::warn!(plugin, "further log lines of this call are dropped");
                return Ok(());
            }
        }
        match level {
            log::Level::Trace => tracing::trace!(plugin, fields, "{message}"),
            log::Level::Debug => tracing::debug!(plugin, fields, "{message}"),
            log::Level::Info => tracing::info!(plugin, fields, "{message}"),
            log::Level::Warn => tracing::warn!(plugin, fields, "{message}"),
            log::Level::Error => tracing::error!(plugin, fields, "{message}"),
            log::Level::Security => tracing::warn!(plugin, fields, category = "security", "{message}"),
        }
        Ok(())
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LOG_BYTES_MAX));
    text
}

impl http::Host for Guest {
    async fn send(
        &mut self,
        request: http::Outbound,
    ) -> Result<std::result::Result<types::HttpResponse, http::Failure>> {
        let request = match outbound(request) {
            Ok(request) => request,
            Err(failure) => return Ok(Err(failure.into())),
        };
        if let Err(spent) = self.budget.request() {
            return Ok(Err(refused(FailureKind::Denied, spent.to_string()).into()));
        }
        let sent = self.time.stands_for(self.services.http.send(request)).await;
        // What was broken off may be half-way out.
        let broken_off = |waited: WaitedTooLong| HttpFailure {
            request_sent: true,
            ..refused(FailureKind::TimedOut, waited.to_string())
        };
        Ok(sent.unwrap_or_else(|waited| Err(broken_off(waited))).map(Into::into).map_err(Into::into))
    }

    fn expire_token(&mut self, name: String) -> Result<()> {
        self.services.http.expire_token(&name);
        Ok(())
    }
}

fn outbound(request: http::Outbound) -> std::result::Result<Outbound, HttpFailure> {
    let mut body = Vec::new();
    for part in request.body {
        match part {
            http::BodyPart::Bytes(bytes) => body.extend_from_slice(&bytes),
            http::BodyPart::Attachment(_) => return Err(no_attachments()),
        }
    }
    Ok(Outbound {
        method: request.method,
        url: request.url,
        headers: request.headers,
        body: body.into(),
        timeout: request.timeout_ms.map(|ms| Duration::from_millis(ms.into())),
        limit_key: request.limit_key,
    })
}

fn no_attachments() -> HttpFailure {
    refused(FailureKind::Denied, "this host keeps no attachments, so none can be sent".to_owned())
}

fn refused(kind: FailureKind, reason: String) -> HttpFailure {
    HttpFailure { kind, reason, request_sent: false, retry_after: None }
}

type Kept<T> = Result<std::result::Result<T, store::StoreError>>;

impl store::Host for Guest {
    async fn get(&mut self, key: String) -> Kept<Option<Vec<u8>>> {
        let Some(memory) = self.may_remember(0) else { return Ok(Err(store::StoreError::Quota)) };
        Ok(kept(&self.time.clone(), memory.get(&key)).await)
    }

    async fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Kept<()> {
        let Some(memory) = self.may_remember(value.len()) else { return Ok(Err(store::StoreError::Quota)) };
        let ttl = ttl_ms.map(Duration::from_millis);
        Ok(kept(&self.time.clone(), memory.set(&key, &value, ttl)).await)
    }

    async fn delete(&mut self, key: String) -> Kept<()> {
        let Some(memory) = self.may_remember(0) else { return Ok(Err(store::StoreError::Quota)) };
        Ok(kept(&self.time.clone(), memory.delete(&key)).await)
    }

    async fn increment(&mut self, key: String, by: i64, ttl_ms: Option<u64>) -> Kept<i64> {
        let Some(memory) = self.may_remember(0) else { return Ok(Err(store::StoreError::Quota)) };
        let ttl = ttl_ms.map(Duration::from_millis);
        Ok(kept(&self.time.clone(), memory.increment(&key, by, ttl)).await)
    }
}

async fn kept<T>(
    time: &OwnTime,
    operation: impl Future<Output = std::result::Result<T, MemoryError>>,
) -> std::result::Result<T, store::StoreError> {
    let done = time.stands_for(operation).await;
    done.unwrap_or(Err(MemoryError::Unavailable)).map_err(Into::into)
}

impl From<MemoryError> for store::StoreError {
    fn from(from: MemoryError) -> Self {
        match from {
            MemoryError::Unavailable => Self::Unavailable,
            MemoryError::TooLarge => Self::TooLarge,
            MemoryError::Quota => Self::Quota,
        }
    }
}

type Told<T> = Result<std::result::Result<T, secrets::SecretError>>;

impl secrets::Host for Guest {
    fn equals(&mut self, secret: String, presented: Vec<u8>) -> Told<bool> {
        Ok(self.secrets()?.equals(&secret, &presented).map_err(Into::into))
    }

    fn hmac(
        &mut self,
        secret: String,
        algorithm: secrets::DigestAlgorithm,
        key: Vec<secrets::Part>,
        message: Vec<secrets::Part>,
    ) -> Told<Vec<u8>> {
        let secrets = self.secrets()?;
        Ok(both(key, message).and_then(|(key, message)| {
            Ok(secrets.hmac(&secret, algorithm.into(), &key, &message, &self.body)?)
        }))
    }

    fn hmac_verify(
        &mut self,
        secret: String,
        algorithm: secrets::DigestAlgorithm,
        key: Vec<secrets::Part>,
        message: Vec<secrets::Part>,
        presented: Vec<u8>,
    ) -> Told<bool> {
        let secrets = self.secrets()?;
        Ok(both(key, message).and_then(|(key, message)| {
            Ok(secrets.hmac_verify(&secret, algorithm.into(), &key, &message, &presented, &self.body)?)
        }))
    }

    fn digest_verify(
        &mut self,
        secret: String,
        algorithm: secrets::DigestAlgorithm,
        message: Vec<secrets::Part>,
        sorted: bool,
        presented: Vec<u8>,
    ) -> Told<bool> {
        let secrets = self.secrets()?;
        Ok(parts(message).and_then(|message| {
            Ok(secrets.digest_verify(&secret, algorithm.into(), &message, sorted, &presented, &self.body)?)
        }))
    }

    fn aes_cbc_decrypt(
        &mut self,
        secret: String,
        form: secrets::KeyForm,
        padding: secrets::Padding,
        ciphertext: Vec<u8>,
    ) -> Told<Vec<u8>> {
        let padding = match padding {
            secrets::Padding::Pkcs716 => keyring::Padding::Pkcs7To16,
            secrets::Padding::Pkcs732 => keyring::Padding::Pkcs7To32,
        };
        Ok(self.secrets()?.aes_cbc_decrypt(&secret, &form.into(), padding, &ciphertext).map_err(Into::into))
    }

    fn ed25519_sign(&mut self, secret: String, message: Vec<u8>) -> Told<Vec<u8>> {
        Ok(self.secrets()?.ed25519_sign(&secret, &message).map_err(Into::into))
    }

    fn ed25519_verify(&mut self, secret: String, message: Vec<u8>, signature: Vec<u8>) -> Told<bool> {
        Ok(self.secrets()?.ed25519_verify(&secret, &message, &signature).map_err(Into::into))
    }

    fn ed25519_verify_with(
        &mut self,
        public_key: Vec<u8>,
        message: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<bool> {
        self.budget.secret_call()?;
        Ok(keyring::ed25519_verify_with(&public_key, &message, &signature))
    }

    fn unseal(
        &mut self,
        token: String,
        key: String,
        timestamp: String,
        nonce: String,
        ciphertext: String,
        signature: String,
    ) -> Told<secrets::Unsealed> {
        let opened = self.secrets()?.unseal(&token, &key, &timestamp, &nonce, &ciphertext, &signature);
        Ok(opened.map(Into::into).map_err(Into::into))
    }

    fn seal(
        &mut self,
        token: String,
        key: String,
        nonce: String,
        message: Vec<u8>,
        owner: String,
    ) -> Told<secrets::Sealed> {
        let now = self.services.clock.now();
        let sealed = self.secrets()?.seal(&token, &key, &nonce, &message, &owner, now);
        let told = |sealed: keyring::Sealed| {
            let keyring::Sealed { ciphertext, signature, timestamp, nonce } = sealed;
            secrets::Sealed { ciphertext, signature, timestamp, nonce }
        };
        Ok(sealed.map(told).map_err(Into::into))
    }

    fn unseal_unsigned(&mut self, key: String, ciphertext: String) -> Told<secrets::Unsealed> {
        Ok(self.secrets()?.unseal_unsigned(&key, &ciphertext).map(Into::into).map_err(Into::into))
    }
}

type Pieces = std::result::Result<Vec<keyring::Part>, secrets::SecretError>;

fn both(
    key: Vec<secrets::Part>,
    message: Vec<secrets::Part>,
) -> std::result::Result<(Vec<keyring::Part>, Vec<keyring::Part>), secrets::SecretError> {
    Ok((parts(key)?, parts(message)?))
}

/// Pieces of one key or message; a signature scheme has a handful.
const PARTS_MAX: usize = 64;

/// The body counts once: each further copy of it would cost a guest nothing and the host a megabyte.
fn parts(parts: Vec<secrets::Part>) -> Pieces {
    let bodies = parts.iter().filter(|part| matches!(part, secrets::Part::Body)).count();
    if parts.len() > PARTS_MAX || bodies > 1 {
        return Err(secrets::SecretError::Malformed);
    }
    let told = |part| match part {
        secrets::Part::Bytes(bytes) => keyring::Part::Bytes(bytes),
        secrets::Part::Secret(form) => keyring::Part::Secret(form.into()),
        secrets::Part::Body => keyring::Part::Body,
    };
    Ok(parts.into_iter().map(told).collect())
}

impl From<secrets::KeyForm> for keyring::KeyForm {
    fn from(from: secrets::KeyForm) -> Self {
        match from {
            secrets::KeyForm::Raw => Self::Raw,
            secrets::KeyForm::Base64(prefix) => Self::Base64(prefix),
            secrets::KeyForm::Sha256 => Self::Sha256,
        }
    }
}

impl From<secrets::DigestAlgorithm> for keyring::DigestAlgorithm {
    fn from(from: secrets::DigestAlgorithm) -> Self {
        match from {
            secrets::DigestAlgorithm::Md5 => Self::Md5,
            secrets::DigestAlgorithm::Sha1 => Self::Sha1,
            secrets::DigestAlgorithm::Sha256 => Self::Sha256,
            secrets::DigestAlgorithm::Sha512 => Self::Sha512,
        }
    }
}

impl From<keyring::SecretError> for secrets::SecretError {
    fn from(from: keyring::SecretError) -> Self {
        match from {
            keyring::SecretError::NotGranted => Self::NotGranted,
            keyring::SecretError::NotSet => Self::NotSet,
            keyring::SecretError::Malformed => Self::Malformed,
            keyring::SecretError::Rejected => Self::Rejected,
        }
    }
}

impl From<keyring::Unsealed> for secrets::Unsealed {
    fn from(from: keyring::Unsealed) -> Self {
        Self { message: from.message, owner: from.owner }
    }
}
