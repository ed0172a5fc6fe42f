//! Computing with secrets by name: their bytes never enter a plugin.
//!
//! The manifest declares the uses of each secret, the operator grants them, and a secret serves its
//! declared uses only. No answer lets a plugin work a secret out. See `wit/0.1/host.wit`.

use crate::{fault::Fault, seam};

/// Why a computation gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// The manifest does not name this use of the secret, or the operator did not grant it.
    NotGranted,
    /// The channel's configuration has no such secret.
    NotSet,
    /// The secret is not of the form that this use needs.
    Malformed,
    /// The input does not verify or decrypt.
    Rejected,
    /// It cannot be had at the moment: a retry may help.
    Unavailable,
}

impl From<SecretError> for Fault {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::NotGranted => Self::other("a secret's use is not granted: grant it to the plugin"),
            SecretError::NotSet => Self::other("a secret is not set: add it to the channel's `secrets`"),
            SecretError::Malformed => Self::other("a secret is not of the form that the platform uses"),
            SecretError::Rejected => Self::unauthorized("the signature or the ciphertext is wrong"),
            SecretError::Unavailable => Self::unavailable("a secret cannot be had at the moment"),
        }
    }
}

/// How a secret's text becomes a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyForm {
    /// Its bytes.
    #[default]
    Raw,
    /// base64 text of the key, after this prefix if it is there.
    Base64(String),
    /// SHA-256 of its bytes.
    Sha256,
}

/// A piece of a key or of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The secret itself.
    Secret(KeyForm),
    /// Raw body of the request in hand.
    Body,
}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<String> for Part {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<&[u8]> for Part {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// For old platforms.
    Md5,
    /// For old platforms.
    Sha1,
    /// The usual one.
    Sha256,
    /// The long one.
    Sha512,
}

/// The block that a plaintext is filled up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// PKCS#7 to 16 bytes.
    Pkcs7To16,
    /// PKCS#7 to 32 bytes.
    Pkcs7To32,
}

/// What was inside an envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsealed {
    /// The message's bytes.
    pub message: Vec<u8>,
    /// Whom it is for: compare it.
    pub owner: String,
}

/// An envelope to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// base64 text.
    pub ciphertext: String,
    /// Hex SHA-1.
    pub signature: String,
    /// The host's time.
    pub timestamp: String,
    /// As given.
    pub nonce: String,
}

/// Constant-time comparison with what somebody presented.
///
/// # Errors
/// See [`SecretError`], here and below.
pub fn equals(secret: &str, presented: &[u8]) -> Result<bool, SecretError> {
    seam::equals(secret, presented)
}

/// The HMAC of `message` under `key`, both joined from parts.
///
/// # Errors
/// See [`SecretError`].
pub fn hmac(secret: &str, digest: Digest, key: &[Part], message: &[Part]) -> Result<Vec<u8>, SecretError> {
    seam::hmac(secret, digest, key, message)
}

/// Whether `presented` is the HMAC of `message` under `key`, in constant time.
///
/// # Errors
/// See [`SecretError`].
pub fn hmac_verify(
    secret: &str,
    digest: Digest,
    key: &[Part],
    message: &[Part],
    presented: &[u8],
) -> Result<bool, SecretError> {
    seam::hmac_verify(secret, digest, key, message, presented)
}

/// Whether `presented` is the digest of the parts, in byte order if `sorted`.
///
/// # Errors
/// See [`SecretError`].
pub fn digest_verify(
    secret: &str,
    digest: Digest,
    parts: &[Part],
    sorted: bool,
    presented: &[u8],
) -> Result<bool, SecretError> {
    seam::digest_verify(secret, digest, parts, sorted, presented)
}

/// AES-CBC; the initialisation vector is the first 16 bytes of `ciphertext`.
///
/// # Errors
/// See [`SecretError`].
pub fn aes_cbc_decrypt(
    secret: &str,
    form: &KeyForm,
    padding: Padding,
    ciphertext: &[u8],
) -> Result<Vec<u8>, SecretError> {
    seam::aes_cbc_decrypt(secret, form, padding, ciphertext)
}

/// Ed25519; the seed is the secret's bytes, repeated until there are 32.
///
/// # Errors
/// See [`SecretError`].
pub fn ed25519_sign(secret: &str, message: &[u8]) -> Result<Vec<u8>, SecretError> {
    seam::ed25519_sign(secret, message)
}

/// Whether `signature` was made by [`ed25519_sign`] with the same secret.
///
/// # Errors
/// See [`SecretError`].
pub fn ed25519_verify(secret: &str, message: &[u8], signature: &[u8]) -> Result<bool, SecretError> {
    seam::ed25519_verify(secret, message, signature)
}

/// Whether `signature` belongs to `public_key`, which is no secret.
pub fn ed25519_verify_with(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    seam::ed25519_verify_with(public_key, message, signature)
}

/// Opens the sorted-SHA-1 envelope that several platforms share; verifies before it decrypts.
///
/// # Errors
/// See [`SecretError`].
pub fn unseal(
    token: &str,
    key: &str,
    timestamp: &str,
    nonce: &str,
    ciphertext: &str,
    signature: &str,
) -> Result<Unsealed, SecretError> {
    seam::unseal(token, key, timestamp, nonce, ciphertext, signature)
}

/// Makes such an envelope; the host draws the random bytes and the time.
///
/// # Errors
/// See [`SecretError`].
pub fn seal(token: &str, key: &str, nonce: &str, message: &[u8], owner: &str) -> Result<Sealed, SecretError> {
    seam::seal(token, key, nonce, message, owner)
}

/// Opens the same envelope where a header signs instead.
///
/// # Errors
/// See [`SecretError`].
pub fn unseal_unsigned(key: &str, ciphertext: &str) -> Result<Unsealed, SecretError> {
    seam::unseal_unsigned(key, ciphertext)
}
