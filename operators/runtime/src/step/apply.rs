//! Step 4: server-side apply of everything that was built, in order, and removal of what is no
//! longer built.
//!
//! Must not: decide what belongs to an object; that came from `build`. Must not overwrite what
//! somebody else made under the same name.
//!
//! **When nothing is sent.** At rest a round must not write, and drift must be repaired. After each
//! apply we remember what the server gave back: UID, version and fingerprint (see
//! [`crate::children::fingerprint`]). A later round with the same content is skipped when the watch
//! still shows that fingerprint, or shows something older than our own write, in which case the
//! cache is behind us and another event is on its way. Everything else is applied again: a changed
//! content, a child somebody edited or deleted, and once after each start, since what we remember
//! does not survive the process. Applying what is already there changes nothing on the server.

mod certificate;
mod one;
pub mod secret;
mod stateful_set;

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

pub use certificate::keep;
pub use one::Look;

use crate::children::{Child, ChildKind, is_older};
use crate::context::Context;
use crate::events::Notice;
use crate::resources::{Applied, Prepared, Resources};
use crate::step::ApplyError;
use crate::system::Identity;

/// What the server gave back when a child was applied last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub content_hash: String,
    pub uid: String,
    pub resource_version: String,
    pub fingerprint: String,
}

type Remembered = HashMap<(ChildKind, String), Record>;

/// Memory of our own writes by the UID of the object, for the life of the process.
#[derive(Debug, Default)]
pub struct Records {
    records: Mutex<HashMap<String, Remembered>>,
}

impl Records {
    fn get(&self, owner_uid: &str, kind: ChildKind, name: &str) -> Option<Record> {
        self.lock().get(owner_uid)?.get(&(kind, name.to_owned())).cloned()
    }

    fn put(&self, owner_uid: &str, kind: ChildKind, name: &str, record: Record) {
        let mut records = self.lock();
        records.entry(owner_uid.to_owned()).or_default().insert((kind, name.to_owned()), record);
    }

    /// Whether our last write of a child is newer than this version of it.
    pub(crate) fn is_ahead(
        &self,
        owner_uid: &str,
        kind: ChildKind,
        name: &str,
        shown_version: &str,
    ) -> bool {
        let record = self.get(owner_uid, kind, name);
        record.is_some_and(|record| is_older(shown_version, &record.resource_version))
    }

    pub(crate) fn forget_child(&self, owner_uid: &str, kind: ChildKind, name: &str) {
        if let Some(children) = self.lock().get_mut(owner_uid) {
            children.remove(&(kind, name.to_owned()));
        }
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, owner_uid: &str) {
        self.lock().remove(owner_uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Remembered>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a child is to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is as we left it.
    Skip,
    /// It is new, or its content changed, or this process has not applied it yet.
    Apply,
    /// Its content is as we applied it last, but the child is not.
    Repair,
}

/// Compares what is to be applied with what was applied and what the watch shows.
pub fn verdict(content_hash: &str, record: Option<&Record>, shown: Option<&Child>) -> Verdict {
    match (record, shown) {
        (Some(record), _) if record.content_hash != content_hash => Verdict::Apply,
        (None, _) => Verdict::Apply,
        (Some(_), None) => Verdict::Repair,
        (Some(record), Some(shown)) => {
            let same = shown.uid == record.uid
                && (shown.fingerprint == record.fingerprint
                    || is_older(&shown.resource_version, &record.resource_version));
            if same { Verdict::Skip } else { Verdict::Repair }
        }
    }
}

/// What one apply of all children did.
#[derive(Debug)]
pub struct Outcome {
    pub resources: Resources<Applied>,
    /// Things worth an event.
    pub notices: Vec<Notice>,
}

/// Applies everything in the order of the fields, then removes orphans. `owner` looks at the object
/// as it is stored; it is asked once, before the first write.
pub async fn apply(
    ctx: &Context,
    identity: &Identity,
    prepared: Resources<Prepared>,
    owner: Look<'_>,
) -> Result<Outcome, ApplyError> {
    let names = prepared.names();
    let mut one = one::Applier::new(ctx, identity, owner);
    // Naming every field makes a forgotten kind a compile error.
    let Resources {
        service_accounts,
        roles,
        role_bindings,
        secrets,
        certificates,
        config_maps,
        services,
        network_policies,
        pdbs,
        stateful_sets,
        deployments,
        stage: _,
    } = prepared;
    let resources = Resources {
        service_accounts: one.all(ChildKind::ServiceAccount, service_accounts).await?,
        roles: one.all(ChildKind::Role, roles).await?,
        role_bindings: one.all(ChildKind::RoleBinding, role_bindings).await?,
        secrets: secret::all(&mut one, secrets).await?,
        certificates: certificate::all(&mut one, certificates).await?,
        config_maps: one.all(ChildKind::ConfigMap, config_maps).await?,
        services: one.all(ChildKind::Service, services).await?,
        network_policies: one.all(ChildKind::NetworkPolicy, network_policies).await?,
        pdbs: one.all(ChildKind::PodDisruptionBudget, pdbs).await?,
        stateful_sets: stateful_set::all(&mut one, stateful_sets).await?,
        deployments: one.all(ChildKind::Deployment, deployments).await?,
        stage: std::marker::PhantomData,
    };
    let orphans = crate::orphans::of(ctx, identity, &names);
    if !orphans.is_empty() {
        one.confirm_owner().await?;
    }
    let mut notices = one.notices;
    notices.extend(crate::orphans::remove(ctx, identity, orphans).await?);
    Ok(Outcome { resources, notices })
}

/// Kind and name of each child.
pub type Names = HashSet<(ChildKind, String)>;

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            content_hash: "h1".into(),
            uid: "u".into(),
            resource_version: "10".into(),
            fingerprint: "v10".into(),
        }
    }

    fn shown(uid: &str, version: &str) -> Child {
        Child {
            uid: uid.into(),
            owner_uid: None,
            resource_version: version.into(),
            fingerprint: format!("v{version}"),
            terminating: false,
            certificate: None,
            workload: None,
        }
    }

    #[test]
    fn the_verdict_table() {
        let cases = [
            ("never applied by us", "h1", None, Some(shown("u", "10")), Verdict::Apply),
            ("new", "h1", None, None, Verdict::Apply),
            ("content changed", "h2", Some(record()), Some(shown("u", "10")), Verdict::Apply),
            ("as we left it", "h1", Some(record()), Some(shown("u", "10")), Verdict::Skip),
            (
                "p6: cache behind our write",
                "h1",
                Some(record()),
                Some(shown("u", "9")),
                Verdict::Skip,
            ),
            ("edited", "h1", Some(record()), Some(shown("u", "11")), Verdict::Repair),
            ("deleted", "h1", Some(record()), None, Verdict::Repair),
            ("made anew by others", "h1", Some(record()), Some(shown("w", "11")), Verdict::Repair),
        ];
        for (name, hash, record, shown, expected) in cases {
            assert_eq!(verdict(hash, record.as_ref(), shown.as_ref()), expected, "{name}");
        }
    }
}
