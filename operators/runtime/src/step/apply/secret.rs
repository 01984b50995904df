//! Generated Secrets: content is made once and kept, whatever happens around it. What a system gives
//! is written beside it.
//!
//! Must not: log, cache or compare content. The object is read when it must be written, and the
//! content is dropped with the answer.
//!
//! Two writers cannot both generate: a new Secret is created without content, which fails when it
//! exists, and content is applied under the resourceVersion that was answered or read.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use rand::RngExt;

use super::Verdict;
use super::one::Applier;
use crate::children::ChildKind;
use crate::labels;
use crate::resources::{GeneratedKey, GeneratedSecret, child_hash, content_hash};
use crate::step::ApplyError;

const KIND: ChildKind = ChildKind::Secret;

pub(super) async fn all(
    applier: &mut Applier<'_>,
    secrets: Vec<GeneratedSecret>,
) -> Result<Vec<GeneratedSecret>, ApplyError> {
    for secret in &secrets {
        one(applier, secret).await?;
    }
    Ok(secrets)
}

async fn one(applier: &mut Applier<'_>, wanted: &GeneratedSecret) -> Result<(), ApplyError> {
    let name = wanted.metadata.name.clone().unwrap_or_default();
    let hash = hash(wanted);
    let verdict = applier.verdict(KIND, &name, &hash);
    if verdict == Verdict::Skip {
        return Ok(());
    }
    let live = read_own(applier, &name).await?;
    let desired = completed(wanted, &hash, live.as_ref());
    write(applier, desired, hash, verdict).await
}

/// The Secret as it is stored; none when there is none. What is not ours is refused.
pub(super) async fn read_own(
    applier: &mut Applier<'_>,
    name: &str,
) -> Result<Option<Secret>, ApplyError> {
    applier.confirm_owner().await?;
    let api: Api<Secret> = Api::namespaced(applier.ctx.client.clone(), &applier.identity.namespace);
    let read = |source| ApplyError::Read { kind: KIND, name: name.to_owned(), source };
    let live = api.get_opt(name).await.map_err(read)?;
    if let Some(live) = &live {
        applier.check_owner(KIND, name, &live.metadata)?;
    }
    Ok(live)
}

/// Applies the Secret under the version it names. One without a version is made first, which fails
/// when it exists.
pub(super) async fn write(
    applier: &mut Applier<'_>,
    mut desired: Secret,
    hash: String,
    verdict: Verdict,
) -> Result<(), ApplyError> {
    let name = desired.name_any();
    let api: Api<Secret> = Api::namespaced(applier.ctx.client.clone(), &applier.identity.namespace);
    let manager = applier.ctx.options.field_manager;
    let failed = |source| ApplyError::Patch { kind: KIND, name: name.clone(), source };
    if desired.metadata.resource_version.is_none() {
        let params = PostParams { field_manager: Some(manager.into()), ..PostParams::default() };
        let made = api.create(&params, &bare(&desired)).await.map_err(failed)?;
        desired.metadata.resource_version = made.metadata.resource_version;
    }
    let params = PatchParams::apply(manager).force();
    let written = api.patch(&name, &params, &Patch::Apply(&desired)).await.map_err(failed)?;
    applier.remember(KIND, &name, hash, &written.metadata, verdict);
    Ok(())
}

/// What a Secret is created as. Fields that are created never become those of later applies: what
/// stood in here would stay in the Secret when it is no longer wanted. One that is left like this is
/// found by its label, or goes with its owner.
fn bare(desired: &Secret) -> Secret {
    let of = &desired.metadata;
    let label = (labels::MANAGED_BY.to_owned(), labels::MANAGED_BY_VALUE.to_owned());
    let metadata = ObjectMeta {
        name: of.name.clone(),
        namespace: of.namespace.clone(),
        owner_references: of.owner_references.clone(),
        labels: Some([label].into()),
        ..ObjectMeta::default()
    };
    // The server refuses a type without its keys. What is applied over nothing is not shared.
    let emptied = |data: &BTreeMap<String, ByteString>| {
        data.keys().map(|key| (key.clone(), ByteString::default())).collect()
    };
    let data = desired.data.as_ref().filter(|_| desired.type_.is_some()).map(emptied);
    Secret { metadata, type_: desired.type_.clone(), data, ..Secret::default() }
}

