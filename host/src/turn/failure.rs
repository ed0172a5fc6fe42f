//! A turn that did not go well: whose fault, is a retry worth it, and what the person sees.

use std::time::Duration;

use super::dispatch::CLAIMS_MAX;
use super::trouble::trouble;
use super::{Ended, Turn, Turns};
use crate::adapter::AdapterError;
use crate::clock::Millis;
use crate::conversation::{self, End};
use crate::message::{FaultKind, Reply};
use crate::model::ModelError;
use crate::pipeline::PipelineError;
use crate::store::{Delivery, Ending, Progress, StoreError};
use crate::telemetry;

/// Attempts at an answer before the person gets an apology. A model's own retries come on top.
const ASKS_MAX: u32 = 3;
/// Attempts at a delivery before it is dead: with the pauses below about ten minutes.
const DELIVERIES_MAX: u32 = 8;
/// Attempts at a delivery that may have come through: a second one doubles a message at most once, where a
/// platform has no key; none at all would lose one.
const UNCERTAIN_DELIVERIES_MAX: u32 = 2;
/// Attempts at a delivery that the platform puts off: it comes when it says, and that is no failure of ours.
const THROTTLED_DELIVERIES_MAX: u32 = 16;
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Who waits for an answer is told that there is none rather than left alone for longer than this.
const ASK_PAUSE_MAX: Duration = Duration::from_secs(120);
/// A platform that asks for more is asked again after it: its conversation waits meanwhile.
const PAUSE_ASKED_MAX: Duration = Duration::from_secs(3600);

/// Why a turn stopped on its way.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the adapter could not complete the message")]
    Enrich(#[from] AdapterError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("the pipelines made more than 1 MiB of an answer; look for a filter that adds text without end")]
    Overgrown,
    /// Of a question that no pipeline asked, or whose pipeline had nothing to add.
    #[error("the model gave no answer")]
    Model(#[source] ModelError),
    #[error("the turn took longer than its channel allows; raise `limits.time` or use a faster model")]
    TimedOut,
    #[error("the message was taken back, or nobody waits for its answer any more")]
    Withdrawn,
    #[error("another message of the same person came, and the channel answers that one")]
    Interrupted,
    #[error("the reply could not be delivered")]
    Delivery(#[source] AdapterError),
    #[error("the adapter never finished delivering")]
    EndlessDelivery,
    #[error(
        "the channel that this reply was to go out through is not in the configuration; put it back, and replay the turn"
    )]
    NoOutlet,
    #[error("the turn was begun {0} times and never came to an end; look for what ended the process")]
    TooManyClaims(u32),
}

/// What is done about it.
#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    /// Nothing: another worker has the turn, or the store must come back first.
    Leave,
    Retry(Duration),
    Apologise,
    Bury,
    Withdraw,
    BreakOff,
}

impl Turns {
    /// Turns an error into what the store, the operator and the person get to know. Returns how it ended.
    pub(super) async fn fail(&self, turn: &Turn, error: TurnError) -> Ended {
        let error = if self.is_unwanted(turn, &error).await { TurnError::Withdrawn } else { error };
        let done = match self.face_up_to(turn, &error).await {
            // It was taken back before what was done about it.
            Err(late) if !matches!(error, TurnError::Withdrawn) && self.is_unwanted(turn, &late).await => {
                self.face_up_to(turn, &TurnError::Withdrawn).await
            }
            done => done,
        };
        done.unwrap_or_else(|error| {
            if matches!(error, TurnError::Store(StoreError::LeaseLost)) {
                return Ended::Withdrawn;
            }
            tracing::error!(
                error = telemetry::chain(&error),
                "the turn's failure could not be stored; it is tried again"
            );
            Ended::Left
        })
    }

