//! All accepted objects and the processes that carry them out: one level-triggered round brings the
//! processes to what the objects say and the statuses to what the processes say.
//!
//! Must not: read files of the user, or print. Data of objects that are removed is kept unless their
//! `deletionPolicy` says otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;

use jiff::Timestamp;
use orrery_api::{CommonStatus, Reason};
use orrery_runtime::{Mode, Prepared, Progress, Refusal, Resources};
use serde_json::Value as Json;
use tokio::sync::Notify;

use crate::folder::FolderError;
use crate::kinds::{EngineKind, Kinds, Release};
use crate::objects::{Change, Fate, Key, Objects, Stored};
use crate::pod::Pod;
use crate::process::plan::{self, Plan};
use crate::process::supervisor::Shared;
use crate::snapshot::{Event, ProcessView};
use crate::spec::{Manifest, References};

mod declared;
mod events;
mod report;

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
        for stored in self.of(|kinds, key| kinds.elsewhere_of(&key.kind).is_some()) {
            self.report_elsewhere(&stored, now);
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
            Mode::Fence => {
                Progress::Fenced { desired_hash, replicas_wanted: resources.replicas_wanted() }
            }
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
            Some(pod) if pod.plan.hash() == plan.hash() => {
                if pod.plan.live != plan.live {
                    pod.become_plan(plan.clone());
                }
            }
            Some(pod) if others_serve || !pod.is_ready() => pod.become_plan(plan.clone()),
            Some(_) => {}
        }
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
