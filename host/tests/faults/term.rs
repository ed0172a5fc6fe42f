//! F4: SIGTERM under load, at a node alone. Two of them behind nginx are in `nodes`. What was taken is answered with a status, what was stored is answered to the person, now or
//! after the next start, and the process ends in its time.

use std::time::{Duration, Instant};

use crate::kill::{UNFINISHED, messages_in};
use crate::knock::{Chats, Talk, all_answered, scene};
use crate::load::{self, Fate};
use crate::row::{Row, ms, rounds};
use crate::support::Platform;

const A_SECOND: u32 = 200;
/// What a platform for containers grants.
pub const EXIT_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_a_shutdown_under_load_drops_nothing() {
    let mut row = Row::new("F4", "SIGTERM under 200 webhooks a second");
    row.rounds = rounds(1, 20);
    let chats = Chats::Keyless(Platform::start().await);
    let (mut host, _model) = scene(&chats).await;
    let (mut talks, mut unacknowledged) = (Vec::new(), Vec::new());
    let (mut taken, mut turned_away, mut longest) = (0, 0, Duration::ZERO);
    for round in 0..row.rounds {
        host.run().await;
        let of_round: Vec<Talk> =
            (0..A_SECOND * 2).map(|n| Talk::new(format!("f4-{round}-{n}"), 1)).collect();
        let knocks: Vec<_> =
            of_round.iter().map(|talk| chats.knock(&talk.conversation, &talk.texts[0])).collect();
        let loading = tokio::spawn(load::send(knocks.clone(), A_SECOND, host.address()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        host.terminate();
        row.holds(host.ended().await.success(), "it ended badly");
        longest = longest.max(began.elapsed());
        let load = loading.await.unwrap();
        let dropped = load.count(|fate| fate == Fate::Dropped);
        row.holds(dropped == 0, format!("{dropped} dropped on the way"));
        let refused = load.count(|fate| matches!(fate, Fate::Status(status) if status != 200));
        row.holds(refused == 0, format!("{refused} answered by another status than 200"));
        taken += load.acknowledged().count();
        turned_away += load.count(|fate| fate == Fate::TurnedAway);
        let again = knocks.into_iter().zip(&load.fates).filter(|(_, (fate, _))| *fate != Fate::Status(200));
        unacknowledged.extend(again.map(|(knock, _)| knock));
        talks.extend(of_round);
    }
    row.holds(taken > 0 && turned_away > 0, "no SIGTERM came in the midst of the load");
    row.in_time(longest <= EXIT_MAX, format!("exit within {}", ms(longest)));
    row.figure(format!("{taken} taken, {turned_away} turned away and sent again"));
    host.run().await;
    for knock in unacknowledged {
        knock.deliver(host.whereabouts()).await;
    }
    all_answered(&talks, &chats, &mut row).await;
    host.terminate();
    assert!(host.ended().await.success());
    row.holds(messages_in(&host, UNFINISHED).is_empty(), "a turn is stuck");
    row.holds(row.doubled == 0, "something is doubled");
    row.close();
}
