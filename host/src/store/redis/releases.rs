//! The files of releases in Redis, in pieces: a script holds up everybody for as long as it takes, and an answer has
//! half a second.

use super::RedisStore;
use super::link::foreign;
use crate::store::{RELEASE_BYTES_MAX, StoreError};

/// Some milliseconds on a slow line.
const PIECE_BYTES: usize = 256 << 10;
const PIECES_MAX: usize = RELEASE_BYTES_MAX / PIECE_BYTES;

impl RedisStore {
    /// Of how many pieces a file is; none if it is not there whole.
    pub(super) async fn release_pieces(&self, digest: &str) -> Result<Option<usize>, StoreError> {
        self.run(self.of("release_pieces", digest).with(digest)).await
    }

    pub(super) async fn put_release(&self, digest: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.len() > RELEASE_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes: bytes.len(), limit: RELEASE_BYTES_MAX });
        }
        let pieces = bytes.chunks(PIECE_BYTES);
        let count = pieces.len() as u64;
        for (number, piece) in (0u64..).zip(pieces) {
            let call = self.of("keep_piece", digest).with(digest).with_number(number).with(piece);
            self.run::<()>(call).await?;
        }
        self.run(self.of("keep_release", digest).durable().with(digest).with_number(count)).await
    }

    pub(super) async fn read_release(&self, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(pieces) = self.release_pieces(digest).await? else { return Ok(None) };
        if pieces > PIECES_MAX {
            return Err(foreign());
        }
        let mut bytes = Vec::new();
        for number in 0..pieces as u64 {
            let call = self.of("release_piece", digest).with(digest).with_number(number);
            // Dropped meanwhile.
            let Some(piece) = self.run::<Option<Vec<u8>>>(call).await? else { return Ok(None) };
            if piece.len() > PIECE_BYTES {
                return Err(foreign());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes))
    }
}