    async fn face_up_to(&self, turn: &Turn, error: &TurnError) -> Result<Ended, TurnError> {
        let remedy = self.remedy(turn, error);
        report(turn, error, &remedy);
        match remedy {
            Remedy::Leave => Ok(Ended::Left),
            Remedy::Retry(pause) => self.retry(turn, pause, error).await,
            Remedy::Apologise => self.apologise(turn, error).await,
            Remedy::Bury => {
                if is_of_the_answer(error) {
                    self.say_instead(turn).await;
                }
                self.bury(turn, error).await
            }
            Remedy::Withdraw => self.take_back(turn).await,
            Remedy::BreakOff => self.break_off(turn).await,
        }
    }

    /// Whether the message was taken back, perhaps at another node, and the turn stopped because of that, or is worth no
    /// further attempt.
    async fn is_unwanted(&self, turn: &Turn, error: &TurnError) -> bool {
        match error {
            // The store takes no answer to it.
            TurnError::Store(StoreError::LeaseLost) => self.is_taken_back(&turn.key()).await,
            TurnError::Delivery(_) | TurnError::EndlessDelivery
                if !turn.may_have_left_a_card() || self.delivery_pause(turn, error).is_none() =>
            {
                self.is_taken_back(&turn.key()).await
            }
            TurnError::Delivery(_) | TurnError::EndlessDelivery | TurnError::Store(_) => false,
            _ => turn.cancelled.is_cancelled(),
        }
    }

    async fn retry(&self, turn: &Turn, pause: Duration, error: &TurnError) -> Result<Ended, TurnError> {
        let due: Millis = self.clock.now() + u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let reason = (!is_put_off(error)).then(|| telemetry::chain(error));
        let (lease, may_be_seen) = (turn.claim.lease, turn.may_have_left_a_card());
        self.persist(|| self.store.postpone(lease, due, reason.as_deref(), may_be_seen)).await?;
        Ok(Ended::Retried)
    }

    /// The person gets one plain sentence, stored and delivered as any answer; it enters no history.
    async fn apologise(&self, turn: &Turn, error: &TurnError) -> Result<Ended, TurnError> {
        let reply = conversation::apology(&turn.claim.message);
        let delivery = self.persist(|| self.store.answer(turn.claim.lease, self.clock.now(), &reply)).await?;
        self.tell(turn, End::Failed { sentence: reply.text.clone(), trouble: trouble(error) });
        if let Delivery::Held { .. } = delivery {
            return Ok(Ended::Apologised);
        }
        match self.deliver(turn, &reply).await {
            Ok(receipt) => {
                self.end(turn, Ending::Delivered { receipt }, Some(&reply)).await.map(|_| Ended::Apologised)
            }
            Err(TurnError::Withdrawn) => self.take_back(turn).await,
            Err(error) if self.is_unwanted(turn, &error).await => self.take_back(turn).await,
            Err(error) => match self.delivery_pause(turn, &error) {
                Some(pause) => self.retry(turn, pause, &error).await,
                None => self.bury(turn, &error).await,
            },
        }
    }

    /// Nobody wants the answer any more. A card that is open already is closed all the same, and so is one of which
    /// nobody knows whether it is: the adapter finds it by its key, or the person reads that the answer was stopped.
    async fn take_back(&self, turn: &Turn) -> Result<Ended, TurnError> {
        if turn.may_have_left_a_card() {
            // What closes it is no part of an answer. It is closed also while the store takes nothing.
            if let Err(lost @ StoreError::LeaseLost) = self.store.give_up(turn.claim.lease).await {
                return Err(lost.into());
            }
            if self.close_card(turn, &turn.cut_off()).await?.is_none() {
                return Ok(Ended::Retried);
            }
        }
        self.end(turn, Ending::Withdrawn, None).await
    }

