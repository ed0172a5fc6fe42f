//! What a message says to the bot: whether it has the trigger, and whether it is a command.
//!
//! People type full-width slashes, capitals, and mentions before or behind a command, and a platform may leave
//! marks that cannot be seen. It knows no command and answers nothing.

/// Longer names are talk.
const NAME_CHARS_MAX: usize = 32;

/// A slash command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// In lower case, half-width.
    pub name: String,
    /// What follows it, without mentions.
    pub argument: String,
}

/// The text behind the trigger, if it begins with it: `/ai` is in `／AI 你好` and in `/ai你好`, not in `/aim`.
pub fn after_trigger<'a>(text: &'a str, trigger: &str) -> Option<&'a str> {
    let trigger = trigger.trim();
    let mut rest = trim(text).chars();
    for wanted in trigger.chars() {
        if rest.next().map(plain) != Some(plain(wanted)) {
            return None;
        }
    }
    let rest = rest.as_str();
    let goes_on = |c: char| is_name_letter(plain(c)) && plain(c).is_ascii();
    let is_part = trigger.ends_with(goes_on) && rest.starts_with(goes_on);
    (!is_part).then(|| trim(rest))
}

/// The command that a text is. A path such as `/etc/hosts` is none.
pub fn call(text: &str) -> Option<Call> {
    let mut rest = trim(text).chars();
    if plain(rest.next()?) != '/' {
        return None;
    }
    let name: String = rest.clone().map(plain).take_while(|c| is_name_letter(*c)).collect();
    let length = name.chars().count();
    if length == 0 || length > NAME_CHARS_MAX {
        return None;
    }
    let rest = rest.as_str();
    let behind = rest.char_indices().nth(length).map_or("", |(at, _)| &rest[at..]);
    let ends = behind.chars().next().is_none_or(|c| is_blank(c) || plain(c) == '@');
    ends.then(|| Call { name, argument: without_mentions(behind) })
}

/// The text behind mentions that an adapter may have left before a slash or a trigger: `@Bot /help`.
pub fn after_mentions(text: &str) -> &str {
    let mut rest = trim(text);
    while rest.chars().next().map(plain) == Some('@') {
        let end = rest.find(is_blank).unwrap_or(rest.len());
        rest = trim(&rest[end..]);
    }
    rest
}

/// A character as it is typed with half width, in lower case.
pub fn plain(c: char) -> char {
    let half = match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ => c,
    };
    half.to_lowercase().next().unwrap_or(half)
}

/// A text with what surrounds it and says nothing taken off.
fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// White space, and what platforms put around mentions and cannot be seen.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}')
}

fn is_name_letter(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_')
}

fn without_mentions(text: &str) -> String {
    let words = text.split(is_blank).filter(|word| !word.is_empty());
    let words = words.filter(|word| word.chars().next().map(plain) != Some('@'));
    words.collect::<Vec<_>>().join(" ")
}
