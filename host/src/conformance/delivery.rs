//! Cases of adapters: what goes out.

use std::sync::Arc;
use std::time::Duration;

use tracing::instrument::WithSubscriber as _;

use super::bench::{Bench, answered, equal, messages};
use super::platform::{Mood, Platform, Sent};
use super::seen::Seen;
use super::wording::{first_numbers, numbered, numbers};
use super::{Case, Finding, cases, hostile};
use crate::message::{Fault, FaultKind, HttpResponse, Message, Reply};
use crate::plugin::manifest::SelfTest;
use crate::plugin::release::Destination;
use crate::plugin::services::{FailureKind, HttpFailure};
use crate::plugin::{Delivered, Reception, Snapshot, selftest};

pub const CASES: &[Case] = cases![
    "a short reply reaches the platform whole, by one message" => delivers_a_short_reply,
    "a long reply reaches it in parts that it takes, none of it lost, in its order" => delivers_a_long_reply,
    "a delivery has one outward effect a call at most" => has_one_effect_a_call,
    "a delivery that goes on from any checkpoint sends what is left, and nothing twice" => goes_on_from_anywhere,
    "a reply that grew is finished from the last checkpoint, and whole" => finishes_what_grew,
    "a platform that says to slow down is told as throttled, with its wait" => tells_how_long_to_wait,
    "a platform that is not reached is told as unavailable" => tells_of_no_connection,
    "a connection that breaks behind the request is told as trouble that may pass" => tells_of_a_broken_connection,
    "whatever the platform answers, a call ends with an answer" => survives_answers,
    "an address or checkpoint of somebody else's is answered" => survives_bytes,
    "whatever people and models write is delivered" => survives_texts,
    "text with placeholders in it takes no secret along" => keeps_placeholders,
    "a reply in the response is whole, and an inquiry that nobody knows is answered" => presents,
    "no secret is in what the plugin answers, keeps or logs" => keeps_secrets,
];

const SHORT: usize = 5;
const LONG: usize = 4_000;
/// A delivery that needs more calls than this goes round in circles.
const CALLS_MAX: usize = 200;
const WAIT: Duration = Duration::from_secs(7);

/// A message, and the way its reply goes.
struct Way<'a> {
    bench: &'a Bench,
    test: SelfTest,
    message: Message,
}

/// One call of a delivery.
struct Call {
    /// What it went on from.
    checkpoint: Vec<u8>,
    sent: Vec<Sent>,
}

impl Way<'_> {
    async fn all(bench: &Bench) -> Result<Vec<Way<'_>>, String> {
        let mut ways = Vec::new();
        for test in bench.samples()? {
            for message in bench.messages(&test).await? {
                ways.push(Way { bench, test: test.clone(), message });
            }
        }
        Ok(ways)
    }

    fn platform(&self, mood: Mood) -> Arc<Platform> {
        Platform::new(&self.bench.manifest, mood)
    }

    fn to<'a>(&'a self, address: &'a [u8]) -> Destination<'a> {
        Destination { address, key: "conformance-key-1" }
    }

    async fn finish(
        &self,
        platform: &Arc<Platform>,
        checkpoint: &[u8],
        text: &str,
    ) -> Result<Result<Delivered, Fault>, String> {
        let services = self.bench.open(&self.test, platform);
        let to = self.to(&self.message.address);
        answered("finish", self.bench.release.finish(services, &to, checkpoint, &Reply::text(text)).await)
    }

    async fn update(
        &self,
        platform: &Arc<Platform>,
        checkpoint: &[u8],
        text: &str,
    ) -> Result<Result<Vec<u8>, Fault>, String> {
        let services = self.bench.open(&self.test, platform);
        let to = self.to(&self.message.address);
        answered("update", self.bench.release.update(services, &to, checkpoint, text).await)
    }

    /// Calls `finish` from a checkpoint until all is sent.
    async fn deliver(
        &self,
        platform: &Arc<Platform>,
        mut checkpoint: Vec<u8>,
        text: &str,
    ) -> Result<Vec<Call>, String> {
        let mut calls = Vec::new();
        for _ in 0..CALLS_MAX {
            let before = platform.sent().len();
            let outcome = self.finish(platform, &checkpoint, text).await?;
            let sent = platform.sent().split_off(before);
            calls.push(Call { checkpoint: checkpoint.clone(), sent });
            match outcome {
                Ok(Delivered::More(next)) => checkpoint = next,
                Ok(Delivered::Done(_)) => return Ok(calls),
                Err(fault) => {
                    return Err(format!("`{}`: its reply is not sent: {}", self.test.name, fault.reason));
                }
            }
        }
        Err(format!("a delivery is not done after {CALLS_MAX} calls"))
    }

    async fn delivered(&self, text: &str) -> Result<Vec<Call>, String> {
        self.deliver(&self.platform(Mood::Kind), Vec::new(), text).await
    }
}

