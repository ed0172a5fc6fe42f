//! Random interleavings of everything that workers do, against a model of a few lines.
//!
//! The model says which turn a claim must bring and which writes must lose. At the end the queue is worked
//! off: each message was answered once, and each conversation in the order of arrival.

use std::collections::BTreeMap;
use std::time::Duration;

use parlor::clock::Millis;
use parlor::message::{Reply, Utterance};
use parlor::store::{Acceptance, Delivery, Ending, Lease, Progress, Store, StoreError};
use proptest::prelude::*;

use crate::conformance::{CHANNEL, NOW, delivered, exchange, incoming};

const LEASE: Millis = 50;

#[derive(Debug, Clone)]
pub enum Step {
    Accept { conversation: u8, id: u8 },
    Claim,
    Answer { claim: usize },
    Checkpoint { claim: usize },
    GiveUp { claim: usize },
    Finish { claim: usize },
    Die { claim: usize },
    Postpone { claim: usize, delay: Millis, may_be_seen: bool },
    Renew { claim: usize },
    Withdraw { id: u8 },
    Wait { time: Millis },
    Restart,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let claim = || 0..8_usize;
    let step = prop_oneof![
        6 => (0..3_u8, 0..16_u8).prop_map(|(conversation, id)| Step::Accept { conversation, id }),
        6 => Just(Step::Claim),
        3 => claim().prop_map(|claim| Step::Answer { claim }),
        2 => claim().prop_map(|claim| Step::Checkpoint { claim }),
        1 => claim().prop_map(|claim| Step::GiveUp { claim }),
        4 => claim().prop_map(|claim| Step::Finish { claim }),
        1 => claim().prop_map(|claim| Step::Die { claim }),
        2 => (claim(), 0..80_u64, any::<bool>())
            .prop_map(|(claim, delay, may_be_seen)| Step::Postpone { claim, delay, may_be_seen }),
        1 => claim().prop_map(|claim| Step::Renew { claim }),
        1 => (0..16_u8).prop_map(|id| Step::Withdraw { id }),
        2 => (1..60_u64).prop_map(|time| Step::Wait { time }),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..80)
}

#[derive(Debug)]
struct Turn {
    id: u8,
    conversation: u8,
    may_be_seen: bool,
    answered: bool,
    begun: bool,
    withdrawn: bool,
    ended: bool,
    due: Millis,
    /// The lease that counts, and when it ends.
    lease: Option<(Lease, Millis)>,
}

#[derive(Debug, Default)]
struct Model {
    now: Millis,
    /// In order of arrival.
    turns: Vec<Turn>,
    /// All claims ever made, the lost ones too: the turn's place and the lease.
    claims: Vec<(usize, Lease)>,
    said: BTreeMap<u8, Vec<Utterance>>,
}

impl Model {
    /// Which turn a claim must bring.
    fn next(&self) -> Option<usize> {
        let is_head = |place: usize| {
            let turn = &self.turns[place];
            !turn.ended
                && !self.turns[..place].iter().any(|it| !it.ended && it.conversation == turn.conversation)
        };
        let is_free = |turn: &Turn| turn.due <= self.now && turn.lease.is_none_or(|(_, end)| end <= self.now);
        let places = (0..self.turns.len()).filter(|place| is_head(*place) && is_free(&self.turns[*place]));
        places.min_by_key(|place| (self.turns[*place].due, *place))
    }

    /// The turn of a claim, if its lease still counts.
    fn held(&mut self, claim: usize) -> Option<(Lease, Option<&mut Turn>)> {
        let (place, lease) = *self.claims.get(self.claims.len().checked_sub(1 + claim)?)?;
        let turn = &mut self.turns[place];
        let counts = turn.lease.is_some_and(|(current, _)| current == lease);
        Some((lease, counts.then_some(turn)))
    }
}

fn name(conversation: u8) -> String {
    format!("c{conversation}")
}

/// Whether the store let a write through; anything but a lost lease is a failure.
fn is_won<T>(outcome: Result<T, StoreError>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(StoreError::LeaseLost) => false,
        Err(other) => panic!("{other}"),
    }
}

/// What a store makes of the leases that there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each binary of tests has its own stores")]
pub enum AfterRestart {
    /// It was alone, so that whoever held one is gone.
    NobodyHoldsALease,
    /// Others may hold them.
    LeasesGoOn,
}

/// Runs the steps against a store; `open` opens it, again and again on what it stored.
pub async fn run<S: Store>(open: impl AsyncFn() -> S, after: AfterRestart, steps: Vec<Step>) {
    let mut store = open().await;
    let mut model = Model { now: NOW, ..Model::default() };
    for step in steps {
        if matches!(step, Step::Restart) {
            drop(store);
            store = open().await;
            if after == AfterRestart::NobodyHoldsALease {
                model.turns.iter_mut().for_each(|turn| turn.lease = None);
            }
        } else {
            take(&store, &mut model, step).await;
        }
    }
    work_off(&store, &mut model).await;
}

