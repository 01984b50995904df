//! How a run stands, where the target can be asked.
//!
//! A target that answers 202 says that it is not done, and one that may have been called by an
//! earlier process says whether it was. Both are asked with growing pauses until they know.

use std::time::Duration;

use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::HttpAction;
use super::answer::{Answer, Report, is_passing};
use super::attempt::Attempt;
use super::exchange::Trouble;
use super::note;
use crate::run::Outcome;

/// The first pause; each is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Bytes of a state that are read as JSON.
const STATE_BYTES: usize = 64 << 10;
/// How often a target that accepted a run may not know it: what it keeps may lag behind.
const UNKNOWN_MAX: u32 = 3;

/// What a target says of a run.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Running,
    Over(Outcome),
    Unknown,
    /// It could not say; it is asked again.
    Unsure(String),
}

#[derive(Deserialize)]
struct State {
    state: String,
    message: Option<String>,
}

/// What a resumed run's target knows of it.
pub(super) enum Known {
    /// Nothing: it is to be sent.
    Nothing,
    Over(Report),
}

/// Asks at once, and then until it is known how a run of an earlier process ended.
pub(super) async fn resume(attempt: &Attempt, action: &HttpAction, uri: &Uri) -> Known {
    let mut asking = Asking { attempt, action, uri, pause: PAUSE_FIRST, last: String::new() };
    loop {
        match asking.ask().await {
            Standing::Unknown => return Known::Nothing,
            Standing::Running => return Known::Over(asking.follow().await),
            Standing::Over(outcome) => return Known::Over(outcome.into()),
            Standing::Unsure(why) => {
                if let Some(report) = asking.wait(why).await {
                    return Known::Over(report);
                }
            }
        }
    }
}

/// Asks until a run that the target accepted is over.
pub(super) async fn follow(attempt: &Attempt, action: &HttpAction, uri: &Uri) -> Report {
    Asking { attempt, action, uri, pause: PAUSE_FIRST, last: String::new() }.follow().await
}

struct Asking<'a> {
    attempt: &'a Attempt,
    action: &'a HttpAction,
    uri: &'a Uri,
    pause: Duration,
    /// What was said last, for the note of a run that takes too long.
    last: String,
}

impl Asking<'_> {
    async fn follow(&mut self) -> Report {
        let mut unknown = 0;
        let mut last = "it is running".to_owned();
        loop {
            if let Some(report) = self.wait(last).await {
                return report;
            }
            last = match self.ask().await {
                Standing::Over(outcome) => return outcome.into(),
                Standing::Running => {
                    unknown = 0;
                    "it is running".to_owned()
                }
                Standing::Unknown => {
                    unknown += 1;
                    if unknown == UNKNOWN_MAX {
                        let note = "the target accepted the run and does not know it".to_owned();
                        return Outcome::Failed { note }.into();
                    }
                    "the target does not know it".to_owned()
                }
                Standing::Unsure(why) => why,
            };
        }
    }

    /// Waits for the next time to ask; the report when there is none.
    async fn wait(&mut self, last: String) -> Option<Report> {
        self.last = last;
        let next = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        if next >= self.attempt.deadline {
            sleep_until(self.attempt.deadline).await;
            let time = self.action.timeout.as_secs_f32();
            let note = format!("not over within {time} s; last: {}", self.last);
            return Some(Outcome::TimedOut { note }.into());
        }
        sleep_until(next).await;
        None
    }

    async fn ask(&mut self) -> Standing {
        match self.attempt.ask(self.action, self.uri, STATE_BYTES).await {
            Ok(answer) => {
                if let Some(pause) = answer.pause(Timestamp::now()) {
                    self.pause = self.pause.max(pause.min(PAUSE_MAX));
                }
                standing(&answer)
            }
            Err(Trouble::Denied(note)) => Standing::Over(Outcome::Refused { note }),
            Err(trouble) => Standing::Unsure(trouble.note()),
        }
    }
}

fn standing(answer: &Answer) -> Standing {
    match answer.status {
        StatusCode::NOT_FOUND => Standing::Unknown,
        StatusCode::GONE => Standing::Over(Outcome::Failed { note: answer.note() }),
        StatusCode::ACCEPTED => Standing::Running,
        status if status.is_success() => match serde_json::from_slice::<State>(&answer.body) {
            Ok(state) => state.standing(),
            Err(_) => Standing::Over(Outcome::Succeeded { note: note::of_bytes(&answer.body) }),
        },
        status if is_passing(status) => Standing::Unsure(answer.note()),
        _ => {
            let note = format!("failed to ask how the run stands: {}", answer.note());
            Standing::Over(Outcome::Refused { note })
        }
    }
}

impl State {
    fn standing(self) -> Standing {
        let note = note::of_bytes(self.message.unwrap_or_default().as_bytes());
        match self.state.as_str() {
            "running" => Standing::Running,
            "succeeded" => Standing::Over(Outcome::Succeeded { note }),
            "failed" => Standing::Over(Outcome::Failed { note }),
            other => {
                let state = note::of_bytes(other.as_bytes());
                Standing::Unsure(format!("the state {state:?} is not known here"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn said(status: u16, body: &str) -> Standing {
        standing(&Answer {
            status: StatusCode::from_u16(status).expect("a status code"),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        })
    }

    #[test]
    fn states_are_read_from_json_or_from_the_status() {
        let failed = |note: &str| Standing::Over(Outcome::Failed { note: note.to_owned() });
        let succeeded = |note: &str| Standing::Over(Outcome::Succeeded { note: note.to_owned() });
        assert_eq!(said(200, r#"{"state":"running","percent":4}"#), Standing::Running);
        assert_eq!(said(200, r#"{"state":"succeeded","message":"7 rows"}"#), succeeded("7 rows"));
        assert_eq!(said(200, r#"{"state":"failed","message":"no\ndisk"}"#), failed("no\\ndisk"));
        assert_eq!(said(200, "ok"), succeeded("ok"));
        assert_eq!(said(204, ""), succeeded(""));
        assert_eq!(said(202, ""), Standing::Running);
        assert_eq!(said(404, ""), Standing::Unknown);
        assert_eq!(said(410, ""), failed("410 Gone"));
        assert!(matches!(said(200, r#"{"state":"queued"}"#), Standing::Unsure(_)));
        assert!(matches!(said(503, ""), Standing::Unsure(_)));
        assert!(matches!(said(403, ""), Standing::Over(Outcome::Refused { .. })));
        assert!(matches!(said(302, ""), Standing::Over(Outcome::Refused { .. })));
    }
}
