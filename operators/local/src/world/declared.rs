//! Declared objects: the sets that engines get, and the status made from their answers.

use std::rc::Rc;

use jiff::Timestamp;
use orrery_api::{CommonStatus, Reason, Time};
use orrery_operand::set_hash::sync_request;
use orrery_operand::v1::{DeclaredObject, SyncRequest};
use orrery_runtime::status::declared::{self, DeclaredProgress};
use orrery_runtime::{Acceptance, Mode, Refusal};
use serde_json::Value as Json;

use super::{Carried, World};
use crate::kinds::DeclaredKind;
use crate::objects::{Key, Stored};
use crate::pod::{Pod, Sets};

impl World {
    /// Gives every engine the full sets of its declared objects.
    pub(super) fn declare(&self, carried: &[(Stored, Carried)]) {
        for (stored, _) in carried.iter().filter(|(_, done)| done.mode == Mode::Run) {
            let sets: Sets = Rc::new(self.sets(&stored.key));
            for pod in self.pods.values().filter(|pod| pod.owner == stored.key) {
                pod.declare(&sets);
            }
        }
    }

    pub(super) fn sets(&self, engine: &Key) -> Vec<SyncRequest> {
        let kinds = self.kinds.declared.iter().filter(|kind| kind.engine_kind() == engine.kind);
        kinds
            .map(|kind| {
                let siblings = self.siblings(kind.as_ref(), engine);
                let objects: Vec<&Json> = siblings.iter().map(|stored| &stored.object).collect();
                let inputs =
                    self.references.of_declared(kind.as_ref(), &engine.namespace, &objects);
                let specs = kind.validate(&objects, &inputs);
                let objects = siblings.iter().zip(specs).filter_map(|(stored, spec)| {
                    Some(DeclaredObject {
                        namespace: stored.key.namespace.clone(),
                        name: stored.key.name.clone(),
                        uid: String::new(),
                        generation: stored.generation(),
                        spec: spec.ok()?.to_string().into_bytes(),
                    })
                });
                sync_request(&kind.info().kind, objects.collect())
            })
            .collect()
    }

    /// All objects of a declared kind that belong to an engine, oldest first.
    pub(super) fn siblings(&self, kind: &dyn DeclaredKind, engine: &Key) -> Vec<&Stored> {
        let belongs = |stored: &&Stored| {
            stored.key.kind == kind.info().kind
                && stored.key.namespace == engine.namespace
                && kind.engine(&stored.object).is_ok_and(|(name, _)| name == engine.name)
        };
        let mut siblings: Vec<&Stored> = self.objects.iter().filter(belongs).collect();
        let age = |stored: &Stored| {
            let created =
                stored.object["metadata"]["creationTimestamp"].as_str().map(str::to_owned);
            (created, stored.key.clone())
        };
        siblings.sort_by_key(|stored| age(stored));
        siblings
    }

    /// Step 5 of a declared object.
    pub(super) fn report_declared(&mut self, stored: &Stored, now: Timestamp) {
        let key = &stored.key;
        let Some(kind) = self.kinds.declared_of(&key.kind) else { return };
        let said = self.acceptance(kind, stored);
        let progress = self.declared_progress(kind, stored, said.as_ref());
        let none = CommonStatus::default();
        let before = self.statuses.get(key).map_or(&none, |(common, _)| common);
        let common = declared::summarise(stored.generation(), before, &progress, Time::new(now));
        let status = kind.status(&self.with_status(stored), common.clone(), said.as_ref());
        self.store(key, common, status, now);
    }

    /// An object that only a cluster carries out says so.
    pub(super) fn report_elsewhere(&mut self, stored: &Stored, now: Timestamp) {
        let key = &stored.key;
        let Some(elsewhere) = self.kinds.elsewhere_of(&key.kind) else { return };
        let refusal = Refusal::object(Reason::NotOnThisCarrier, elsewhere.why);
        let progress = DeclaredProgress::Refused(refusal);
        let none = CommonStatus::default();
        let before = self.statuses.get(key).map_or(&none, |(common, _)| common);
        let common = declared::summarise(stored.generation(), before, &progress, Time::new(now));
        let status = serde_json::to_value(&common).unwrap_or_default();
        self.store(key, common, status, now);
    }

    pub(super) fn declared_progress(
        &self,
        kind: &dyn DeclaredKind,
        stored: &Stored,
        said: Option<&Acceptance>,
    ) -> DeclaredProgress {
        let (name, _) = match kind.engine(&stored.object) {
            Ok(engine) => engine,
            Err(refusal) => return DeclaredProgress::Refused(refusal),
        };
        let namespace = stored.key.namespace.clone();
        let engine = Key { kind: kind.engine_kind(), namespace, name };
        let siblings = self.siblings(kind, &engine);
        let objects: Vec<&Json> = siblings.iter().map(|stored| &stored.object).collect();
        let inputs = self.references.of_declared(kind, &engine.namespace, &objects);
        let mut answers = siblings.iter().zip(kind.validate(&objects, &inputs));
        if let Some((_, Err(refusal))) = answers.find(|(sibling, _)| sibling.key == stored.key) {
            return DeclaredProgress::Refused(refusal);
        }
        if self.objects.get(&engine).is_none() {
            let message = format!("{engine} is not declared");
            return DeclaredProgress::Waiting { reason: Reason::RefNotFound, message };
        }
        match said {
            Some(said) if said.generation == stored.generation() => {
                DeclaredProgress::Answered(said.clone(), kind.standing(&stored.object, said))
            }
            said => {
                DeclaredProgress::Pending { older_accepted: said.is_some_and(|said| said.accepted) }
            }
        }
    }

    /// What the engine's processes said about an object: refused by one is refused.
    pub(super) fn acceptance(
        &self,
        kind: &dyn DeclaredKind,
        stored: &Stored,
    ) -> Option<Acceptance> {
        let (name, _) = kind.engine(&stored.object).ok()?;
        let mut all: Option<Acceptance> = None;
        let own = |pod: &&Pod| {
            pod.owner.kind == kind.engine_kind()
                && pod.owner.name == name
                && pod.owner.namespace == stored.key.namespace
        };
        for pod in self.pods.values().filter(own) {
            let said = pod.said();
            let answer = said.answers.get(&stored.key.kind)?;
            let result = answer.results.iter().find(|result| {
                result.name == stored.key.name && result.namespace == stored.key.namespace
            })?;
            let one = Acceptance::from(result.clone());
            match &mut all {
                None => all = Some(one),
                Some(all) => all.merge(one),
            }
        }
        all
    }
}
