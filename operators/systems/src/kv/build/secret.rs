//! The Secret the operator makes: the token of the management protocol, and the password of the
//! `default` user unless the spec names a Secret with one.

use std::collections::BTreeMap;

use orrery_runtime::{GeneratedKey, GeneratedSecret, Identity, labels};

use super::super::names;
use super::super::validate::{PASSWORD_KEY, Validated};

/// Characters of each generated value; about 190 bits.
const LENGTH_CHARS: usize = 32;

pub(super) fn build(validated: &Validated, identity: &Identity) -> GeneratedSecret {
    let key = |name: &str| GeneratedKey { name: name.to_owned(), length_chars: LENGTH_CHARS };
    let mut keys = vec![key(labels::MANAGEMENT_TOKEN_KEY)];
    if validated.spec.resp.auth.is_none() {
        keys.push(key(PASSWORD_KEY));
    }
    keys.sort();
    let name = names::main(&identity.name);
    GeneratedSecret {
        metadata: super::frame(validated, identity).metadata(&name),
        keys,
        given: BTreeMap::new(),
    }
}
