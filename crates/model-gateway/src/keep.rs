//! Bodies as they go by, kept for the recorder where the configuration says so.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use serde_json::json;

use crate::body::{Body, BoxError};

/// Of a body, so much is kept.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Of all of them, so much: afterwards nothing.
pub const MAX_BODIES_BYTES: usize = 128 << 20;

/// Where they are kept: a line of JSON for each exchange.
#[derive(Clone, Debug)]
pub struct Keep(Arc<Mutex<(File, usize)>>);

impl Keep {
    /// In a new file.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new((File::create(path)?, MAX_BODIES_BYTES)))))
    }

    fn put(&self, id: &str, request: &[u8], response: &[u8], is_cut: bool) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.get(..MAX_BODY_BYTES).unwrap_or(bytes)).into_owned();
        let is_cut = is_cut || request.len() > MAX_BODY_BYTES;
        let line = json!({"id": id, "request": text(request), "response": text(response), "truncated": is_cut});
        let line = format!("{line}\n");
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, room) = &mut *kept;
        if line.len() > *room {
            *room = 0;
            return;
        }
        *room -= line.len();
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "the body of an exchange with a model is not kept");
        }
    }

    /// The answer to a request, which is kept when that has ended, or nobody reads it any more.
    pub(crate) fn tee(&self, id: String, request: Bytes, body: Body) -> Body {
        use http_body_util::BodyExt as _;
        Tee { keep: self.clone(), id, request, kept: Vec::new(), is_cut: false, body }.boxed_unsync()
    }
}

struct Tee {
    keep: Keep,
    id: String,
    request: Bytes,
    kept: Vec<u8>,
    is_cut: bool,
    body: Body,
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            let room = MAX_BODY_BYTES.saturating_sub(self.kept.len()).min(data.len());
            self.is_cut |= room < data.len();
            self.kept.extend_from_slice(data.get(..room).unwrap_or_default());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.keep.put(&self.id, &self.request, &self.kept, self.is_cut);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::body::full;

    #[tokio::test]
    async fn of_each_body_so_much_is_kept_and_all_of_it_goes_by() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bodies");
        let keep = Keep::new(&path).unwrap();
        for (id, size) in [("a", 10), ("b", MAX_BODY_BYTES + 1)] {
            let body = keep.tee(id.into(), Bytes::from_static(b"asked"), full(vec![b'x'; size]));
            assert_eq!(body.collect().await.unwrap().to_bytes().len(), size);
        }
        let lines = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let written = lines.iter().map(|line| (line["response"].as_str().unwrap().len(), line["truncated"] == true));
        assert_eq!(written.collect::<Vec<_>>(), [(10, false), (MAX_BODY_BYTES, true)]);
        assert_eq!((&lines[0]["id"], &lines[0]["request"]), (&"a".into(), &"asked".into()));
    }
}
