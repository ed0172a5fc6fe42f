//! Server-sent events out of bytes: the parser of the WHATWG's HTML standard, section 9.2.6.
//!
//! Chunks may end anywhere, also inside a character or between CR and LF. It does not know what the events
//! mean; `answer` reads them.

use std::collections::VecDeque;

/// One event, and so one line, at most. A delta has a few hundred bytes; a server that sends a whole
/// answer as one event stays below this too, and a peer that never breaks the line is stopped here.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One event with data in it. Comments, ids and retry hints are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; empty if there is none.
    pub name: String,
    pub data: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {EVENT_BYTES_MAX} bytes")]
pub struct TooLong;

/// The state between two chunks.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    /// The last byte was a CR: an LF that follows belongs to the same line end.
    after_cr: bool,
    /// The first line is through, so that a byte order mark is no longer dropped.
    begun: bool,
}

impl Decoder {
    /// Takes a chunk and appends the events that it completes.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut VecDeque<Event>) -> Result<(), TooLong> {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                return self.lengthen(bytes);
            };
            self.lengthen(&bytes[..end])?;
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.end_line(events);
        }
        Ok(())
    }

    /// The body is over: a last event without the empty line behind it counts, since some servers leave
    /// it out after `[DONE]`. One that is cut inside is no JSON and is found out by that.
    pub fn finish(&mut self, events: &mut VecDeque<Event>) {
        if !self.line.is_empty() {
            self.end_line(events);
        }
        self.dispatch(events);
    }

    fn lengthen(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
        if held + bytes.len() > EVENT_BYTES_MAX {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, events: &mut VecDeque<Event>) {
        let bytes = std::mem::take(&mut self.line);
        let mut line = bytes.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        match line {
            [] => self.dispatch(events),
            [b':', ..] => {}
            line => self.field(&String::from_utf8_lossy(line)),
        }
    }

    fn field(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut VecDeque<Event>) {
        let name = std::mem::take(&mut self.name);
        if let Some(data) = self.data.take() {
            events.push_back(Event { name, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let (mut decoder, mut events) = (Decoder::default(), VecDeque::new());
        for chunk in chunks {
            decoder.push(chunk, &mut events).unwrap();
        }
        decoder.finish(&mut events);
        events.into_iter().map(|event| (event.name, event.data)).collect()
    }

    fn plain(data: &[&str]) -> Vec<(String, String)> {
        data.iter().map(|data| (String::new(), (*data).to_owned())).collect()
    }

    const MIXED: &str = "\u{feff}data: eins\n\n: ping\r\n\r\ndata:zwei\rdata:  drei\r\revent: error\r\ndata\r\n\r\nid: 7\nretry: 3\n\ndata: 四";

    #[test]
    fn every_split_of_the_bytes_gives_the_same_events() {
        let mut expected = plain(&["eins", "zwei\n drei"]);
        expected.push(("error".to_owned(), String::new()));
        expected.extend(plain(&["四"]));
        let bytes = MIXED.as_bytes();
        assert_eq!(decode(&bytes.chunks(1).collect::<Vec<_>>()), expected);
        for at in 0..=bytes.len() {
            assert_eq!(decode(&[&bytes[..at], &bytes[at..]]), expected, "split at {at}");
        }
    }

    #[test]
    fn a_byte_order_mark_counts_only_at_the_start() {
        assert_eq!(decode(&["data: a\n\n\u{feff}data: b\n\n".as_bytes()]), plain(&["a"]));
    }

    #[test]
    fn a_line_and_an_event_have_an_end() {
        let (mut decoder, mut events) = (Decoder::default(), VecDeque::new());
        let block = vec![b'x'; EVENT_BYTES_MAX / 2];
        decoder.push(&block, &mut events).unwrap();
        decoder.push(&block, &mut events).unwrap();
        assert_eq!(decoder.push(b"x", &mut events), Err(TooLong));

        let mut decoder = Decoder::default();
        let line = [b"data: ".as_slice(), &block[6..], b"\n"].concat();
        decoder.push(&line, &mut events).unwrap();
        decoder.push(&line, &mut events).unwrap();
        assert_eq!(decoder.push(&line, &mut events), Err(TooLong));
    }
}