async fn take(store: &dyn Store, model: &mut Model, step: Step) {
    let now = model.now;
    match step {
        Step::Accept { conversation, id } => accept(store, model, conversation, id).await,
        Step::Claim => claim(store, model).await,
        Step::Answer { claim } => {
            let Some((lease, turn)) = model.held(claim) else { return };
            let won = store.answer(lease, now, &Reply::text("hello")).await;
            assert!(matches!(won, Ok(Delivery::Due) | Err(StoreError::LeaseLost)), "{won:?}");
            let turn = turn.filter(|turn| !turn.withdrawn);
            assert_eq!(is_won(won), turn.is_some());
            if let Some(turn) = turn {
                (turn.answered, turn.due) = (true, now);
            }
        }
        Step::Checkpoint { claim } => {
            let Some((lease, turn)) = model.held(claim) else { return };
            assert_eq!(is_won(store.checkpoint(lease, now, b"part").await), turn.is_some());
            if let Some(turn) = turn {
                (turn.begun, turn.withdrawn) = (true, turn.withdrawn && !turn.answered);
            }
        }
        // Nobody gives up what may still be sent.
        Step::GiveUp { claim } => {
            let Some((lease, turn)) = model.held(claim) else { return };
            let Some(turn) = turn.filter(|turn| turn.withdrawn) else { return };
            store.give_up(lease).await.unwrap();
            turn.answered = false;
        }
        Step::Finish { claim } => finish(store, model, claim).await,
        Step::Die { claim } => {
            let Some((lease, turn)) = model.held(claim) else { return };
            let dead = Ending::Dead { reason: "gone".to_owned() };
            assert_eq!(is_won(store.finish(lease, now, &dead, &[]).await), turn.is_some());
            turn.into_iter().for_each(end);
        }
        Step::Postpone { claim, delay, may_be_seen } => {
            let Some((lease, turn)) = model.held(claim) else { return };
            assert_eq!(
                is_won(store.postpone(lease, now + delay, Some("down"), may_be_seen).await),
                turn.is_some()
            );
            if let Some(turn) = turn {
                (turn.lease, turn.due, turn.may_be_seen) = (None, now + delay, may_be_seen);
            }
        }
        Step::Renew { claim } => {
            let Some((lease, turn)) = model.held(claim) else { return };
            assert_eq!(is_won(store.renew(lease, now + LEASE).await), turn.is_some());
            if let Some(turn) = turn {
                turn.lease = Some((lease, now + LEASE));
            }
        }
        Step::Withdraw { id } => {
            let withdrawn = store.withdraw(CHANNEL, now, &[id.to_string()]).await.unwrap();
            let turn = model.turns.iter_mut().find(|turn| turn.id == id && !turn.ended);
            // What is begun is sent whole.
            let turn = turn.filter(|turn| !(turn.withdrawn || turn.begun && turn.answered));
            assert_eq!(withdrawn.len(), usize::from(turn.is_some()));
            match turn {
                // Who works on it ends it, or the next claim.
                Some(turn) if turn.begun || turn.may_be_seen => {
                    turn.due = if turn.answered { turn.due } else { now };
                    turn.withdrawn = true;
                }
                turn => turn.into_iter().for_each(end),
            }
        }
        Step::Wait { time } => model.now += time,
        Step::Restart => unreachable!("taken by the caller, who owns the store"),
    }
}

fn end(turn: &mut Turn) {
    (turn.ended, turn.lease) = (true, None);
}

async fn accept(store: &dyn Store, model: &mut Model, conversation: u8, id: u8) {
    let message = incoming(&name(conversation), &id.to_string());
    let accepted = store.accept(CHANNEL, model.now, vec![message]).await.unwrap();
    let known = model.turns.iter().any(|turn| turn.id == id);
    assert_eq!(accepted, [if known { Acceptance::Duplicate } else { Acceptance::New }]);
    if !known {
        let turn = Turn {
            id,
            conversation,
            may_be_seen: false,
            answered: false,
            begun: false,
            withdrawn: false,
            ended: false,
            due: model.now,
            lease: None,
        };
        model.turns.push(turn);
    }
}

async fn claim(store: &dyn Store, model: &mut Model) {
    let claimed = store.claim(model.now, Duration::from_millis(LEASE), &[]).await.unwrap();
    let next = model.next();
    let claimed_id = claimed.as_ref().map(|claim| claim.message.id.clone());
    assert_eq!(claimed_id, next.map(|place| model.turns[place].id.to_string()));
    if let (Some(claim), Some(place)) = (claimed, next) {
        let turn = &mut model.turns[place];
        assert_eq!(
            matches!(claim.progress, Progress::Answered { .. }),
            turn.answered && !turn.withdrawn,
            "an answer is not lost"
        );
        assert_eq!(matches!(claim.progress, Progress::Withdrawn { .. }), turn.withdrawn);
        assert_eq!(!claim.progress.checkpoint().is_empty(), turn.begun);
        assert_eq!(claim.may_be_seen, turn.may_be_seen);
        (turn.may_be_seen, turn.lease) = (true, Some((claim.lease, model.now + LEASE)));
        model.claims.push((place, claim.lease));
    }
}

async fn finish(store: &dyn Store, model: &mut Model, claim: usize) {
    let now = model.now;
    let Some((lease, turn)) = model.held(claim) else { return };
    let said = turn.as_ref().map(|turn| exchange(&turn.id.to_string())).unwrap_or_default();
    assert_eq!(is_won(store.finish(lease, now, &delivered(), &said).await), turn.is_some());
    if let Some(turn) = turn {
        end(turn);
        let conversation = turn.conversation;
        model.said.entry(conversation).or_default().extend(said);
    }
}

/// Nothing is lost: whatever is unfinished comes up when its time has come, and histories are the order.
async fn work_off(store: &dyn Store, model: &mut Model) {
    while model.turns.iter().any(|turn| !turn.ended) {
        model.now = store.next_due(&[]).await.unwrap().expect("unfinished turns have a time").max(model.now);
        let claims = model.claims.len();
        claim(store, model).await;
        assert_eq!(model.claims.len(), claims + 1, "a turn that is due can be claimed");
        finish(store, model, 0).await;
    }
    assert_eq!(store.next_due(&[]).await.unwrap(), None);
    assert_eq!(store.queue().await.unwrap().unfinished, 0);
    for (conversation, said) in &model.said {
        assert_eq!(&store.history(CHANNEL, &name(*conversation), 200).await.unwrap(), said);
    }
}