    /// Closes the card of an answer that does not come; returns the platform's ids of it. None: the whole turn is
    /// tried again later.
    pub(super) async fn close_card(
        &self,
        turn: &Turn,
        reply: &Reply,
    ) -> Result<Option<Vec<String>>, TurnError> {
        let error = match self.deliver(turn, reply).await {
            Ok(receipt) => return Ok(Some(receipt)),
            Err(error) => error,
        };
        if let Some(pause) = self.delivery_pause(turn, &error) {
            return self.retry(turn, pause, &error).await.map(|_| None);
        }
        tracing::error!(error = telemetry::chain(&error), "what was shown of an answer stays unfinished");
        Ok(Some(Vec::new()))
    }

    async fn bury(&self, turn: &Turn, error: &TurnError) -> Result<Ended, TurnError> {
        if !matches!(turn.claim.progress, Progress::Withdrawn { .. }) {
            self.excuse(turn).await?;
        }
        let ending = Ending::Dead { reason: telemetry::chain(error) };
        self.persist(|| self.store.finish(turn.claim.lease, self.clock.now(), &ending, &[])).await?;
        Ok(Ended::Dead)
    }

    /// The answer itself cannot be sent, such as one that the platform refuses or the adapter traps at: one plain
    /// sentence may come through. The answer stays with its checkpoint, for a replay.
    async fn say_instead(&self, turn: &Turn) {
        let is_worth_it = match &turn.claim.progress {
            Progress::Answered { reply, .. } => !conversation::is_apology(reply) && !turn.is_job(),
            // It was answered since this claim began.
            Progress::Unanswered { .. } => !turn.is_job(),
            Progress::Withdrawn { .. } => false,
        };
        if !is_worth_it {
            return;
        }
        let reply = conversation::apology(&turn.claim.message);
        match self.deliver_unrecorded(turn, &reply).await {
            Ok(()) => tracing::info!("the person gets an apology instead of the answer"),
            Err(error) => tracing::error!(error = telemetry::chain(&error), "nor can the person be told so"),
        }
    }

    fn remedy(&self, turn: &Turn, error: &TurnError) -> Remedy {
        match error {
            TurnError::Store(_) => Remedy::Leave,
            TurnError::Withdrawn => Remedy::Withdraw,
            TurnError::Interrupted => Remedy::BreakOff,
            TurnError::TooManyClaims(_) => match turn.claim.progress {
                Progress::Unanswered { .. } if !turn.is_job() => Remedy::Apologise,
                Progress::Unanswered { .. } | Progress::Answered { .. } | Progress::Withdrawn { .. } => {
                    Remedy::Bury
                }
            },
            TurnError::NoOutlet => Remedy::Bury,
            TurnError::Delivery(_) | TurnError::EndlessDelivery => {
                self.delivery_pause(turn, error).map_or(Remedy::Bury, Remedy::Retry)
            }
            // A bad candidate costs nobody an answer: the stable release goes on at once.
            TurnError::Enrich(_) | TurnError::Pipeline(_) if turn.is_on_trial() => {
                Remedy::Retry(Duration::ZERO)
            }
            // Who waits on an open line is told at once and asks again by himself.
            _ if turn.is_heard() => Remedy::Apologise,
            _ => match self.pause(turn.claim.attempts, ASKS_MAX, error) {
                Some(pause) if pause <= ASK_PAUSE_MAX => Remedy::Retry(pause),
                _ => Remedy::Apologise,
            },
        }
    }

    fn delivery_pause(&self, turn: &Turn, error: &TurnError) -> Option<Duration> {
        let (failed, attempts_max) = deliveries(turn, error);
        self.pause(failed, attempts_max, error)
    }

    /// How long to wait before the next attempt; none if a further one is not worth it.
    fn pause(&self, failed: u32, attempts_max: u32, error: &TurnError) -> Option<Duration> {
        if failed + 1 >= attempts_max || !is_passing(error) {
            return None;
        }
        let doubled = PAUSE_MIN.saturating_mul(1 << failed.min(16)).min(PAUSE_MAX);
        let jittered = doubled.mul_f64(0.5 + self.random.fraction() / 2.0);
        Some(match asked_pause(error) {
            // Not all at the same moment: those who wait for one rate were told the same.
            Some(asked) => {
                asked.clamp(PAUSE_MIN / 2, PAUSE_ASKED_MAX) + PAUSE_MIN.mul_f64(self.random.fraction() / 2.0)
            }
            None => jittered,
        })
    }
}

