//! F20: the version before, this one, the version before again, and this one, on the same data, under load and killed
//! in the midst of it.
//!
//! The version before is the program that `PARLOR_TEST_PREVIOUS` names. Without one its place is taken by what it
//! leaves and finds: a file of its form, and a file of ours in which everything of its form is there unchanged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::kill::{UNFINISHED, messages_in};
use crate::knock::{Chats, Talk, all_answered, eventually_slowly, scene};
use crate::row::{Dice, Row, rounds};
use crate::support::{Host, Model, Platform};

const CONVERSATIONS: usize = 6;
const BUSY: Duration = Duration::from_millis(400);
/// The form of the version before: what it makes of an empty file.
const FORM_BEFORE: &str = include_str!("../../src/store/sqlite/schema.sql");
/// What has come since, undone, and the version before's stamp.
const UNDO: &str = "DROP TRIGGER history_grows; DROP TRIGGER history_shrinks; DROP TABLE conversation;
    DROP TABLE audit; DROP TABLE revoked; DROP TRIGGER address_is_known; DROP TABLE address;
    DROP TABLE unseen; PRAGMA user_version = 1001;";

fn previous() -> Option<PathBuf> {
    std::env::var_os("PARLOR_TEST_PREVIOUS").map(PathBuf::from)
}

fn database(host: &Host) -> Connection {
    Connection::open(host.data().join("parlor.db")).unwrap()
}

/// Every table and index, and how it is made.
fn objects(db: &Connection) -> BTreeMap<String, Option<String>> {
    let mut rows = db.prepare("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Whether whoever knows the form before finds all of it in this file as it knows it, and may use it by its stamp.
fn serves_the_form_before(host: &Host) -> bool {
    let form = Connection::open_in_memory().unwrap();
    form.execute_batch(FORM_BEFORE).unwrap();
    let (before, now) = (objects(&form), objects(&database(host)));
    let stamp: i64 = database(host).pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    stamp % 1000 <= 1 && before.iter().all(|(name, sql)| now.get(name) == Some(sql))
}

/// What the version before does not know is taken out of its configuration, as whoever goes back does.
const NEW_KEYS: [&str; 1] = ["admin"];

/// The host by another program.
fn begin(host: &mut Host, program: Option<&Path>) {
    let Some(program) = program else { return host.begin() };
    let file = std::fs::read_to_string(host.config_file()).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&file).unwrap();
    config.as_object_mut().unwrap().retain(|key, _| !NEW_KEYS.contains(&key.as_str()));
    let own = host.folder().join("previous.yaml");
    std::fs::write(&own, config.to_string()).unwrap();
    let mut command = std::process::Command::new(program);
    command.args(["--log-format", "json", "--config"]).arg(own).arg("serve");
    host.begin_with(command);
}

struct Life {
    chats: Chats,
    host: Host,
    model: Model,
    talks: Vec<Talk>,
    dice: Dice,
}

impl Life {
    /// Serves under load until it is killed; the platform goes on sending to whoever comes next.
    async fn of(&mut self, name: &str, program: Option<&Path>) {
        begin(&mut self.host, program);
        self.host.serves().await;
        let talks: Vec<Talk> =
            (0..CONVERSATIONS).map(|number| Talk::new(format!("{name}-{number}"), 3)).collect();
        for talk in &talks {
            // The first is answered, the second is being answered at the kill, the third waits.
            self.model.hold(&talk.texts[1]);
            drop(talk.say(&self.chats, self.host.whereabouts()));
        }
        eventually_slowly("the model is asked", || self.model.times_asked(&talks[0].texts[1]) > 0).await;
        tokio::time::sleep(self.dice.below(BUSY)).await;
        self.host.kill();
        talks.iter().for_each(|talk| self.model.release(&talk.texts[1]));
        self.talks.extend(talks);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_back_and_forth_between_two_versions_loses_nothing() {
    let mut row = Row::new("F20", "version before, this one, and back, under load");
    row.rounds = rounds(1, 20);
    let chats = Chats::Keyless(Platform::start().await);
    let (host, model) = scene(&chats).await;
    let mut life = Life { chats: chats.clone(), host, model, talks: Vec::new(), dice: Dice::thrown() };
    let previous = previous();
    for round in 0..row.rounds {
        life.of(&format!("before{round}"), previous.as_deref()).await;
        if previous.is_none() {
            database(&life.host).execute_batch(UNDO).unwrap();
        }
        row.holds(
            round > 0 || !messages_in(&life.host, UNFINISHED).is_empty(),
            "an upgrade met a host at rest",
        );
        life.of(&format!("now{round}"), None).await;
        row.holds(serves_the_form_before(&life.host), "the version before would not find its form");
    }
    row.figure(match &previous {
        Some(_) => "by the program of the version before",
        None => "by the form of the file of the version before",
    });
    life.host.run().await;
    all_answered(&life.talks, &chats, &mut row).await;
    life.host.terminate();
    assert!(life.host.ended().await.success());
    row.holds(messages_in(&life.host, UNFINISHED).is_empty(), "a turn is stuck");
    let kills = row.rounds * 2;
    row.holds(row.doubled <= kills * CONVERSATIONS, "doubled beyond what was being sent at the kills");
    database(&life.host).pragma_update(None, "user_version", 9009).unwrap();
    let refused = life.host.output(&["serve"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    row.holds(
        refused.status.code() == Some(1) && told.contains("written by a newer parlor"),
        format!("a file that is too new: {told}"),
    );
    row.close();
}
