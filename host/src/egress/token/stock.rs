//! Tokens in the store: one node mints, and the others that share the store take what it left there. So does a node
//! that was started again.
//!
//! A token lies sealed, in a space whose name nobody works out without the vault's key: who reads the store can neither
//! use the token nor try on its name which secret it was minted with. It does not know recipes, nor how to mint.

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{Key, MINT_TIMEOUT, Obtained};
use crate::clock::{Clock, Millis};
use crate::store::vault::Vault;
use crate::store::{Store, StoreError};

/// Keys in the space of one recipe.
const TOKEN: &str = "token";
const RIGHT: &str = "right";
/// No mint takes longer: the right of a node that died while it minted ends by itself.
const RIGHT_LIFE: Duration = MINT_TIMEOUT.saturating_add(Duration::from_secs(1));
/// A mint takes milliseconds: whoever has waited this long for another node's does it himself. That node may have died.
const PATIENCE: Duration = Duration::from_secs(4);
/// Who waits for another node's token looks for it this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Until when this node alone may mint a token, of all that share the store. A call that was dropped leaves it to the
/// next one.
pub(super) type Right = Option<Instant>;

/// The tokens of all nodes that share a store.
#[derive(Debug)]
pub(super) struct Stock {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    vault: Vault,
    naming: hmac::Key,
}

impl Stock {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, vault: Vault) -> Self {
        let naming = hmac::Key::new(hmac::HMAC_SHA256, &vault.subkey(b"tokens"));
        Self { store, clock, vault, naming }
    }

    pub(super) fn place(&self, key: &Key) -> Place<'_> {
        let name = hex::encode(hmac::sign(&self.naming, key));
        Place { stock: self, space: format!("token:{name}") }
    }
}

/// Where the token of one recipe lies.
pub(super) struct Place<'stock> {
    stock: &'stock Stock,
    space: String,
}

impl Place<'_> {
    /// The token that lies here, unless it is the stale one. None: mint one, and `leave` it. One node at a time gets
    /// that answer; the others wait for its token a while.
    pub(super) async fn take(
        &self,
        right: &mut Right,
        stale: Option<&str>,
    ) -> Result<Option<Obtained>, StoreError> {
        let until = Instant::now() + PATIENCE;
        let mut is_ours = right.is_some_and(|until| Instant::now() < until);
        loop {
            // With the right in hand it looks once more: somebody may have left one and given the right back.
            if let Some(token) = self.find().await?.filter(|token| Some(token.value.as_str()) != stale) {
                if is_ours {
                    // What cannot be given back ends by itself.
                    self.give_back(right).await.ok();
                }
                return Ok(Some(token));
            }
            if is_ours || Instant::now() >= until {
                return Ok(None);
            }
            is_ours = self.claim(right).await?;
            if !is_ours {
                sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Leaves a token here for the others, if one was minted, and gives the right to mint back.
    pub(super) async fn leave(&self, right: &mut Right, minted: Option<&Obtained>) -> Result<(), StoreError> {
        let left = match minted {
            Some(token) => self.put(token).await,
            None => Ok(()),
        };
        left.and(self.give_back(right).await)
    }

    async fn find(&self) -> Result<Option<Obtained>, StoreError> {
        let Stock { store, clock, vault, .. } = self.stock;
        let Some(sealed) = store.get(&self.space, clock.now(), TOKEN).await? else { return Ok(None) };
        let plain = vault.unseal(self.space.as_bytes(), &sealed).ok();
        let Some(kept) = plain.and_then(|plain| serde_json::from_slice::<Kept>(&plain).ok()) else {
            tracing::warn!("a token was changed in the store: a new one is minted");
            return Ok(None);
        };
        Ok(kept.obtained(clock.now()))
    }

    async fn put(&self, token: &Obtained) -> Result<(), StoreError> {
        let Stock { store, clock, vault, .. } = self.stock;
        let now = clock.now();
        let kept = Kept { value: token.value.clone(), minted_at: now, until: now + millis(token.life) };
        let plain = serde_json::to_vec(&kept).expect("a text and two numbers are JSON");
        let sealed = vault.seal(self.space.as_bytes(), &plain)?;
        store.set(&self.space, now, TOKEN, &sealed, Some(token.life)).await
    }

    /// Takes the right to mint, if no other node has it.
    async fn claim(&self, right: &mut Right) -> Result<bool, StoreError> {
        let (store, now) = (&self.stock.store, self.stock.clock.now());
        // By this node's time it ends before it does in the store.
        let until = Instant::now() + RIGHT_LIFE;
        let is_ours = store.increment(&self.space, now, RIGHT, 1, Some(RIGHT_LIFE)).await? == 1;
        *right = is_ours.then_some(until);
        Ok(is_ours)
    }

    async fn give_back(&self, right: &mut Right) -> Result<(), StoreError> {
        self.stock.store.delete(&self.space, RIGHT).await?;
        *right = None;
        Ok(())
    }
}

/// A token as it lies in the store, under the seal.
#[derive(Serialize, Deserialize)]
struct Kept {
    value: String,
    minted_at: Millis,
    until: Millis,
}

impl Kept {
    /// With what is left of its life, which no node's clock draws out.
    fn obtained(self, now: Millis) -> Option<Obtained> {
        let age = now.saturating_sub(self.minted_at);
        let life = self.until.saturating_sub(self.minted_at).saturating_sub(age);
        let [age, life] = [age, life].map(Duration::from_millis);
        (!life.is_zero()).then_some(Obtained { value: self.value, age, life })
    }
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
