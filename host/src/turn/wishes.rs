//! What a caller wished for, put into the prompts whose answers he is shown.
//!
//! It does not know where wishes come from, nor whether a backend can do what they say: the door has asked.

use std::borrow::Cow;

use crate::message::{Prompt, Wishes};
use crate::model::Abilities;

/// The prompt as the model gets it. The caller's word goes before the pipeline's, but for the length: nobody wishes
/// for more than the pipeline asks for, or else the operator allows.
pub(super) fn granted<'p>(
    prompt: &'p Prompt,
    wishes: Option<&Wishes>,
    abilities: Abilities,
) -> Cow<'p, Prompt> {
    let Some(wishes) = wishes.filter(|_| prompt.show) else { return Cow::Borrowed(prompt) };
    let mut granted = prompt.clone();
    if let Some(wished) = wishes.max_tokens {
        let bound = prompt.max_tokens.or(abilities.max_tokens);
        granted.max_tokens = Some(bound.map_or(wished, |bound| wished.min(bound)));
    }
    granted.temperature = wishes.temperature.or(prompt.temperature);
    granted.top_p = wishes.top_p;
    granted.seed = wishes.seed;
    granted.format = wishes.format.clone();
    let more = wishes.stop.iter().filter(|stop| !prompt.stop.contains(stop));
    granted.stop.extend(more.cloned());
    if !wishes.tools.is_empty() {
        granted.tools = wishes.tools.clone();
        granted.tool_choice = wishes.tool_choice.clone();
    }
    Cow::Owned(granted)
}
