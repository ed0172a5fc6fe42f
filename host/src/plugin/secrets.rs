//! Computing with secrets by name, as `wit` promises it: their bytes never leave, nor can they be worked out.
//!
//! Each operation checks that the manifest declared this use and that the operator set the secret. It knows
//! no plugin and no wasmtime. `cipher` and `mac` hold the arithmetic, `envelope` the envelope that several
//! platforms share. What a plugin could learn by asking often is bounded here, see `digest_verify`.

mod cipher;
mod envelope;
mod mac;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Millis;
use crate::plugin::manifest::{Manifest, Secret, SecretUse};

pub use cipher::Padding;
pub use envelope::{Sealed, Unsealed};
pub use mac::DigestAlgorithm;

/// Keys come with and without padding, and real ones have bits left over in their last letter.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const SEED_BYTES: usize = 32;
/// Most bytes beside an envelope's token in a digest: one less than the least envelope has beside it, 10 of time
/// and 44 of base64. See `digest_verify`.
const DIGEST_BESIDE_TOKEN_MAX: usize = 53;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("the manifest does not declare this secret for this use")]
    NotGranted,
    #[error("the operator has not set this secret")]
    NotSet,
    #[error("the secret is not of the form that this use needs")]
    Malformed,
    #[error("the input does not verify or decrypt")]
    Rejected,
}

/// How a key is made of a secret's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyForm {
    Raw,
    /// Base64; this prefix is dropped if it is there. Only the manifest's own prefix, or none, is taken.
    Base64(String),
    /// SHA-256 of the secret's bytes.
    Sha256,
}

/// One piece of a key or message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Bytes(Vec<u8>),
    Secret(KeyForm),
    /// Raw body of the request in hand.
    Body,
}

/// The secrets that one plugin on one channel may compute with.
#[derive(Default)]
pub struct Secrets {
    granted: BTreeMap<String, Granted>,
}

struct Granted {
    value: Option<SecretString>,
    uses: Vec<SecretUse>,
    prefix: Option<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.granted.keys()).finish()
    }
}

impl Secrets {
    /// What the manifest asks for, with what the operator gave. Values that nobody asks for stay outside.
    pub fn new(manifest: &Manifest, values: &BTreeMap<String, SecretString>) -> Self {
        let grant = |secret: &Secret| (secret.name.clone(), Granted::new(secret, values.get(&secret.name)));
        Self { granted: manifest.secrets.iter().map(grant).collect() }
    }

