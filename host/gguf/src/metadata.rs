//! What the weights file says about itself. Knows how to ask llama.cpp, not what a chat template is for.

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

/// What the file says about its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// `general.name`, if it has one.
    pub name: Option<String>,
    /// `general.architecture`, such as `llama`.
    pub architecture: String,
    /// `tokenizer.chat_template`: Jinja, to be rendered by the caller.
    pub chat_template: Option<String>,
    /// The text of the token that begins a prompt; empty where the vocabulary has none.
    pub bos: String,
    /// The text of the token that ends a completion; empty where the vocabulary has none.
    pub eos: String,
    /// Tokens of context that the model was trained for.
    pub context_trained: u32,
    pub parameters: u64,
}

pub(crate) fn read(model: &LlamaModel, architecture: String) -> Metadata {
    let vocab = model.vocab();
    Metadata {
        name: model.meta_val_str("general.name").ok().filter(|name| !name.is_empty()),
        architecture,
        chat_template: model.chat_template(None).ok().and_then(|template| template.to_string().ok()),
        bos: text(model, vocab.bos()),
        eos: text(model, vocab.eos()),
        context_trained: model.n_ctx_train(),
        parameters: model.n_params(),
    }
}

fn text(model: &LlamaModel, token: LlamaToken) -> String {
    // A vocabulary without such a token says -1, which llama.cpp does not take back.
    if token.0 < 0 {
        return String::new();
    }
    String::from_utf8_lossy(&model.vocab().token_to_piece(token, true, None)).into_owned()
}
