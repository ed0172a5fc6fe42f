//! A prompt in spans, and its way into tokens: what a person wrote never becomes a control token.
//!
//! Knows vocabularies, not templates.

use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::vocab::LlamaVocab;

/// A piece of a prompt, by who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// Written by the chat template: `<|im_end|>` in it is the control token.
    Control(String),
    /// Written by a person or another model: `<|im_end|>` in it is ten characters.
    Text(String),
}

impl Span {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Control(text) | Self::Text(text) => text,
        }
    }
}

/// Tokens of the whole prompt, with the token that begins it where the model's metadata asks for one.
///
/// The spans are taken as one text if that gives the same control tokens in the same order as taking them one by one:
/// tokenizers treat the start of a text in their own way (a space before it), and the models learnt whole texts. Where
/// it does not, somebody wrote a control token, and each span stands alone.
pub(crate) fn tokenize(vocab: &LlamaVocab<'_>, prompt: &[Span]) -> Vec<LlamaToken> {
    let spans = join_text(prompt);
    let apart: Vec<LlamaToken> = spans.iter().flat_map(|span| tokenize_span(vocab, span)).collect();
    let whole: String = spans.iter().map(Span::text).collect();
    let whole = vocab.tokenize(whole.as_bytes(), false, true);
    let mut tokens = if controls(vocab, &whole).eq(controls(vocab, &apart)) { whole } else { apart };
    if vocab.should_add_bos() && tokens.first() != Some(&vocab.bos()) {
        tokens.insert(0, vocab.bos());
    }
    tokens
}

fn tokenize_span(vocab: &LlamaVocab<'_>, span: &Span) -> Vec<LlamaToken> {
    vocab.tokenize(span.text().as_bytes(), false, matches!(span, Span::Control(_)))
}

fn controls<'a>(
    vocab: &'a LlamaVocab<'_>,
    tokens: &'a [LlamaToken],
) -> impl Iterator<Item = LlamaToken> + 'a {
    tokens.iter().copied().filter(|token| vocab.is_control(*token))
}

/// Neighbouring texts become one.
fn join_text(prompt: &[Span]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::with_capacity(prompt.len());
    for span in prompt {
        match (spans.last_mut(), span) {
            (Some(Span::Text(before)), Span::Text(text)) => before.push_str(text),
            _ => spans.push(span.clone()),
        }
    }
    spans
}