    fn granted(&self, name: &str, wanted: SecretUse) -> Result<Key<'_>, SecretError> {
        let granted = self.granted.get(name).filter(|granted| granted.uses.contains(&wanted));
        let granted = granted.ok_or(SecretError::NotGranted)?;
        let value = granted.value.as_ref().ok_or(SecretError::NotSet)?;
        Ok(Key { text: value.expose_secret(), granted })
    }

    /// For the places of a request that the manifest binds; nowhere else.
    pub(crate) fn for_egress(&self, name: &str) -> Result<&str, SecretError> {
        Ok(self.granted(name, SecretUse::Egress)?.text)
    }

    /// All that no guest may ever see, by name: what a test looks for in their memories. What serves `equals` is in
    /// the requests anyway.
    #[cfg(feature = "failpoints")]
    pub(crate) fn exposed(&self) -> impl Iterator<Item = (&str, &str)> {
        let hidden = self.granted.iter().filter(|(_, granted)| !granted.uses.contains(&SecretUse::Equals));
        hidden.filter_map(|(name, granted)| Some((name.as_str(), granted.value.as_ref()?.expose_secret())))
    }

    /// Whether somebody presented the secret itself; in constant time.
    pub fn equals(&self, secret: &str, presented: &[u8]) -> Result<bool, SecretError> {
        let key = self.granted(secret, SecretUse::Equals)?;
        Ok(mac::is_same(key.text.as_bytes(), presented))
    }

    /// An HMAC whose key or message holds the secret. `body` is the request's in hand.
    pub fn hmac(
        &self,
        secret: &str,
        algorithm: DigestAlgorithm,
        key: &[Part],
        message: &[Part],
        body: &[u8],
    ) -> Result<Vec<u8>, SecretError> {
        let granted = self.granted(secret, SecretUse::Hmac)?;
        if !key.iter().chain(message).any(|part| matches!(part, Part::Secret(_))) {
            return Err(SecretError::Malformed);
        }
        let key = granted.pieces(key, body)?.concat();
        Ok(mac::hmac(algorithm, &key, &granted.pieces(message, body)?))
    }

    pub fn hmac_verify(
        &self,
        secret: &str,
        algorithm: DigestAlgorithm,
        key: &[Part],
        message: &[Part],
        presented: &[u8],
        body: &[u8],
    ) -> Result<bool, SecretError> {
        let tag = self.hmac(secret, algorithm, key, message, body)?;
        Ok(mac::is_same(&tag, presented))
    }

    /// Compares a digest over the parts, in byte order if `sorted`.
    ///
    /// The order of sorted parts tells where the secret stands among them. Against a digest over a text that
    /// the plugin chose (the nonce of `seal`) it could so be spelled out, one comparison at a time. So a token
    /// that also seals envelopes is digested beside few bytes only: too few for an envelope to be among them.
    pub fn digest_verify(
        &self,
        secret: &str,
        algorithm: DigestAlgorithm,
        parts: &[Part],
        sorted: bool,
        presented: &[u8],
        body: &[u8],
    ) -> Result<bool, SecretError> {
        let granted = self.granted(secret, SecretUse::Digest)?;
        if !parts.iter().any(|part| matches!(part, Part::Secret(_))) {
            return Err(SecretError::Malformed);
        }
        if granted.granted.uses.contains(&SecretUse::Envelope)
            && beside(parts, body) > DIGEST_BESIDE_TOKEN_MAX
        {
            return Err(SecretError::Rejected);
        }
        let mut pieces = granted.pieces(parts, body)?;
        if sorted {
            pieces.sort();
        }
        Ok(mac::is_same(&mac::digest(algorithm, &pieces), presented))
    }

    /// AES-256-CBC; the initialisation vector is the first 16 bytes of `ciphertext`.
    pub fn aes_cbc_decrypt(
        &self,
        secret: &str,
        form: &KeyForm,
        padding: Padding,
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, SecretError> {
        let key = self.granted(secret, SecretUse::Aes)?.aes(form)?;
        let (vector, blocks) = ciphertext.split_first_chunk().ok_or(SecretError::Rejected)?;
        cipher::decrypt(&key, vector, blocks, padding).ok_or(SecretError::Rejected)
    }

    /// The seed is the secret's bytes, repeated until there are 32.
    pub fn ed25519_sign(&self, secret: &str, message: &[u8]) -> Result<Vec<u8>, SecretError> {
        Ok(self.key_pair(secret)?.sign(message).as_ref().to_vec())
    }

    pub fn ed25519_verify(
        &self,
        secret: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, SecretError> {
        use ring::signature::KeyPair as _;
        let pair = self.key_pair(secret)?;
        Ok(ed25519_verify_with(pair.public_key().as_ref(), message, signature))
    }

    fn key_pair(&self, secret: &str) -> Result<Ed25519KeyPair, SecretError> {
        let key = self.granted(secret, SecretUse::Ed25519)?;
        let seed: Vec<u8> = key.text.bytes().cycle().take(SEED_BYTES).collect();
        Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| SecretError::Malformed)
    }

    /// Opens the sorted-SHA-1 envelope; verifies before it decrypts. The caller compares the owner.
    pub fn unseal(
        &self,
        token: &str,
        key: &str,
        timestamp: &str,
        nonce: &str,
        ciphertext: &str,
        signature: &str,
    ) -> Result<Unsealed, SecretError> {
        let token = self.granted(token, SecretUse::Envelope)?.text;
        let key = self.envelope_key(key)?;
        let signed = envelope::Signed { token, timestamp, nonce, ciphertext };
        if !signed.is_plain() || !mac::is_same(signed.signature().as_bytes(), signature.as_bytes()) {
            return Err(SecretError::Rejected);
        }
        envelope::open(&key, ciphertext).ok_or(SecretError::Rejected)
    }

    /// The same envelope where a header signs instead.
    pub fn unseal_unsigned(&self, key: &str, ciphertext: &str) -> Result<Unsealed, SecretError> {
        envelope::open(&self.envelope_key(key)?, ciphertext).ok_or(SecretError::Rejected)
    }

    /// Wraps an answer up in the envelope. `now` goes out as seconds.
    pub fn seal(
        &self,
        token: &str,
        key: &str,
        nonce: &str,
        message: &[u8],
        owner: &str,
        now: Millis,
    ) -> Result<Sealed, SecretError> {
        let token = self.granted(token, SecretUse::Envelope)?.text;
        let key = self.envelope_key(key)?;
        let ciphertext = envelope::close(&key, message, owner).ok_or(SecretError::Malformed)?;
        let timestamp = (now / 1000).to_string();
        let signed = envelope::Signed { token, timestamp: &timestamp, nonce, ciphertext: &ciphertext };
        if !signed.is_plain() {
            return Err(SecretError::Rejected);
        }
        let signature = signed.signature();
        Ok(Sealed { signature, timestamp, nonce: nonce.to_owned(), ciphertext })
    }

    fn envelope_key(&self, key: &str) -> Result<[u8; 32], SecretError> {
        self.granted(key, SecretUse::Envelope)?.aes(&KeyForm::Base64(String::new()))
    }
}

