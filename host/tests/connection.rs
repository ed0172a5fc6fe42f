//! A long connection from both its ends, in a process of its own and on a clock that is stepped: the platform is the
//! other end of a pipe, the adapter a script, and the inbox a list that can be held shut.

#[path = "connection/scene.rs"]
mod scene;

use std::time::Duration;

use parlor::connection::State;
use parlor::message::{Fault, FaultKind, Frame, HttpResponse};
use parlor::plugin::{Action, Outcome};
use scene::{Attempt, Scene, acknowledged, message, text};

/// More than any pause of the driver's own.
const LONG: Duration = Duration::from_secs(120);
const MOMENT: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn a_frame_is_acknowledged_once_its_message_is_stored() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    scene.inbox.shut();
    line.say("m1").await;
    assert_eq!(line.hears_within(MOMENT).await, None, "nothing is stored yet");
    scene.inbox.open();
    assert_eq!(line.hears().await, "ack m1");
    assert_eq!(scene.inbox.stored(), ["m1"]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_during_a_commit_is_stored_together_and_in_order() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    scene.inbox.shut();
    for at in 0..20 {
        line.say(&format!("m{at}")).await;
    }
    tokio::time::sleep(MOMENT).await;
    scene.inbox.open();
    for at in 0..20 {
        assert_eq!(line.hears().await, format!("ack m{at}"));
    }
    let wanted: Vec<String> = (0..20).map(|at| format!("m{at}")).collect();
    assert_eq!(scene.inbox.stored(), wanted);
    assert_eq!(scene.inbox.commits(), 2, "the first alone, and the rest behind it");
}

