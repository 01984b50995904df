//! One attempt of a run at an HTTP target, from the first request to the outcome.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode, Uri};
use jiff::Timestamp;
use tokio::time::Instant;

use super::answer::{Answer, Report};
use super::client::Reach;
use super::exchange::{Trouble, exchange};
use super::secret::Credentials;
use super::status::{self, Known};
use super::target::{is_same_origin, origin};
use super::{HttpAction, note, request};
use crate::run::{Call, Outcome};

/// All that an attempt needs.
pub(super) struct Attempt {
    pub(super) call: Call,
    pub(super) reach: Arc<Reach>,
    pub(super) credentials: Arc<Credentials>,
    /// When it must be over.
    pub(super) deadline: Instant,
}

impl Attempt {
    pub(super) async fn run(&self, action: &HttpAction) -> Report {
        if let Some(note) = self.misfit(action) {
            return Outcome::Refused { note }.into();
        }
        if self.call.is_resumed
            && let Some(uri) = &action.status_uri
        {
            if let Known::Over(report) = status::resume(self, action, uri).await {
                return report;
            }
            let now_ms = Timestamp::now().as_millisecond();
            if self.call.expires_ms.is_some_and(|expires_ms| expires_ms < now_ms) {
                return Outcome::Expired.into();
            }
        }
        let request = request::run(&self.call, action, &self.credentials, now_s());
        let keep = note::NOTE_BYTES + 1;
        match exchange(&self.reach.client, request, self.deadline, keep).await {
            Ok(answer) => {
                let report = answer.judge(&action.success, Timestamp::now());
                let is_accepted = answer.status == StatusCode::ACCEPTED
                    && matches!(report.outcome, Outcome::Succeeded { .. });
                match &action.status_uri {
                    Some(uri) if is_accepted => status::follow(self, action, uri).await,
                    _ => report,
                }
            }
            Err(trouble) => Outcome::from(trouble).into(),
        }
    }

    /// Why the action cannot be sent to its target, whatever the target says.
    fn misfit(&self, action: &HttpAction) -> Option<String> {
        if action.method == Method::CONNECT {
            return Some("CONNECT opens a tunnel and runs nothing".to_owned());
        }
        if origin(&action.uri).is_none() {
            return Some(
                "the address has no host, or a scheme that is neither http nor https".into(),
            );
        }
        let own = self.reach.origin.as_ref()?;
        (!is_same_origin(own, &action.uri))
            .then(|| "the address is not one of the target".to_owned())
    }

    /// Asks how the run stands, within the time of the target for that; `keep` bytes are kept.
    pub(super) async fn ask(
        &self,
        action: &HttpAction,
        uri: &Uri,
        keep: usize,
    ) -> Result<Answer, Trouble> {
        let request = request::ask(&self.call, action, uri, &self.credentials, now_s());
        let deadline = self.deadline.min(Instant::now() + self.reach.timeout);
        exchange(&self.reach.client, request, deadline, keep).await
    }
}

pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
