//! Servers that speak HTTP/2 and gRPC badly, or not at all.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use orrery_scheduler::run::Outcome;
use tokio_stream::iter;

use super::super::rig::note;
use super::{BODY, called, refused};

type Body = BoxBody<Bytes, Infallible>;
type Answer = fn(&str) -> Option<Response<Body>>;

pub(super) struct Hostile {
    pub(super) address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

/// A server that answers each path so; `None` is never answered.
fn hostile(answer: Answer) -> Hostile {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("bound");
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service_fn(move |request: Request<Incoming>| async move {
                match answer(request.uri().path()) {
                    Some(answer) => Ok::<_, Infallible>(answer),
                    None => std::future::pending().await,
                }
            });
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new()).http2_only();
                let _ = builder.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    Hostile { address, _runtime: runtime }
}

/// A server that takes requests and says nothing.
pub(super) fn silent() -> Hostile {
    hostile(|_| None)
}

fn response(headers: &[(&'static str, &'static str)], frames: Vec<Frame<Bytes>>) -> Response<Body> {
    endless(headers, iter(frames))
}

fn endless(
    headers: &[(&'static str, &'static str)],
    frames: impl futures::Stream<Item = Frame<Bytes>> + Send + Sync + 'static,
) -> Response<Body> {
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames.map(Ok))));
    for (name, value) in headers {
        response.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    response
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

fn data(bytes: &'static [u8]) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(bytes))
}

fn trailers(status: &'static str) -> Frame<Bytes> {
    let status = ("grpc-status".parse().expect("a name"), HeaderValue::from_static(status));
    Frame::trailers(HeaderMap::from_iter([status]))
}

/// A message of one byte that is no message.
const MESSAGE: &[u8] = b"\0\0\0\0\x01x";

/// What comes of a call without a body to a server that answers so.
fn answered(answer: Answer) -> Outcome {
    called(hostile(answer).address, "Charge", "")
}

fn failed(note: &str) -> Outcome {
    Outcome::Failed { note: note.to_owned() }
}

#[test]
fn an_answer_without_trailers_is_a_failure() {
    let no_status = failed("it ended without a status of gRPC");
    assert_eq!(answered(|_| Some(response(&[GRPC], vec![data(MESSAGE)]))), no_status);
    assert_eq!(answered(|_| Some(response(&[GRPC], vec![]))), no_status);
    let odd = answered(|_| Some(response(&[GRPC], vec![data(MESSAGE), trailers("zero")])));
    assert_eq!(odd, no_status);
}

#[test]
fn a_status_in_the_only_headers_counts() {
    let said = [GRPC, ("grpc-status", "9"), ("grpc-message", "no%20disk")];
    let answer: Answer =
        |_| Some(response(&[GRPC, ("grpc-status", "9"), ("grpc-message", "no%20disk")], vec![]));
    assert_eq!(said.len(), 3);
    assert_eq!(answered(answer), refused("FAILED_PRECONDITION: no disk"));
    // Success needs an answer.
    let empty = answered(|_| Some(response(&[GRPC, ("grpc-status", "0")], vec![])));
    assert_eq!(empty, refused("it said OK and gave no answer"));
    let cut = answered(|_| Some(response(&[GRPC], vec![data(b"\0\0\0\0\x09x"), trailers("0")])));
    assert_eq!(cut, refused("it said OK and gave no answer"));
}

#[test]
fn a_message_without_end_is_not_read_to_its_end() {
    let outcome = answered(|_| {
        let zeros = Bytes::from(vec![7; 64 << 10]);
        let begin = iter([data(b"\0\xff\xff\xff\xff")]);
        let rest = iter(std::iter::repeat_with(move || Frame::data(zeros.clone())));
        Some(endless(&[GRPC], begin.chain(rest)))
    });
    assert_eq!(outcome, refused("its answer is too large, so that nobody read how it ended"));
    // As many messages as one likes.
    let outcome = answered(|_| {
        let messages = iter(std::iter::repeat_with(|| data(MESSAGE)));
        Some(endless(&[GRPC], messages))
    });
    assert!(note(&outcome).ends_with("streams: only unary ones are called"), "{outcome:?}");
}

#[test]
fn who_answers_something_else_does_not_speak_grpc() {
    let page: Answer = |_| Some(response(&[("content-type", "text/html")], vec![data(b"<p>hi")]));
    assert_eq!(answered(page), failed("200 OK: <p>hi, and no answer of gRPC"));
    let nothing: Answer = |_| Some(response(&[("grpc-status", "0")], vec![data(MESSAGE)]));
    assert!(matches!(answered(nothing), Outcome::Failed { .. }));
    let moved: Answer = |_| {
        let mut moved = response(&[("location", "http://elsewhere/")], vec![]);
        *moved.status_mut() = http::StatusCode::FOUND;
        Some(moved)
    };
    assert_eq!(answered(moved), refused("302 Found: not followed to http://elsewhere/"));
    let away: Answer = |_| {
        let mut away = response(&[], vec![data(b"no backend")]);
        *away.status_mut() = http::StatusCode::BAD_GATEWAY;
        Some(away)
    };
    assert_eq!(answered(away), failed("502 Bad Gateway: no backend"));
}

/// What comes of a call with a body to a server whose reflection answers so.
fn reflected(answer: Answer) -> Outcome {
    called(hostile(answer).address, "Charge", BODY)
}

#[test]
fn reflection_that_lies_is_refused() {
    // Nothing, no message, one that is none, a file that is none, and one without the service.
    let answers: [Answer; 5] = [
        |_| Some(response(&[GRPC], vec![trailers("0")])),
        |_| Some(response(&[GRPC], vec![data(b"\0\0\0\0\x03\xff\xff\xff"), trailers("0")])),
        |_| Some(response(&[GRPC], vec![data(b"\x01\0\0\0\x01x"), trailers("0")])),
        |_| Some(response(&[GRPC], vec![data(b"\0\0\0\0\x05\x22\x03\x0a\x01\xff"), trailers("0")])),
        |_| Some(response(&[GRPC], vec![data(b"\0\0\0\0\x02\x22\x00"), trailers("0")])),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let outcome = reflected(answer);
        assert!(matches!(outcome, Outcome::Refused { .. }), "{number}: {outcome:?}");
    }
    let busy: Answer = |_| Some(response(&[GRPC, ("grpc-status", "14")], vec![]));
    assert_eq!(reflected(busy), failed("UNAVAILABLE"));
}

#[test]
fn reflection_without_end_is_not_read_to_its_end() {
    let outcome = reflected(|_| {
        let message = Bytes::from([&b"\0\0\0\xff\xff"[..], &vec![0; 0xffff]].concat());
        Some(endless(&[GRPC], iter(std::iter::repeat_with(move || Frame::data(message.clone())))))
    });
    assert_eq!(outcome, refused("the target describes its methods by too many bytes"));
}
