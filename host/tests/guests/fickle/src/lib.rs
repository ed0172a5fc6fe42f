//! An adapter that answers in the response and says which release did. What is wrong with a release stands in its
//! manifest, so that a test packs releases of every kind out of one file. All are right in their self-test.

use std::time::{Duration, Instant};

use parlor_sdk::{
    Adapter, Delivered, Fault, HttpRequest, HttpResponse, Message, Presentation, Reception, Reply, Snapshot,
    json::object, register_adapter, settings,
};

const WAIT_MS: u32 = 10_000;
/// Far more than a sound release takes, and less than its deadline.
const SLOW: Duration = Duration::from_millis(30);

#[derive(Default)]
struct Fickle;

/// Whether a message is one of every ten.
fn is_tenth(id: &str) -> bool {
    id.ends_with('0')
}

impl Adapter for Fickle {
    fn receive(&self, request: &HttpRequest) -> Result<Reception, Fault> {
        let body = request.json()?;
        let field = |name: &str| {
            body.text(name).map(str::to_owned).ok_or_else(|| Fault::invalid(format!("send `{name}`")))
        };
        let (id, conversation, text) = (field("id")?, field("conversation")?, field("text")?);
        let mood = settings::get_or("mood", "sound".to_owned())?;
        match mood.as_str() {
            _ if id == "selftest" => {}
            "traps" => assert!(!is_tenth(&id), "a trap at each tenth message"),
            "refuses" => return Err(Fault::internal("this release refuses everything")),
            "renames" => {
                let message = Message::new(format!("{id}-renamed"), conversation, "ann", text);
                return Ok(Reception::inquire(message, WAIT_MS, Vec::new()));
            }
            "slow" => {
                let began = Instant::now();
                while began.elapsed() < SLOW {}
            }
            "loops" => loop {
                std::hint::spin_loop();
            },
            _ => {}
        }
        Ok(Reception::inquire(Message::new(id, conversation, "ann", text), WAIT_MS, Vec::new()))
    }

    fn enrich(&self, message: Message) -> Result<Message, Fault> {
        match settings::get_or("mood", "sound".to_owned())?.as_str() {
            "faults" => Err(Fault::internal("this release enriches nothing")),
            "panics" => panic!("this release panics in every turn"),
            _ => Ok(message),
        }
    }

    fn present(&self, _context: &[u8], snapshot: Option<Snapshot>) -> Presentation {
        let mood = settings::get_or("mood", String::new()).unwrap_or_default();
        if mood == "holds" && snapshot.as_ref().is_some_and(|snapshot| snapshot.asked < 3) {
            return Presentation { again_within_ms: Some(5_000), ..Presentation::default() };
        }
        let text = snapshot.map(|snapshot| snapshot.reply.text).unwrap_or_default();
        let label = settings::get_or("label", String::new()).unwrap_or_default();
        let body = object([("text", text.into()), ("release", label.into())]);
        Presentation {
            response: Some(HttpResponse::json(200, &body)),
            complete: true,
            ..Presentation::default()
        }
    }

    fn finish(
        &self,
        _address: &[u8],
        _key: &str,
        _checkpoint: &[u8],
        _reply: &Reply,
    ) -> Result<Delivered, Fault> {
        Ok(Delivered::done())
    }
}

register_adapter!(Fickle);
