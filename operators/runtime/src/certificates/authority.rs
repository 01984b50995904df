//! What the Secret of the authority holds, and what becomes of it next.
//!
//! ```text
//!            asked for, or a third of its life is left
//!   steady ────────────────────────────────────────────▶ publishing
//!     ▲                                                     │ every Secret and every pod has both
//!     │ every Secret and every pod has a certificate        │ authorities, and the overlap is over
//!     │ of the new one, and the overlap is over             ▼
//!   retiring ◀──────────────────────────────────────── the next one signs
//! ```
//!
//! Every arrow is one write of one Secret under the version that was read: an operator that dies
//! leaves one of the three, and the next goes on from there.
//!
//! Must not: read a clock, or talk to a server.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;

use super::issue::{IssueError, Pair, authority, is_due};
use super::mark::Mark;
use crate::redacted::Redacted;
use crate::resources::hex;

/// The authority that signs.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// Every authority that is trusted: what objects get.
const TRUSTED: &str = "ca.crt";
/// The one that signs next.
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
/// The one that signed before.
const RETIRING: &str = "retiring.crt";

/// Failed to use what is in the Secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the Secret of the authority has no usable {key}")]
pub struct Unusable {
    key: &'static str,
}

/// The content of the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// It signs.
    pub signing: Pair,
    /// It is trusted and will sign.
    pub next: Option<Pair>,
    /// It is trusted and does not sign any more.
    pub retiring: Option<String>,
}

/// What else a decision goes by.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub now: Timestamp,
    /// End of the authority that signs.
    pub until: Timestamp,
    /// When the last step was taken.
    pub since: Timestamp,
    pub life: Duration,
    pub overlap: Duration,
    /// Whether somebody asked for a new authority since the last one was made.
    pub is_asked: bool,
    /// What of the installation does not have the newest certificates yet.
    pub behind: Option<&'a str>,
}

/// What becomes of the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Stay,
    /// A next authority is made and trusted.
    Publish,
    /// The next authority signs.
    Switch,
    /// The one before is not trusted any more.
    Drop,
}

impl Authority {
    /// The first one of an installation.
    pub fn first(now: Timestamp, life: Duration) -> Result<Self, IssueError> {
        Ok(Self { signing: authority(now, life)?, next: None, retiring: None })
    }

    /// Reads the Secret.
    pub fn read(data: &BTreeMap<String, ByteString>) -> Result<Self, Unusable> {
        let text = |key: &'static str| match data.get(key) {
            None => Ok(None),
            Some(bytes) => match std::str::from_utf8(&bytes.0) {
                Ok(text) if !text.trim().is_empty() => Ok(Some(text.to_owned())),
                _ => Err(Unusable { key }),
            },
        };
        let needed = |key: &'static str| text(key)?.ok_or(Unusable { key });
        let pair = |certificate, key| {
            let key = Redacted::new(needed(key)?);
            Ok(Pair { certificate: needed(certificate)?, key })
        };
        Ok(Self {
            signing: pair(CERTIFICATE, KEY)?,
            next: data
                .contains_key(NEXT_CERTIFICATE)
                .then(|| pair(NEXT_CERTIFICATE, NEXT_KEY))
                .transpose()?,
            retiring: text(RETIRING)?,
        })
    }

    /// The content for the Secret.
    pub fn data(&self) -> BTreeMap<String, ByteString> {
        let Self { signing, next, retiring } = self;
        let mut texts =
            vec![(CERTIFICATE, signing.certificate.as_str()), (KEY, signing.key.expose())];
        if let Some(next) = next {
            texts.push((NEXT_CERTIFICATE, &next.certificate));
            texts.push((NEXT_KEY, next.key.expose()));
        }
        texts.extend(retiring.iter().map(|retiring| (RETIRING, retiring.as_str())));
        let trusted = self.trusted();
        texts.push((TRUSTED, &trusted));
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        texts.into_iter().map(|(key, text)| (key.to_owned(), bytes(text))).collect()
    }

    /// Everything that is trusted, as PEM; the one that signs comes first.
    pub fn trusted(&self) -> String {
        let next = self.next.iter().map(|next| &next.certificate);
        let all = std::iter::once(&self.signing.certificate).chain(next).chain(&self.retiring);
        all.fold(String::new(), |all, certificate| all + certificate.trim_end() + "\n")
    }

    /// Hash of [`Authority::trusted`].
    pub fn trust(&self) -> String {
        hex(self.trusted().as_bytes())
    }

    /// Whether another authority is taking the place of this one.
    pub fn is_changing(&self) -> bool {
        self.next.is_some() || self.retiring.is_some()
    }

    /// What becomes of it.
    pub fn step(&self, view: &View<'_>) -> Step {
        let is_over = has_waited(view.since, view.now, view.overlap) && view.behind.is_none();
        match (&self.next, &self.retiring) {
            (Some(_), _) if is_over => Step::Switch,
            (None, Some(_)) if is_over => Step::Drop,
            (None, None) if view.is_asked || is_due(view.until, view.now, view.life) => {
                Step::Publish
            }
            _ => Step::Stay,
        }
    }

    /// The authority after a step.
    pub fn after(&self, step: Step, now: Timestamp, life: Duration) -> Result<Self, IssueError> {
        let mut after = self.clone();
        match (step, after.next.take()) {
            (Step::Publish, None) => after.next = Some(authority(now, life)?),
            (Step::Switch, Some(next)) => {
                let before = std::mem::replace(&mut after.signing, next);
                after.retiring = Some(before.certificate);
            }
            (Step::Drop, None) => after.retiring = None,
            (_, next) => after.next = next,
        }
        Ok(after)
    }
}

/// Whether an overlap that began at `since` is over.
pub fn has_waited(since: Timestamp, now: Timestamp, overlap: Duration) -> bool {
    let overlap = jiff::SignedDuration::try_from(overlap).unwrap_or(jiff::SignedDuration::MAX);
    now.duration_since(since) >= overlap
}

/// What of the installation does not have the newest certificates yet, in words. `secrets`: name and
/// mark of every Secret with a certificate; `pods`: name of every pod that was built with one, the
/// hash it is to have and the one it reported.
pub fn behind(
    issuer: &str,
    trust: &str,
    secrets: &[(String, Mark)],
    pods: &[(String, Option<String>, Option<String>)],
) -> Option<String> {
    let secret = secrets.iter().find(|(_, mark)| mark.issuer != issuer || mark.trust != trust);
    if let Some((name, _)) = secret {
        return Some(format!("the Secret {name} is not written yet"));
    }
    let pod = pods.iter().find(|(_, wanted, reported)| wanted.is_none() || wanted != reported);
    pod.map(|(name, ..)| format!("the pod {name} has not said that it has the new certificate"))
}
