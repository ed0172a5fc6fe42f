//! A few read-only connections, so that a read never waits for a commit.
//!
//! Each read sees all that was committed before it began. It does not know what is read.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::store::StoreError;

#[derive(Debug)]
pub struct Readers {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    idle: Mutex<Vec<Connection>>,
    /// One permit for each connection, so that no more threads block than there are connections.
    permits: Arc<Semaphore>,
}

impl Readers {
    pub fn new(connections: Vec<Connection>) -> Readers {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Readers { pool: Arc::new(Pool { idle: Mutex::new(connections), permits }) }
    }

    /// Runs a read on a thread that may block.
    pub async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let pool = self.pool.clone();
        let permit = pool.permits.clone().acquire_owned().await.map_err(|_| broken())?;
        let read = move || {
            let lent = Lent::take(&pool)?;
            let outcome = work(lent.db());
            // Back in the pool before the next one may look for it.
            drop(lent);
            drop(permit);
            outcome
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| broken())?
    }
}

fn broken() -> StoreError {
    StoreError::Unavailable("a read broke off".to_owned())
}

/// A connection that goes back to the pool, also when its reader panics.
struct Lent<'pool> {
    db: Option<Connection>,
    pool: &'pool Pool,
}

impl Lent<'_> {
    fn take(pool: &Pool) -> Result<Lent<'_>, StoreError> {
        let db = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(Lent { db: Some(db.ok_or_else(broken)?), pool })
    }

    fn db(&self) -> &Connection {
        self.db.as_ref().expect("only drop takes the connection")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.db.take());
    }
}
