//! From the bytes of tokens to text that may be shown: whole characters only, and nothing of a stop string.
//!
//! Knows neither tokens nor channels.

/// Holds back what may still become something else: bytes of an unfinished character, the start of a stop string.
#[derive(Debug, Default)]
pub(crate) struct TextOut {
    bytes: Vec<u8>,
    held: String,
    stops: Vec<String>,
}

/// What the last token let through.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub text: String,
    pub is_stopped: bool,
}

impl TextOut {
    pub fn new(stops: Vec<String>) -> Self {
        Self { stops, ..Self::default() }
    }

    pub fn push(&mut self, bytes: &[u8]) -> Piece {
        self.bytes.extend_from_slice(bytes);
        self.decode();
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return Piece { text: std::mem::take(&mut self.held), is_stopped: true };
        }
        let kept = self.held.split_off(self.held.len() - self.doubtful());
        Piece { text: std::mem::replace(&mut self.held, kept), is_stopped: false }
    }

    /// What was held back and can no longer become a stop string. Bytes of an unfinished character are dropped.
    pub fn finish(&mut self) -> String {
        self.bytes.clear();
        std::mem::take(&mut self.held)
    }

    /// Moves whole characters over; bytes that can never become one turn into U+FFFD.
    fn decode(&mut self) {
        while let Err(error) = std::str::from_utf8(&self.bytes) {
            let valid = error.valid_up_to();
            self.held.push_str(&String::from_utf8_lossy(&self.bytes[..valid]));
            self.bytes.drain(..valid + error.error_len().unwrap_or(0));
            match error.error_len() {
                Some(_) => self.held.push(char::REPLACEMENT_CHARACTER),
                // The start of a character, which the next token may end.
                None => return,
            }
        }
        self.held.push_str(&String::from_utf8_lossy(&self.bytes));
        self.bytes.clear();
    }

    /// Length of the longest tail that a stop string begins with.
    fn doubtful(&self) -> usize {
        self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0)
    }
}

fn overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len() - 1);
    let (text, stop) = (text.as_bytes(), stop.as_bytes());
    // Both are UTF-8, so a match of bytes begins where a character does.
    (1..=longest).rev().find(|n| text.ends_with(&stop[..*n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the text byte by byte, the worst that tokens can do.
    fn trickle(stops: &[&str], bytes: &[u8]) -> (String, bool) {
        let mut out = TextOut::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut shown = String::new();
        for byte in bytes {
            let piece = out.push(std::slice::from_ref(byte));
            shown.push_str(&piece.text);
            if piece.is_stopped {
                return (shown, true);
            }
        }
        (shown + &out.finish(), false)
    }

    #[test]
    fn a_character_in_four_tokens_comes_out_whole() {
        assert_eq!(trickle(&[], "a好🦜!".as_bytes()), ("a好🦜!".to_owned(), false));
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        assert_eq!(trickle(&[], b"a\xffb\xe5\xa5c"), ("a\u{fffd}b\u{fffd}c".to_owned(), false));
    }

    #[test]
    fn an_unfinished_character_at_the_end_is_dropped() {
        assert_eq!(trickle(&[], b"ok\xf0\x9f\xa6"), ("ok".to_owned(), false));
    }

    #[test]
    fn a_stop_is_never_shown_whatever_its_borders() {
        assert_eq!(trickle(&["\nUser:"], b"hi\nUse it\nUser: no"), ("hi\nUse it".to_owned(), true));
        assert_eq!(trickle(&["。好"], "是。是。好".as_bytes()), ("是。是".to_owned(), true));
    }

    #[test]
    fn the_start_of_a_stop_at_the_end_is_text() {
        assert_eq!(trickle(&["END"], b"the EN"), ("the EN".to_owned(), false));
    }

    #[test]
    fn the_first_of_two_stops_counts() {
        let mut out = TextOut::new(vec!["three".into(), "two".into()]);
        assert_eq!(out.push(b"one two three"), Piece { text: "one ".into(), is_stopped: true });
    }
}