/// A public key is no secret: it may stand in the settings.
pub fn ed25519_verify_with(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

impl Granted {
    /// An empty secret counts as none: anybody could sign with it.
    fn new(secret: &Secret, value: Option<&SecretString>) -> Self {
        let value = value.filter(|value| !value.expose_secret().is_empty()).cloned();
        Self { value, uses: secret.uses.clone(), prefix: secret.prefix.clone() }
    }
}

/// A secret in use.
struct Key<'a> {
    text: &'a str,
    granted: &'a Granted,
}

impl<'a> Key<'a> {
    fn in_form(&self, form: &KeyForm) -> Result<Cow<'a, [u8]>, SecretError> {
        match form {
            KeyForm::Raw => Ok(Cow::Borrowed(self.text.as_bytes())),
            KeyForm::Base64(prefix) => self.base64(prefix).map(Cow::Owned),
            KeyForm::Sha256 => {
                Ok(Cow::Owned(mac::digest(DigestAlgorithm::Sha256, &[self.text.as_bytes().into()])))
            }
        }
    }

    fn base64(&self, prefix: &str) -> Result<Vec<u8>, SecretError> {
        if !prefix.is_empty() && self.granted.prefix.as_deref() != Some(prefix) {
            return Err(SecretError::NotGranted);
        }
        let text = self.text.strip_prefix(prefix).unwrap_or(self.text);
        KEY_BASE64.decode(text.trim()).map_err(|_| SecretError::Malformed)
    }

    fn aes(&self, form: &KeyForm) -> Result<[u8; 32], SecretError> {
        self.in_form(form)?.as_ref().try_into().map_err(|_| SecretError::Malformed)
    }

    fn pieces<'b>(&self, parts: &'b [Part], body: &'b [u8]) -> Result<Vec<Cow<'b, [u8]>>, SecretError>
    where
        'a: 'b,
    {
        let piece = |part: &'b Part| match part {
            Part::Bytes(bytes) => Ok(Cow::Borrowed(bytes.as_slice())),
            Part::Secret(form) => self.in_form(form),
            Part::Body => Ok(Cow::Borrowed(body)),
        };
        parts.iter().map(piece).collect()
    }
}

/// How many bytes stand beside the secret.
fn beside(parts: &[Part], body: &[u8]) -> usize {
    let length = |part: &Part| match part {
        Part::Bytes(bytes) => bytes.len(),
        Part::Body => body.len(),
        Part::Secret(_) => 0,
    };
    parts.iter().map(length).sum()
}
