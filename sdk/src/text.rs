//! Cutting markdown into parts that a platform takes, and telling Chinese text from other text.
//!
//! A part never ends inside a grapheme, so no emoji and no accent is torn; a code fence that is
//! open at a cut is closed there and opened again in the next part. Knows no platform.

use unicode_segmentation::UnicodeSegmentation;

/// A longer run of fence characters is not taken for a fence, so that repairs stay small.
const FENCE_BYTES_MAX: usize = 16;
/// A longer opening line is opened again without its info string.
const FENCE_LINE_BYTES_MAX: usize = 64;

/// Whether a text has Chinese characters in it: enough to choose the language of a plain sentence.
///
/// ```
/// assert!(parlor_sdk::text::has_han("hello 你好") && !parlor_sdk::text::has_han("こ、hello"));
/// ```
pub fn has_han(text: &str) -> bool {
    let is_han =
        |c: char| matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{2fa1f}');
    text.contains(is_han)
}

/// `markdown` in parts of at most `bytes_max` bytes each.
///
/// Prefers to cut between paragraphs, then lines, then words. A part has more bytes only if a
/// single grapheme does, or if `bytes_max` has no room for a fence's repair.
///
/// ```
/// let parts = parlor_sdk::text::split("first paragraph\n\nsecond paragraph", 20);
/// assert_eq!(parts, ["first paragraph", "second paragraph"]);
/// ```
pub fn split(markdown: &str, bytes_max: usize) -> Vec<String> {
    split_by(markdown, bytes_max, str::len)
}

/// As [`split`], with another measure: `weigh` is asked for the weight of each grapheme, such as
/// its length once it is escaped, and a part weighs at most `weight_max`.
pub fn split_by(markdown: &str, weight_max: usize, weigh: impl Fn(&str) -> usize) -> Vec<String> {
    let measure = Measure { weight_max, weigh };
    let mut parts = Vec::new();
    let mut rest = markdown.trim_matches('\n');
    let mut open: Option<Fence> = None;
    while !rest.is_empty() {
        let head = open.as_ref().map(Fence::reopening).unwrap_or_default();
        let Some(room) = measure.overflow(rest, &head) else {
            parts.push(head + rest);
            break;
        };
        let (cut, fence) = place_cut(rest, room, open);
        let mut part = head + trim_part(&rest[..cut], fence.is_some());
        rest = &rest[cut..];
        if let Some(fence) = &fence {
            part.push('\n');
            part.push_str(&fence.marker);
        }
        parts.push(part);
        (rest, open) = trim_rest(rest, fence);
    }
    parts
}

struct Measure<F> {
    weight_max: usize,
    weigh: F,
}

impl<F: Fn(&str) -> usize> Measure<F> {
    /// How many bytes of `rest` fit after `head`; none if all of them do.
    fn overflow(&self, rest: &str, head: &str) -> Option<usize> {
        let head_weight = self.weight(head);
        let closing_weight = match head.is_empty() && !rest.contains("```") && !rest.contains("~~~") {
            true => 0,
            false => self.weight("\n") + self.weight("`") * FENCE_BYTES_MAX,
        };
        let room_whole = self.weight_max.saturating_sub(head_weight);
        let room_cut = room_whole.saturating_sub(closing_weight);
        let (mut weight, mut cut) = (0, 0);
        for (offset, grapheme) in rest.grapheme_indices(true) {
            weight += (self.weigh)(grapheme);
            let end = offset + grapheme.len();
            if weight <= room_cut || cut == 0 {
                cut = end;
            }
            if weight > room_whole && end > cut {
                return Some(cut);
            }
        }
        None
    }

    fn weight(&self, text: &str) -> usize {
        text.graphemes(true).map(&self.weigh).sum()
    }
}

/// A code fence that is open.
#[derive(Clone, Debug, PartialEq)]
struct Fence {
    marker: String,
    line: String,
    /// Where its opening line begins in the text at hand; none if it was open before.
    offset: Option<usize>,
}

impl Fence {
    /// The fence that `line` opens.
    fn opened_by(line: &str, offset: usize) -> Option<Self> {
        let (marker, info) = fence_run(line)?;
        let is_fence = !(marker.starts_with('`') && info.contains('`'));
        is_fence.then(|| Self { marker: marker.to_owned(), line: line.to_owned(), offset: Some(offset) })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        fence_run(line).is_some_and(|(run, info)| {
            run.len() >= self.marker.len() && run.starts_with(&self.marker[..1]) && info.trim().is_empty()
        })
    }

    fn reopening(&self) -> String {
        let line = if self.line.len() <= FENCE_LINE_BYTES_MAX { &self.line } else { &self.marker };
        format!("{line}\n")
    }
}

/// A line's run of fence characters and what follows it.
fn fence_run(line: &str) -> Option<(&str, &str)> {
    let bare = line.trim_start_matches(' ');
    let first = bare.chars().next().filter(|first| matches!(first, '`' | '~'))?;
    let info = bare.trim_start_matches(first);
    let run = &bare[..bare.len() - info.len()];
    (line.len() - bare.len() <= 3 && (3..=FENCE_BYTES_MAX).contains(&run.len())).then_some((run, info))
}

/// The fence that is open at the end of `text`.
fn fence_after(text: &str, mut open: Option<Fence>) -> Option<Fence> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end_matches('\n');
        open = match open {
            Some(fence) if fence.is_closed_by(bare) => None,
            Some(fence) => Some(fence),
            None => Fence::opened_by(bare, offset),
        };
        offset += line.len();
    }
    open
}

/// Where to cut `rest` within its first `room` bytes, and the fence that is open there.
fn place_cut(rest: &str, room: usize, open: Option<Fence>) -> (usize, Option<Fence>) {
    let window = &rest[..room];
    let cut = best_break(window);
    let fence = fence_after(&rest[..cut], open.clone());
    // A fence that opens on the last line before the cut would leave an empty block behind.
    match fence.as_ref().and_then(|fence| fence.offset) {
        Some(offset) if offset > 0 && !rest[offset..cut].trim_end_matches('\n').contains('\n') => {
            (offset, fence_after(&rest[..offset], open))
        }
        _ => (cut, fence),
    }
}

/// The end of the last paragraph, line or word in the window's second half, else its end.
fn best_break(window: &str) -> usize {
    let least = window.len() / 2;
    let found = |separator: &str| {
        window.rfind(separator).map(|start| start + separator.len()).filter(|end| *end > least)
    };
    found("\n\n").or_else(|| found("\n")).or_else(|| found(" ")).unwrap_or(window.len())
}

/// A part without the blank that it was cut at.
fn trim_part(part: &str, in_fence: bool) -> &str {
    if in_fence { part.strip_suffix('\n').unwrap_or(part) } else { part.trim_end_matches(['\n', ' ']) }
}

/// What is left after a cut: without blank lines, and without a fence's closing line if that comes
/// first, since the part before was closed already.
fn trim_rest(rest: &str, open: Option<Fence>) -> (&str, Option<Fence>) {
    let Some(fence) = open else { return (rest.trim_start_matches('\n'), None) };
    let line = rest.split('\n').next().unwrap_or_default();
    if fence.is_closed_by(line) {
        return (rest[line.len()..].trim_start_matches('\n'), None);
    }
    (rest, Some(Fence { offset: None, ..fence }))
}
