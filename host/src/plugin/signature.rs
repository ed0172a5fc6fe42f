//! Who signed a plugin's file: minisign's Ed25519 in the last section, over all bytes before it.
//!
//! The whole file is verified before anything of it is read. What counts is one exact form: the section is written
//! as `attach` writes it, so that no byte of a signed file can change unnoticed, the signature's own included. Which
//! keys are trusted is the operator's to say (`Trust`); secret keys are the command line's.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minisign::{PublicKey, SignatureBox};

use crate::plugin::sections::{self, Broken, Section};

pub const SECTION: &str = "parlor:signature";
/// Four lines; the comments of people are short.
const TEXT_BYTES_MAX: usize = 4096;
/// An Ed25519 signature.
const GLOBAL_BYTES: usize = 64;
/// The first line of a signature is signed by nobody, so it is the same in each.
const FIRST_LINE: &str = "untrusted comment: signature of a Parlor plugin";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error(
        "it is not signed; take a signed one from its author, sign your own by `parlor plugin sign`, or set `plugins.allow_unsigned: true` while you develop"
    )]
    Unsigned,
    #[error(
        "`{SECTION}` is not its last section: something was put behind it after it was signed; take the file as its author published it"
    )]
    NotLast,
    #[error("it has {0} signatures, and one counts; take the file as its author published it")]
    Several(usize),
    #[error("its signature cannot be read ({0}); take the file as its author published it, or sign it again")]
    Malformed(&'static str),
    #[error(
        "its signature is of minisign's old kind, which is not over a digest; sign it again without minisign's `-l`"
    )]
    Legacy,
    #[error(
        "it is signed by the key {key_id}, which is none of `plugins.trusted_keys`; if you trust its author, add the author's public key (`RW…`) there"
    )]
    Untrusted { key_id: String },
    #[error(
        "the signature of the key {key_id} does not fit it: the file or its signature was changed after it was signed; take it from its author again"
    )]
    Wrong { key_id: String },
}

/// Which files the operator lets in.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    keys: Vec<PublicKey>,
    allows_unsigned: bool,
}

/// Where a file comes from, as far as it can be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// By a trusted key, over these very bytes.
    Signed(Signer),
    /// Somebody says so; there is no key to verify it with.
    Claimed(Signer),
    Unsigned,
}

/// Who signed, and what was signed along with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// As minisign writes it: 16 hex digits in capitals.
    pub key_id: String,
    /// The trusted comment: one line, perhaps with tabs, as minisign itself writes them.
    pub comment: String,
}

impl Provenance {
    /// Who signed it, where that is known for sure.
    pub fn signer(&self) -> Option<&Signer> {
        match self {
            Self::Signed(signer) => Some(signer),
            Self::Claimed(_) | Self::Unsigned => None,
        }
    }
}

impl Trust {
    /// Files signed by one of these keys; others too if `allows_unsigned`.
    pub fn new(keys: Vec<PublicKey>, allows_unsigned: bool) -> Trust {
        Trust { keys, allows_unsigned }
    }

    /// For looking at a file that does not serve here, or that was let in before.
    pub fn anybody() -> Trust {
        Trust::new(Vec::new(), true)
    }

    pub fn into_keys(self) -> Vec<PublicKey> {
        self.keys
    }

    pub fn allows_unsigned(&self) -> bool {
        self.allows_unsigned
    }

    /// Who signed the file, or why it is not let in. A signature that is wrong is never let in.
    pub fn verify(&self, bytes: &[u8]) -> Result<Provenance, SignatureError> {
        let Some((body, signature)) = split(bytes)? else {
            return if self.allows_unsigned {
                Ok(Provenance::Unsigned)
            } else {
                Err(SignatureError::Unsigned)
            };
        };
        let signer = signer(&signature)?;
        let mut keys = self.keys.iter().filter(|key| key.keynum() == signature.keynum()).peekable();
        if keys.peek().is_none() {
            let key_id = signer.key_id.clone();
            return if self.allows_unsigned {
                Ok(Provenance::Claimed(signer))
            } else {
                Err(SignatureError::Untrusted { key_id })
            };
        }
        let holds = |key: &PublicKey| {
            let body = std::io::Cursor::new(body);
            minisign::verify(key, &signature, body, true, false, false).is_ok()
        };
        if keys.any(holds) {
            Ok(Provenance::Signed(signer))
        } else {
            Err(SignatureError::Wrong { key_id: signer.key_id })
        }
    }
}

/// Puts a signature behind the bytes that it was made over.
pub fn attach(body: &[u8], signature: &SignatureBox) -> Result<Vec<u8>, SignatureError> {
    if split(body)?.is_some() {
        return Err(SignatureError::Several(2));
    }
    let mut bytes = body.to_vec();
    bytes.extend(sections::custom(SECTION, text(signature)?.as_bytes()));
    split(&bytes)?;
    Ok(bytes)
}

/// The signed part of a file and its signature; none: it has no signature.
pub fn split(bytes: &[u8]) -> Result<Option<(&[u8], SignatureBox)>, SignatureError> {
    let sections = sections::outermost(bytes)?;
    let is_signature = |section: &&Section<'_>| section.name == Some(SECTION);
    let count = sections.iter().filter(is_signature).count();
    let Some(section) = sections.iter().find(is_signature) else { return Ok(None) };
    if count > 1 {
        return Err(SignatureError::Several(count));
    }
    if section.range.end != bytes.len() {
        return Err(SignatureError::NotLast);
    }
    let signature = read(section.data)?;
    let (body, tail) = bytes.split_at(section.range.start);
    if tail != sections::custom(SECTION, text(&signature)?.as_bytes()) {
        return Err(SignatureError::Malformed("it is not written as `parlor plugin sign` writes it"));
    }
    Ok(Some((body, signature)))
}

/// Reads a signature's four lines, as they are in a file `.minisig`.
pub fn read(text: &[u8]) -> Result<SignatureBox, SignatureError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(SignatureError::Malformed("it is too long"));
    }
    let text = std::str::from_utf8(text).map_err(|_| SignatureError::Malformed("it is not UTF-8"))?;
    let signature = SignatureBox::from_string(text)
        .map_err(|_| SignatureError::Malformed("it is none of minisign's four lines"))?;
    if !signature.is_prehashed() {
        return Err(SignatureError::Legacy);
    }
    // minisign itself takes a longer one, and stumbles over a shorter.
    let global = text.lines().nth(3).and_then(|line| BASE64_STANDARD.decode(line.trim()).ok());
    if global.is_none_or(|global| global.len() != GLOBAL_BYTES) {
        return Err(SignatureError::Malformed("the signature of its comment is cut off"));
    }
    signer(&signature)?;
    Ok(signature)
}

/// Who says to have signed.
pub fn signer(signature: &SignatureBox) -> Result<Signer, SignatureError> {
    let comment = signature.trusted_comment().unwrap_or_default();
    if comment.chars().any(|c| c.is_control() && c != '\t') {
        return Err(SignatureError::Malformed("its comment has control characters"));
    }
    Ok(Signer { key_id: key_id(signature.keynum()), comment })
}

/// A key's number as minisign writes it.
pub fn key_id(number: &[u8]) -> String {
    hex::encode_upper(number.iter().rev().copied().collect::<Vec<u8>>())
}

/// The four lines in the one form that counts.
fn text(signature: &SignatureBox) -> Result<String, SignatureError> {
    let text = signature.to_string();
    let (_, rest) = text.split_once('\n').ok_or(SignatureError::Malformed("it has one line"))?;
    Ok(format!("{FIRST_LINE}\n{rest}"))
}
