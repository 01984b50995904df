//! One request and its answer, bounded in time and size.

use std::error::Error;

use bytes::Bytes;
use http::Request;
use http::response::Parts;
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::client::HttpClient;
use super::guard::Denied;
use super::note;
use crate::run::Outcome;

/// Bytes of a body that are read; with more the connection is closed.
const BODY_BYTES: usize = 64 << 10;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The address is not allowed. Nothing was sent.
    Denied(String),
    /// No connection, or one that ended before the request was on it.
    NotSent(String),
    /// The request was sent, or a part of it, and then the connection failed.
    Broken(String),
    /// No whole answer in time, to a request that was sent.
    TimedOut(String),
}

impl Trouble {
    pub(super) fn note(self) -> String {
        match self {
            Self::Denied(note)
            | Self::NotSent(note)
            | Self::Broken(note)
            | Self::TimedOut(note) => note,
        }
    }
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Denied(note) => Self::Refused { note },
            Trouble::NotSent(note) | Trouble::Broken(note) => Self::Failed { note },
            Trouble::TimedOut(note) => Self::TimedOut { note },
        }
    }
}

/// Sends a request and reads the answer; `keep` bytes of its body are kept.
pub(super) async fn exchange(
    client: &HttpClient,
    request: Request<Full<Bytes>>,
    deadline: Instant,
    keep: usize,
) -> Result<Answer, Trouble> {
    exchange_by(client, request, deadline, async |head, body| {
        let body = read(body, keep, BODY_BYTES).await?;
        Ok(Answer { status: head.status, headers: head.headers.clone(), body })
    })
    .await
}

/// Sends a request and has the answer read, all of it before the deadline.
pub(super) async fn exchange_by<T>(
    client: &HttpClient,
    mut request: Request<Full<Bytes>>,
    deadline: Instant,
    read: impl AsyncFnOnce(&Parts, Incoming) -> Result<T, hyper::Error>,
) -> Result<T, Trouble> {
    let connection = capture_connection(&mut request);
    let mut status = None;
    let answer = async {
        let response = client.request(request).await.map_err(|error| trouble(&error))?;
        let (head, body) = response.into_parts();
        status = Some(head.status);
        read(&head, body).await.map_err(|error| {
            let why = note::of_error(&error);
            Trouble::Broken(format!("{}, and its body broke off: {why}", head.status))
        })
    };
    let start = Instant::now();
    let Ok(answer) = timeout_at(deadline, answer).await else {
        let time = (deadline - start).as_secs_f32();
        return Err(if let Some(status) = status {
            Trouble::TimedOut(format!("{status}, and its body not whole within {time} s"))
        } else if connection.connection_metadata().is_some() {
            Trouble::TimedOut(format!("no answer within {time} s"))
        } else {
            Trouble::NotSent(format!("no connection within {time} s"))
        });
    };
    answer
}

/// The first bytes of a body, which is read on to its end or to the limit: only a body that was
/// read to its end leaves the connection for the next request.
pub(super) async fn read<B>(mut body: B, keep: usize, most: usize) -> Result<Vec<u8>, B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut kept, mut seen) = (Vec::new(), 0_usize);
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        let room = keep.saturating_sub(kept.len());
        kept.extend_from_slice(&data[..data.len().min(room)]);
        seen = seen.saturating_add(data.len());
        if seen > most {
            break;
        }
    }
    Ok(kept)
}

fn trouble(error: &hyper_util::client::legacy::Error) -> Trouble {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(denied) = error.downcast_ref::<Denied>() {
            return Trouble::Denied(denied.to_string());
        }
        cause = error.source();
    }
    // The client's own text says nothing that its kind does not.
    let why = error.source().map_or_else(|| error.to_string(), note::of_error);
    if error.is_connect() {
        Trouble::NotSent(format!("failed to connect: {why}"))
    } else {
        Trouble::Broken(format!("the connection ended without an answer: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn a_body_is_kept_in_part_and_read_to_its_end() {
        let body = Full::new(Bytes::from(vec![b'x'; 1_000]));
        assert_eq!(read(body, 10, BODY_BYTES).now_or_never(), Some(Ok(vec![b'x'; 10])));
        let body = Full::new(Bytes::new());
        assert_eq!(read(body, 10, BODY_BYTES).now_or_never(), Some(Ok(Vec::new())));
    }
}
