//! What every store must show an operator, and do for him: part of the conformance suite.

use std::collections::BTreeMap;

use parlor::clock::Millis;
use parlor::message::{Message, Reply};
use parlor::store::oversight::{Act, Actor, Chain, DEAD_KEPT, DeadLetter, Thread, ThreadMark};
use parlor::store::{Acceptance, Ending, Incoming, JOBS, Outcome, Progress, Store, Via};

use super::{CHANNEL, LEASE, NOW, accept, claim, claim_id, delivered, exchange, incoming, say};

fn actor() -> Actor {
    Actor {
        person: "ada".to_owned(),
        token: Some("t1".to_owned()),
        role: "operator".to_owned(),
        request_id: "r1".to_owned(),
        client: Some("192.0.2.1".to_owned()),
    }
}

async fn act(store: &dyn Store, act: Act) -> bool {
    store.act(NOW, &act, &actor()).await.unwrap()
}

/// Has a dead turn go on; tells whether it was one.
pub async fn replay(store: &dyn Store, turn: i64) -> bool {
    act(store, Act::Replay { turn, asks: false }).await
}

async fn acts(store: &dyn Store) -> Vec<(u64, String, String)> {
    let entries = store.audit(None, 100).await.unwrap();
    entries.into_iter().map(|entry| (entry.seq, entry.act, entry.target)).collect()
}

/// A message whose turn dies, with an answer or without.
async fn die(store: &dyn Store, conversation: &str, id: &str, reply: Option<&str>, at: Millis) -> DeadLetter {
    accept(store, conversation, id).await;
    let turn = claim(store, NOW).await;
    if let Some(reply) = reply {
        let _due = store.answer(turn.lease, NOW, &Reply::text(reply)).await.unwrap();
        store.checkpoint(turn.lease, NOW, b"part 1").await.unwrap();
    }
    let ending = Ending::Dead { reason: format!("{id} broke") };
    store.finish(turn.lease, at, &ending, &[]).await.unwrap();
    store.dead_letter(turn.lease.turn).await.unwrap().expect("it is dead")
}

pub async fn a_dead_letter_is_shown_with_what_was_said(store: &dyn Store) {
    let first = die(store, "c", "1", Some("hello"), NOW + 5).await;
    let second = die(store, "d", "2", None, NOW + 6).await;
    assert_eq!((first.channel.as_str(), first.reason.as_deref()), (CHANNEL, Some("1 broke")));
    assert_eq!((first.received_at, first.died_at), (NOW, NOW + 5));
    assert_eq!((first.message.text.as_str(), first.request_id.as_str()), ("text of 1", "request of 1"));
    assert_eq!(first.message.address, b"", "an address speaks for its conversation");
    assert_eq!((first.reply.clone(), second.reply.clone()), (Some(Reply::text("hello")), None));

    let all = store.dead_letters(None, None, 9).await.unwrap();
    assert_eq!(all, [second.clone(), first.clone()], "the latest first");
    assert_eq!(store.dead_letters(Some(CHANNEL), None, 1).await.unwrap(), all[..1]);
    assert_eq!(store.dead_letters(None, Some(second.turn), 9).await.unwrap(), [first]);
    assert_eq!(store.dead_letters(Some("other"), None, 9).await.unwrap(), []);
    assert_eq!(store.dead_letter(second.turn + 1000).await.unwrap(), None);
    let queue = store.queues().await.unwrap().remove(CHANNEL).unwrap();
    assert_eq!((queue.unfinished, queue.dead, queue.oldest_received_at), (0, 2, None));
}

pub async fn a_dead_letter_is_replayed_from_where_it_stood(store: &dyn Store) {
    let dead = die(store, "c", "1", Some("hello"), NOW).await;
    let later = NOW + 1000;
    assert!(store.act(later, &Act::Replay { turn: dead.turn, asks: false }, &actor()).await.unwrap());
    assert_eq!(store.dead_letters(None, None, 9).await.unwrap(), []);
    let again = claim(store, later).await;
    assert_eq!(
        again.progress,
        Progress::Answered { reply: Reply::text("hello"), checkpoint: b"part 1".to_vec() }
    );
    assert_eq!(
        (again.claims, again.attempts, again.received_at),
        (1, 0, later),
        "as if it had come just now"
    );
    let replayed = Message { sent_at_ms: None, ..incoming("c", "1").message };
    assert_eq!(again.message, replayed, "with its address, and as old as its replay");
    let dies_again = Ending::Dead { reason: "again".to_owned() };
    store.finish(again.lease, later, &dies_again, &[]).await.unwrap();
    assert!(act(store, Act::Replay { turn: dead.turn, asks: false }).await);
    assert_eq!(claim(store, later).await.message, replayed, "also the second time");
    assert!(!act(store, Act::Replay { turn: dead.turn, asks: false }).await, "it is dead no more");
}

