//! The tools that a caller lets the model call, and which of them it must.
//!
//! They are the caller's to run: the model's calls go back to him.

use serde_json::Value;

use super::Offer;
use super::complaint::Complaint;
use super::table::Table;
use crate::message::Tool;

/// The official API's own bound.
const TOOLS_MAX: usize = 128;
/// What a tool that names no parameters has.
const NO_PARAMETERS: &str = r#"{"type":"object","properties":{}}"#;

/// # Errors
/// Something cannot be read, or the model cannot call tools.
pub fn read(body: &mut Table, offer: &Offer) -> Result<(Vec<Tool>, Option<String>), Complaint> {
    let tools = body.list("tools")?.unwrap_or_default();
    if tools.len() > TOOLS_MAX {
        return Err(Complaint::invalid("tools", "has more than 128 tools"));
    }
    if !tools.is_empty() && !offer.tools {
        return Err(Complaint::unsupported("tools", &why_not(offer)));
    }
    let tools = tools.into_iter().enumerate();
    let tools = tools.map(|(at, value)| tool(Table::of(format!("tools[{at}]"), value)?));
    let tools = tools.collect::<Result<Vec<_>, _>>()?;
    let choice = body.take("tool_choice").map(choice).transpose()?;
    check_choice(choice.as_deref(), &tools)?;
    Ok((tools, choice))
}

fn why_not(offer: &Offer) -> String {
    let id = &offer.id;
    match offer.is_assistant {
        true => format!("`{id}` is an assistant, which has its own; leave it out, or ask a model"),
        false => format!("the model `{id}` cannot call tools; leave it out, or ask another"),
    }
}

fn tool(mut tool: Table) -> Result<Tool, Complaint> {
    if tool.needed_text("type")? != "function" {
        return Err(Complaint::unsupported(tool.path("type"), "tools are functions; send `function`"));
    }
    let mut function = tool.needed_table("function")?;
    let read = Tool {
        name: function.name("name")?,
        description: function.text("description")?.unwrap_or_default(),
        parameters: function.schema("parameters")?.unwrap_or_else(|| NO_PARAMETERS.to_owned()),
        extra: Vec::new(),
        strict: function.flag("strict")?.unwrap_or_default(),
    };
    function.close()?;
    tool.close()?;
    Ok(read)
}

/// A mode, or the name of the tool that must be called.
fn choice(value: Value) -> Result<String, Complaint> {
    if let Value::String(mode) = value {
        let is_mode = matches!(mode.as_str(), "none" | "auto" | "required");
        let rule = "must be `none`, `auto`, `required`, or name a function";
        return if is_mode { Ok(mode) } else { Err(Complaint::invalid("tool_choice", rule)) };
    }
    let mut choice = Table::of("tool_choice".to_owned(), value)?;
    if choice.needed_text("type")? != "function" {
        return Err(Complaint::unsupported("tool_choice.type", "name one function, or send a mode"));
    }
    let mut function = choice.needed_table("function")?;
    let name = function.name("name")?;
    function.close()?;
    choice.close()?;
    Ok(name)
}

fn check_choice(choice: Option<&str>, tools: &[Tool]) -> Result<(), Complaint> {
    let Some(choice) = choice else { return Ok(()) };
    match choice {
        // without tools the model calls none anyway
        "none" | "auto" => Ok(()),
        "required" if !tools.is_empty() => Ok(()),
        name if tools.iter().any(|tool| tool.name == name) => Ok(()),
        _ => Err(Complaint::invalid("tool_choice", "asks for a tool that is not in `tools`")),
    }
}
