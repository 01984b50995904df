//! What becomes of the events of a watch on their way: cut, held, slow, merged, swallowed.
//!
//! Must not: change an event. What is delivered is what the server sent, as whole lines.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyDataStream, BodyExt, StreamBody};
use tokio::sync::watch;
use tower::BoxError;

use super::Faults;
use super::service::Answer;

/// How watches flow at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flow {
    /// Nothing arrives.
    pub(super) held: bool,
    /// Nothing arrives, and of all events of an object the last one will.
    pub(super) merging: bool,
    /// Everything is lost.
    pub(super) swallowing: bool,
    /// Each event takes so long.
    pub(super) delay: Duration,
    /// Streams with a lower number deliver nothing any more and do not end.
    pub(super) stuck_below: u64,
}

/// How a stream ends early.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cut {
    pub(super) times: u64,
    /// By the server's word that the revision is too old, instead of a broken connection.
    pub(super) expired: bool,
}

struct Stream {
    data: BoxStream<'static, Result<Bytes, BoxError>>,
    /// A line of which the end has not arrived.
    part: BytesMut,
    /// Whole lines to be delivered.
    lines: VecDeque<Bytes>,
    cuts: watch::Receiver<Cut>,
    flow: watch::Receiver<Flow>,
    number: u64,
    ended: bool,
}

/// A watch that is subject to the faults.
pub(super) fn stream<B>(answer: Response<B>, faults: &Faults) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (parts, body) = answer.into_parts();
    let mut cuts = faults.cuts.subscribe();
    cuts.mark_unchanged();
    let number = {
        let mut state = faults.lock();
        state.streams += 1;
        state.streams
    };
    let stream = Stream {
        data: BodyDataStream::new(body.map_err(Into::into)).boxed(),
        part: BytesMut::new(),
        lines: VecDeque::new(),
        cuts,
        flow: faults.flow.subscribe(),
        number,
        ended: false,
    };
    let frames = futures::stream::unfold(stream, |mut stream| async move {
        let item = stream.next().await?;
        Some((item.map(Frame::data), stream))
    });
    Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}

/// What the server says when it no longer has what a watch goes on from.
const EXPIRED: &[u8] =
    b"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\
\"metadata\":{},\"status\":\"Failure\",\"message\":\"too old resource version\",\
\"reason\":\"Expired\",\"code\":410}}\n";

impl Stream {
    /// The next line.
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            if self.ended {
                return None;
            }
            let flow = *self.flow.borrow_and_update();
            let stuck = self.number < flow.stuck_below;
            if flow.swallowing {
                self.lines.clear();
            }
            if flow.merging {
                keep_last(&mut self.lines);
            }
            let flows = !stuck && !flow.held && !flow.merging && !self.lines.is_empty();
            if flows {
                tokio::select! {
                    biased;
                    _ = self.cuts.changed() => return Some(self.cut()),
                    () = tokio::time::sleep(flow.delay) => {}
                }
                return self.lines.pop_front().map(Ok);
            }
            tokio::select! {
                biased;
                _ = self.cuts.changed() => return Some(self.cut()),
                changed = self.flow.changed() => changed.ok()?,
                item = self.data.next(), if !stuck => match item {
                    Some(Ok(bytes)) => self.take(&bytes),
                    Some(Err(error)) => return Some(Err(error)),
                    // What is held back is delivered before the end is seen.
                    None if self.lines.is_empty() => return None,
                    None => self.data = futures::stream::pending().boxed(),
                },
            }
        }
    }

    fn cut(&mut self) -> Result<Bytes, BoxError> {
        self.ended = true;
        if self.cuts.borrow().expired {
            return Ok(Bytes::from_static(EXPIRED));
        }
        Err("the stream was cut".into())
    }

    fn take(&mut self, bytes: &[u8]) {
        self.part.extend_from_slice(bytes);
        while let Some(end) = self.part.iter().position(|byte| *byte == b'\n') {
            self.lines.push_back(self.part.split_to(end + 1).freeze());
        }
    }
}

/// Of all events of an object the last one, in the order of these; as after a break that was long
/// enough, an object that was deleted and made again was never away.
fn keep_last(lines: &mut VecDeque<Bytes>) {
    let mut seen = std::collections::HashSet::new();
    let mut kept: VecDeque<Bytes> = VecDeque::new();
    for line in lines.drain(..).rev() {
        if object_of(&line).is_none_or(|object| seen.insert(object)) {
            kept.push_front(line);
        }
    }
    *lines = kept;
}

/// Namespace and name of the object that an event is about; none for marks and errors.
fn object_of(line: &[u8]) -> Option<(String, String)> {
    let event: serde_json::Value = serde_json::from_slice(line).ok()?;
    let metadata = &event["object"]["metadata"];
    let name = metadata["name"].as_str().filter(|name| !name.is_empty())?;
    Some((metadata["namespace"].as_str().unwrap_or_default().to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, version: u32) -> Bytes {
        let object = serde_json::json!({ "metadata": { "name": name, "namespace": "n",
            "resourceVersion": version.to_string() } });
        Bytes::from(serde_json::json!({ "type": "MODIFIED", "object": object }).to_string())
    }

    #[test]
    fn of_a_burst_the_last_event_of_each_object_is_left() {
        let mark = Bytes::from_static(b"{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{}}}");
        let mut lines = VecDeque::from([event("a", 1), event("b", 2), mark.clone(), event("a", 3)]);
        keep_last(&mut lines);
        assert_eq!(lines, [event("b", 2), mark, event("a", 3)]);
    }
}
