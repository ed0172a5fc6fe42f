//! An utterance in words alone, for models that read nothing but text.
//!
//! It does not know any backend's format; `openai::request` and `gguf` put what comes out into theirs.

use crate::message::{Attachment, Content, MediaKind, Utterance};

/// Its text parts as they are and its attachments named, joined by line breaks.
pub fn spoken(utterance: &Utterance) -> String {
    let parts = utterance.content.iter().map(|part| match part {
        Content::Text(text) => text.clone(),
        Content::Attachment(attachment) => named(attachment),
    });
    parts.collect::<Vec<_>>().join("\n")
}

/// Such as ``[image `cat.png` (image/png)]``. The reference stays out: it may open the file to whoever has it.
fn named(attachment: &Attachment) -> String {
    let name = attachment.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
    let media_type = attachment.media_type.as_ref().map(|kind| format!(" ({kind})")).unwrap_or_default();
    format!("[{}{name}{media_type}]", kind_word(attachment.kind))
}

fn kind_word(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image",
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
        MediaKind::File => "file",
        MediaKind::Other => "attachment",
    }
}
