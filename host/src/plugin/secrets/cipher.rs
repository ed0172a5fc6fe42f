//! AES-256-CBC with its padding checked by hand, in constant time. It knows no secret's name.

use std::hint::black_box;

use aes::Aes256;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};

pub(super) const BLOCK_BYTES: usize = 16;

/// To which length the plaintext was filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    Pkcs7To16,
    Pkcs7To32,
}

impl Padding {
    fn most(self) -> usize {
        match self {
            Self::Pkcs7To16 => 16,
            Self::Pkcs7To32 => 32,
        }
    }
}

/// None for everything that does not decrypt, without saying why: no oracle for the padding.
pub(super) fn decrypt(key: &[u8; 32], vector: &[u8; 16], blocks: &[u8], padding: Padding) -> Option<Vec<u8>> {
    if blocks.is_empty() || !blocks.len().is_multiple_of(BLOCK_BYTES) {
        return None;
    }
    let decryptor = cbc::Decryptor::<Aes256>::new(key.into(), vector.into());
    let mut plain = decryptor.decrypt_padded_vec::<NoPadding>(blocks).ok()?;
    let length = unpadded(&plain, padding.most())?;
    plain.truncate(length);
    Some(plain)
}

/// Length without PKCS#7. Looks at the same bytes whatever they are.
fn unpadded(plain: &[u8], most: usize) -> Option<usize> {
    let pad = usize::from(*plain.last()?);
    let looked_at = most.min(plain.len());
    let mut wrong = usize::from(pad == 0) | usize::from(pad > looked_at);
    for (index, byte) in plain.iter().rev().take(looked_at).enumerate() {
        wrong |= usize::from(index < pad) & usize::from(usize::from(*byte) != pad);
    }
    (black_box(wrong) == 0).then(|| plain.len() - pad)
}

/// Fills `plain` up to a whole number of 32 bytes and encrypts it.
pub(super) fn encrypt_to_32(key: &[u8; 32], vector: &[u8; 16], mut plain: Vec<u8>) -> Vec<u8> {
    let pad = 32 - plain.len() % 32;
    let byte = u8::try_from(pad).expect("a padding is 1 to 32");
    plain.resize(plain.len() + pad, byte);
    cbc::Encryptor::<Aes256>::new(key.into(), vector.into()).encrypt_padded_vec::<NoPadding>(&plain)
}
