//! Messages that wait behind a claimed turn, and turns that answer them too.

use parlor::message::Reply;
use parlor::store::{
    Acceptance, BEHIND_MAX, Claim, EndedAs, Ending, HandOver, Incoming, Lease, Outcome, Progress, Store,
};

use super::{
    CHANNEL, LEASE, NOW, accept, accept_held, claim, claim_id, delivered, exchange, incoming, is_lost,
    message, millis,
};

async fn behind(store: &dyn Store, lease: Lease) -> Vec<(String, bool)> {
    let waiting = store.behind(lease).await.unwrap();
    waiting.into_iter().map(|waiting| (waiting.message.id, waiting.is_gathered)).collect()
}

fn names(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Claims the first of these messages of one conversation, and gathers the others into it.
async fn gathered(store: &dyn Store, ids: &[&str]) -> Claim {
    for id in ids {
        accept(store, "c", id).await;
    }
    let turn = claim(store, NOW).await;
    store.gather(turn.lease, &names(&ids[1..])).await.unwrap();
    turn
}

pub async fn what_comes_behind_a_turn_is_told(store: &dyn Store) {
    for (conversation, id) in [("c", "1"), ("c", "2"), ("d", "3"), ("c", "4")] {
        accept(store, conversation, id).await;
    }
    let turn = claim(store, NOW).await;
    let waiting = store.behind(turn.lease).await.unwrap();
    assert_eq!(waiting[0].message, message("c", "2"), "whole, with its address");
    assert_eq!((waiting[0].received_at, waiting[0].is_gathered), (NOW, false));
    assert_eq!(behind(store, turn.lease).await, [("2".to_owned(), false), ("4".to_owned(), false)]);
    store.withdraw(CHANNEL, NOW, &names(&["2"])).await.unwrap();
    assert_eq!(behind(store, turn.lease).await, [("4".to_owned(), false)]);
    let settled = Incoming { settled: Some(Reply::default()), ..incoming("c", "5") };
    assert_eq!(store.accept(CHANNEL, NOW, vec![settled]).await.unwrap(), [Acceptance::New]);
    accept(store, "c", "6").await;
    assert_eq!(behind(store, turn.lease).await, [("4".to_owned(), false)], "up to what is settled");
    let other = claim(store, NOW).await;
    assert_eq!((other.message.id.as_str(), behind(store, other.lease).await), ("3", Vec::new()));
    accept(store, "many", "first").await;
    let many = claim(store, NOW).await;
    for number in 0..BEHIND_MAX + 3 {
        accept(store, "many", &format!("more {number}")).await;
    }
    assert_eq!(behind(store, many.lease).await.len(), BEHIND_MAX);
    accept(store, "c-held", "7").await;
    let held = claim(store, NOW).await;
    let after = Incoming { hold_delivery_until: Some(NOW + 9), ..incoming("c-held", "8") };
    assert_eq!(store.accept(CHANNEL, NOW, vec![after]).await.unwrap(), [Acceptance::New]);
    assert_eq!(behind(store, held.lease).await, [], "nor what somebody waits for on the line");
    store.postpone(turn.lease, NOW, None, false).await.unwrap();
    assert_eq!(behind(store, turn.lease).await, [], "the lease is lost");
    is_lost(store.gather(turn.lease, &names(&["4"])).await);
}

pub async fn gathered_messages_end_with_the_turn_that_answers_them(store: &dyn Store) {
    let turn = gathered(store, &["1", "2", "3"]).await;
    accept(store, "c", "4").await;
    store.gather(turn.lease, &names(&["3", "2", "unknown", "1"])).await.unwrap();
    let expected = [("2".to_owned(), true), ("3".to_owned(), true), ("4".to_owned(), false)];
    assert_eq!(behind(store, turn.lease).await, expected);
    let reply = Reply::text("to all three");
    let _due = store.answer(turn.lease, NOW, &reply).await.unwrap();
    assert_eq!(store.outcome(CHANNEL, "2").await.unwrap(), Some(Outcome::Pending), "not delivered yet");
    assert_eq!(claim_id(store, NOW).await, None);
    store.finish(turn.lease, NOW + 5, &delivered(), &exchange("all")).await.unwrap();
    for id in ["1", "2", "3"] {
        assert_eq!(store.outcome(CHANNEL, id).await.unwrap(), Some(Outcome::Answered(reply.clone())), "{id}");
        assert_eq!(store.ended(CHANNEL, id).await.unwrap(), Some(EndedAs::Delivered), "{id}");
        let again = store.accept(CHANNEL, NOW, vec![incoming("c", id)]).await.unwrap();
        assert_eq!(again, [Acceptance::Duplicate], "{id}");
    }
    assert_eq!(store.history(CHANNEL, "c", 9).await.unwrap(), exchange("all"));
    assert_eq!(claim_id(store, NOW).await.as_deref(), Some("4"), "which was not gathered");
}

pub async fn gathering_survives_a_crash_once_there_is_an_answer(store: &dyn Store) {
    let turn = gathered(store, &["1", "2", "3"]).await;
    let end = NOW + millis(LEASE);
    assert_ne!(claim(store, end).await.lease, turn.lease, "claimed anew");
    let late = end + millis(LEASE);
    let turn = claim(store, late).await;
    let loose = [("2".to_owned(), false), ("3".to_owned(), false)];
    assert_eq!(behind(store, turn.lease).await, loose, "without an answer nothing is gathered any more");
    store.gather(turn.lease, &names(&["2"])).await.unwrap();
    let _due = store.answer(turn.lease, late, &Reply::text("to two")).await.unwrap();
    let later = late + millis(LEASE);
    let turn = claim(store, later).await;
    assert!(matches!(turn.progress, Progress::Answered { .. }));
    let expected = [("2".to_owned(), true), ("3".to_owned(), false)];
    assert_eq!(behind(store, turn.lease).await, expected);
    store.finish(turn.lease, later, &delivered(), &[]).await.unwrap();
    assert_eq!(store.ended(CHANNEL, "2").await.unwrap(), Some(EndedAs::Delivered));
    assert_eq!(claim_id(store, later).await.as_deref(), Some("3"));
}

pub async fn who_ends_without_an_answer_lets_go_of_what_it_gathered(store: &dyn Store) {
    let turn = gathered(store, &["1", "2", "3"]).await;
    assert_eq!(store.withdraw(CHANNEL, NOW, &names(&["1"])).await.unwrap(), ["1"]);
    store.finish(turn.lease, NOW, &Ending::Withdrawn, &[]).await.unwrap();
    assert_eq!(store.ended(CHANNEL, "2").await.unwrap(), None);
    let turn = claim(store, NOW).await;
    assert_eq!((turn.message.id.as_str(), turn.claims), ("2", 1));
    assert_eq!(behind(store, turn.lease).await, [("3".to_owned(), false)]);
    store.gather(turn.lease, &names(&["3"])).await.unwrap();
    assert!(store.discard(CHANNEL, "2").await.unwrap());
    let turn = claim(store, NOW).await;
    assert_eq!(turn.message.id, "3");
    store.finish(turn.lease, NOW, &delivered(), &[]).await.unwrap();
    let turn = gathered(store, &["4", "5", "6"]).await;
    store.gather(turn.lease, &[]).await.unwrap();
    store.finish(turn.lease, NOW, &delivered(), &[]).await.unwrap();
    assert_eq!(claim_id(store, NOW).await.as_deref(), Some("5"), "it was let go");
}

pub async fn what_is_gathered_may_still_be_taken_back(store: &dyn Store) {
    let turn = gathered(store, &["1", "2", "3"]).await;
    assert_eq!(store.withdraw(CHANNEL, NOW, &names(&["2"])).await.unwrap(), ["2"]);
    let _due = store.answer(turn.lease, NOW, &Reply::text("all")).await.unwrap();
    store.finish(turn.lease, NOW, &delivered(), &[]).await.unwrap();
    assert_eq!(store.ended(CHANNEL, "2").await.unwrap(), Some(EndedAs::Withdrawn));
    assert_eq!(store.ended(CHANNEL, "3").await.unwrap(), Some(EndedAs::Delivered));
    assert_eq!(store.queue().await.unwrap().unfinished, 0);
}

pub async fn what_is_gathered_dies_with_its_turn(store: &dyn Store) {
    let turn = gathered(store, &["1", "2"]).await;
    let reply = Reply::text("all");
    let _due = store.answer(turn.lease, NOW, &reply).await.unwrap();
    let dead = Ending::Dead { reason: "the address is gone".to_owned() };
    store.finish(turn.lease, NOW, &dead, &[]).await.unwrap();
    for id in ["1", "2"] {
        assert_eq!(store.ended(CHANNEL, id).await.unwrap(), Some(EndedAs::Dead), "{id}");
    }
    assert_eq!(store.queue().await.unwrap().dead, 2);
    assert_eq!(store.outcome(CHANNEL, "1").await.unwrap(), Some(Outcome::Answered(reply)));
}

pub async fn gathered_messages_share_what_was_handed_over(store: &dyn Store) {
    accept_held(store, "1", NOW + 1000).await;
    for id in ["2", "3"] {
        accept(store, "c", id).await;
    }
    let turn = claim(store, NOW).await;
    store.gather(turn.lease, &names(&["2"])).await.unwrap();
    let _held = store.answer(turn.lease, NOW, &Reply::text("both")).await.unwrap();
    assert_eq!(store.hand_over(CHANNEL, "1", NOW, &exchange("both")).await.unwrap(), HandOver::Done);
    assert_eq!(store.ended(CHANNEL, "2").await.unwrap(), Some(EndedAs::Delivered));
    assert_eq!(claim_id(store, NOW).await.as_deref(), Some("3"));
}
