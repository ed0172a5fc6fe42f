//! Computing with a test's secrets, as the host computes with real ones.
//!
//! Grants are the host's to check: here every secret serves every use. Comparisons need not be
//! constant-time, since a test has no one to hide from.

use aes::Aes256;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding};
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use super::with_state;
use crate::secrets::{Digest, KeyForm, Padding, Part, Sealed, SecretError, Unsealed};

/// base64 as platforms print keys: padding optional, trailing bits ignored.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// What stands before an envelope's message: random bytes and a length.
const ENVELOPE_HEAD_BYTES: usize = 20;

fn secret(name: &str) -> Result<Vec<u8>, SecretError> {
    let value = with_state(|state| state.secrets.get(name).cloned());
    value.map(String::into_bytes).ok_or(SecretError::NotSet)
}

fn form_key(secret: &[u8], form: &KeyForm) -> Result<Vec<u8>, SecretError> {
    match form {
        KeyForm::Raw => Ok(secret.to_vec()),
        KeyForm::Sha256 => Ok(Sha256::digest(secret).to_vec()),
        KeyForm::Base64(prefix) => {
            let text = secret.strip_prefix(prefix.as_bytes()).unwrap_or(secret);
            KEY_BASE64.decode(text).map_err(|_| SecretError::Malformed)
        }
    }
}

fn part_bytes(secret: &[u8], part: &Part) -> Result<Vec<u8>, SecretError> {
    match part {
        Part::Bytes(bytes) => Ok(bytes.clone()),
        Part::Secret(form) => form_key(secret, form),
        Part::Body => Ok(with_state(|state| state.receiving.clone()).unwrap_or_default()),
    }
}

fn join(secret: &[u8], parts: &[Part]) -> Result<Vec<u8>, SecretError> {
    Ok(parts.iter().map(|part| part_bytes(secret, part)).collect::<Result<Vec<_>, _>>()?.concat())
}

pub(crate) fn equals(name: &str, presented: &[u8]) -> Result<bool, SecretError> {
    Ok(secret(name)? == presented)
}

pub(crate) fn hmac(
    name: &str,
    digest: Digest,
    key: &[Part],
    message: &[Part],
) -> Result<Vec<u8>, SecretError> {
    let secret = secret(name)?;
    let (key, message) = (join(&secret, key)?, join(&secret, message)?);
    Ok(match digest {
        Digest::Md5 => mac::<Hmac<md5::Md5>>(&key, &message),
        Digest::Sha1 => mac::<Hmac<sha1::Sha1>>(&key, &message),
        Digest::Sha256 => mac::<Hmac<Sha256>>(&key, &message),
        Digest::Sha512 => mac::<Hmac<sha2::Sha512>>(&key, &message),
    })
}

fn mac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn hmac_verify(
    name: &str,
    digest: Digest,
    key: &[Part],
    message: &[Part],
    presented: &[u8],
) -> Result<bool, SecretError> {
    Ok(hmac(name, digest, key, message)? == presented)
}

pub(crate) fn digest_verify(
    name: &str,
    digest: Digest,
    parts: &[Part],
    sorted: bool,
    presented: &[u8],
) -> Result<bool, SecretError> {
    let secret = secret(name)?;
    let mut parts = parts.iter().map(|part| part_bytes(&secret, part)).collect::<Result<Vec<_>, _>>()?;
    if sorted {
        parts.sort();
    }
    let bytes = parts.concat();
    let computed = match digest {
        Digest::Md5 => md5::Md5::digest(bytes).to_vec(),
        Digest::Sha1 => sha1::Sha1::digest(bytes).to_vec(),
        Digest::Sha256 => Sha256::digest(bytes).to_vec(),
        Digest::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
    };
    Ok(computed == presented)
}

pub(crate) fn aes_cbc_decrypt(
    name: &str,
    form: &KeyForm,
    padding: Padding,
    ciphertext: &[u8],
) -> Result<Vec<u8>, SecretError> {
    let key = form_key(&secret(name)?, form)?;
    let (vector, ciphertext) = ciphertext.split_at_checked(16).ok_or(SecretError::Rejected)?;
    let block = if padding == Padding::Pkcs7To16 { 16 } else { 32 };
    decrypt(&key, vector, block, ciphertext)
}