pub async fn a_dead_letter_may_be_asked_again(store: &dyn Store) {
    let dead = die(store, "c", "1", Some("hello"), NOW).await;
    assert!(act(store, Act::Replay { turn: dead.turn, asks: true }).await);
    let again = claim(store, NOW).await;
    assert_eq!(again.progress, Progress::Unanswered { checkpoint: Vec::new() });
}

pub async fn a_replayed_turn_waits_for_its_conversation(store: &dyn Store) {
    let dead = die(store, "c", "1", None, NOW).await;
    accept(store, "c", "2").await;
    let running = claim(store, NOW).await;
    accept(store, "c", "3").await;
    assert!(act(store, Act::Replay { turn: dead.turn, asks: false }).await);
    assert!(store.claim(NOW, LEASE, &[]).await.unwrap().is_none(), "one turn of a conversation at a time");
    store.finish(running.lease, NOW, &Ending::Withdrawn, &[]).await.unwrap();
    assert_eq!(claim(store, NOW).await.message.id, "1", "it came first");
}

pub async fn a_discarded_dead_letter_is_gone_and_stays_known(store: &dyn Store) {
    let dead = die(store, "c", "1", None, NOW).await;
    assert!(act(store, Act::Discard { turn: dead.turn }).await);
    assert_eq!(store.dead_letter(dead.turn).await.unwrap(), None);
    assert!(!act(store, Act::Discard { turn: dead.turn }).await);
    let again = store.accept(CHANNEL, NOW, vec![incoming("c", "1")]).await.unwrap();
    assert_eq!(again, [Acceptance::Duplicate]);
    assert_eq!(store.outcome(CHANNEL, "1").await.unwrap(), Some(Outcome::Withdrawn));
}

pub async fn dead_letters_outlive_other_turns(store: &dyn Store) {
    let dead = die(store, "c", "1", None, NOW).await;
    say(store, "c", "2").await;
    let day = 86_400_000;
    assert_eq!(store.sweep(NOW + day, NOW + day).await.unwrap(), 1);
    assert!(store.dead_letter(dead.turn).await.unwrap().is_some());
    let late = NOW + DEAD_KEPT.as_millis() as u64 + 1;
    assert_eq!(store.sweep(late, NOW + 1).await.unwrap(), 1);
    assert_eq!(store.dead_letter(dead.turn).await.unwrap(), None);
}

pub async fn conversations_are_listed_the_latest_first(store: &dyn Store) {
    for (conversation, id) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("e/f g", "5")] {
        say(store, conversation, id).await;
    }
    accept(store, "a", "6").await;
    let all = store.threads(None, None, 9).await.unwrap();
    let thread = |conversation: &str, exchanges, unfinished| Thread {
        channel: CHANNEL.to_owned(),
        conversation: conversation.to_owned(),
        last_at: NOW,
        exchanges,
        unfinished,
    };
    assert_eq!(all, [thread("e/f g", 1, 0), thread("b", 2, 0), thread("a", 2, 1)]);
    let mark = ThreadMark { last_at: NOW, channel: CHANNEL.to_owned(), conversation: "e/f g".to_owned() };
    assert_eq!(store.threads(Some(CHANNEL), Some(&mark), 1).await.unwrap(), [thread("b", 2, 0)]);
    assert_eq!(store.threads(Some("other"), None, 9).await.unwrap(), []);
    let waiting = store.unfinished(CHANNEL, "a", 9).await.unwrap();
    let waiting: Vec<_> =
        waiting.iter().map(|turn| (turn.message_id.as_str(), turn.state.as_str())).collect();
    assert_eq!(waiting, [("6", "received")]);
}