#[tokio::test(start_paused = true)]
async fn a_socket_is_told_what_its_own_dialling_brought() {
    let scene = Scene::with([Attempt::Unreached]).await;
    let first = scene.line().await;
    drop(first);
    scene.line().await;
    assert_eq!(scene.speaker.contexts(), ["dialled 2", "dialled 3"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_not_acknowledged_and_the_socket_stays() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    scene.inbox.break_for(1);
    line.say("m1").await;
    assert_eq!(line.hears_within(MOMENT).await, None);
    line.say("m1").await;
    assert_eq!(line.hears().await, "ack m1", "the platform brought it again");
    assert_eq!((scene.inbox.stored(), scene.dials()), (vec!["m1".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_over_the_limits_is_not_acknowledged() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    scene.inbox.refuse_for(1);
    line.say("m1").await;
    assert_eq!(line.hears_within(MOMENT).await, None);
    line.say("m2").await;
    assert_eq!(line.hears().await, "ack m2");
    assert_eq!(scene.inbox.stored(), ["m2"]);
}

/// The host's memory holds no more than a bounded part of what a platform pours in.
#[tokio::test(start_paused = true)]
async fn an_inbox_that_is_slow_holds_the_platform_back() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    scene.inbox.shut();
    let pouring = tokio::spawn(async move {
        for at in 0..5000 {
            line.say(&format!("m{at}")).await;
        }
        line
    });
    tokio::time::sleep(MOMENT).await;
    assert!(!pouring.is_finished(), "the pipe is full");
    let heard = scene.speaker.heard();
    assert!((64..256).contains(&heard), "{heard} frames were looked at");
    scene.inbox.open();
    let mut line = pouring.await.unwrap();
    for _ in 0..5000 {
        line.hears().await;
    }
    assert_eq!(scene.inbox.stored().len(), 5000);
}

#[tokio::test(start_paused = true)]
async fn a_new_socket_opens_before_the_old_one_closes_and_both_are_heard() {
    let scene = Scene::start().await;
    let mut old = scene.line().await;
    old.say("replace").await;
    let mut new = scene.line().await;
    assert_eq!(scene.report().sockets, 2);
    old.say("m1").await;
    assert_eq!(old.hears().await, "ack m1", "on the socket that brought it");
    new.say("m2").await;
    assert_eq!(new.hears().await, "ack m2");
    old.close(1000, "expired").await;
    tokio::time::sleep(MOMENT).await;
    new.say("m3").await;
    assert_eq!(new.hears().await, "ack m3");
    assert_eq!((scene.dials(), scene.report().sockets), (2, 1));
    assert!(scene.speaker.closures().is_empty(), "the connection itself never ended");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_socket_that_the_platform_forgets_to_close_is_closed() {
    let scene = Scene::start().await;
    let mut old = scene.line().await;
    old.say("replace").await;
    let _new = scene.line().await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(scene.report().sockets, 2);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(old.closed().await, Some(1000));
    assert_eq!(scene.report().sockets, 1);
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_fails_costs_the_old_socket_nothing() {
    let scene = Scene::start().await;
    let mut old = scene.line().await;
    scene.next(Attempt::Unreached);
    old.say("replace").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    old.say("m1").await;
    assert_eq!(old.hears().await, "ack m1");
    assert!(matches!(scene.report().state, State::Open { .. }));
    let _new = scene.line().await;
    assert_eq!(scene.dials(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lost_socket_is_dialled_again_after_pauses_that_grow() {
    let scene = Scene::start().await;
    drop(scene.line().await);
    for _ in 0..8 {
        scene.next(Attempt::Unreached);
    }
    let _line = scene.line().await;
    let pauses = scene.pauses();
    assert!(pauses.windows(2).all(|two| two[0] <= two[1]), "{pauses:?}");
    let (first, last) = (pauses[0], pauses[pauses.len() - 1]);
    assert!(first < Duration::from_secs(1) && last > Duration::from_secs(30), "{pauses:?}");
    assert!(last <= Duration::from_secs(61), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_held_makes_pauses_begin_anew() {
    let scene = Scene::start().await;
    for _ in 0..6 {
        scene.next(Attempt::Unreached);
    }
    let line = scene.line().await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    drop(line);
    let began = tokio::time::Instant::now();
    let _again = scene.line().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_answers_no_ping_is_taken_for_lost() {
    let scene = Scene::start().await;
    let mut quiet = scene.line().await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(scene.dials(), 1, "one that answers pings may be quiet for ever");
    quiet.play_dead().await;
    let began = tokio::time::Instant::now();
    let _new = scene.line().await;
    assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
    assert_eq!(scene.speaker.closures(), ["lost"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_handshake_is_told_to_the_adapter_and_shown() {
    let scene = Scene::with([Attempt::Refused(401)]).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let report = scene.report();
    assert!(report.is_tried && report.state.why().unwrap().contains("401"), "{report:?}");
    let _line = scene.line().await;
    assert_eq!(scene.speaker.closures(), ["refused 401"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_admitted_asks_rarely_and_when_the_platform_says() {
    let later =
        Fault { retry_after: Some(Duration::from_secs(90)), ..Fault::new(FaultKind::Throttled, "busy") };
    let vain = Fault::new(FaultKind::Unauthorized, "no such app");
    let scene = Scene::with([Attempt::NotAdmitted(vain), Attempt::NotAdmitted(later)]).await;
    let _line = scene.line().await;
    let pauses = scene.pauses();
    assert!(pauses[0] >= Duration::from_secs(60) && pauses[1] >= Duration::from_secs(90), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_connection_waits_for_an_operator() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    line.say("stop").await;
    assert_eq!(line.closed().await, Some(1000));
    tokio::time::sleep(LONG * 100).await;
    assert_eq!(scene.dials(), 1);
    assert_eq!(scene.report().state, State::Stopped { why: "somebody else is connected".to_owned() });
    scene.status.dial();
    let mut line = scene.line().await;
    line.say("m1").await;
    assert_eq!(line.hears().await, "ack m1");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_keeps_no_socket_closes_it_and_one_that_does_opens_it() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    scene.speaker.swap(false);
    assert_eq!(line.closed().await, Some(1000));
    tokio::time::sleep(LONG * 100).await;
    scene.status.dial();
    tokio::time::sleep(LONG).await;
    assert_eq!((scene.dials(), scene.status.report()), (1, None), "no operator asks in vain for one");
    scene.speaker.swap(true);
    let mut line = scene.line().await;
    line.say("m1").await;
    assert_eq!(line.hears().await, "ack m1");
    scene.speaker.swap(true);
    line.say("m2").await;
    assert_eq!((line.hears().await.as_str(), scene.dials()), ("ack m2", 2), "it outlives other releases");
}

#[tokio::test(start_paused = true)]
async fn an_operators_wish_closes_nothing() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    scene.status.dial();
    tokio::time::sleep(LONG).await;
    line.say("m1").await;
    assert_eq!((line.hears().await.as_str(), scene.dials()), ("ack m1", 1));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_as_often_as_the_adapter_asked_and_end_with_the_socket() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    line.say("beat").await;
    for _ in 0..3 {
        let began = tokio::time::Instant::now();
        assert_eq!(line.hears().await, "beat");
        let since = began.elapsed();
        assert!(since.abs_diff(Duration::from_secs(5)) < MOMENT, "{since:?}");
    }
    drop(line);
    let mut line = scene.line().await;
    assert_eq!(line.hears_within(Duration::from_secs(15)).await, None, "the new socket began without");
}

#[tokio::test(start_paused = true)]
async fn memory_outlives_sockets_and_drivers_and_is_kept_after_the_commit() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    scene.inbox.shut();
    line.say("count m1").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(scene.kept().await, None, "a restart now must hear `m1` again");
    scene.inbox.open();
    assert_eq!(line.hears().await, "ack m1");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.kept().await.as_deref(), Some(b"1".as_slice()));
    let scene = scene.restart().await;
    let mut line = scene.line().await;
    line.say("tell").await;
    assert_eq!(line.hears().await, "1");
}

#[tokio::test(start_paused = true)]
async fn what_knows_no_acknowledgement_begins_again_where_all_was_stored() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    line.say("count m1").await;
    assert_eq!(line.hears().await, "ack m1");
    scene.inbox.break_for(1);
    line.say("silent m2").await;
    let mut line = scene.line().await;
    line.say("tell").await;
    assert_eq!(line.hears().await, "1", "the memory is that of before");
    line.say("silent m2").await;
    line.say("tell").await;
    assert_eq!(line.hears().await, "2");
    assert_eq!(scene.inbox.stored(), ["m1", "m2"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_stores_and_acknowledges_what_was_heard_and_says_goodbye() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    scene.inbox.shut();
    line.say("m1").await;
    tokio::time::sleep(MOMENT).await;
    scene.drain.begin();
    tokio::time::sleep(MOMENT).await;
    scene.inbox.open();
    assert_eq!(line.hears().await, "ack m1");
    assert_eq!(line.closed().await, Some(1000));
    assert_eq!(scene.drain.drain(Duration::from_secs(5)).await, Vec::<std::borrow::Cow<'static, str>>::new());
    assert_eq!((scene.report().state, scene.dials()), (State::Ended, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_costs_its_frame_alone() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    line.say("fail").await;
    line.say("m1").await;
    assert_eq!((line.hears().await.as_str(), scene.dials()), ("ack m1", 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_taken_back_is_withdrawn_after_those_before_it() {
    let scene = Scene::start().await;
    let mut line = scene.line().await;
    line.say("m1").await;
    line.say("withdraw m1").await;
    assert_eq!(line.hears().await, "ack m1");
    assert_eq!(line.hears().await, "ack withdraw m1");
    assert_eq!(scene.inbox.withdrawn(), ["m1"]);
}

/// The script is what these tests stand on: it does what its words say.
#[tokio::test]
async fn the_scripts_words_are_understood() {
    let outcome = Outcome { actions: acknowledged(message("m1"), "ack m1"), memory: None };
    assert!(
        matches!(&outcome.actions[..], [Action::Message(it), Action::Acknowledge(Frame::Text(_))] if it.id == "m1")
    );
    assert_eq!(text(&Frame::Text("x".to_owned())), "x");
    assert_eq!(HttpResponse::default().status, 0);
}