fn decrypt(key: &[u8], vector: &[u8], block: usize, ciphertext: &[u8]) -> Result<Vec<u8>, SecretError> {
    let cipher =
        cbc::Decryptor::<Aes256>::new_from_slices(key, vector).map_err(|_| SecretError::Malformed)?;
    let plain = cipher.decrypt_padded_vec::<NoPadding>(ciphertext).map_err(|_| SecretError::Rejected)?;
    let padding = usize::from(*plain.last().ok_or(SecretError::Rejected)?);
    let whole = (1..=block).contains(&padding) && padding <= plain.len();
    let is_padded = |at: usize| plain[at..].iter().all(|byte| usize::from(*byte) == padding);
    if !whole || !is_padded(plain.len() - padding) {
        return Err(SecretError::Rejected);
    }
    Ok(plain[..plain.len() - padding].to_vec())
}

fn signing_key(name: &str) -> Result<SigningKey, SecretError> {
    let secret = secret(name)?;
    let seed: Vec<u8> = secret.iter().copied().cycle().take(32).collect();
    seed.try_into().map(|seed| SigningKey::from_bytes(&seed)).map_err(|_| SecretError::Malformed)
}

pub(crate) fn ed25519_sign(name: &str, message: &[u8]) -> Result<Vec<u8>, SecretError> {
    Ok(signing_key(name)?.sign(message).to_vec())
}

pub(crate) fn ed25519_verify(name: &str, message: &[u8], signature: &[u8]) -> Result<bool, SecretError> {
    let key = signing_key(name)?.verifying_key();
    Ok(ed25519_verify_with(key.as_bytes(), message, signature))
}

pub(crate) fn ed25519_verify_with(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = <[u8; 32]>::try_from(public_key) else { return false };
    let Ok(signature) = Signature::from_slice(signature) else { return false };
    VerifyingKey::from_bytes(&key).is_ok_and(|key| key.verify(message, &signature).is_ok())
}

pub(crate) fn unseal(
    token: &str,
    key: &str,
    timestamp: &str,
    nonce: &str,
    ciphertext: &str,
    signature: &str,
) -> Result<Unsealed, SecretError> {
    let token = secret(token)?;
    secret(key)?;
    if signature != sorted_sha1(&token, timestamp, nonce, ciphertext) {
        return Err(SecretError::Rejected);
    }
    unseal_unsigned(key, ciphertext)
}

pub(crate) fn unseal_unsigned(key: &str, ciphertext: &str) -> Result<Unsealed, SecretError> {
    let key = envelope_key(key)?;
    let bytes = base64::prelude::BASE64_STANDARD.decode(ciphertext).map_err(|_| SecretError::Rejected)?;
    let plain = decrypt(&key, &key[..16], 32, &bytes)?;
    let (head, tail) = plain.split_at_checked(ENVELOPE_HEAD_BYTES).ok_or(SecretError::Rejected)?;
    let length = u32::from_be_bytes([head[16], head[17], head[18], head[19]]) as usize;
    let (message, owner) = tail.split_at_checked(length).ok_or(SecretError::Rejected)?;
    let owner = String::from_utf8(owner.to_vec()).map_err(|_| SecretError::Rejected)?;
    Ok(Unsealed { message: message.to_vec(), owner })
}

pub(crate) fn seal(
    token: &str,
    key: &str,
    nonce: &str,
    message: &[u8],
    owner: &str,
) -> Result<Sealed, SecretError> {
    let (token, key) = (secret(token)?, envelope_key(key)?);
    let length = u32::try_from(message.len()).map_err(|_| SecretError::Rejected)?;
    // A test's random bytes are the same each time, so that what is sealed can be compared.
    let mut plain = [&[b'r'; 16][..], &length.to_be_bytes(), message, owner.as_bytes()].concat();
    let padding = 32 - plain.len() % 32;
    plain.resize(plain.len() + padding, u8::try_from(padding).expect("at most 32"));
    let cipher =
        cbc::Encryptor::<Aes256>::new_from_slices(&key, &key[..16]).map_err(|_| SecretError::Malformed)?;
    let ciphertext = base64::prelude::BASE64_STANDARD.encode(cipher.encrypt_padded_vec::<NoPadding>(&plain));
    let timestamp = with_state(|state| state.now_ms / 1000).to_string();
    let signature = sorted_sha1(&token, &timestamp, nonce, &ciphertext);
    Ok(Sealed { ciphertext, signature, timestamp, nonce: nonce.to_owned() })
}

fn envelope_key(name: &str) -> Result<Vec<u8>, SecretError> {
    let key = form_key(&secret(name)?, &KeyForm::Base64(String::new()))?;
    if key.len() == 32 { Ok(key) } else { Err(SecretError::Malformed) }
}

fn sorted_sha1(token: &[u8], timestamp: &str, nonce: &str, ciphertext: &str) -> String {
    let mut parts = [token, timestamp.as_bytes(), nonce.as_bytes(), ciphertext.as_bytes()];
    parts.sort_unstable();
    crate::encoding::hex(&sha1::Sha1::digest(parts.concat()))
}