/// Tells one content that is given from another. It stands in the Secret itself, where whoever reads it
/// can read the content as well.
fn hash(wanted: &GeneratedSecret) -> String {
    let own = child_hash(wanted);
    if wanted.given.is_empty() {
        return own;
    }
    let given = wanted.given.iter().map(|(key, value)| (key, value.expose()));
    content_hash(&(own, given.collect::<Vec<_>>()))
}

/// The Secret to write: every wanted key, with the content it has or a new one.
fn completed(wanted: &GeneratedSecret, hash: &str, live: Option<&Secret>) -> Secret {
    let mut metadata = wanted.metadata.clone();
    metadata
        .annotations
        .get_or_insert_default()
        .insert(labels::CONTENT_HASH.to_owned(), hash.to_owned());
    metadata.resource_version = live.and_then(|live| live.metadata.resource_version.clone());
    let old = live.and_then(|live| live.data.as_ref());
    let content = |key: &GeneratedKey| {
        let kept = old.and_then(|old| old.get(&key.name)).filter(|value| !value.0.is_empty());
        kept.cloned().unwrap_or_else(|| ByteString(generate(key.length_chars)))
    };
    let generated = wanted.keys.iter().map(|key| (key.name.clone(), content(key)));
    let given = wanted.given.iter().map(|(key, value)| {
        let bytes = value.expose().clone();
        (key.clone(), ByteString(bytes))
    });
    let data: BTreeMap<String, ByteString> = generated.chain(given).collect();
    Secret { metadata, data: Some(data), ..Secret::default() }
}

/// Random letters and digits from the generator that is seeded by the operating system.
fn generate(length_chars: usize) -> Vec<u8> {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(length_chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redacted::Redacted;

    fn wanted() -> GeneratedSecret {
        let key = |name: &str| GeneratedKey { name: name.into(), length_chars: 40 };
        GeneratedSecret {
            metadata: ObjectMeta::default(),
            keys: vec![key("management-token"), key("password")],
            given: BTreeMap::new(),
        }
    }

    #[test]
    fn content_that_exists_is_kept_and_only_what_is_missing_is_made() {
        let first = completed(&wanted(), "h", None);
        let mut live = first.clone();
        live.metadata.resource_version = Some("7".into());
        live.data.as_mut().expect("data").remove("password");
        let second = completed(&wanted(), "h", Some(&live));
        let (a, b) = (first.data.expect("data"), second.data.expect("data"));
        assert_eq!(a["management-token"], b["management-token"]);
        assert_ne!(a["password"], b["password"]);
        assert_eq!(b["password"].0.len(), 40);
        assert!(b["password"].0.iter().all(u8::is_ascii_alphanumeric));
        assert_eq!(second.metadata.resource_version.as_deref(), Some("7"), "guarded");
    }

    #[test]
    fn content_that_is_given_is_written_anew_and_shows_in_no_hash_but_that_of_the_secret() {
        let with = |text: &str| GeneratedSecret {
            given: [("users".to_owned(), Redacted::new(text.as_bytes().to_vec()))].into(),
            ..wanted()
        };
        let (one, other) = (with("swordfish"), with("marlin"));
        assert_ne!(hash(&one), hash(&other));
        assert_eq!(child_hash(&one), child_hash(&other));
        assert!(!format!("{one:?}").contains("swordfish"));
        let live = completed(&one, "h", None);
        let data = completed(&other, "h", Some(&live)).data.expect("data");
        assert_eq!(data["users"].0, b"marlin");
        assert_eq!(data["password"], live.data.expect("data")["password"]);
    }
}
