//! F14: requests that no platform sent, through each adapter that ships: nothing is accepted, and what is sent a second
//! time gets no second answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;

use crate::flood;
use crate::knock::{Chats, Knock, Talk, all_answered};
use crate::row::{Dice, Row, rounds};
use crate::support::{Envelope, Host, Model, OpenPlatform, Platform, Settings, now_ms, robot_sign};

/// Past every adapter's window.
const LONG_MS: u64 = 61 * 60 * 1000;

/// The header that the signature stands in.
const SIGNATURES: [(&str, &str); 3] = [
    ("/webhook/team", "sign"),
    ("/webhook/lark", "X-Lark-Signature"),
    ("/webhook/hook", "webhook-signature"),
];

fn signature(knock: &mut Knock) -> &mut String {
    let (_, name) = SIGNATURES.iter().find(|(path, _)| *path == knock.path).unwrap();
    let found = knock.headers.iter_mut().find(|(header, _)| header == name);
    &mut found.expect("it is signed").1
}

fn hook(at_ms: u64, number: usize) -> Knock {
    let id = format!("forged-{number}");
    let (headers, body) = Envelope::new(&id, "forged", "canary forged").signed(at_ms);
    Knock { path: "/webhook/hook", headers, body }
}

struct Gate {
    team: Platform,
    lark: OpenPlatform,
    number: usize,
}

impl Gate {
    /// An honest request at each door that nobody has sent yet.
    fn honest(&mut self) -> [Knock; 3] {
        self.number += 1;
        [
            self.team.direct("forged", "canary forged").into(),
            self.lark.direct("oc_forged", "canary forged").into(),
            hook(now_ms(), self.number),
        ]
    }

    fn changed(&mut self, change: impl Fn(&mut Knock)) -> impl Iterator<Item = Knock> {
        let mut honest = self.honest();
        honest.iter_mut().for_each(change);
        honest.into_iter()
    }

    /// One of each kind for each door, where it is not an honest request there.
    fn forgeries(&mut self) -> Vec<(&'static str, Knock)> {
        let mut all = Vec::new();
        let mut add = |name, knocks: Vec<Knock>| all.extend(knocks.into_iter().map(|knock| (name, knock)));
        add("unsigned", self.changed(|knock| knock.headers.clear()).collect());
        add(
            "a header missing",
            self.changed(|knock| drop(knock.headers.pop())).filter(|it| it.path != "/webhook/hook").collect(),
        );
        add("cut off", self.changed(|knock| signature(knock).truncate(12)).collect());
        add("empty", self.changed(|knock| signature(knock).clear()).collect());
        add("not ASCII", self.changed(|knock| *signature(knock) = "签名🙂".to_owned()).collect());
        add("longer", self.changed(|knock| signature(knock).push_str("00")).collect());
        // The platform of `team` signs its clock and not its body.
        let covered = |knock: &Knock| knock.path != "/webhook/team";
        add("another body", self.changed(|knock| knock.body.push(' ')).filter(covered).collect());
        let swapped: Vec<Knock> = {
            let honest = self.honest();
            let others = [1, 2, 0].map(|other| honest[other].headers.clone());
            honest.into_iter().zip(others).map(|(knock, headers)| Knock { headers, ..knock }).collect()
        };
        add("another platform's headers", swapped);
        for (name, at) in [("long ago", now_ms() - LONG_MS), ("in an hour", now_ms() + LONG_MS)] {
            let callback = self.team.direct("forged", "canary forged");
            let late = self.team.signed(callback.id, callback.body, at).into();
            self.number += 1;
            add(name, vec![late, hook(at, self.number)]);
        }
        let callback = self.team.direct("forged", "canary forged");
        let mut wrong_key: Knock = callback.into();
        let timestamp = wrong_key.headers[0].1.clone();
        *signature(&mut wrong_key) = robot_sign("another secret", &timestamp);
        add("another key", vec![wrong_key]);
        all
    }
}

/// So many at all doors together, each beside an honest request that is still within its window.
async fn flood(gate: &mut Gate, count: usize, address: SocketAddr) -> BTreeMap<u16, usize> {
    let (mut dice, mut statuses) = (Dice::thrown(), BTreeMap::new());
    let (mut left, of_one) = (count, rounds(300, 10_000));
    while left > 0 {
        for honest in gate.honest() {
            let (_, header) = SIGNATURES.iter().find(|(path, _)| *path == honest.path).unwrap();
            let now = left.min(of_one);
            for (status, times) in flood::send(&honest, header, now, address, &mut dice).await {
                *statuses.entry(status).or_default() += times;
            }
            left -= now;
        }
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_nothing_forged_is_accepted_and_nothing_twice() {
    let mut row = Row::new("F14", "forged, altered and repeated requests at three adapters");
    let random = rounds(900, 3_000_000);
    let mut gate = Gate { team: Platform::start().await, lark: OpenPlatform::start().await, number: 0 };
    let (team, lark) = (Chats::Keyless(gate.team.clone()), Chats::Keyed(gate.lark.clone()));
    let model = Model::start().await;
    let settings = lark.join(team.join(Settings::new()));
    let host = Host::start(&model.join(gate.team.join_webhook(settings, json!({}), false))).await;
    let (mut sent, mut accepted) = (0, 0);
    for (name, knock) in gate.forgeries() {
        let status = knock.post(host.address()).await.unwrap();
        sent += 1;
        accepted += usize::from(status < 400);
        row.holds(status == 401 || status == 400, format!("{name} at {}: {status}", knock.path));
    }
    let began = Instant::now();
    let statuses = flood(&mut gate, random, host.address()).await;
    accepted += statuses.range(..400).map(|(_, times)| times).sum::<usize>();
    let others = statuses.keys().filter(|status| **status != 401).count();
    row.holds(others == 0, format!("drawn by lot: {statuses:?}"));
    let a_second = random as f64 / began.elapsed().as_secs_f64();
    row.figure(format!("{random} drawn by lot, {a_second:.0} a second"));
    row.rounds = sent + random;
    row.holds(accepted == 0, format!("{accepted} accepted"));
    row.holds(model.asked().is_empty(), "a model was asked for somebody who is nobody");
    for (chats, conversation) in [(&team, "ann"), (&lark, "oc_ann")] {
        let talk = Talk::new(conversation.to_owned(), 1);
        let knock = chats.knock(conversation, &talk.texts[0]);
        for _ in 0..3 {
            let status = knock.post(host.address()).await.unwrap();
            row.holds(status == 200, format!("a repeat: {status}"));
        }
        all_answered(&[talk], chats, &mut row).await;
        let status = knock.post(host.address()).await.unwrap();
        row.holds(status == 200, format!("a repeat after the answer: {status}"));
        row.holds(model.times_asked(conversation) == 1, "a repeat was asked again");
    }
    row.figure(format!("{accepted} of {} accepted", row.rounds));
    row.close();
}