pub async fn a_conversation_is_forgotten_and_leaves_the_list(store: &dyn Store) {
    say(store, "a", "1").await;
    let forget = Act::Forget { channel: CHANNEL.to_owned(), conversation: "a".to_owned() };
    assert!(act(store, forget.clone()).await);
    assert_eq!(store.threads(None, None, 9).await.unwrap(), []);
    assert_eq!(store.history(CHANNEL, "a", 9).await.unwrap(), []);
    assert!(!act(store, forget).await, "there was nothing left to forget");
    assert_eq!(acts(store).await.len(), 1, "what was not done is not written down");
    say(store, "a", "2").await;
    assert_eq!(store.threads(None, None, 9).await.unwrap()[0].exchanges, 1);
    assert_eq!(store.history(CHANNEL, "a", 9).await.unwrap(), exchange("2"));
}

pub async fn a_revoked_token_is_remembered_until_it_would_have_ended(store: &dyn Store) {
    for (token, until) in [("t1", NOW + 10), ("t2", NOW + 20), ("t2", NOW + 15)] {
        assert!(act(store, Act::Revoke { token: token.to_owned(), until }).await);
    }
    let both = BTreeMap::from([("t1".to_owned(), NOW + 10), ("t2".to_owned(), NOW + 20)]);
    assert_eq!(store.revoked(NOW).await.unwrap(), both);
    assert_eq!(store.revoked(NOW + 10).await.unwrap().into_keys().collect::<Vec<_>>(), ["t2"]);
}

pub async fn every_act_is_an_entry_of_the_audit(store: &dyn Store) {
    let dead = die(store, "c", "1", None, NOW).await;
    assert!(act(store, Act::Replay { turn: dead.turn, asks: false }).await);
    let read = Act::Read { channel: CHANNEL.to_owned(), conversation: "c".to_owned() };
    assert!(act(store, read).await);
    let entries = store.audit(None, 9).await.unwrap();
    assert_eq!((entries[0].seq, entries[0].at, &entries[0].actor), (2, NOW, &actor()));
    let first = (1, "dead-letter.replay".to_owned(), dead.turn.to_string());
    let second = (2, "conversation.read".to_owned(), format!("{CHANNEL} c"));
    assert_eq!(acts(store).await, [second, first], "the latest first");
    assert_eq!(store.audit(Some(2), 9).await.unwrap()[..], entries[1..]);
    assert_eq!(store.audit(None, 1).await.unwrap()[..], entries[..1]);
    let last = Some((2, entries[0].hash.clone()));
    assert_eq!(store.audit_chain().await.unwrap(), Chain::Whole { entries: 2, last });
    for (channel, target) in [(None, "parlor"), (Some(CHANNEL.to_owned()), "parlor team")] {
        assert!(act(store, Act::Listen { bus: "parlor".to_owned(), channel }).await);
        assert_eq!((&*acts(store).await[0].1, &*acts(store).await[0].2), ("bus.listen", target));
    }
}

pub async fn a_swept_audit_still_holds_together(store: &dyn Store) {
    assert_eq!(store.audit_chain().await.unwrap(), Chain::Whole { entries: 0, last: None });
    for at in 0..5 {
        let revoke = Act::Revoke { token: format!("t{at}"), until: NOW + 99 };
        assert!(store.act(NOW + at, &revoke, &actor()).await.unwrap());
    }
    assert_eq!(store.sweep_audit(NOW + 3).await.unwrap(), 3);
    assert_eq!(acts(store).await.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), [5, 4]);
    assert!(matches!(store.audit_chain().await.unwrap(), Chain::Whole { entries: 2, last: Some((5, _)) }));
    assert_eq!(store.sweep_audit(NOW + 99).await.unwrap(), 2);
    assert!(matches!(store.audit_chain().await.unwrap(), Chain::Whole { entries: 0, last: Some((5, _)) }));
    assert!(act(store, Act::Revoke { token: "t9".to_owned(), until: NOW + 99 }).await);
    assert_eq!(acts(store).await[0].0, 6, "numbers are given once");
    assert!(matches!(store.audit_chain().await.unwrap(), Chain::Whole { entries: 1, last: Some((6, _)) }));
}

