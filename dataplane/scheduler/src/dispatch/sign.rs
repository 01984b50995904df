//! Signatures of requests by the Standard Webhooks specification, version 1.0.0.
//!
//! Signed is `<webhook-id>.<webhook-timestamp>.<body>` by HMAC-SHA256. The specification wants ids
//! without dots, which would let someone who has a signature move the borders between the three;
//! ids come here with dots encoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;

pub(super) const ID: HeaderName = HeaderName::from_static("webhook-id");
pub(super) const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// How secrets begin that are base64; others are keys as they are.
const PREFIX: &str = "whsec_";

/// The key that a secret stands for; `None` when it says that it is base64 and is not.
pub(super) fn key(secret: &str) -> Option<hmac::Key> {
    let bytes = match secret.strip_prefix(PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).ok()?,
        None => secret.as_bytes().to_vec(),
    };
    (!bytes.is_empty()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// Adds the three headers. One signature per key: while a secret is changed there are two.
pub(super) fn sign(
    headers: &mut HeaderMap,
    keys: &[hmac::Key],
    id: &HeaderValue,
    timestamp: u64,
    body: &[u8],
) {
    if keys.is_empty() {
        return;
    }
    let timestamp = HeaderValue::from(timestamp);
    let mut signatures = String::with_capacity(keys.len() * 48);
    for key in keys {
        let mut context = hmac::Context::with_key(key);
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            context.update(part);
        }
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        signatures.push_str("v1,");
        STANDARD.encode_string(context.sign(), &mut signatures);
    }
    if let Ok(signatures) = HeaderValue::try_from(signatures) {
        headers.insert(ID, id.clone());
        headers.insert(TIMESTAMP, timestamp);
        headers.insert(SIGNATURE, signatures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference implementations.
    #[test]
    fn the_known_example_is_signed_as_known() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a key");
        let mut headers = HeaderMap::new();
        let id = HeaderValue::from_static("msg_p5jXN8AQM9LWM0D4loKWxJek");
        sign(&mut headers, &[key], &id, 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(headers[ID], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers[TIMESTAMP], "1614265330");
        assert_eq!(headers[SIGNATURE], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_no_base64_is_no_key() {
        assert!(key("whsec_!").is_none());
        assert!(key("whsec_").is_none());
        assert!(key("just a text").is_some());
    }
}
