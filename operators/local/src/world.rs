//! All accepted objects and the processes that carry them out: one level-triggered round brings the
//! processes to what the objects say and the statuses to what the processes say.
//!
//! Must not: read files of the user, or print. Data of objects that are removed is kept unless their
//! `deletionPolicy` says otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;

use jiff::Timestamp;
use orrery_api::{CommonStatus, ConditionType, Reason, Time, condition};
use orrery_operand::set_hash::sync_request;
use orrery_operand::v1::{DeclaredObject, SyncRequest};
use orrery_runtime::observation::WorkloadView;
use orrery_runtime::status::declared::{self, DeclaredProgress};
use orrery_runtime::{
    Acceptance, Facts, Mode, Observation, Prepared, Progress, Refusal, Resources, summarise,
};
use serde_json::Value as Json;
use tokio::sync::Notify;

use crate::addresses;
use crate::folder::FolderError;
use crate::kinds::{DeclaredKind, EngineKind, Kinds, Release};
use crate::objects::{Change, Fate, Key, Objects, Stored};
use crate::pod::{Pod, Sets};
use crate::process::plan::{self, Plan};
use crate::process::supervisor::{Phase, Shared};
use crate::snapshot::{Event, ProcessView};
use crate::spec::{Manifest, References};

/// Events kept for `describe`.
const EVENTS_MAX: usize = 200;

/// Namespace and name of a process.
type PodKey = (String, String);

/// See the module.
#[derive(Debug)]
pub struct World {
    shared: Rc<Shared>,
    kinds: Rc<Kinds>,
    release: Release,
    wake: Rc<Notify>,
    objects: Objects,
    references: References,
    pods: BTreeMap<PodKey, Pod>,
    /// Processes that are no longer wanted and have not ended yet.
    leaving: Vec<(PodKey, Pod)>,
    /// Volumes to delete when the processes of their object have ended.
    doomed: BTreeMap<Key, Vec<PathBuf>>,
    statuses: BTreeMap<Key, (CommonStatus, Json)>,
    states: BTreeMap<PodKey, String>,
    events: VecDeque<Event>,
}

/// What the first steps of a round made of an engine object.
struct Carried {
    progress: Progress,
    /// None: what runs is left as it is.
    plans: Option<Vec<Plan>>,
    resources: Option<Resources<Prepared>>,
    mode: Mode,
}

