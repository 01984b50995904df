//! What targets know this engine by, read from folders of Secrets and read again when they change.
//!
//! Kubernetes swaps the content of a mounted Secret while the process runs. It is looked at when a
//! call is sent, at most once a second. What cannot be read leaves what was read before.
//!
//! Must not: show a secret. Errors name files and keys, never what is in them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use orrery_kit::secrets::{SecretError, Secrets};
use ring::hmac;
use tokio::time::Instant;

use super::sign;

/// How often files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A folder with one of: `token` (sent as Bearer); `username` and `password` (sent as Basic);
/// `header` and `value` (sent as they are).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    pub folder: PathBuf,
}

/// A folder with `secret`: `whsec_` and base64, or a text that is the key itself. While it is
/// changed there may be `previous` beside it, and then requests have a signature of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    pub folder: PathBuf,
}

/// Why a Secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialError {
    #[error(transparent)]
    Read(#[from] SecretError),
    #[error("failed to find {keys} in {}", folder.display())]
    Missing { keys: &'static str, folder: PathBuf },
    #[error("failed to use {key} of {}: {reason}", folder.display())]
    Unusable { key: &'static str, folder: PathBuf, reason: &'static str },
}

/// What is added to the requests of a target.
#[derive(Default)]
pub(super) struct Credentials {
    pub(super) auth: Option<(HeaderName, HeaderValue)>,
    pub(super) keys: Vec<hmac::Key>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

/// The credentials of one target.
#[derive(Debug)]
pub(super) struct Keeper {
    auth: Option<Auth>,
    signing: Option<SigningKey>,
    looked: Option<Instant>,
    current: Result<Arc<Credentials>, String>,
}

impl Keeper {
    pub(super) fn new(auth: Option<Auth>, signing: Option<SigningKey>) -> Self {
        Self { auth, signing, looked: None, current: Ok(Arc::default()) }
    }

    /// What to send with, or why there is nothing.
    pub(super) fn credentials(&mut self, now: Instant) -> Result<Arc<Credentials>, String> {
        let has_secrets = self.auth.is_some() || self.signing.is_some();
        if has_secrets && self.looked.is_none_or(|looked| now >= looked + LOOK_EVERY) {
            let is_first = self.looked.is_none();
            self.looked = Some(now);
            match self.read() {
                Ok(credentials) => self.current = Ok(Arc::new(credentials)),
                Err(error) if is_first || self.current.is_err() => {
                    self.current = Err(error.to_string());
                }
                Err(error) => tracing::warn!(%error, "kept the credentials read before"),
            }
        }
        self.current.clone()
    }

    fn read(&self) -> Result<Credentials, CredentialError> {
        let auth = self.auth.as_ref().map(|auth| header_of(&auth.folder)).transpose()?;
        let keys = match &self.signing {
            Some(signing) => keys_of(&signing.folder)?,
            None => Vec::new(),
        };
        Ok(Credentials { auth, keys })
    }
}

fn header_of(folder: &Path) -> Result<(HeaderName, HeaderValue), CredentialError> {
    let secrets = Secrets::new(Some(folder));
    let unusable = |key, reason| CredentialError::Unusable { key, folder: folder.into(), reason };
    let (key, name, text) = if let Some(token) = secrets.get("token")? {
        ("token", header::AUTHORIZATION, format!("Bearer {}", token.reveal()))
    } else if let Some(user) = secrets.get("username")? {
        let password = secrets.get("password")?;
        let password = password.as_ref().map_or("", |password| password.reveal());
        let pair = STANDARD.encode(format!("{}:{password}", user.reveal()));
        ("username", header::AUTHORIZATION, format!("Basic {pair}"))
    } else if let (Some(name), Some(value)) = (secrets.get("header")?, secrets.get("value")?) {
        let name = HeaderName::try_from(name.reveal())
            .map_err(|_| unusable("header", "it is no name of a header"))?;
        if super::request::is_reserved(&name) {
            return Err(unusable("header", "the engine or the connection sets it"));
        }
        ("value", name, value.reveal().to_owned())
    } else {
        let keys = "token, username and password, or header and value";
        return Err(CredentialError::Missing { keys, folder: folder.into() });
    };
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| unusable(key, "it cannot be the value of a header"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn keys_of(folder: &Path) -> Result<Vec<hmac::Key>, CredentialError> {
    let secrets = Secrets::new(Some(folder));
    let mut keys = Vec::new();
    for key in ["secret", "previous"] {
        if let Some(secret) = secrets.get(key)? {
            let reason = "it begins with whsec_ and is no base64";
            keys.push(sign::key(secret.reveal()).ok_or_else(|| CredentialError::Unusable {
                key,
                folder: folder.into(),
                reason,
            })?);
        } else if keys.is_empty() {
            return Err(CredentialError::Missing { keys: "secret", folder: folder.into() });
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests;
