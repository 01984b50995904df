//! The Secret with what running processes read again when it changes: the users and the SHA-256 of
//! their passwords. It is always there, so that the first user needs no other pods.

use std::collections::BTreeMap;

use orrery_api::kv::acl::USERS_FILE;
use orrery_runtime::{GeneratedSecret, Identity, Redacted};

use super::super::names;
use super::super::validate::Validated;

pub(super) fn build(validated: &Validated, identity: &Identity) -> GeneratedSecret {
    let content = Redacted::new(validated.users.expose().clone().into_bytes());
    GeneratedSecret {
        metadata: super::metadata(validated, identity, &names::live(&identity.name)),
        keys: vec![],
        given: BTreeMap::from([(USERS_FILE.to_owned(), content)]),
    }
}
