//! The sorted-SHA-1 envelope that several platforms share.
//!
//! Hex SHA-1 over the sorted token, timestamp, nonce and base64 text; inside, AES-256-CBC whose vector is the
//! key's first 16 bytes, PKCS#7 to 32, and 16 random bytes, u32 big-endian length, message, owner.
//!
//! Sorting makes the bounds of the parts ambiguous: who may choose the nonce of an envelope that we sign, and
//! then have the same bytes verified under other bounds, learns where the token stands in the order, and so,
//! asking often, the token. Hence two rules: our own envelopes carry a mark and are never opened again, and
//! timestamp and nonce are too short to swallow as much of the base64 text as would cut the mark off.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::cipher::{self, Padding};
use super::mac::{self, DigestAlgorithm};

/// What was in an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsealed {
    pub message: Vec<u8>,
    pub owner: String,
}

/// An envelope to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub ciphertext: String,
    pub signature: String,
    /// Seconds since the Unix epoch.
    pub timestamp: String,
    pub nonce: String,
}

const RANDOM_BYTES: usize = 16;
const HEADER_BYTES: usize = RANDOM_BYTES + 4;
/// Together under 64: so many letters of base64 are the least whole number of cipher blocks.
const TIMESTAMP_BYTES_MAX: usize = 15;
const NONCE_BYTES_MAX: usize = 48;

/// What the signature of an envelope is over.
pub(super) struct Signed<'a> {
    pub token: &'a str,
    pub timestamp: &'a str,
    pub nonce: &'a str,
    pub ciphertext: &'a str,
}

impl Signed<'_> {
    /// Whether the parts are what a platform sends.
    pub(super) fn is_plain(&self) -> bool {
        let digits = self.timestamp.bytes().all(|byte| byte.is_ascii_digit());
        digits && self.timestamp.len() <= TIMESTAMP_BYTES_MAX && self.nonce.len() <= NONCE_BYTES_MAX
    }

    /// Lower-case hex.
    pub(super) fn signature(&self) -> String {
        let mut parts = [self.token, self.timestamp, self.nonce, self.ciphertext];
        parts.sort_unstable();
        let pieces = parts.map(|part| part.as_bytes().into());
        hex::encode(mac::digest(DigestAlgorithm::Sha1, &pieces))
    }
}

/// What is in the envelope; None for all that is not one, without saying why.
pub(super) fn open(key: &[u8; 32], ciphertext: &str) -> Option<Unsealed> {
    let blocks = STANDARD.decode(ciphertext).ok()?;
    let plain = cipher::decrypt(key, vector(key), &blocks, Padding::Pkcs7To32)?;
    let (header, rest) = plain.split_first_chunk::<HEADER_BYTES>()?;
    let (random, length) = header.split_first_chunk::<RANDOM_BYTES>()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let (message, owner) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    if mac::is_same(&mark(key, &random[..8]), &random[8..]) {
        return None;
    }
    Some(Unsealed { message: message.to_vec(), owner: String::from_utf8(owner.to_vec()).ok()? })
}

/// The base64 text of a new envelope; None if the message is too long for one.
pub(super) fn close(key: &[u8; 32], message: &[u8], owner: &str) -> Option<String> {
    let length = u32::try_from(message.len()).ok()?;
    let mut random = [0_u8; 8];
    SystemRandom::new().fill(&mut random).ok()?;
    let plain =
        [&random, mark(key, &random).as_slice(), &length.to_be_bytes(), message, owner.as_bytes()].concat();
    Some(STANDARD.encode(cipher::encrypt_to_32(key, vector(key), plain)))
}

fn vector(key: &[u8; 32]) -> &[u8; 16] {
    key.first_chunk().expect("32 bytes begin with 16")
}

/// The second half of the random bytes of an envelope of ours: looks random to whoever has no key.
fn mark(key: &[u8; 32], random: &[u8]) -> [u8; 8] {
    let tag = mac::hmac(DigestAlgorithm::Sha256, key, &[b"sealed by us".into(), random.into()]);
    *tag.first_chunk().expect("a SHA-256 tag is 32 bytes")
}
