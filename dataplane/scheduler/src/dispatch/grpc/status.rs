//! What a status of gRPC means for the run.
//!
//! Pure: trailers and messages in, an outcome out. Sources: the list of codes and the mapping of HTTP
//! in the documents of gRPC (`statuscodes.md`, `http-grpc-status-mapping.md`, `PROTOCOL-HTTP2.md`), gRFC
//! A6 for pauses.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, Uri};
use jiff::Timestamp;
use percent_encoding::percent_decode;
use prost::Message as _;

use super::super::answer::{PAUSE_MAX, Report};
use super::super::codes::SuccessCodes;
use super::super::note;
use super::exchange::{GrpcAnswer, Reply};
use super::message::streams;
use crate::run::Outcome;

/// A status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub(super) u16);

impl Code {
    pub(super) const OK: Self = Self(0);
    pub(super) const INVALID_ARGUMENT: Self = Self(3);
    pub(super) const DEADLINE_EXCEEDED: Self = Self(4);
    pub(super) const NOT_FOUND: Self = Self(5);
    pub(super) const RESOURCE_EXHAUSTED: Self = Self(8);
    pub(super) const UNIMPLEMENTED: Self = Self(12);
    pub(super) const UNAVAILABLE: Self = Self(14);

    fn name(self) -> &'static str {
        const NAMES: [&str; 17] = [
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        ];
        NAMES.get(usize::from(self.0)).copied().unwrap_or("UNKNOWN")
    }

    /// Whether the same call may do better later: CANCELLED, UNKNOWN, RESOURCE_EXHAUSTED, ABORTED,
    /// INTERNAL, UNAVAILABLE, and what is no code.
    fn is_passing(self) -> bool {
        matches!(self.0, 1 | 2 | 8 | 10 | 13 | 14 | 17..)
    }
}

impl Reply {
    /// The outcome of a run whose target answered with this; `said` puts the answer into words.
    pub(super) fn judge(
        &self,
        uri: &Uri,
        now: Timestamp,
        said: impl FnOnce(&[u8]) -> String,
    ) -> Report {
        match self {
            Self::Grpc(answer) => answer.judge(uri, said),
            // What is in front of the target said it, or the target is no server of gRPC.
            Self::Other(answer) if answer.status.is_success() => {
                let note = format!("{}, and no answer of gRPC", answer.note());
                Outcome::Failed { note }.into()
            }
            Self::Other(answer) => answer.judge(&SuccessCodes::default(), now),
        }
    }

    /// The same, where nobody reads the answer.
    pub(super) fn judge_alone(&self, uri: &Uri) -> Report {
        self.judge(uri, Timestamp::now(), |_| String::new())
    }
}

impl GrpcAnswer {
    /// The status; none where there is no number.
    pub(super) fn code(&self) -> Option<Code> {
        let text = self.trailers.get("grpc-status")?.to_str().ok()?;
        text.parse().ok().map(Code)
    }

    fn judge(&self, uri: &Uri, said: impl FnOnce(&[u8]) -> String) -> Report {
        let count = self.frames.count();
        if count > 1 {
            let method = uri.path().trim_start_matches('/');
            return Outcome::Refused { note: streams(method) }.into();
        }
        if let Some(cut) = self.cut {
            let note = format!("its answer {cut}, so that nobody read how it ended");
            return Outcome::Refused { note }.into();
        }
        let Some(code) = self.code() else {
            let note = "it ended without a status of gRPC".to_owned();
            return Outcome::Failed { note }.into();
        };
        if code == Code::OK {
            return self.succeeded(said).into();
        }
        let note = self.note(code);
        let (pause, is_over) = self.pause(code);
        let outcome = if code == Code::DEADLINE_EXCEEDED {
            Outcome::TimedOut { note }
        } else if code.is_passing() && !is_over {
            Outcome::Failed { note }
        } else {
            Outcome::Refused { note }
        };
        Report { outcome, pause }
    }

    fn succeeded(&self, said: impl FnOnce(&[u8]) -> String) -> Outcome {
        match self.frames.messages() {
            Some([message]) if message.is_whole && !message.is_compressed => {
                Outcome::Succeeded { note: said(&message.bytes) }
            }
            Some([_]) => Outcome::Succeeded { note: String::new() },
            // A stream without messages, or a server that breaks the protocol; it ran either way.
            _ => Outcome::Refused { note: "it said OK and gave no answer".to_owned() },
        }
    }

    /// The code and what the target says about it.
    fn note(&self, code: Code) -> String {
        let message = self.trailers.get("grpc-message").map(HeaderValue::as_bytes);
        let message: Vec<u8> = percent_decode(message.unwrap_or_default()).collect();
        match note::of_bytes(&message) {
            message if message.is_empty() => code.name().to_owned(),
            message => format!("{}: {message}", code.name()),
        }
    }

    /// How long a target that has too much to do wants to be left alone, and whether it wants no other
    /// attempt at all.
    fn pause(&self, code: Code) -> (Option<Duration>, bool) {
        let pushback = self.trailers.get("grpc-retry-pushback-ms");
        let pushback =
            pushback.map(|text| text.to_str().ok().and_then(|text| text.parse::<i64>().ok()));
        if let Some(milliseconds) = pushback {
            // Less than nothing, or no number: not again.
            let Some(milliseconds) = milliseconds.and_then(|ms| u64::try_from(ms).ok()) else {
                return (None, true);
            };
            return (bounded(code, Duration::from_millis(milliseconds)), false);
        }
        (retry_delay(&self.trailers).and_then(|pause| bounded(code, pause)), false)
    }
}

/// A pause of the whole target, as far as the code asks for one.
fn bounded(code: Code, pause: Duration) -> Option<Duration> {
    let asks = [Code::RESOURCE_EXHAUSTED, Code::UNAVAILABLE].contains(&code);
    Some(pause.min(PAUSE_MAX)).filter(|pause| asks && !pause.is_zero())
}

/// `google.rpc.Status`, without what is in other headers.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// The delay of a `RetryInfo` among the details of a status.
fn retry_delay(trailers: &HeaderMap) -> Option<Duration> {
    let text = trailers.get("grpc-status-details-bin")?.as_bytes();
    let bytes = STANDARD_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text)).ok()?;
    let details = Status::decode(&*bytes).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay?;
    let (seconds, nanos) = (u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?);
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into())))
}

#[cfg(test)]
mod tests;
