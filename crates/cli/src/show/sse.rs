//! Server-sent events, as they come in pieces.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Its id, to go on after it.
    pub id: String,
    /// Its kind; `message` without.
    pub event: String,
    /// What it says.
    pub data: String,
}

/// The longest line, in bytes: what is longer is no event of ours.
const MOST: usize = 4 << 20;

/// Makes events of pieces.
#[derive(Debug, Default)]
pub struct Events {
    buffer: Vec<u8>,
    next: Sent,
}

impl Events {
    /// Takes a piece; the events that are whole with it.
    pub fn push(&mut self, piece: &[u8]) -> Vec<Sent> {
        self.buffer.extend_from_slice(piece);
        let mut whole = Vec::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let sent = std::mem::take(&mut self.next);
                self.next.id.clone_from(&sent.id);
                whole.extend((!sent.data.is_empty() || !sent.event.is_empty()).then_some(sent));
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.next.id = value.to_owned(),
                "event" => self.next.event = value.to_owned(),
                "data" => {
                    if !self.next.data.is_empty() {
                        self.next.data.push('\n');
                    }
                    self.next.data.push_str(value);
                }
                _ => {}
            }
        }
        if self.buffer.len() > MOST {
            self.buffer.clear();
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_they_are_cut() {
        let text = "retry: 2000\n\n: still here\n\nid: 1.1\ndata: {\"a\":1}\n\nid: 1.2\ndata: {\"b\"\ndata: :2}\n\nevent: end\ndata: {}\n\n";
        let sent = |id: &str, event: &str, data: &str| Sent { id: id.into(), event: event.into(), data: data.into() };
        let expected = [sent("1.1", "", "{\"a\":1}"), sent("1.2", "", "{\"b\"\n:2}"), sent("1.2", "end", "{}")];
        for size in [1, 2, 7, 1000] {
            let mut events = Events::default();
            let whole: Vec<Sent> = text.as_bytes().chunks(size).flat_map(|piece| events.push(piece)).collect();
            assert_eq!(whole, expected, "{size}");
        }
        let mut events = Events::default();
        for _ in 0..100 {
            events.push(&[b'x'; 1 << 20]);
        }
        assert!(events.buffer.len() <= MOST + (1 << 20), "what has no end does not grow without one");
    }
}