fn said(calls: &[Call]) -> Vec<String> {
    calls.iter().flat_map(|call| &call.sent).map(Sent::said).collect()
}

fn is_whole(count: usize, calls: &[Call]) -> Finding {
    let all: Vec<usize> = (1..=count).collect();
    let found = first_numbers(said(calls));
    match all.iter().zip(&found).find(|(wanted, got)| wanted != got) {
        Some((wanted, got)) => Err(format!("after word {} of {count} comes word {got}", wanted - 1)),
        None => equal("words of the reply that came", &all.len(), &found.len()),
    }
}

async fn delivers_a_short_reply(bench: &Bench) -> Finding {
    for way in Way::all(bench).await? {
        let calls = way.delivered(&numbered(SHORT)).await?;
        is_whole(SHORT, &calls)?;
        let carriers = said(&calls).iter().filter(|text| numbers(text).contains(&SHORT)).count();
        equal("messages that carry it", &1, &carriers)?;
    }
    Ok(())
}

async fn delivers_a_long_reply(bench: &Bench) -> Finding {
    for way in Way::all(bench).await? {
        let calls = way.delivered(&numbered(LONG)).await?;
        if calls.iter().flat_map(|call| &call.sent).any(|sent| sent.is_too_long) {
            return Err("a part is longer than the platform takes".to_owned());
        }
        is_whole(LONG, &calls)?;
    }
    Ok(())
}

async fn has_one_effect_a_call(bench: &Bench) -> Finding {
    for way in Way::all(bench).await? {
        let calls = way.delivered(&numbered(LONG)).await?;
        for call in &calls {
            let effects = call.sent.iter().filter(|sent| sent.is_effect()).count();
            if effects > 1 {
                return Err(format!("one call of `finish` sent {effects} requests"));
            }
        }
    }
    Ok(())
}

async fn goes_on_from_anywhere(bench: &Bench) -> Finding {
    let text = numbered(LONG);
    for way in Way::all(bench).await? {
        let whole = way.delivered(&text).await?;
        for (at, call) in whole.iter().enumerate() {
            let rest = way.deliver(&way.platform(Mood::Kind), call.checkpoint.clone(), &text).await?;
            let parts = |calls: &[Call]| said(calls).iter().map(|text| numbers(text)).collect::<Vec<_>>();
            if parts(&whole[at..]) != parts(&rest) {
                return Err(format!("from the checkpoint of call {} on it sends something else", at + 1));
            }
        }
    }
    Ok(())
}

async fn finishes_what_grew(bench: &Bench) -> Finding {
    let text = numbered(LONG);
    for way in Way::all(bench).await? {
        let platform = way.platform(Mood::Kind);
        let mut checkpoint = Vec::new();
        for shown in ["", &text[..80], &text[..80], &text[..800], &text[..text.len() / 2]] {
            match way.update(&platform, &checkpoint, shown).await? {
                Ok(next) => checkpoint = next,
                Err(fault) => return Err(format!("`update` gives up: {}", fault.reason)),
            }
        }
        let shown = Call { checkpoint: Vec::new(), sent: platform.sent() };
        let mut calls = way.deliver(&platform, checkpoint, &text).await?;
        calls.insert(0, shown);
        is_whole(LONG, &calls)?;
    }
    Ok(())
}

