//! What an answer means for the run.
//!
//! Pure: status, headers and the first bytes of a body in, an outcome out.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::codes::SuccessCodes;
use super::note;
use crate::run::Outcome;

/// Longest pause that a target may ask for.
pub(super) const PAUSE_MAX: Duration = Duration::from_hours(1);

/// An answer, as far as it was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The first bytes of the body.
    pub(super) body: Vec<u8>,
}

/// How an attempt ended, and how long the target wants no other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) outcome: Outcome,
    pub(super) pause: Option<Duration>,
}

impl From<Outcome> for Report {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, pause: None }
    }
}

impl Answer {
    /// The status and what the body says.
    pub(super) fn note(&self) -> String {
        match note::of_bytes(&self.body) {
            body if body.is_empty() => self.status.to_string(),
            body => format!("{}: {body}", self.status),
        }
    }

    /// The outcome of a run whose target answered with this.
    pub(super) fn judge(&self, success: &SuccessCodes, now: Timestamp) -> Report {
        let outcome = if success.contains(self.status) {
            Outcome::Succeeded { note: note::of_bytes(&self.body) }
        } else if self.status.is_redirection() {
            Outcome::Refused { note: self.redirection() }
        } else if is_passing(self.status) {
            Outcome::Failed { note: self.note() }
        } else {
            Outcome::Refused { note: self.note() }
        };
        Report { outcome, pause: self.pause(now) }
    }

    /// How long a target that has too much to do wants to be left alone.
    pub(super) fn pause(&self, now: Timestamp) -> Option<Duration> {
        let asks = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        if !asks.contains(&self.status) {
            return None;
        }
        let text = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        let pause = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => until(text, now)?,
        };
        Some(pause.min(PAUSE_MAX)).filter(|pause| !pause.is_zero())
    }

    fn redirection(&self) -> String {
        match self.headers.get(header::LOCATION) {
            Some(location) => {
                let location = note::of_bytes(location.as_bytes());
                format!("{}: not followed to {location}", self.status)
            }
            None => self.note(),
        }
    }
}

/// Whether the same request may do better later.
pub(super) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

/// The time to a date of HTTP (RFC 9110, 5.6.7), which is one of RFC 2822 in GMT.
fn until(date: &str, now: Timestamp) -> Option<Duration> {
    let date = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Duration::try_from(date.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).expect("a status code"),
            headers: headers
                .iter()
                .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("ok")))
                .collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn judged(status: u16) -> Outcome {
        answer(status, &[], "why").judge(&SuccessCodes::default(), Timestamp::UNIX_EPOCH).outcome
    }

    #[test]
    fn each_class_of_answers_has_its_outcome() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judged(status), Outcome::Succeeded { note: "why".to_owned() }, "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(matches!(judged(status), Outcome::Failed { .. }), "{status}");
        }
        for status in [301, 302, 304, 307, 308, 400, 401, 403, 404, 410, 422, 600, 999] {
            assert!(matches!(judged(status), Outcome::Refused { .. }), "{status}");
        }
        let note = "503 Service Unavailable: why".to_owned();
        assert_eq!(judged(503), Outcome::Failed { note });
    }

    #[test]
    fn named_codes_are_the_only_ones_that_succeed() {
        let codes: SuccessCodes = "200,304,404".parse().expect("codes");
        let judged = |status| answer(status, &[], "").judge(&codes, Timestamp::UNIX_EPOCH).outcome;
        for status in [200, 304, 404] {
            assert!(matches!(judged(status), Outcome::Succeeded { .. }), "{status}");
        }
        assert!(matches!(judged(201), Outcome::Refused { .. }));
    }

    #[test]
    fn a_redirection_names_where_it_leads() {
        let answer = answer(302, &[("location", "http://elsewhere/")], "");
        let report = answer.judge(&SuccessCodes::default(), Timestamp::UNIX_EPOCH);
        let note = "302 Found: not followed to http://elsewhere/".to_owned();
        assert_eq!(report.outcome, Outcome::Refused { note });
    }

    #[test]
    fn a_pause_is_in_seconds_or_until_a_date_and_bounded() {
        let now = Timestamp::from_second(784_111_777).expect("1994-11-06T08:49:37Z");
        for (status, text, seconds) in [
            (429, "3", Some(3)),
            (503, "3", Some(3)),
            (500, "3", None),
            (503, "0", None),
            (503, "-1", None),
            (503, "soon", None),
            (503, "999999", Some(3_600)),
            (503, "Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            (503, "Sun, 06 Nov 1994 08:48:37 GMT", None),
            (503, "Mon, 06 Nov 1995 08:49:37 GMT", Some(3_600)),
        ] {
            let answer = answer(status, &[("retry-after", text)], "");
            assert_eq!(answer.pause(now), seconds.map(Duration::from_secs), "{status} {text}");
        }
    }
}
