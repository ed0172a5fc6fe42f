//! Tasks that a shutdown waits for, each by its name, and the wish to shut down itself.
//!
//! It does not know what the tasks do: they watch `cancelled()` and end by themselves. `main` listens for
//! signals, `app` drains. Next: `doors::server`, the first to start tasks here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a task is called in the report of a shutdown.
pub type Name = Cow<'static, str>;

/// The exit code of a process that a second signal stopped at once, as shells count an interrupt.
const STOPPED_AT_ONCE: i32 = 130;

/// A handle on all long-lived tasks; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    wish: CancellationToken,
    tasks: TaskTracker,
    names: Names,
}

impl Drain {
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that `drain` waits for. A task that panics counts as ended.
    pub fn spawn<F>(&self, name: impl Into<Name>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let named = self.names.enter(name.into());
        self.tasks.spawn(async move {
            let _named = named;
            future.await
        })
    }

    /// Says that the process wants to end: every `cancelled()` returns.
    pub fn begin(&self) {
        self.wish.cancel();
    }

    pub fn draining(&self) -> bool {
        self.wish.is_cancelled()
    }

    /// Returns once the process wants to end.
    pub async fn cancelled(&self) {
        self.wish.cancelled().await;
    }

    /// Waits for all tasks, at most for the grace period. Returns the names of those that still ran then.
    pub async fn drain(&self, grace: Duration) -> Vec<Name> {
        self.begin();
        self.tasks.close();
        let _ = tokio::time::timeout(grace, self.tasks.wait()).await;
        self.names.all()
    }

    /// Begins the shutdown at the first SIGTERM or SIGINT; a second one stops the process at once.
    #[cfg(unix)]
    pub fn listen_to_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let drain = self.clone();
        // Not a task to wait for: it lives as long as the process.
        tokio::spawn(async move {
            loop {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                drain.signalled();
            }
        });
        Ok(())
    }

    /// Begins the shutdown at the first Ctrl-C; a second one stops the process at once.
    #[cfg(not(unix))]
    pub fn listen_to_signals(&self) -> std::io::Result<()> {
        let drain = self.clone();
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                drain.signalled();
            }
        });
        Ok(())
    }

    fn signalled(&self) {
        if self.draining() {
            tracing::warn!(event.action = "stop", "second signal: stopping at once");
            std::process::exit(STOPPED_AT_ONCE);
        }
        tracing::info!(
            event.action = "drain",
            "signal: finishing what is under way; a second one stops at once"
        );
        self.begin();
    }
}

/// The names of the tasks that run.
#[derive(Debug, Clone, Default)]
struct Names(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    next: u64,
    names: BTreeMap<u64, Name>,
}

impl Names {
    fn enter(&self, name: Name) -> Named {
        let mut running = self.lock();
        let key = running.next;
        running.next += 1;
        running.names.insert(key, name);
        Named { key, names: self.clone() }
    }

    fn all(&self) -> Vec<Name> {
        self.lock().names.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        // A map of names is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One task's entry; leaves with it, however it ends.
struct Named {
    key: u64,
    names: Names,
}

impl Drop for Named {
    fn drop(&mut self) {
        self.names.lock().names.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_task_that_ends_by_itself() {
        let drain = Drain::new();
        let watching = drain.clone();
        let task = drain.spawn("polite", async move {
            watching.cancelled().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            "ended"
        });
        assert!(!drain.draining());
        assert_eq!(drain.drain(Duration::from_secs(10)).await, Vec::<Name>::new());
        assert!(drain.draining());
        assert_eq!(task.await.unwrap(), "ended");
    }

    #[tokio::test(start_paused = true)]
    async fn names_who_outlived_the_grace_period() {
        let drain = Drain::new();
        drain.spawn("quick", async {});
        drain.spawn("turn 7", std::future::pending::<()>());
        drain.spawn(format!("socket of {}", "team"), std::future::pending::<()>());
        let began = tokio::time::Instant::now();
        assert_eq!(drain.drain(Duration::from_secs(5)).await, ["turn 7", "socket of team"]);
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panicking_or_aborted_task_is_gone() {
        let drain = Drain::new();
        drain.spawn("panics", async { panic!("on purpose") });
        drain.spawn("aborted", std::future::pending::<()>()).abort();
        assert_eq!(drain.drain(Duration::from_secs(5)).await, Vec::<Name>::new());
    }

    /// Runs this very test again as a child, which signals itself twice and then would wait for ever.
    #[cfg(unix)]
    #[test]
    fn the_first_signal_drains_and_the_second_stops() {
        const CHILD: &str = "PARLOR_TEST_SIGNALS";
        if std::env::var_os(CHILD).is_some() {
            return signal_oneself_twice();
        }
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "drain::tests::the_first_signal_drains_and_the_second_stops", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("draining: true"));
        assert_eq!(output.status.code(), Some(STOPPED_AT_ONCE));
    }

    #[cfg(unix)]
    #[tokio::main(flavor = "current_thread")]
    async fn signal_oneself_twice() {
        use rustix::process::{Signal, getpid, kill_process};
        let drain = Drain::new();
        drain.listen_to_signals().unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
        drain.cancelled().await;
        println!("draining: {}", drain.draining());
        kill_process(getpid(), Signal::INT).unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        panic!("the second signal did not stop the process");
    }
}