async fn tells_how_long_to_wait(bench: &Bench) -> Finding {
    let headers = vec![("retry-after".to_owned(), WAIT.as_secs().to_string())];
    let slow = HttpResponse { status: 429, headers, ..HttpResponse::default() };
    for way in Way::all(bench).await? {
        match way.finish(&way.platform(Mood::Answers(slow.clone())), &[], &numbered(SHORT)).await? {
            Err(fault) if fault.kind == FaultKind::Throttled && fault.retry_after == Some(WAIT) => {}
            other => return Err(format!("429 with `Retry-After: {}` is {other:?}", WAIT.as_secs())),
        }
    }
    Ok(())
}

async fn tells_of_no_connection(bench: &Bench) -> Finding {
    for way in Way::all(bench).await? {
        let platform = way.platform(Mood::Fails(failure(FailureKind::Refused, false)));
        match way.finish(&platform, &[], &numbered(SHORT)).await? {
            Err(fault) if fault.kind == FaultKind::Unavailable => {}
            other => return Err(format!("a refused connection is {other:?}")),
        }
    }
    Ok(())
}

async fn tells_of_a_broken_connection(bench: &Bench) -> Finding {
    for way in Way::all(bench).await? {
        for kind in [FailureKind::Broken, FailureKind::TimedOut] {
            match way.finish(&way.platform(Mood::Fails(failure(kind, true))), &[], &numbered(SHORT)).await? {
                Err(fault) if fault.is_passing() => {}
                other => return Err(format!("a connection that broke is {other:?}")),
            }
        }
    }
    Ok(())
}

fn failure(kind: FailureKind, request_sent: bool) -> HttpFailure {
    HttpFailure { kind, reason: "as this case wants it".to_owned(), request_sent, retry_after: None }
}

