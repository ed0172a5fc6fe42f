//! Marks on what people, models and tools wrote, so that it can be told from a template's own text afterwards.
//!
//! A template takes strings and gives one string back. Marks are characters of Unicode's private use areas,
//! taken out of what anybody writes first: either a pair around a text, or one in the place of each
//! punctuation mark. Without punctuation no text is a control token. It does not know templates.

use parlor_gguf::Span;

/// Punctuation `c` stands as `PUNCTUATION + c`, in the first private use area.
const PUNCTUATION: u32 = 0xE000;
/// Text `n` begins with `BEGIN + n` and ends with `END + n`, in the two private planes.
const BEGIN: u32 = 0xF_0000;
const END: u32 = 0x10_0000;
/// Texts that get a pair; a prompt with more has all of them marked by punctuation.
pub const PAIRS_MAX: usize = 0xFFFD;

/// What a character of a rendered template says about itself.
enum Mark {
    Begin(u32),
    End(u32),
    Punctuation(char),
    None,
}

fn mark_of(c: char) -> Mark {
    let code = u32::from(c);
    match code {
        0xE000..0xE080 => Mark::Punctuation(char::from_u32(code - PUNCTUATION).expect("it is ASCII")),
        0xF_0000..0xF_FFFE => Mark::Begin(code - BEGIN),
        0x10_0000..0x10_FFFE => Mark::End(code - END),
        _ => Mark::None,
    }
}

fn pair_char(base: u32, number: usize) -> char {
    let number = u32::try_from(number).expect("a prompt has fewer texts");
    char::from_u32(base + number).expect("below `PAIRS_MAX` it lies in a private plane")
}

/// Without the characters that serve as marks here.
pub fn unmarked(text: &str) -> String {
    text.chars()
        .map(|c| if matches!(mark_of(c), Mark::None) { c } else { char::REPLACEMENT_CHARACTER })
        .collect()
}

/// The text between its pair of marks; the space around it stays outside, since templates trim. An empty text
/// stays empty, since templates ask for that.
pub fn paired(text: &str, number: usize) -> String {
    let text = unmarked(text);
    let inner = text.trim();
    if inner.is_empty() {
        return text;
    }
    let start = text.len() - text.trim_start().len();
    let (before, after) = (&text[..start], &text[start + inner.len()..]);
    format!("{before}{}{inner}{}{after}", pair_char(BEGIN, number), pair_char(END, number))
}

/// Every punctuation mark as a mark; but for `"` and `\`, which a template must be able to escape in JSON.
pub fn dotted(text: &str) -> String {
    let dot = |c: char| match c {
        '"' | '\\' => c,
        c if c.is_ascii_punctuation() => {
            char::from_u32(PUNCTUATION + u32::from(c)).expect("it lies in the private use area")
        }
        c => c,
    };
    unmarked(text).chars().map(dot).collect()
}

/// Whether a text can hold no control token, so that it does no harm where it is not told apart.
fn is_harmless(text: &str) -> bool {
    !text.contains(|c: char| c.is_ascii_punctuation() && !matches!(c, '"' | '\\'))
}

/// Whether every paired text came out between its marks. A template that cuts texts apart leaves a mark alone,
/// or none at all.
pub fn pairs_hold(rendered: &str, texts: &[String]) -> bool {
    let mut found = vec![false; texts.len()];
    let mut open = None;
    for c in rendered.chars() {
        match (mark_of(c), open) {
            (Mark::Begin(number), None) => open = Some(number),
            (Mark::End(number), Some(begun)) if begun == number => {
                open = None;
                found[number as usize] = true;
            }
            (Mark::Begin(_) | Mark::End(_), _) => return false,
            _ => {}
        }
    }
    open.is_none() && texts.iter().zip(found).all(|(text, found)| found || is_harmless(text))
}

/// The rendered prompt by who wrote what, without the marks.
pub fn spans(rendered: &str) -> Vec<Span> {
    let mut spans = Spans::default();
    let mut is_inside = false;
    for c in rendered.chars() {
        match mark_of(c) {
            Mark::Begin(_) => is_inside = true,
            Mark::End(_) => is_inside = false,
            Mark::Punctuation(c) => spans.push(c, true),
            Mark::None => spans.push(c, is_inside),
        }
    }
    spans.finished
}

#[derive(Default)]
struct Spans {
    finished: Vec<Span>,
}

impl Spans {
    fn push(&mut self, c: char, is_text: bool) {
        match (self.finished.last_mut(), is_text) {
            (Some(Span::Text(text)), true) | (Some(Span::Control(text)), false) => text.push(c),
            (_, true) => self.finished.push(Span::Text(c.to_string())),
            (_, false) => self.finished.push(Span::Control(c.to_string())),
        }
    }
}
