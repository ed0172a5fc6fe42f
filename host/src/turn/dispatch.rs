//! From the inbox to running turns: claims what is due, within the bounds of the host and of each channel.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::show::Card;
use super::tenure::Tenure;
use super::{Channel, Ended, LEASE, Served, Turn, TurnError, Turns, favour};
use crate::clock::Watch;
use crate::conversation::Key;
use crate::message::Message;
use crate::plugin::services::Fence as _;
use crate::store::{Bound, Claim, Ending, Progress, StoreError};
use crate::telemetry;

/// A due time that another node sets is noticed within it.
const IDLE: Duration = Duration::from_secs(1);
/// Far more than all attempts of asking and delivering together: a turn that was claimed as often ended the
/// process, or failed in the store, each time.
pub(super) const CLAIMS_MAX: u32 = 20;
/// Messages of a channel that was taken out wait so long for it to come back; then they are dead letters.
const STRANGERS_KEPT: Duration = Duration::from_secs(86_400);
/// Turns that are claimed at once while more wait: a store that commits them together takes no longer than for one.
const CLAIMS_AT_ONCE_MAX: usize = 16;
/// A renewal may fail twice before the lease ends.
const RENEWAL: Duration = Duration::from_secs(10);

impl Turns {
    /// Claims turns and starts them until the drain begins.
    pub async fn dispatch(self: Arc<Self>) {
        let (mut strangers, mut watch) = (BTreeSet::new(), Watch::begin(self.clock.now()));
        let (mut looked, mut at_once) = (watch, 1);
        while !self.drain.draining() {
            self.follow_clock(&mut watch).await;
            self.probe_store().await;
            self.all_recorded().await;
            let permits = self.permits(at_once).await;
            if permits.is_empty() {
                break;
            }
            let bounds: Vec<_> = self.bounds().chain(strangers.iter().cloned().map(closed)).collect();
            if looked.elapsed(self.clock.now()) >= RENEWAL {
                self.hold_on().await;
            }
            let now = self.clock.now();
            let asked = Watch::begin(now);
            looked = asked;
            let wanted = permits.len();
            let claims = permits.iter().map(|_| self.store.claim(now, LEASE, &bounds));
            let claims = join_all(claims).await.into_iter().zip(permits);
            at_once = match self.begin(claims, asked, &mut strangers).await {
                Ok(begun) if begun == wanted => CLAIMS_AT_ONCE_MAX.min(2 * wanted),
                Ok(0) => {
                    self.idle(&bounds).await;
                    1
                }
                Ok(_) => 1,
                Err(error) => {
                    tracing::error!(error = %error, "no turn can be claimed");
                    tokio::time::sleep(IDLE).await;
                    1
                }
            };
        }
        self.listeners.hang_up();
    }

    /// Starts what was claimed, also beside claims that failed, and counts it.
    async fn begin(
        self: &Arc<Self>,
        claims: impl Iterator<Item = (Result<Option<Claim>, StoreError>, OwnedSemaphorePermit)>,
        asked: Watch,
        strangers: &mut BTreeSet<Arc<str>>,
    ) -> Result<usize, StoreError> {
        let mut begun = Ok(0);
        for (claim, permit) in claims {
            match claim {
                Ok(Some(claim)) => {
                    begun = begun.map(|begun| begun + 1);
                    match self.channels.get(claim.channel.as_str()) {
                        Some(channel) => self.clone().start(channel.clone(), claim, asked, permit),
                        None => strangers.extend(self.leave_stranger(claim).await),
                    }
                }
                Ok(None) => {}
                Err(error) => begun = Err(error),
            }
        }
        begun
    }

    /// A host that stood still keeps its own turns if nobody took them over: it is the one that knows what it did.
    async fn hold_on(&self) {
        for tenure in self.running.tenures() {
            tenure.holds().await;
        }
    }

    /// Before anything is claimed by a clock that was set, the times in the store are.
    async fn follow_clock(&self, watch: &mut Watch) {
        let now = self.clock.now();
        let Some(by) = watch.set_by(now) else { return };
        match self.store.clock_was_set(now, by).await {
            Ok(()) => {
                tracing::warn!(by_ms = by, "the clock was set; what is due, leased and kept moves with it");
                *watch = Watch::begin(now);
            }
            Err(error) => {
                tracing::error!(error = %error, "the clock was set, and the store's times were not")
            }
        }
    }

