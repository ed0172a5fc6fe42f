//! From the inbox to running turns: claims what is due, within the bounds of the host and of each channel.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{Ended, LEASE, Turn, TurnError, Turns};
use crate::message::Message;
use crate::store::{Claim, Lease, Progress, StoreError};
use crate::telemetry;

/// A due time that another node sets is noticed within it.
const IDLE: Duration = Duration::from_secs(1);
/// How often a message is looked at again whose channel is not configured.
const ORPHAN_PAUSE: Duration = Duration::from_secs(60);
/// A renewal may fail twice before the lease ends.
const RENEWAL: Duration = Duration::from_secs(10);

impl Turns {
    /// Claims turns and starts them until the drain begins.
    pub async fn dispatch(self: Arc<Self>) {
        while !self.drain.draining() {
            self.probe_store().await;
            self.all_recorded().await;
            let Some(permit) = self.permit().await else { break };
            let full = self.full_channels();
            match self.store.claim(self.clock.now(), LEASE, &full).await {
                Ok(Some(claim)) => self.clone().start(claim, permit).await,
                Ok(None) => self.idle(&full).await,
                Err(error) => {
                    tracing::error!(error = %error, "no turn can be claimed");
                    tokio::time::sleep(IDLE).await;
                }
            }
        }
        self.listeners.hang_up();
    }

    /// Room for one more turn; none once the drain begins.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = self.permits.clone().acquire_owned() => permit.ok(),
            () = self.drain.cancelled() => None,
        }
    }

    /// Channels at their own bound: their turns wait in the store, and hold up no other's.
    fn full_channels(&self) -> Vec<Arc<str>> {
        let full = self.channels.values().filter(|channel| channel.permits.available_permits() == 0);
        full.map(|channel| channel.name.clone()).collect()
    }

    async fn idle(&self, full: &[Arc<str>]) {
        let due = self.store.next_due(full).await.ok().flatten();
        let wait =
            due.map_or(IDLE, |due| Duration::from_millis(due.saturating_sub(self.clock.now())).min(IDLE));
        tokio::select! {
            () = self.wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
            () = self.drain.cancelled() => {}
        }
    }

    async fn start(self: Arc<Self>, claim: Claim, permit: OwnedSemaphorePermit) {
        let Some(channel) = self.channels.get(claim.channel.as_str()).cloned() else {
            return self.orphan(claim).await;
        };
        let seat = channel.permits.clone().try_acquire_owned();
        let seat = seat.expect("only the dispatcher takes seats, and it claims for no full channel");
        let line = self.listeners.line((channel.name.clone(), claim.message.id.clone()));
        let span = span(&claim.request_id, &channel.name, &claim.message);
        let deadline = Instant::now() + channel.time;
        let cancelled = self.running.enter((channel.name.clone(), claim.message.id.clone()));
        let turn = Turn { channel, claim, line, cancelled, deadline };
        let drain = self.drain.clone();
        let work = async move {
            self.work(turn).await;
            drop((permit, seat));
            self.wake.notify_one();
        };
        drop(drain.spawn("turn", work.instrument(span)));
    }

    /// The channel of this turn is not configured: it waits, since a name may be mistyped.
    async fn orphan(&self, claim: Claim) {
        tracing::error!(
            channel = %claim.channel,
            "a stored message waits for a channel that is not in the configuration; put it back, or it waits for ever"
        );
        let due = self.clock.now() + ORPHAN_PAUSE.as_millis() as u64;
        drop(self.store.postpone(claim.lease, due, None).await);
    }

    /// Runs one turn under a lease that is renewed, to its end or its failure.
    async fn work(&self, mut turn: Turn) {
        let (began, lease) = (Instant::now(), turn.claim.lease);
        tracing::info!(claims = turn.claim.claims, stage = stage(&turn.claim.progress), "turn begins");
        let ended = tokio::select! {
            ended = self.run_or_fail(&mut turn) => ended,
            () = self.renew(lease) => Ended::Left,
        };
        self.running.leave(&turn.key());
        self.metrics.turn(&turn.channel.name, ended.as_str(), began.elapsed());
        let age_ms = turn.age(self.clock.now()).as_millis() as u64;
        tracing::info!(ending = ended.as_str(), age_ms, "turn ends");
    }

    async fn run_or_fail(&self, turn: &mut Turn) -> Ended {
        let is_unheard = !turn.is_heard() && turn.channel.adapter.is_none();
        let outcome = if is_unheard { Err(TurnError::Withdrawn) } else { self.run_seated(turn).await };
        match outcome {
            Ok(ended) => ended,
            Err(error) => self.fail(turn, error).await,
        }
    }

    /// The turn's own time begins once it has an instance for each of its pipelines.
    async fn run_seated(&self, turn: &mut Turn) -> Result<Ended, TurnError> {
        let stages = u32::try_from(turn.channel.stages.len()).unwrap_or(u32::MAX);
        let _seats = self.instances.acquire_many(stages).await.expect("this semaphore is never closed");
        turn.deadline = Instant::now() + turn.channel.time;
        self.run(turn).await
    }

    /// Ends only when the lease is lost: then another worker has the turn.
    async fn renew(&self, lease: Lease) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let until = self.clock.now() + LEASE.as_millis() as u64;
            if let Err(error) = self.store.renew(lease, until).await {
                tracing::warn!(error = %error, "the turn's lease was not renewed");
                if matches!(error, StoreError::LeaseLost) {
                    return;
                }
            }
        }
    }
}

fn stage(progress: &Progress) -> &'static str {
    match progress {
        Progress::Unanswered => "generating",
        Progress::Answered { .. } => "delivering",
    }
}

fn span(request_id: &str, channel: &str, message: &Message) -> tracing::Span {
    tracing::info_span!("turn", http.request.id = request_id, channel, person = %telemetry::person(&message.sender.id))
}
