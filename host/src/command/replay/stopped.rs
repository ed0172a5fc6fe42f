//! Dead letters in a data folder from which no host serves.

use std::path::Path;

use super::Letter;
use crate::clock::{Clock as _, SystemClock, rfc3339};
use crate::store::oversight::{Act, Actor, DeadLetter, Oversight as _};
use crate::store::sqlite::{DATABASE_FILE, SqliteStore};
use crate::store::vault::Vault;

/// Read at a time.
const PIECE: u32 = 200;
/// What the audit remembers of who needs no token, since the data is his.
const ROLE: &str = "operator";

pub(super) struct Stopped {
    store: SqliteStore,
}

impl Stopped {
    pub(super) fn open(data: &Path) -> anyhow::Result<Stopped> {
        let file = data.join(DATABASE_FILE);
        anyhow::ensure!(
            file.exists(),
            "there is nothing in `{}` yet: no host served from it",
            data.display()
        );
        Ok(Stopped { store: SqliteStore::open(data, Vault::open(data)?)? })
    }

    pub(super) async fn list(&self, channel: Option<&str>) -> anyhow::Result<Vec<Letter>> {
        let mut letters: Vec<Letter> = Vec::new();
        loop {
            let before = letters.last().map(|last| last.id);
            let piece = self.store.dead_letters(channel, before, PIECE).await?;
            let is_last = piece.len() < PIECE as usize;
            letters.extend(piece.iter().map(letter));
            if is_last {
                return Ok(letters);
            }
        }
    }

    pub(super) async fn replay(&self, turn: i64, asks: bool) -> anyhow::Result<bool> {
        let user = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
        let actor = Actor {
            person: user.unwrap_or_else(|| "command line".to_owned()),
            token: None,
            role: ROLE.to_owned(),
            request_id: uuid::Uuid::now_v7().to_string(),
            client: None,
        };
        Ok(self.store.act(SystemClock.now(), &Act::Replay { turn, asks }, &actor).await?)
    }
}

fn letter(dead: &DeadLetter) -> Letter {
    Letter {
        id: dead.turn,
        channel: dead.channel.clone(),
        message_id: dead.message.id.clone(),
        died_at: rfc3339(dead.died_at),
        reason: dead.reason.clone(),
        is_answered: dead.reply.is_some(),
    }
}
