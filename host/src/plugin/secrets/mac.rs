//! Digests, HMAC and comparison in constant time. It knows no secret's name.

use std::borrow::Cow;
use std::sync::LazyLock;

use md5::{Digest as _, Md5};
use ring::rand::SystemRandom;
use ring::{digest as sha, hmac as ring_hmac};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestAlgorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

/// Block of MD5.
const MD5_BLOCK_BYTES: usize = 64;

/// One piece of what is digested.
pub(super) type Piece<'a> = Cow<'a, [u8]>;

pub(super) fn digest(algorithm: DigestAlgorithm, pieces: &[Piece<'_>]) -> Vec<u8> {
    let algorithm = match algorithm {
        DigestAlgorithm::Md5 => return md5(pieces),
        DigestAlgorithm::Sha1 => &sha::SHA1_FOR_LEGACY_USE_ONLY,
        DigestAlgorithm::Sha256 => &sha::SHA256,
        DigestAlgorithm::Sha512 => &sha::SHA512,
    };
    let mut context = sha::Context::new(algorithm);
    pieces.iter().for_each(|piece| context.update(piece));
    context.finish().as_ref().to_vec()
}

fn md5(pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut context = Md5::new();
    pieces.iter().for_each(|piece| context.update(piece));
    context.finalize().to_vec()
}

pub(super) fn hmac(algorithm: DigestAlgorithm, key: &[u8], pieces: &[Piece<'_>]) -> Vec<u8> {
    let algorithm = match algorithm {
        DigestAlgorithm::Md5 => return hmac_md5(key, pieces),
        DigestAlgorithm::Sha1 => ring_hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        DigestAlgorithm::Sha256 => ring_hmac::HMAC_SHA256,
        DigestAlgorithm::Sha512 => ring_hmac::HMAC_SHA512,
    };
    let mut context = ring_hmac::Context::with_key(&ring_hmac::Key::new(algorithm, key));
    pieces.iter().for_each(|piece| context.update(piece));
    context.sign().as_ref().to_vec()
}

/// RFC 2104; ring has no MD5.
fn hmac_md5(key: &[u8], pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut block = [0_u8; MD5_BLOCK_BYTES];
    if key.len() > MD5_BLOCK_BYTES {
        block[..16].copy_from_slice(&Md5::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut inner = Md5::new_with_prefix(block.map(|byte| byte ^ 0x36));
    pieces.iter().for_each(|piece| inner.update(piece));
    let mut outer = Md5::new_with_prefix(block.map(|byte| byte ^ 0x5c));
    outer.update(inner.finalize());
    outer.finalize().to_vec()
}

/// Comparison whose time tells neither content nor, but for whole blocks, length: both sides are MACed under a
/// key that nobody knows, and ring compares the tags.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    static KEY: LazyLock<ring_hmac::Key> = LazyLock::new(|| {
        ring_hmac::Key::generate(ring_hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system's random source answered at start")
    });
    let tag = ring_hmac::sign(&KEY, one);
    ring_hmac::verify(&KEY, other, tag.as_ref()).is_ok()
}
