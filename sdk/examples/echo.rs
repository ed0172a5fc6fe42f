//! The smallest adapter: what a request says, the model answers.
use parlor_sdk::{Adapter, Fault, HttpRequest, Message, Reception, register_adapter};

#[derive(Default)]
struct Echo;

impl Adapter for Echo {
    fn receive(&self, request: &HttpRequest) -> Result<Reception, Fault> {
        let id = request.header("x-message-id").ok_or_else(|| Fault::invalid("send `x-message-id`"))?;
        let message = Message::new(id, "echo", "somebody", request.text()?);
        Ok(Reception::inquire(message, 10_000, Vec::new())) // the default `present` answers with the reply
    }
}

register_adapter!(Echo, manifest = "examples/echo.toml");