pub async fn what_came_of_a_message_is_told_at_each_step(store: &dyn Store) {
    assert_eq!(store.record(CHANNEL, "1").await.unwrap(), None);
    let via = |address: &[u8]| {
        Some(Via {
            channel: "ops".to_owned(),
            conversation: Some("room".to_owned()),
            address: address.to_vec(),
        })
    };
    let sent = Incoming { via: via(b"secret"), ..incoming("c", "1") };
    store.accept(CHANNEL, NOW, vec![sent.clone()]).await.unwrap();
    let record = async || store.record(CHANNEL, "1").await.unwrap().unwrap();
    let first = record().await;
    let mut message = sent.message;
    message.address.clear();
    assert_eq!((&first.message, &first.via), (&message, &via(b"")), "without addresses");
    assert_eq!((first.state.as_str(), first.received_at, first.due_at), ("received", NOW, NOW));
    assert_eq!((first.claims, &first.reason, first.ended_at, first.receipt.len()), (0, &None, None, 0));
    let turn = claim(store, NOW).await;
    assert_eq!(turn.lease.turn, first.turn);
    store.postpone(turn.lease, NOW + 70, Some("too fast"), false).await.unwrap();
    let second = record().await;
    assert_eq!((second.state.as_str(), second.due_at, second.claims), ("generating", NOW + 70, 1));
    assert_eq!(second.reason.as_deref(), Some("too fast"));
    let turn = claim(store, NOW + 70).await;
    let _due = store.answer(turn.lease, NOW + 70, &Reply::text("hello")).await.unwrap();
    assert_eq!(record().await.state, "answered");
    store.finish(turn.lease, NOW + 80, &delivered(), &[]).await.unwrap();
    let last = record().await;
    assert_eq!((last.state.as_str(), last.ended_at), ("delivered", Some(NOW + 80)));
    assert_eq!((last.receipt, last.claims), (vec!["p1".to_owned()], 2));
}

pub async fn the_turns_of_a_channel_are_listed_the_latest_first(store: &dyn Store) {
    for id in ["1", "2", "3"] {
        accept(store, id, id).await;
    }
    let turn = claim(store, NOW).await;
    store.finish(turn.lease, NOW, &delivered(), &[]).await.unwrap();
    let listed = async |before, limit| {
        let records = store.records(CHANNEL, before, limit).await.unwrap();
        records.into_iter().map(|record| (record.message.id, record.turn)).collect::<Vec<_>>()
    };
    let all = listed(None, 9).await;
    assert_eq!(all.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["3", "2", "1"]);
    assert_eq!(listed(None, 2).await, all[..2]);
    assert_eq!(listed(Some(all[1].1), 2).await, all[2..]);
    assert_eq!(listed(Some(all[2].1), 2).await, []);
    assert_eq!(store.records("other", None, 9).await.unwrap(), []);
}

fn job(id: &str, conversation: Option<&str>) -> Act {
    let via = Via {
        channel: CHANNEL.to_owned(),
        conversation: conversation.map(str::to_owned),
        address: b"where".to_vec(),
    };
    let settled = Some(Reply::text("hello all"));
    Act::Say(Box::new(Incoming { via: Some(via), settled, ..incoming(id, id) }))
}

pub async fn what_an_operator_says_is_put_in_once_and_written_down(store: &dyn Store) {
    assert!(act(store, job("j1", Some("room"))).await);
    assert!(!act(store, job("j1", Some("room"))).await, "there is one of this id");
    assert!(act(store, job("j2", None)).await);
    let said = |seq, target: &str| (seq, "channel.say".to_owned(), target.to_owned());
    assert_eq!(acts(store).await, [said(2, CHANNEL), said(1, &format!("{CHANNEL} room"))]);
    let turn = claim(store, NOW).await;
    assert_eq!((turn.channel.as_str(), turn.message.id.as_str()), (JOBS, "j1"));
    assert_eq!(turn.settled, Some(Reply::text("hello all")));
    assert_eq!(turn.via.unwrap().address, b"where");
}

pub async fn a_job_is_cancelled_as_long_as_it_waits(store: &dyn Store) {
    let cancel = |id: &str| Act::Cancel { job: id.to_owned() };
    assert!(!act(store, cancel("j1")).await);
    for id in ["j1", "j2"] {
        assert!(act(store, job(id, None)).await);
    }
    assert!(act(store, cancel("j1")).await);
    assert!(!act(store, cancel("j1")).await, "it is cancelled already");
    assert_eq!(store.record(JOBS, "j1").await.unwrap().unwrap().state, "withdrawn");
    let turn = claim(store, NOW).await;
    assert_eq!(turn.message.id, "j2");
    assert_eq!(claim_id(store, NOW).await, None);
    store.finish(turn.lease, NOW, &delivered(), &[]).await.unwrap();
    assert!(!act(store, cancel("j2")).await, "it is done");
    let first = acts(store).await.remove(0);
    assert_eq!((first.1.as_str(), first.2.as_str()), ("job.cancel", "j1"), "what was not done is not there");
}
