//! The configuration file of the processes as text, and its hash.

use std::fmt::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The file: one field a line, values as JSON, which is YAML.
pub(crate) fn text(config: &impl Serialize) -> String {
    let fields = serde_json::to_value(config).expect("the configuration has string keys only");
    let mut text = String::new();
    for (key, value) in fields.as_object().into_iter().flatten() {
        let _ = writeln!(text, "{key}: {value}");
    }
    text
}

/// SHA-256 in hex of what makes a restart necessary.
pub(crate) fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