/// Whether another answer to the same address might come through.
fn is_of_the_answer(error: &TurnError) -> bool {
    match error {
        TurnError::EndlessDelivery => true,
        // Once: the claim after it buries the turn if this ended the process too.
        TurnError::TooManyClaims(claims) => *claims == CLAIMS_MAX + 1,
        TurnError::Delivery(cause) => {
            matches!(cause.fault().kind, FaultKind::Invalid | FaultKind::Internal | FaultKind::Other)
        }
        _ => false,
    }
}

/// Failed attempts at a delivery, and how many there may be. What the platform puts off is no failure and counts with
/// the claims, so that a delivery that may have come through is still tried once more after it.
///
/// To write into an open card again doubles nothing, and to leave it would show people a reply without an end.
fn deliveries(turn: &Turn, error: &TurnError) -> (u32, u32) {
    let claim = &turn.claim;
    match error {
        TurnError::Delivery(cause) => match cause.fault().kind {
            FaultKind::Uncertain if !turn.has_card() => (claim.attempts, UNCERTAIN_DELIVERIES_MAX),
            FaultKind::Throttled => (claim.claims - 1, THROTTLED_DELIVERIES_MAX),
            _ => (claim.attempts, DELIVERIES_MAX),
        },
        _ => (claim.attempts, DELIVERIES_MAX),
    }
}

fn is_put_off(error: &TurnError) -> bool {
    matches!(error, TurnError::Delivery(cause) if cause.fault().kind == FaultKind::Throttled)
}

fn asked_pause(error: &TurnError) -> Option<Duration> {
    match error {
        TurnError::Delivery(cause) | TurnError::Enrich(cause) => cause.fault().retry_after,
        TurnError::Pipeline(PipelineError::Fault { source, .. }) => source.retry_after,
        TurnError::Model(cause) => cause.fault().retry_after,
        _ => None,
    }
}

fn is_passing(error: &TurnError) -> bool {
    match error {
        // A trap may be mended by the next release; an answer that is stored is worth waiting for it.
        TurnError::Delivery(cause) => cause.fault().is_passing() || cause.fault().kind == FaultKind::Internal,
        TurnError::Enrich(cause) => cause.fault().is_passing(),
        TurnError::Pipeline(cause) => cause.is_passing(),
        TurnError::Model(cause) => cause.fault().is_passing(),
        _ => false,
    }
}

fn report(turn: &Turn, error: &TurnError, remedy: &Remedy) {
    let is_stored = matches!(turn.claim.progress, Progress::Answered { .. });
    let has_answer = is_stored || matches!(error, TurnError::Delivery(_) | TurnError::EndlessDelivery);
    let is_lost = matches!(error, TurnError::Store(StoreError::LeaseLost));
    let error = telemetry::chain(error);
    match remedy {
        Remedy::Withdraw => tracing::info!("the turn was withdrawn"),
        Remedy::BreakOff => tracing::info!("the answer stops: the next message goes on from it"),
        Remedy::Leave if is_lost => tracing::info!("the turn was taken back, or another worker has it"),
        Remedy::Leave => tracing::error!(error, "the turn stopped; it goes on when the store answers"),
        Remedy::Retry(pause) => tracing::warn!(
            error,
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "the turn stopped; it is tried again"
        ),
        Remedy::Apologise => tracing::error!(error, "the turn failed; the person gets an apology"),
        Remedy::Bury if has_answer => {
            tracing::error!(error, "the turn is dead: its answer is kept and was not delivered");
        }
        Remedy::Bury => tracing::error!(error, "the turn is dead: it was not answered, and can be replayed"),
    }
}
