//! Users: their words are checked here, so that no process is given a file it cannot use.
//!
//! Must not: let a password out. The file has its SHA-256 alone, as Redis keeps it, and goes into a
//! Secret of its own.

use std::fmt::Write as _;

use orrery_api::Reason;
use orrery_api::kv::acl::{self, USERS_FILE_BYTES_MAX};
use orrery_api::kv::{KVClusterSpec, User};
use orrery_runtime::{Redacted, Referenced, Refusal};
use sha2::{Digest as _, Sha256};

const FIELD: &str = "spec.resp.users";

/// The file of users; empty without any.
pub(super) fn file(spec: &KVClusterSpec, inputs: &Referenced) -> Result<Redacted<String>, Refusal> {
    let mut text = String::new();
    for user in &spec.resp.users {
        check_rules(user)?;
        let _ = write!(text, "user {} on", user.name);
        if let Some(secret) = &user.password_secret {
            let field = format!("{FIELD}[{}].passwordSecret", user.name);
            let password = super::password(inputs, &secret.name, &secret.key, &field)?;
            text.push_str(" #");
            for byte in Sha256::digest(password.as_bytes()) {
                let _ = write!(text, "{byte:02x}");
            }
        }
        for rule in &user.rules {
            let _ = write!(text, " {rule}");
        }
        text.push('\n');
    }
    if text.len() > USERS_FILE_BYTES_MAX {
        let message =
            format!("{FIELD}: all users together take more than {USERS_FILE_BYTES_MAX} bytes");
        return Err(Refusal::field(Reason::InvalidSpec, FIELD, message));
    }
    Ok(Redacted::new(text))
}

fn check_rules(user: &User) -> Result<(), Refusal> {
    let words = user.rules.iter().map(String::as_str);
    acl::check(words).map_err(|(word, error)| {
        let field = format!("{FIELD}[{}].rules", user.name);
        // Whoever wrote a password here should not find it in events as well.
        let shown = if word.starts_with(['>', '<', '#', '!']) { "a password" } else { word };
        Refusal::field(Reason::InvalidSpec, &field, format!("{field}: {shown}: {error}"))
    })
}
