//! An adapter: takes `{"id", "from", "text"}` and answers in the response.
//!
//! Make `receive` read what your platform sends. It is quick and pure: no HTTP, no store.

use parlor_sdk::{
    Adapter, Fault, HttpRequest, Message, Reception, register_adapter, secrets, settings::get_or,
};

#[derive(Default)]
pub struct MyPlugin;

impl Adapter for MyPlugin {
    fn receive(&self, request: &HttpRequest) -> Result<Reception, Fault> {
        // Verified before anything is parsed. The secret itself never enters the plugin.
        let token = request.header("x-token").unwrap_or_default();
        if !secrets::equals("token", token.as_bytes())? {
            return Err(Fault::unauthorized("`x-token` is not the channel's token"));
        }
        let body = request.json()?;
        let field = |name| {
            body.text(name)
                .ok_or_else(|| Fault::invalid(format!("`{name}` is missing")))
        };
        let from = field("from")?;
        // The id is what a repeated request is known by; messages of one conversation are answered in order.
        let message = Message::new(field("id")?, from, from, field("text")?);
        // The response waits so long for the reply. A platform that takes replies later gets `Reception::accept`
        // here, and the reply by `finish`.
        Ok(Reception::inquire(
            message,
            get_or("wait_ms", 10_000)?,
            Vec::new(),
        ))
    }
}

register_adapter!(MyPlugin);
