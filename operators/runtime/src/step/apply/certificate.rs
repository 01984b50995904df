//! Secrets with a certificate: made, renewed when a third of the life is left, given the newest
//! authorities.
//!
//! Must not: log or cache content. The object is read when it must be written, and the content is
//! dropped with the answer. Must not renew more than is due: a new authority beside the others leaves
//! the certificate as it is.
//!
//! Whether something is due is seen from the mark beside the content, which the watch shows, so that a
//! round at rest reads nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::Verdict;
use super::one::Applier;
use super::secret::{read_own, write};
use crate::certificates::issue::{IssueError, Wish};
use crate::certificates::keeper::Current;
use crate::certificates::mark::{ANNOTATION, Mark, content, hash};
use crate::children::store::controller_of;
use crate::children::{Child, ChildKind};
use crate::context::Context;
use crate::labels;
use crate::resources::{CertifiedSecret, child_hash};
use crate::step::ApplyError;
use crate::system::Identity;

const KIND: ChildKind = ChildKind::Secret;
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";

pub(super) async fn all(
    applier: &mut Applier<'_>,
    secrets: Vec<CertifiedSecret>,
) -> Result<Vec<CertifiedSecret>, ApplyError> {
    for secret in &secrets {
        one(applier, secret).await?;
    }
    Ok(secrets)
}

async fn one(applier: &mut Applier<'_>, wanted: &CertifiedSecret) -> Result<(), ApplyError> {
    let name = wanted.metadata.name.clone().unwrap_or_default();
    let content_hash = child_hash(wanted);
    let namespace = &applier.identity.namespace;
    let shown = applier.ctx.children.get(KIND, namespace, &name);
    let verdict = match applier.verdict(KIND, &name, &content_hash) {
        Verdict::Skip if !is_due(applier.ctx, applier.identity, &name, shown.as_ref()) => {
            return Ok(());
        }
        // What is renewed in time has not been changed by others.
        Verdict::Skip => Verdict::Apply,
        verdict => verdict,
    };
    let maker = Maker::new(applier.ctx)?;
    let live = read_own(applier, &name).await?;
    let (mark, data) = maker.content(&wanted.names, live.as_ref())?;
    let mut metadata = wanted.metadata.clone();
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(labels::CONTENT_HASH.to_owned(), content_hash.clone());
    annotations.insert(ANNOTATION.to_owned(), mark.to_text());
    metadata.resource_version = live.as_ref().and_then(|l| l.metadata.resource_version.clone());
    let type_ = Some("kubernetes.io/tls".to_owned());
    let desired = Secret { metadata, data: Some(data), type_, ..Secret::default() };
    write(applier, desired, content_hash, verdict).await
}

/// Renews the certificates of an object that is otherwise left alone, because it is paused or its spec
/// cannot be carried out: what runs must not lose its certificate.
pub async fn keep(ctx: &Context, identity: &Identity) -> Result<(), ApplyError> {
    let uid = identity.uid.as_deref().unwrap_or_default();
    for (kind, name, child) in ctx.children.of_owner(uid) {
        let Some(shown) = child.certificate.as_ref().filter(|_| kind == KIND) else { continue };
        if ctx.certificates.is_none() || !is_due(ctx, identity, &name, Some(&child)) {
            continue;
        }
        let maker = Maker::new(ctx)?;
        let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &identity.namespace);
        let live = api.get_opt(&name).await;
        let live = live.map_err(|source| ApplyError::Read { kind, name: name.clone(), source })?;
        let ours = |live: &Secret| controller_of(&live.metadata).is_some_and(|of| of.uid == uid);
        let Some(live) = live.filter(ours) else { continue };
        let (mark, data) = maker.content(&shown.names, Some(&live))?;
        let patch = Patch::Merge(json!({
            "metadata": {
                "resourceVersion": live.metadata.resource_version,
                "annotations": { ANNOTATION: mark.to_text() },
            },
            "data": data,
        }));
        let manager = Some(ctx.options.field_manager.to_owned());
        let params = PatchParams { field_manager: manager, ..PatchParams::default() };
        let written = api.patch(&name, &params, &patch).await;
        written.map_err(|source| ApplyError::Patch { kind, name, source })?;
    }
    Ok(())
}

/// Whether the certificate, or the authorities beside it, are not what they should be now. Says no
/// while the authority is not known.
fn is_due(ctx: &Context, identity: &Identity, name: &str, shown: Option<&Child>) -> bool {
    let Ok(maker) = Maker::new(ctx) else { return false };
    let Some(shown) = shown else { return false };
    let uid = identity.uid.as_deref().unwrap_or_default();
    if ctx.records.is_ahead(uid, KIND, name, &shown.resource_version) {
        return false;
    }
    shown
        .certificate
        .as_ref()
        .is_none_or(|mark| mark.trust != maker.current.trust || !maker.is_fresh(mark, &mark.names))
}

/// What certificates are made with in this round.
struct Maker {
    current: std::sync::Arc<Current>,
    now: Timestamp,
    life: std::time::Duration,
}

type Data = BTreeMap<String, ByteString>;

impl Maker {
    fn new(ctx: &Context) -> Result<Self, ApplyError> {
        let certificates = ctx.certificates.as_ref().ok_or(ApplyError::NoAuthority)?;
        let current = certificates.current().ok_or(ApplyError::NoAuthority)?;
        let life = certificates.options.certificate_life;
        Ok(Self { current, now: certificates.now(), life })
    }

    fn is_fresh(&self, mark: &Mark, names: &[String]) -> bool {
        mark.is_fresh(self.current.signer.mark(), names, self.now, self.life)
    }

    /// End, chain and key of a new certificate.
    fn fresh(&self, names: &[String]) -> Result<(Timestamp, Vec<u8>, Vec<u8>), IssueError> {
        // People see it; it may have at most 64 characters, which a label of a host name has.
        let title = names.first().and_then(|name| name.split('.').next()).unwrap_or_default();
        let wish = Wish { names, title, now: self.now, life: self.life };
        let pair = self.current.signer.issue(&wish)?;
        let key = pair.key.expose().clone().into_bytes();
        Ok((wish.until(), pair.certificate.into_bytes(), key))
    }

    /// The content of the Secret, and what is said of it. The certificate that is there stays if it
    /// can.
    fn content(&self, names: &[String], live: Option<&Secret>) -> Result<(Mark, Data), IssueError> {
        let kept = live.and_then(|live| {
            let (mark, data) = (Mark::of(&live.metadata)?, live.data.as_ref()?);
            let part = |key| data.get(key).map(|bytes| bytes.0.as_slice());
            let (chain, key) = (part(CHAIN)?, part(KEY)?);
            let is_whole = mark.content == content(chain, key, part(AUTHORITIES)?);
            let stays = is_whole && self.is_fresh(&mark, names);
            stays.then(|| (mark.until, chain.to_vec(), key.to_vec()))
        });
        let (until, chain, key) = match kept {
            Some(kept) => kept,
            None => self.fresh(names)?,
        };
        let authorities = self.current.trusted.clone().into_bytes();
        let mark = Mark {
            issuer: self.current.signer.mark().to_owned(),
            trust: self.current.trust.clone(),
            until,
            names: names.to_vec(),
            hash: hash(&chain, &authorities),
            content: content(&chain, &key, &authorities),
        };
        let data = [(CHAIN, chain), (KEY, key), (AUTHORITIES, authorities)];
        let data = data.into_iter().map(|(key, bytes)| (key.to_owned(), ByteString(bytes)));
        Ok((mark, data.collect()))
    }
}
