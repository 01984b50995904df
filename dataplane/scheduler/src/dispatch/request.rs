//! The requests of an attempt: what the user wrote, and the headers that each has.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use jiff::Timestamp;
use percent::encoded;
use ring::digest;

use super::HttpAction;
use super::secret::Credentials;
use super::sign;
use super::target::is_same_origin;
use crate::run::Call;

mod percent;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const SCHEDULE: HeaderName = HeaderName::from_static("x-orrery-schedule");
const NOMINAL: HeaderName = HeaderName::from_static("x-orrery-nominal");
const ATTEMPT: HeaderName = HeaderName::from_static("x-orrery-attempt");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("orrery-scheduler/", env!("CARGO_PKG_VERSION")));

/// Headers of the connection, of this crate and of signatures, beside `x-orrery-` and what it means.
const RESERVED: [HeaderName; 16] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::USER_AGENT,
    IDEMPOTENCY_KEY,
    TRACEPARENT,
    sign::ID,
    sign::TIMESTAMP,
    sign::SIGNATURE,
];

/// Whether a user cannot set this header.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    RESERVED.contains(name) || name.as_str().starts_with("x-orrery-")
}

/// Whether a header of the user is kept out of what libraries log.
fn is_secret(name: &HeaderName) -> bool {
    matches!(name, &header::AUTHORIZATION | &header::PROXY_AUTHORIZATION | &header::COOKIE)
}

/// The request that runs the job. `now` is of this attempt, in seconds since the Unix epoch.
pub(super) fn run(
    call: &Call,
    action: &HttpAction,
    credentials: &Credentials,
    now: u64,
) -> Request<Full<Bytes>> {
    let mut headers = HeaderMap::with_capacity(action.headers.len() + 12);
    for (name, value) in &action.headers {
        if !is_reserved(name) {
            let mut value = value.clone();
            value.set_sensitive(is_secret(name));
            headers.append(name, value);
        }
    }
    add_own(&mut headers, call);
    add_credentials(&mut headers, call, credentials, now, &action.body);
    request(action.method.clone(), action.uri.clone(), headers, action.body.clone())
}

/// The request that asks how a run stands.
pub(super) fn ask(
    call: &Call,
    action: &HttpAction,
    uri: &Uri,
    credentials: &Credentials,
    now: u64,
) -> Request<Full<Bytes>> {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    add_own(&mut headers, call);
    // Another server has no business with the credentials of this one.
    if is_same_origin(uri, &action.uri) {
        add_credentials(&mut headers, call, credentials, now, &[]);
    }
    request(Method::GET, uri.clone(), headers, Bytes::new())
}

/// The request that calls a method by gRPC (PROTOCOL-HTTP2): a message with its length before it, and
/// the message that is signed. `left` is the time that the target has.
pub(super) fn grpc(
    call: &Call,
    uri: &Uri,
    (body, signed): (Bytes, &[u8]),
    credentials: &Credentials,
    now: u64,
    left: Duration,
) -> Request<Full<Bytes>> {
    let mut headers = HeaderMap::with_capacity(16);
    add_own(&mut headers, call);
    add_credentials(&mut headers, call, credentials, now, signed);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    if let Ok(timeout) = HeaderValue::try_from(grpc_timeout(left)) {
        headers.insert("grpc-timeout", timeout);
    }
    request(Method::POST, uri.clone(), headers, body)
}

/// At most eight digits and a unit: milliseconds, or seconds where those are too many.
fn grpc_timeout(left: Duration) -> String {
    let milliseconds = left.as_millis().max(1);
    if milliseconds < 100_000_000 {
        return format!("{milliseconds}m");
    }
    format!("{}S", left.as_secs().min(99_999_999))
}

fn request(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

fn add_own(headers: &mut HeaderMap, call: &Call) {
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(IDEMPOTENCY_KEY, encoded(&call.key, ""));
    headers.insert(SCHEDULE, encoded(&call.job, ""));
    let nominal = Timestamp::from_second(call.nominal).unwrap_or(Timestamp::UNIX_EPOCH);
    headers.insert(NOMINAL, encoded(&nominal.to_string(), ""));
    headers.insert(ATTEMPT, HeaderValue::from(call.attempt));
    headers.insert(TRACEPARENT, traceparent(call));
}

fn add_credentials(
    headers: &mut HeaderMap,
    call: &Call,
    credentials: &Credentials,
    now: u64,
    body: &[u8],
) {
    if let Some((name, value)) = &credentials.auth {
        headers.insert(name, value.clone());
    }
    if !credentials.keys.is_empty() {
        sign::sign(headers, &credentials.keys, &encoded(&call.key, "."), now, body);
    }
}

/// A trace per run and a span per attempt (W3C Trace Context), the same wherever they are derived:
/// all attempts of a run are in one trace, also those of an earlier process.
fn traceparent(call: &Call) -> HeaderValue {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(call.key.as_bytes());
    let hash = context.finish();
    let (trace, rest) = hash.as_ref().split_at(16);
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
    hex(&mut text[3..35], trace);
    let mut span = [0; 8];
    span.copy_from_slice(&rest[..8]);
    // Attempts of a run differ in the last four bytes; neither id may be all zeros.
    let attempt = u64::from_be_bytes(span).wrapping_add(u64::from(call.attempt)).max(1);
    hex(&mut text[36..52], &attempt.to_be_bytes());
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

fn hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests;