async fn survives_answers(bench: &Bench) -> Finding {
    const STATUSES: [u16; 12] = [200, 204, 301, 400, 401, 403, 404, 409, 429, 500, 502, 503];
    for way in Way::all(bench).await? {
        for status in STATUSES {
            let response = HttpResponse { status, ..HttpResponse::default() };
            survives(&way, response).await.map_err(|error| format!("{status}: {error}"))?;
        }
        for (name, body) in hostile::bodies() {
            let response = HttpResponse { status: 200, body: body.into(), ..HttpResponse::default() };
            survives(&way, response).await.map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}

async fn survives(way: &Way<'_>, response: HttpResponse) -> Finding {
    let platform = way.platform(Mood::Answers(response));
    way.finish(&platform, &[], &numbered(SHORT)).await?.ok();
    way.update(&platform, &[], &numbered(SHORT)).await?.ok();
    let enriched = way.bench.release.enrich(way.bench.open(&way.test, &platform), way.message.clone()).await;
    answered("enrich", enriched)?.ok();
    Ok(())
}

/// Here a plugin may well call what it is given a defect.
async fn survives_bytes(bench: &Bench) -> Finding {
    let (release, reply) = (&bench.release, Reply::text(numbered(SHORT)));
    for way in Way::all(bench).await? {
        for bytes in hostile::bytes() {
            let platform = way.platform(Mood::Kind);
            let open = || bench.open(&way.test, &platform);
            let own = &way.message.address;
            for (address, checkpoint) in [(&bytes, &Vec::new()), (own, &bytes), (&Vec::new(), &bytes)] {
                let to = way.to(address);
                let finished = release.finish(open(), &to, checkpoint, &reply).await;
                finished.map_err(|error| format!("`finish`: {error}"))?.ok();
                let updated = release.update(open(), &to, checkpoint, &reply.text).await;
                updated.map_err(|error| format!("`update`: {error}"))?.ok();
            }
            let snapshot = Snapshot { reply: reply.clone(), finished: true, asked: 1 };
            let presented = release.present(bench.shut(&way.test), &bytes, Some(snapshot)).await;
            presented.map_err(|error| format!("`present`: {error}"))?;
        }
    }
    Ok(())
}

async fn survives_texts(bench: &Bench) -> Finding {
    for way in Way::all(bench).await? {
        for (name, text) in hostile::texts() {
            let named = |error| format!("{name}: {error}");
            let platform = way.platform(Mood::Kind);
            way.update(&platform, &[], &text).await.map_err(named)?.ok();
            way.deliver(&platform, Vec::new(), &text).await.map_err(named)?;
            if platform.sent().iter().any(|sent| sent.is_too_long) {
                return Err(format!("{name}: a part is longer than the platform takes"));
            }
        }
    }
    Ok(())
}

async fn keeps_placeholders(bench: &Bench) -> Finding {
    let manifest = &bench.manifest;
    let secrets = manifest.secrets.iter().map(|secret| format!("${{secret:{}}}", secret.name));
    let tokens = manifest.tokens.iter().map(|token| format!("${{token:{}}}", token.name));
    let text = secrets.chain(tokens).collect::<Vec<_>>().join(" and ") + " are words";
    for way in Way::all(bench).await? {
        let calls = way.delivered(&text).await?;
        let seen = Seen::default();
        said(&calls).iter().for_each(|text| seen.note(text));
        let minted =
            manifest.tokens.iter().map(|token| (token.name.clone(), format!("minted-{}", token.name)));
        let values: Vec<_> = way.test.secrets.clone().into_iter().chain(minted).collect();
        if let Some(name) = seen.leak(values.iter().map(|(name, value)| (name, value))) {
            return Err(format!("the value of `{name}` goes out in the text"));
        }
    }
    Ok(())
}

async fn presents(bench: &Bench) -> Finding {
    for test in bench.samples()? {
        let reception = bench.receive(&test, selftest::request(&test)).await?;
        let context = match &reception {
            Reception::Inquire(inquiry) => inquiry.context.clone(),
            _ => Vec::new(),
        };
        let present = async |snapshot: Option<Snapshot>| {
            let presented = bench.release.present(bench.shut(&test), &context, snapshot).await;
            presented.map_err(|error| format!("`present`: {error}"))
        };
        present(None).await?;
        let text = numbered(SHORT);
        present(Some(Snapshot { reply: Reply::text(text.clone()), finished: false, asked: 1 })).await?;
        let last =
            present(Some(Snapshot { reply: Reply::text(text.clone()), finished: true, asked: 2 })).await?;
        if last.complete {
            let body = last.response.map(|response| response.body).unwrap_or_default();
            let found = first_numbers([super::wording::texts(&body)]);
            equal("words in the response", &(1..=SHORT).collect::<Vec<_>>(), &found)?;
        } else if matches!(reception, Reception::Inquire(_)) {
            for message in messages(&reception) {
                let way = Way { bench, test: test.clone(), message: message.clone() };
                way.deliver(&way.platform(Mood::Kind), last.checkpoint.clone(), &text).await?;
            }
        }
    }
    Ok(())
}

async fn keeps_secrets(bench: &Bench) -> Finding {
    for way in Way::all(bench).await? {
        let seen = Seen::default();
        let log = seen.log();
        lets_out(&way, &seen).with_subscriber(log).await?;
        if let Some(name) = seen.leak(&way.test.secrets) {
            return Err(format!("the secret `{name}` comes out of it"));
        }
    }
    Ok(())
}

/// Everything that a plugin can put a secret into, but for the requests at the places that the manifest names.
async fn lets_out(way: &Way<'_>, seen: &Seen) -> Finding {
    let bench = way.bench;
    seen.message(&way.message);
    match bench.receive(&way.test, selftest::request(&way.test)).await? {
        Reception::Answer(response) => seen.response(&response),
        Reception::Accept(acceptance) => seen.response(&acceptance.response),
        Reception::Inquire(inquiry) => seen.note(&inquiry.context),
        Reception::Refuse(fault) => seen.fault(&fault),
    }
    let platform = way.platform(Mood::Kind);
    if let Ok(checkpoint) = way.update(&platform, &[], &numbered(SHORT)).await? {
        seen.note(checkpoint);
    }
    for call in way.deliver(&platform, Vec::new(), &numbered(LONG)).await? {
        seen.note(&call.checkpoint);
        call.sent.iter().for_each(|sent| seen.note(sent.said()));
    }
    for mood in [
        Mood::Answers(HttpResponse { status: 400, ..HttpResponse::default() }),
        Mood::Fails(failure(FailureKind::Broken, true)),
    ] {
        if let Err(fault) = way.finish(&way.platform(mood), &[], &numbered(SHORT)).await? {
            seen.fault(&fault);
        }
    }
    Ok(())
}
