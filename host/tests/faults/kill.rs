//! F1 and F2: `kill -9` at any moment while messages come in and answers go out, started again on the same data.
//!
//! On a platform with a key nothing is doubled. On one without, only what was answered and not yet recorded as sent
//! when the process died: after each kill the store itself tells which those are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::knock::{Chats, Talk, eventually_slowly, scene};
use crate::row::{Dice, Row, rounds};
use crate::support::{Host, Model, OpenPlatform, Platform};

const CONVERSATIONS: usize = 5;
const MESSAGES: usize = 4;
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(5);
/// No platform takes more than a thousand messages a minute of one bot: faster rounds would measure its rate and not
/// the host. Those that a kill doubles leave their room too.
const ROUND_MIN: Duration = Duration::from_millis(1_500);

/// The store as a process left it, in a copy: to look must not repair it.
pub fn left_behind(host: &Host) -> (tempfile::TempDir, Connection) {
    left_behind_in(&host.data())
}

pub fn left_behind_in(data: &Path) -> (tempfile::TempDir, Connection) {
    let copy = tempfile::tempdir().unwrap();
    for file in ["parlor.db", "parlor.db-wal"] {
        if data.join(file).exists() {
            std::fs::copy(data.join(file), copy.path().join(file)).unwrap();
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let db = Connection::open_with_flags(copy.path().join("parlor.db"), flags).unwrap();
    (copy, db)
}

/// Messages whose turn stands in one of these states, as JSON.
pub fn messages_in(host: &Host, states: &str) -> Vec<String> {
    let (_copy, db) = left_behind(host);
    let mut rows = db.prepare(&format!("SELECT message FROM inbox WHERE state IN ({states})")).unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// The texts of all stored answers.
fn stored_answers(host: &Host) -> BTreeSet<String> {
    let (_copy, db) = left_behind(host);
    let mut rows =
        db.prepare("SELECT json_extract(reply, '$.text') FROM outbox WHERE reply IS NOT NULL").unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

pub const UNFINISHED: &str = "'received', 'generating', 'answered', 'delivering'";
/// Between the stored answer and the record that it was sent.
const SENDING: &str = "'answered', 'delivering'";

struct Scene {
    chats: Chats,
    host: Host,
    _model: Model,
    talks: Vec<Talk>,
    /// How long a round takes that nobody disturbs.
    busy: Duration,
    /// The next round begins no sooner.
    next: Instant,
    /// For each message that was being sent when the process died, how often it died so.
    sending: BTreeMap<String, usize>,
    kills_in_work: usize,
    answered: usize,
}

impl Scene {
    async fn set(chats: Chats) -> Scene {
        let (host, model) = scene(&chats).await;
        let (talks, sending) = (Vec::new(), BTreeMap::new());
        let mut scene = Scene {
            chats,
            host,
            _model: model,
            talks,
            busy: Duration::ZERO,
            next: Instant::now(),
            sending,
            kills_in_work: 0,
            answered: 0,
        };
        scene.host.run().await;
        let began = Instant::now();
        for saying in scene.say(0) {
            saying.await.unwrap();
        }
        scene.all_answered().await;
        scene.busy = began.elapsed();
        scene.kill();
        scene
    }

    /// What people see may not be recorded as sent yet, after any kill.
    fn kill(&mut self) {
        self.host.kill();
        for message in messages_in(&self.host, SENDING) {
            let texts = self.talks.iter().flat_map(|talk| &talk.texts);
            let hit = texts.filter(|text| message.contains(text.as_str()));
            hit.for_each(|text| *self.sending.entry(text.clone()).or_default() += 1);
        }
    }

    /// Twenty messages, in conversations of this round.
    fn say(&mut self, round: usize) -> Vec<tokio::task::JoinHandle<Vec<u16>>> {
        let talks: Vec<_> =
            (0..CONVERSATIONS).map(|number| Talk::new(format!("oc_r{round}c{number}"), MESSAGES)).collect();
        let say = |talk: &Talk| talk.say(&self.chats, self.host.whereabouts());
        let sayings = talks.iter().map(say).collect();
        self.talks.extend(talks);
        sayings
    }

    fn unanswered(&self) -> usize {
        self.talks.iter().skip(self.answered).filter(|talk| !talk.is_answered(&self.chats)).count()
    }

    async fn all_answered(&mut self) {
        while self.answered < self.talks.len() {
            let talk = self.talks[self.answered].clone();
            let what = format!("answers in {}", talk.conversation);
            eventually_slowly(&what, || talk.is_answered(&self.chats)).await;
            self.answered += 1;
        }
    }

    /// Starts on what the last kill left, says twenty more messages, and is killed within the time that they take.
    async fn round(&mut self, number: usize, dice: &mut Dice, row: &mut Row) {
        tokio::time::sleep_until(self.next.into()).await;
        self.next = Instant::now() + ROUND_MIN;
        let (began, waiting) = (Instant::now(), self.unanswered());
        self.host.run().await;
        if waiting > 0 {
            eventually_slowly("an answer after the restart", || self.unanswered() < waiting).await;
            row.recovered(began.elapsed());
        }
        let sayings = self.say(number);
        tokio::time::sleep(dice.below(self.busy)).await;
        self.kill();
        if self.unanswered() > 0 {
            self.kills_in_work += 1;
        } else {
            self.busy = self.busy * 3 / 4;
        }
        tokio::spawn(async move {
            for saying in sayings {
                saying.await.unwrap();
            }
        });
    }

    async fn close(mut self, row: &mut Row) {
        self.host.run().await;
        self.all_answered().await;
        self.host.terminate();
        assert!(self.host.ended().await.success());
        row.holds(messages_in(&self.host, UNFINISHED).is_empty(), "a turn is stuck");
        let mut elsewhere = 0;
        for talk in &self.talks {
            let judged = talk.judge(self.chats.seen(&talk.conversation));
            (row.lost, row.out_of_order) = (row.lost + judged.lost, row.out_of_order + judged.out_of_order);
            row.holds(judged.strange == 0, format!("{} is told what nobody asked", talk.conversation));
            for (text, times) in judged.doubled {
                row.doubled += times;
                elsewhere += times.saturating_sub(self.sending.get(&text).copied().unwrap_or_default());
            }
        }
        let all_seen = self.talks.iter().flat_map(|talk| self.chats.seen(&talk.conversation));
        let (seen, stored) = (all_seen.collect::<BTreeSet<_>>(), stored_answers(&self.host));
        row.holds(seen == stored, "what people see is not what was stored as the answers");
        row.figure(format!("{} final texts equal to the stored ones", seen.intersection(&stored).count()));
        row.holds(elsewhere == 0, format!("{elsewhere} doubled that were not being sent at a kill"));
        row.holds(self.kills_in_work > row.rounds / 3, "most kills met a host at rest");
        let hit: usize = self.sending.values().sum();
        row.figure(format!("{} kills met work, {hit} messages in the sending", self.kills_in_work));
        row.platform_tells(self.chats.refusals(), self.chats.all_growing());
    }
}

async fn kill_at_any_moment(chats: Chats, mut row: Row) -> Row {
    let mut dice = Dice::thrown();
    row.rounds = rounds(6, 200);
    let mut scene = Scene::set(chats).await;
    for number in 1..=row.rounds {
        scene.round(number, &mut dice, &mut row).await;
    }
    scene.close(&mut row).await;
    let recovery = row.recovery.unwrap_or_default();
    row.in_time(recovery <= FIRST_ANSWER_MAX, format!("first answer within {:.2} s", recovery.as_secs_f64()));
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_a_kill_at_any_moment_where_the_platform_has_a_key() {
    let chats = Chats::Keyed(OpenPlatform::start().await);
    let row = Row::new("F1", "kill -9 at any moment, platform with a key");
    let mut row = kill_at_any_moment(chats, row).await;
    row.holds(row.doubled == 0, "something is doubled");
    row.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f2_a_kill_at_any_moment_where_the_platform_has_no_key() {
    let chats = Chats::Keyless(Platform::start().await);
    let row = Row::new("F2", "kill -9 at any moment, platform without a key");
    kill_at_any_moment(chats, row).await.close();
}
