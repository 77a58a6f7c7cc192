//! Server-sent events, split without being changed (the WHATWG's HTML, section "Server-sent events").

use bytes::{Bytes, BytesMut};

/// Between two events while nothing comes: a comment, which every client ignores.
pub(crate) const PING: &[u8] = b": ping\n\n";

/// Splits a stream into events, each with the empty line that ends it.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    buffer: BytesMut,
    /// So many bytes of it have been looked through.
    seen: usize,
}

impl Splitter {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let end = end_of_event(&self.buffer, self.seen)?;
        self.seen = 0;
        Some(self.buffer.split_to(end).freeze())
    }

    /// How many bytes wait for the rest of their event.
    pub(crate) fn waiting(&mut self) -> usize {
        // An end may have begun in the last three of them.
        self.seen = self.buffer.len().saturating_sub(3);
        self.buffer.len()
    }

    /// What is left when nothing more comes.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.seen = 0;
        self.buffer.split().freeze()
    }
}

/// After the first two ends of lines in a row; they are of one kind in any stream that there is.
fn end_of_event(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..).unwrap_or_default();
    let ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n' || **byte == b'\r');
    for (offset, _) in ends {
        let at = rest.get(offset..).unwrap_or_default();
        let length = match at {
            [b'\n', b'\n', ..] => 2,
            [b'\r', b'\n', b'\r', b'\n', ..] => 4,
            [b'\r', b'\r', ..] => 2,
            _ => continue,
        };
        return Some(from + offset + length);
    }
    None
}

/// The data of an event, its lines joined; empty for a comment.
pub(crate) fn data(event: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if let Some(text) = line.strip_prefix(b"data:") {
            if !data.is_empty() {
                data.push(b'\n');
            }
            data.extend_from_slice(text.strip_prefix(b" ").unwrap_or(text));
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_are_split_at_empty_lines_of_any_kind() {
        let mut splitter = Splitter::default();
        splitter.push(b"event: a\ndata: 1\ndata:2\n\n: ping\r\n\r\ndata: 3\r\rdata: half");
        let events: Vec<_> = std::iter::from_fn(|| splitter.next()).collect();
        let datas: Vec<_> = events.iter().map(|event| String::from_utf8(data(event)).unwrap()).collect();
        assert_eq!(datas, ["1\n2", "", "3"]);
        assert_eq!(splitter.waiting(), 10);
        splitter.push(b"\n");
        assert!(splitter.next().is_none());
        splitter.waiting();
        splitter.push(b"\n");
        assert_eq!(&splitter.next().unwrap()[..], b"data: half\n\n");
    }

    proptest! {
        #[test]
        fn bytes_are_not_changed_however_they_come(pieces in prop::collection::vec("[a\n\r: ]{0,9}", 0..20)) {
            let whole = pieces.concat();
            let mut splitter = Splitter::default();
            let (mut got, mut count) = (Vec::new(), 0);
            for piece in &pieces {
                splitter.push(piece.as_bytes());
                while let Some(event) = splitter.next() {
                    got.extend_from_slice(&event);
                    count += 1;
                }
                splitter.waiting();
            }
            got.extend_from_slice(&splitter.rest());
            prop_assert_eq!(String::from_utf8(got).unwrap(), whole.clone());
            let mut at_once = Splitter::default();
            at_once.push(whole.as_bytes());
            prop_assert_eq!(std::iter::from_fn(|| at_once.next()).count(), count);
        }
    }
}