    /// Room for one more turn, and for so many in all if that is there; none once the drain begins.
    async fn permits(&self, at_once: usize) -> Vec<OwnedSemaphorePermit> {
        let first = tokio::select! {
            biased;
            permit = self.permits.clone().acquire_owned() => permit.ok(),
            () = self.drain.cancelled() => None,
        };
        let more = std::iter::repeat_with(|| self.permits.clone().try_acquire_owned().ok());
        match first {
            Some(first) => {
                std::iter::once(first).chain(more.map_while(|permit| permit).take(at_once - 1)).collect()
            }
            None => Vec::new(),
        }
    }

    /// Each channel's own bound, over all nodes: turns past it wait in the store, and hold up no other channel's. A
    /// channel that has as many here is closed whatever the store knows of its leases.
    fn bounds(&self) -> impl Iterator<Item = Bound> + '_ {
        self.channels.values().map(|channel| match channel.permits.available_permits() {
            0 => closed(channel.name.clone()),
            _ => Bound { channel: channel.name.clone(), turns: channel.concurrent },
        })
    }

    async fn idle(&self, bounds: &[Bound]) {
        let due = self.store.next_due(bounds).await.ok().flatten();
        let wait =
            due.map_or(IDLE, |due| Duration::from_millis(due.saturating_sub(self.clock.now())).min(IDLE));
        tokio::select! {
            biased;
            () = self.wake.notified() => {}
            () = self.store.stirred() => {}
            () = tokio::time::sleep(wait) => {}
            () = self.drain.cancelled() => {}
        }
    }

    fn start(
        self: Arc<Self>,
        channel: Arc<Channel>,
        claim: Claim,
        asked: Watch,
        permit: OwnedSemaphorePermit,
    ) {
        let seat = channel.permits.clone().try_acquire_owned().ok();
        let line = self.listeners.line((channel.name.clone(), claim.message.id.clone()));
        let span = span(&claim.request_id, &channel.name, &claim.message);
        let deadline = Instant::now() + channel.time;
        let tenure = Tenure::new(claim.lease, asked, self.store.clone(), self.clock.clone());
        let super::Underway { tenure, cancelled, interrupted, .. } =
            self.running.enter(&channel, &claim.message, Arc::new(tenure));
        let outlet = match &claim.via {
            Some(via) => self.channels.get(via.channel.as_str()).cloned(),
            None => Some(channel.clone()),
        };
        let served_by = served(&claim, &channel, outlet.as_deref());
        let (card, grown) = (Card::of(&claim, served_by.outlet.as_ref()), Notify::new());
        let (gathered, is_stale) = (Vec::new(), false);
        let turn = Turn {
            channel,
            outlet,
            served_by,
            claim,
            tenure,
            line,
            card,
            grown,
            cancelled,
            interrupted,
            gathered,
            is_stale,
            deadline,
        };
        let drain = self.drain.clone();
        let work = async move {
            self.work(turn, seat).await;
            drop(permit);
            self.wake.notify_one();
        };
        drop(drain.spawn("turn", work.instrument(span)));
    }

    /// The channel of this turn is not configured: its messages wait, since a name may be mistyped, and die in the
    /// end, so that an operator finds them. Returns it, to be passed over from now on.
    async fn leave_stranger(&self, claim: Claim) -> Option<Arc<str>> {
        let now = self.clock.now();
        if now.saturating_sub(claim.received_at)
            > u64::try_from(STRANGERS_KEPT.as_millis()).unwrap_or(u64::MAX)
        {
            let reason = format!(
                "the channel `{}` is not in the configuration; put it back and replay",
                claim.channel
            );
            tracing::error!(channel = %claim.channel, "a stored message of a channel that is no more is dead");
            drop(self.store.finish(claim.lease, now, &Ending::Dead { reason }, &[]).await);
            return None;
        }
        tracing::error!(
            channel = %claim.channel,
            "stored messages wait for a channel that is not in the configuration; put it back and start again"
        );
        drop(self.store.postpone(claim.lease, now, None, claim.may_be_seen).await);
        Some(claim.channel.into())
    }

    /// Runs one turn under a lease that is renewed, to its end or its failure.
    async fn work(&self, mut turn: Turn, seat: Option<OwnedSemaphorePermit>) {
        let (began, tenure, key) = (Instant::now(), turn.tenure.clone(), turn.key());
        tracing::info!(claims = turn.claim.claims, stage = stage(&turn.claim.progress), "turn begins");
        let ended = tokio::select! {
            biased;
            ended = self.run_in_seat(&mut turn, seat) => ended,
            () = self.renew(&tenure, &key) => Ended::Left,
        };
        self.running.leave(&turn.key(), ended);
        self.metrics.turn(&turn.channel.name, ended.as_str(), began.elapsed());
        let age_ms = turn.age(self.clock.now()).as_millis() as u64;
        tracing::info!(ending = ended.as_str(), age_ms, "turn ends");
    }

    /// The store counts a turn as ended before its seat in the channel is free: who was claimed together with others may
    /// have to wait for one.
    async fn run_in_seat(&self, turn: &mut Turn, seat: Option<OwnedSemaphorePermit>) -> Ended {
        let _seat = match seat {
            Some(seat) => seat,
            None => {
                turn.channel.permits.clone().acquire_owned().await.expect("this semaphore is never closed")
            }
        };
        self.run_or_fail(turn).await
    }

    async fn run_or_fail(&self, turn: &mut Turn) -> Ended {
        let is_unheard = !turn.is_heard() && turn.needs_listener();
        let outcome = match turn.claim.claims {
            _ if is_unheard => Err(TurnError::Withdrawn),
            claims if claims > CLAIMS_MAX => Err(TurnError::TooManyClaims(claims)),
            _ => self.run_seated(turn).await,
        };
        match outcome {
            Ok(Ended::Delivered) if turn.is_stale => Ended::Stale,
            Ok(ended) => ended,
            Err(error) => self.fail(turn, error).await,
        }
    }

    /// The turn's own time begins once it has an instance for each of its pipelines.
    async fn run_seated(&self, turn: &mut Turn) -> Result<Ended, TurnError> {
        let stages = u32::try_from(turn.channel.stages.len()).unwrap_or(u32::MAX);
        let _seats = self.instances.acquire_many(stages).await.expect("this semaphore is never closed");
        turn.deadline = Instant::now() + turn.channel.time;
        self.look_behind(turn).await?;
        self.run(turn).await
    }

    /// Ends only when the lease is lost: then another worker has the turn. A message that was taken back at another
    /// node stops its turn here.
    async fn renew(&self, tenure: &Tenure, key: &Key) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            if let Err(error) = tenure.renew().await {
                tracing::warn!(error = %error, "the turn's lease was not renewed");
            }
            if tenure.is_lost() {
                return;
            }
            if self.is_taken_back(key).await {
                self.running.cancel(key);
            }
        }
    }

    /// Whether the person took the message back at another node.
    pub(super) async fn is_taken_back(&self, (channel, message_id): &Key) -> bool {
        self.store.is_taken_back(channel, message_id).await.unwrap_or(false)
    }
}

/// The releases that serve a turn. One that went wrong before goes to the stable ones, whatever it was.
fn served(claim: &Claim, channel: &Channel, outlet: Option<&Channel>) -> Served {
    let favour = favour(claim);
    let speaker = |channel: &Channel| {
        let adapter = channel.adapter.as_ref()?;
        Some(adapter.speaker(&claim.message.conversation, favour))
    };
    Served { inlet: speaker(channel), outlet: outlet.and_then(speaker) }
}

fn closed(channel: Arc<str>) -> Bound {
    Bound { channel, turns: 0 }
}

fn stage(progress: &Progress) -> &'static str {
    match progress {
        Progress::Unanswered { .. } => "generating",
        Progress::Answered { .. } => "delivering",
        Progress::Withdrawn { .. } => "withdrawn",
    }
}

fn span(request_id: &str, channel: &str, message: &Message) -> tracing::Span {
    tracing::info_span!("turn", http.request.id = request_id, channel, person = %telemetry::person(&message.sender.id))
}
