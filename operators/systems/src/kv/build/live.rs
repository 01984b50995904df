//! The Secret with what running processes read again when it changes: the users with the SHA-256 of
//! their passwords, and whether writes are refused. It is always there, so that neither needs other
//! pods.

use std::collections::BTreeMap;

use orrery_api::kv::acl::USERS_FILE;
use orrery_api::kv::config::FENCED_FILE;
use orrery_api::spec::Operation;
use orrery_runtime::{GeneratedSecret, Identity, Redacted};

use super::super::names;
use super::super::validate::Validated;

pub(super) fn build(validated: &Validated, identity: &Identity) -> GeneratedSecret {
    let content = Redacted::new(validated.users.expose().clone().into_bytes());
    let is_fenced = validated.spec.engine.operation == Operation::Fence;
    GeneratedSecret {
        metadata: super::frame(validated, identity).metadata(&names::live(&identity.name)),
        keys: vec![],
        given: BTreeMap::from([
            (USERS_FILE.to_owned(), content),
            (FENCED_FILE.to_owned(), Redacted::new(is_fenced.to_string().into_bytes())),
        ]),
    }
}
