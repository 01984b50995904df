//! Checks the labels and annotations a user wants on every child.
//!
//! The schema bounds their number and the label values; keys can only be checked here.

use std::collections::BTreeMap;

use orrery_api::Reason;
use orrery_api::spec::ExtraMetadata;
use orrery_runtime::{Refusal, labels};

/// Longest name part of a key, in bytes.
const NAME_BYTES_MAX: usize = 63;
/// Longest prefix part of a key, in bytes.
const PREFIX_BYTES_MAX: usize = 253;
/// Prefixes of keys that only the operator sets.
const OWN_PREFIXES: [&str; 2] = ["app.kubernetes.io/", "orrery.dev/"];

/// Refuses keys that Kubernetes would not take, that deployment tools track objects by, and that
/// the operator itself sets.
pub fn check(metadata: &ExtraMetadata) -> Result<(), Refusal> {
    for (field, map) in [("labels", &metadata.labels), ("annotations", &metadata.annotations)] {
        for key in map.keys() {
            if let Some(why) = complaint(key) {
                return Err(Refusal::field(
                    Reason::InvalidSpec,
                    &format!("spec.metadata.{field}"),
                    format!("spec.metadata.{field}: the key {key:?} {why}"),
                ));
            }
        }
    }
    Ok(())
}

/// The user's labels and annotations under those of the operator.
pub fn merged(
    own: BTreeMap<String, String>,
    user: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = user.clone();
    all.extend(own);
    all
}

fn complaint(key: &str) -> Option<&'static str> {
    if !is_key(key) {
        return Some("is not a valid key");
    }
    if !labels::may_inherit(key) {
        return Some("tracks objects for a deployment tool, which would prune the children");
    }
    OWN_PREFIXES.iter().any(|prefix| key.starts_with(prefix)).then_some("is set by the operator")
}

fn is_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_ok = prefix.is_none_or(|prefix| {
        prefix.len() <= PREFIX_BYTES_MAX && prefix.split('.').all(crate::parts::names::is_dns_label)
    });
    let edges = |c: char| c.is_ascii_alphanumeric();
    let inside = |c: char| edges(c) || matches!(c, '-' | '_' | '.');
    prefix_ok
        && (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(edges)
        && name.ends_with(edges)
        && name.chars().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(key: &str) -> ExtraMetadata {
        ExtraMetadata {
            labels: BTreeMap::from([(key.to_owned(), "x".to_owned())]),
            ..ExtraMetadata::default()
        }
    }

    #[test]
    fn ordinary_keys_pass_and_odd_ones_are_refused() {
        for key in ["team", "example.org/cost-centre", "a_b.c"] {
            assert_eq!(check(&metadata(key)), Ok(()), "{key}");
        }
        for key in ["", "-a", "a/b/c", "exa mple", "/x", "a..b/c", &"x".repeat(64)] {
            let refusal = check(&metadata(key)).expect_err(key);
            assert_eq!(refusal.reason, Reason::InvalidSpec);
        }
    }

    #[test]
    fn keys_of_the_operator_and_of_deployment_tools_are_refused() {
        for key in ["app.kubernetes.io/name", "orrery.dev/x", "argocd.argoproj.io/instance"] {
            assert!(check(&metadata(key)).is_err(), "{key}");
        }
    }
}