impl World {
    /// A world with the objects of the last run, none of them carried out yet.
    pub fn new(shared: Rc<Shared>, kinds: Rc<Kinds>, release: Release, objects: Objects) -> Self {
        Self {
            shared,
            kinds,
            release,
            wake: Rc::new(Notify::new()),
            objects,
            references: References::default(),
            pods: BTreeMap::new(),
            leaving: Vec::new(),
            doomed: BTreeMap::new(),
            statuses: BTreeMap::new(),
            states: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Notified when a round is due.
    pub fn wake(&self) -> Rc<Notify> {
        Rc::clone(&self.wake)
    }

    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Takes a new set of objects; the next round carries it out.
    pub fn accept(
        &mut self,
        manifest: Manifest,
        now: Timestamp,
    ) -> Result<Vec<Change>, FolderError> {
        let (objects, changes) = self.objects.accept(&manifest.objects, now);
        objects.write(&self.shared.folder)?;
        for change in &changes {
            if let Change::Removed(key, Fate::Deleted) = change
                && let Some(folders) = self.volumes(key)
            {
                self.doomed.insert(key.clone(), folders);
            }
        }
        self.objects = objects;
        self.references = manifest.references;
        self.statuses.retain(|key, _| self.objects.get(key).is_some());
        for change in &changes {
            let (key, text) = match change {
                Change::Created(key) => (key, "created".to_owned()),
                Change::Changed(key, fields) => (key, format!("changed: {}", fields.join(", "))),
                Change::Removed(key, Fate::Kept) => (key, "removed; its data is kept".to_owned()),
                Change::Removed(key, Fate::Deleted) => {
                    (key, "removed; its data goes with it, as its deletionPolicy says".to_owned())
                }
            };
            self.remember(key.to_string(), text, now);
        }
        Ok(changes)
    }

    /// One round. Returns what is new since the last one.
    pub fn round(&mut self, now: Timestamp) -> Vec<Event> {
        let before = self.events.back().map_or(0, |event| event.number);
        self.leaving.retain(|(_, pod)| !pod.is_over());
        self.delete_doomed(now);
        let engines: Vec<Stored> = self.of(|kinds, key| kinds.engine_of(&key.kind).is_some());
        let mut carried: Vec<(Stored, Carried)> = Vec::new();
        for stored in engines {
            let done = self.carry_out(&stored);
            carried.push((stored, done));
        }
        self.run(&carried);
        self.declare(&carried);
        self.prove_ports();
        for (stored, done) in &carried {
            self.report_engine(stored, done, now);
        }
        for stored in self.of(|kinds, key| kinds.declared_of(&key.kind).is_some()) {
            self.report_declared(&stored, now);
        }
        self.tell_states(now);
        self.events.iter().filter(|event| event.number > before).cloned().collect()
    }

    /// Volume folders of an object that is still known.
    fn volumes(&self, key: &Key) -> Option<Vec<PathBuf>> {
        let stored = self.objects.get(key)?;
        let engine = self.kinds.engine_of(&key.kind)?;
        let resources = self.build(engine, stored).ok()?.resources?;
        let folder = &self.shared.folder;
        Some(resources.stateful_sets.iter().flat_map(|set| plan::volumes(set, folder)).collect())
    }

    /// Deletes volumes of removed objects whose processes have ended; not of one that came back.
    fn delete_doomed(&mut self, now: Timestamp) {
        for (key, folders) in std::mem::take(&mut self.doomed) {
            let left = self.leaving.iter().map(|(_, pod)| pod).chain(self.pods.values());
            if self.objects.get(&key).is_some() {
                continue;
            }
            if left.into_iter().any(|pod| pod.owner == key) {
                self.doomed.insert(key, folders);
                continue;
            }
            for folder in folders.iter().filter(|folder| folder.exists()) {
                let text = match std::fs::remove_dir_all(folder) {
                    Ok(()) => format!("deleted {}", folder.display()),
                    Err(error) => format!("failed to delete {}: {error}", folder.display()),
                };
                self.remember(key.to_string(), text, now);
            }
        }
    }

    fn of(&self, wanted: impl Fn(&Kinds, &Key) -> bool) -> Vec<Stored> {
        self.objects.iter().filter(|stored| wanted(&self.kinds, &stored.key)).cloned().collect()
    }

    /// Steps 1 to 3: dereference, validate, build; and from pods to processes.
    fn carry_out(&self, stored: &Stored) -> Carried {
        let refused = |refusal| Carried {
            progress: Progress::Refused(refusal),
            plans: None,
            resources: None,
            mode: Mode::Run,
        };
        let Some(engine) = self.kinds.engine_of(&stored.key.kind) else {
            return refused(Refusal::object(Reason::InvalidSpec, "its kind is not known"));
        };
        match self.build(engine, stored) {
            Ok(carried) => carried,
            Err(refusal) => refused(refusal),
        }
    }

    fn build(&self, engine: &dyn EngineKind, stored: &Stored) -> Result<Carried, Refusal> {
        let object = &stored.object;
        let mode = engine.mode(object)?;
        let references = engine.references(object)?;
        let found = match self.references.find(&stored.key.namespace, &references) {
            Ok(found) => found,
            Err(name) => {
                let (reason, message) = (Reason::RefNotFound, format!("{name} is not declared"));
                let progress = Progress::Waiting { reason, message };
                return Ok(Carried { progress, plans: None, resources: None, mode });
            }
        };
        let mut resources = engine.build(object, found.clone(), &self.release)?;
        if mode == Mode::Hibernate {
            resources = resources.hibernated();
        }
        let plans = plan::plan(&resources, &found, &self.shared.folder)
            .map_err(|error| Refusal::object(Reason::NotOnThisCarrier, error.to_string()))?;
        let desired_hash = resources.hash();
        let progress = match mode {
            Mode::Pause => Progress::Paused,
            Mode::Hibernate => Progress::Hibernated { desired_hash },
            Mode::Run => {
                Progress::Applied { desired_hash, replicas_wanted: resources.replicas_wanted() }
            }
        };
        let plans = (mode != Mode::Pause).then_some(plans);
        Ok(Carried { progress, plans, resources: Some(resources), mode })
    }

    /// Step 4: brings the processes to the plans. Of one workload, one process is restarted at a
    /// time, and only while the others serve.
    fn run(&mut self, carried: &[(Stored, Carried)]) {
        let mut kept: Vec<PodKey> = Vec::new();
        for (stored, done) in carried {
            let Some(plans) = &done.plans else {
                let own = self.pods.iter().filter(|(_, pod)| pod.owner == stored.key);
                kept.extend(own.map(|(key, _)| key.clone()));
                continue;
            };
            for plan in plans {
                let key = (plan.namespace.clone(), plan.name.clone());
                kept.push(key.clone());
                self.run_one(key, plan, &stored.key);
            }
        }
        let gone: Vec<PodKey> =
            self.pods.keys().filter(|key| !kept.contains(key)).cloned().collect();
        for key in gone {
            if let Some(pod) = self.pods.remove(&key) {
                pod.stop();
                self.leaving.push((key, pod));
            }
        }
    }

    fn run_one(&mut self, key: PodKey, plan: &Plan, owner: &Key) {
        let others_serve = self
            .pods
            .iter()
            .filter(|(other, pod)| pod.plan.workload == plan.workload && **other != key)
            .filter(|(_, pod)| pod.plan.namespace == plan.namespace)
            .all(|(_, pod)| pod.is_ready());
        match self.pods.get_mut(&key) {
            // The same data must not be opened twice.
            None if self.leaving.iter().any(|(leaving, _)| *leaving == key) => {}
            None => {
                let pod = Pod::start(&self.shared, owner.clone(), plan.clone(), &self.wake);
                self.pods.insert(key, pod);
            }
            Some(pod) if pod.plan.hash() == plan.hash() => {}
            Some(pod) if others_serve || !pod.is_ready() => pod.become_plan(plan.clone()),
            Some(_) => {}
        }
    }

    /// Gives every engine the full sets of its declared objects.
    fn declare(&self, carried: &[(Stored, Carried)]) {
        for (stored, _) in carried.iter().filter(|(_, done)| done.mode == Mode::Run) {
            let sets: Sets = Rc::new(self.sets(&stored.key));
            for pod in self.pods.values().filter(|pod| pod.owner == stored.key) {
                pod.declare(&sets);
            }
        }
    }

    fn sets(&self, engine: &Key) -> Vec<SyncRequest> {
        let kinds = self.kinds.declared.iter().filter(|kind| kind.engine_kind() == engine.kind);
        kinds
            .map(|kind| {
                let siblings = self.siblings(kind.as_ref(), engine);
                let objects: Vec<&Json> = siblings.iter().map(|stored| &stored.object).collect();
                let specs = kind.validate(&objects);
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
    fn siblings(&self, kind: &dyn DeclaredKind, engine: &Key) -> Vec<&Stored> {
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

    fn prove_ports(&self) {
        for pod in self.pods.values().filter(|pod| pod.is_ready()) {
            let keys: Vec<String> =
                pod.plan.ports.iter().map(|port| pod.plan.port_key(&port.name)).collect();
            let proven = self.shared.ports.borrow_mut().prove(keys.iter().map(String::as_str));
            if let Err(error) = proven {
                tracing::warn!(%error, "failed to remember the ports");
            }
        }
    }

    /// Step 5 of an engine.
    fn report_engine(&mut self, stored: &Stored, done: &Carried, now: Timestamp) {
        let key = &stored.key;
        let Some(engine) = self.kinds.engine_of(&key.kind) else { return };
        let seen = self.observe(key, done);
        let none = CommonStatus::default();
        let before = self.statuses.get(key).map_or(&none, |(common, _)| common);
        let facts = Facts {
            generation: stored.generation(),
            stored: before,
            progress: &done.progress,
            seen: &seen,
            now: Time::new(now),
        };
        let common = summarise(&facts);
        let object = self.with_status(stored);
        let mut status = engine.status(&object, common.clone(), &seen);
        if let Some(resources) = &done.resources {
            let pods = self.pods.values().filter(|pod| pod.owner == *key);
            let ports: Vec<BTreeMap<String, u16>> = pods.map(|pod| pod.life().ports).collect();
            addresses::localise(&mut status, resources, &ports);
        }
        self.store(key, common, status, now);
    }

    fn observe(&self, key: &Key, done: &Carried) -> Observation {
        let pods: Vec<&Pod> = self.pods.values().filter(|pod| pod.owner == *key).collect();
        let leaving = self.leaving.iter().map(|(_, pod)| pod).filter(|pod| pod.owner == *key);
        let sets = done.resources.iter().flat_map(|resources| &resources.stateful_sets);
        let workloads = sets.map(|set| {
            let name = set.metadata.name.clone().unwrap_or_default();
            let own = || pods.iter().filter(|pod| pod.plan.workload == name);
            let spec = set.spec.as_ref();
            let labels = spec.and_then(|spec| spec.selector.match_labels.clone());
            let selector: Vec<String> =
                labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
            let updated = |pod: &&&Pod| {
                let life = pod.life();
                let plans = done.plans.iter().flatten();
                let wanted = plans
                    .filter(|plan| plan.name == pod.plan.name)
                    .all(|plan| plan.hash() == life.plan_hash);
                wanted && life.phase != Phase::Stopping
            };
            WorkloadView {
                replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
                ready_replicas: own().filter(|pod| pod.is_ready()).count() as i32,
                updated_replicas: own().filter(updated).count() as i32,
                observed: true,
                selector: selector.join(","),
                name: name.clone(),
            }
        });
        let workloads = workloads.collect();
        let pods = pods.iter().copied().chain(leaving).map(Pod::view).collect();
        Observation { workloads, pods }
    }

    /// Step 5 of a declared object.
    fn report_declared(&mut self, stored: &Stored, now: Timestamp) {
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

    fn declared_progress(
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
        let mut answers = siblings.iter().zip(kind.validate(&objects));
        if let Some((_, Err(refusal))) = answers.find(|(sibling, _)| sibling.key == stored.key) {
            return DeclaredProgress::Refused(refusal);
        }
        if self.objects.get(&engine).is_none() {
            let message = format!("{engine} is not declared");
            return DeclaredProgress::Waiting { reason: Reason::RefNotFound, message };
        }
        match said {
            Some(said) if said.generation == stored.generation() => {
                DeclaredProgress::Answered(said.clone())
            }
            said => {
                DeclaredProgress::Pending { older_accepted: said.is_some_and(|said| said.accepted) }
            }
        }
    }

    /// What the engine's processes said about an object: refused by one is refused.
    fn acceptance(&self, kind: &dyn DeclaredKind, stored: &Stored) -> Option<Acceptance> {
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
            let figures = result.figures.iter().map(|(name, value)| (name.clone(), *value));
            let one = Acceptance {
                generation: result.generation,
                accepted: result.accepted,
                reason: result.reason.clone(),
                message: result.message.clone(),
                figures: figures.collect(),
            };
            all = Some(match all {
                None => one,
                Some(mut before) => {
                    for (name, value) in one.figures.clone() {
                        let held = before.figures.entry(name).or_insert(value);
                        *held = value.max(*held);
                    }
                    if before.accepted && !one.accepted {
                        Acceptance { figures: before.figures, ..one }
                    } else {
                        before
                    }
                }
            });
        }
        all
    }

    /// Keeps a status, and remembers as an event that the summary changed.
    fn store(&mut self, key: &Key, common: CommonStatus, status: Json, now: Timestamp) {
        let ready = |common: &CommonStatus| {
            let ready = condition::find(&common.conditions, ConditionType::Ready);
            ready.map(|ready| (ready.reason.clone(), ready.message.clone()))
        };
        let before = self.statuses.get(key).and_then(|(common, _)| ready(common));
        let after = ready(&common);
        self.statuses.insert(key.clone(), (common, status));
        if let Some((reason, message)) = after
            && before.is_none_or(|(was, _)| was != reason)
        {
            let text = if message.is_empty() { reason } else { format!("{reason}: {message}") };
            self.remember(key.to_string(), text, now);
        }
    }

    fn tell_states(&mut self, now: Timestamp) {
        let mut states = BTreeMap::new();
        let leaving = self.leaving.iter().map(|(key, pod)| (key, pod));
        for (key, pod) in self.pods.iter().chain(leaving) {
            let mut state = pod.state();
            if state == "ready" {
                let ports = pod.life().ports;
                let shown = pod.plan.ports.iter().filter(|port| !is_internal(&port.name));
                for port in shown {
                    let number = ports.get(&port.name).copied().unwrap_or(0);
                    state = format!("{state}, {} on 127.0.0.1:{number}", port.name);
                }
            }
            states.insert(key.clone(), state);
        }
        let old = std::mem::take(&mut self.states);
        for (key, state) in &states {
            if old.get(key) != Some(state) {
                self.remember(key.1.clone(), state.clone(), now);
            }
        }
        for key in old.keys().filter(|key| !states.contains_key(*key)) {
            self.remember(key.1.clone(), "stopped".to_owned(), now);
        }
        self.states = states;
    }

    fn remember(&mut self, about: String, text: String, now: Timestamp) {
        let number = self.events.back().map_or(1, |event| event.number + 1);
        self.events.push_back(Event { number, at: Time::new(now), about, text });
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }

    /// Whether every object is where it should be, or cannot get there by itself.
    pub fn is_settled(&self) -> bool {
        self.leaving.is_empty()
            && self.objects.iter().all(|stored| {
                self.statuses.get(&stored.key).is_some_and(|(common, _)| {
                    orrery_runtime::status::is_settled(&common.conditions)
                })
            })
    }

    /// All objects with their status.
    pub fn objects_with_status(&self) -> Vec<Json> {
        self.objects.iter().map(|stored| self.with_status(stored)).collect()
    }

    fn with_status(&self, stored: &Stored) -> Json {
        let mut object = stored.object.clone();
        if let Some((_, status)) = self.statuses.get(&stored.key) {
            object["status"] = status.clone();
        }
        object
    }

    /// All processes, also those that are ending.
    pub fn processes(&self) -> Vec<ProcessView> {
        let leaving = self.leaving.iter().map(|(_, pod)| pod);
        self.pods
            .values()
            .chain(leaving)
            .map(|pod| {
                let life = pod.life();
                ProcessView {
                    name: pod.plan.name.clone(),
                    namespace: pod.plan.namespace.clone(),
                    owner: pod.owner.clone(),
                    state: pod.state(),
                    ready: pod.is_ready(),
                    pid: life.pid,
                    restarts: life.restarts,
                    ports: life.ports,
                    log: self.shared.folder.log(&pod.plan.namespace, &pod.plan.name),
                }
            })
            .collect()
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.iter().cloned().collect()
    }

    /// Asks every process to stop, or ends it.
    pub fn stop_all(&mut self, by_force: bool) {
        for (key, pod) in std::mem::take(&mut self.pods) {
            self.leaving.push((key, pod));
        }
        for (_, pod) in &self.leaving {
            if by_force {
                pod.kill();
            } else {
                pod.stop();
            }
        }
    }

    /// Whether a process is left. For the end: tells what happened to the others.
    pub fn has_ended(&mut self, now: Timestamp) -> (bool, Vec<Event>) {
        let before = self.events.back().map_or(0, |event| event.number);
        self.leaving.retain(|(_, pod)| !pod.is_over());
        self.tell_states(now);
        let news = self.events.iter().filter(|event| event.number > before).cloned().collect();
        (self.leaving.is_empty() && self.pods.is_empty(), news)
    }
}

/// Ports that are ours, not the user's.
pub(crate) fn is_internal(port: &str) -> bool {
    matches!(port, "management" | "http")
}
