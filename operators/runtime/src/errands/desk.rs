//! The desk: every process that has errands, what is open there, and who carries it out.
//!
//! Must not: carry anything out. It hears the processes, keeps what they say, and calls the carrier of
//! the kind.
//!
//! Invariants: what is kept of a process is what its newest stream told; once that stream said that its
//! list is complete, what is not in it is forgotten. A stream that breaks is opened again by the next
//! round of its engine, which alone knows the newest address, token and certificate.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orrery_operand::OperandError;
use orrery_operand::client::OperandClient;
use orrery_operand::errands::Errands;
use orrery_operand::v1::{Errand, ErrandsResponse, SettleRequest, Standing};
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use super::seen::JobSeen;
use crate::backoff::{Attempts, BackoffOptions};
use crate::board::Key;
use crate::step::report::Reached;
use crate::triggers::Triggers;

/// Streams at once, as of those that tell changes.
const STREAMS_MAX: usize = 4096;
/// Pause before a process is asked again that has no errands to tell yet.
const TRY_PAUSE: Duration = Duration::from_secs(1);
/// So often it is asked before a round looks whether it is still there, and where.
const TRIES: u32 = 30;

/// Key and attempt of an errand.
pub(super) type Id = (String, u32);

/// All processes with errands; their streams end with the operator.
#[derive(Debug)]
pub(crate) struct Desk {
    state: Arc<Mutex<State>>,
    failed: Arc<Attempts<String>>,
}

#[derive(Debug, Default)]
struct State {
    /// By UID of the pod.
    offices: HashMap<String, Office>,
    /// Who carries out the errands of a declared kind.
    carriers: HashMap<String, Arc<Triggers>>,
}

/// One process.
#[derive(Debug)]
struct Office {
    engine_uid: String,
    engine: Key,
    stream: AbortHandle,
    client: OperandClient,
    source: String,
    open: HashMap<Id, Open>,
    /// What the newest stream told; none once its list was complete.
    arriving: Option<HashSet<Id>>,
}

impl Drop for Office {
    fn drop(&mut self) {
        self.stream.abort();
    }
}

/// An open errand, and what this operator did about it.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub errand: Errand,
    /// Its Job was made by this operator.
    pub made: bool,
    /// That Job, until the watch shows it or its end.
    pub fresh: Option<Arc<JobSeen>>,
    /// The process knows that it was begun.
    pub told: bool,
    /// Its Job as it was when it was over: it may be gone before anybody looks.
    pub over: Option<Arc<JobSeen>>,
}

/// An open errand where it belongs.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub open: Open,
    /// Namespace and name of the engine.
    pub engine: Key,
    pub client: OperandClient,
}

/// A process, as [`Desk::places`] gives them.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub engine: Key,
    pub source: String,
    pub open: HashSet<Id>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        // The streams hold the state as well.
        self.lock().offices.clear();
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self { state: Arc::default(), failed: Arc::new(Attempts::new(BackoffOptions::default())) }
    }
}

impl Desk {
    /// From now on errands of objects of this kind call these triggers.
    pub(crate) fn carried_by(&self, kind: &str, triggers: &Arc<Triggers>) {
        self.lock().carriers.insert(kind.to_owned(), Arc::clone(triggers));
    }

    /// Hears these processes of an engine, and no others of it.
    pub(crate) fn hear(
        &self,
        engine_uid: &str,
        engine: &Key,
        rounds: &Arc<Triggers>,
        reached: &[Reached],
    ) {
        let mut state = self.lock();
        state.offices.retain(|pod, office| {
            office.engine_uid != engine_uid || reached.iter().any(|process| process.uid == *pod)
        });
        for process in reached {
            let known = state.offices.get(&process.uid);
            if known.is_some_and(|office| !office.stream.is_finished()) {
                continue;
            }
            if known.is_none() && state.offices.len() >= STREAMS_MAX {
                warn!(pod = process.pod, "its errands are not heard: there are too many processes");
                continue;
            }
            let hearing = Hearing {
                pod: process.uid.clone(),
                engine: engine.clone(),
                rounds: Arc::clone(rounds),
                state: Arc::clone(&self.state),
                failed: Arc::clone(&self.failed),
            };
            let stream = tokio::spawn(hearing.hear(process.client.clone())).abort_handle();
            let before = state.offices.remove(&process.uid);
            let office = Office {
                engine_uid: engine_uid.to_owned(),
                engine: engine.clone(),
                stream,
                client: process.client.clone(),
                source: before.as_ref().map(|old| old.source.clone()).unwrap_or_default(),
                open: before.map(|mut old| std::mem::take(&mut old.open)).unwrap_or_default(),
                arriving: Some(HashSet::new()),
            };
            state.offices.insert(process.uid.clone(), office);
        }
    }

    /// Hears no process of this engine any more.
    pub(crate) fn forget(&self, engine_uid: &str) {
        self.lock().offices.retain(|_, office| office.engine_uid != engine_uid);
    }

    /// An open errand.
    pub(super) fn case(&self, pod: &str, id: &Id) -> Option<Case> {
        let state = self.lock();
        let office = state.offices.get(pod)?;
        let open = office.open.get(id)?.clone();
        Some(Case { open, engine: office.engine.clone(), client: office.client.clone() })
    }

    /// Notes something about an errand that is still open.
    pub(super) fn note(&self, pod: &str, id: &Id, note: impl FnOnce(&mut Open)) {
        let mut state = self.lock();
        if let Some(open) = state.offices.get_mut(pod).and_then(|office| office.open.get_mut(id)) {
            note(open);
        }
    }

    /// An errand is settled.
    pub(super) fn close(&self, pod: &str, id: &Id) {
        if let Some(office) = self.lock().offices.get_mut(pod) {
            office.open.remove(id);
        }
    }

    /// Where the errand with this key and attempt is open.
    pub(super) fn find(&self, id: &Id) -> Option<String> {
        let state = self.lock();
        let found = state.offices.iter().find(|(_, office)| office.open.contains_key(id));
        found.map(|(pod, _)| pod.clone())
    }

    /// All open errands of objects of this kind, namespace and name.
    pub(super) fn of_object(&self, kind: &str, namespace: &str, name: &str) -> Vec<(String, Id)> {
        let state = self.lock();
        let is_of = |open: &Open| {
            let errand = &open.errand;
            errand.kind == kind && errand.namespace == namespace && errand.name == name
        };
        let offices = state.offices.iter().flat_map(|(pod, office)| {
            let open = office.open.iter().filter(|(_, open)| is_of(open));
            open.map(|(id, _)| (pod.clone(), id.clone()))
        });
        offices.collect()
    }

    /// A process whose list is complete.
    pub(super) fn place(&self, pod: &str) -> Option<Place> {
        let state = self.lock();
        let office = state.offices.get(pod).filter(|office| office.arriving.is_none())?;
        Some(Place {
            engine: office.engine.clone(),
            source: office.source.clone(),
            open: office.open.keys().cloned().collect(),
        })
    }

    /// Whether an errand is open anywhere.
    pub(super) fn is_open(&self, id: &Id) -> bool {
        self.lock().offices.values().any(|office| office.open.contains_key(id))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name under which an errand is called, beside the UID of its pod.
pub(super) fn name_of((key, attempt): &Id) -> String {
    format!("{key}#{attempt}")
}

/// The errand of a name; none of the name that stands for the whole of a process.
pub(super) fn of_name(name: &str) -> Option<Id> {
    let (key, attempt) = name.rsplit_once('#')?;
    Some((key.to_owned(), attempt.parse().ok()?))
}

/// What is called when the list of a process is complete.
pub(super) const WHOLE: &str = "";

/// One stream.
struct Hearing {
    pod: String,
    engine: Key,
    rounds: Arc<Triggers>,
    state: Arc<Mutex<State>>,
    failed: Arc<Attempts<String>>,
}

impl Hearing {
    async fn hear(self, client: OperandClient) {
        let mut tries = 0;
        let error = loop {
            let error = match client.errands().await {
                Ok(mut errands) => break self.follow(&client, &mut errands).await,
                Err(error) => error,
            };
            // One that recovers, or stands by for another, has none to tell yet.
            if !matches!(error, OperandError::Unavailable(_)) || tries == TRIES {
                break error;
            }
            tries += 1;
            tokio::time::sleep(TRY_PAUSE).await;
        };
        debug!(pod_uid = self.pod, %error, "the errands of a process are not heard");
        if matches!(error, OperandError::Unsupported(_)) {
            // An earlier release, which has none.
            return std::future::pending().await;
        }
        tokio::time::sleep(self.failed.failed(self.pod)).await;
        self.rounds.push(self.engine);
    }

    /// Takes what comes until the stream breaks.
    async fn follow(&self, client: &OperandClient, errands: &mut Errands) -> OperandError {
        loop {
            match errands.next().await {
                Ok(message) => {
                    self.failed.forget(&self.pod);
                    let strange = self.take(message);
                    refuse(client, strange).await;
                }
                Err(error) => return error,
            }
        }
    }

    /// Keeps what came and calls who carries it out. Gives errands that nobody carries out.
    fn take(&self, message: ErrandsResponse) -> Vec<Errand> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { offices, carriers } = &mut *state;
        let Some(office) = offices.get_mut(&self.pod) else { return Vec::new() };
        let mut strange = Vec::new();
        office.source = message.source;
        for errand in message.errands {
            let Some(carrier) = carriers.get(&errand.kind) else {
                strange.push(errand);
                continue;
            };
            let id = (errand.key.clone(), errand.attempt);
            if let Some(arriving) = &mut office.arriving {
                arriving.insert(id.clone());
            }
            carrier.push((self.pod.clone(), name_of(&id)));
            if let Some(open) = office.open.get_mut(&id) {
                open.errand = errand;
            } else {
                let told = errand.started;
                office.open.insert(id, Open { errand, made: false, fresh: None, told, over: None });
            }
        }
        if message.complete
            && let Some(arrived) = office.arriving.take()
        {
            office.open.retain(|id, _| arrived.contains(id));
            for carrier in carriers.values() {
                carrier.push((self.pod.clone(), WHOLE.to_owned()));
            }
        }
        strange
    }
}

/// Tells a process of errands that no release like this one carries out.
async fn refuse(client: &OperandClient, strange: Vec<Errand>) {
    for errand in strange {
        let request = SettleRequest {
            message: format!("this operator does nothing for objects of kind {}", errand.kind),
            key: errand.key,
            attempt: errand.attempt,
            standing: Standing::Refused.into(),
        };
        if let Err(error) = client.settle(request).await {
            warn!(%error, "failed to refuse an errand");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_errand_leads_back_to_it() {
        let id = ("ns_a_1_0_7".to_owned(), 3);
        assert_eq!(of_name(&name_of(&id)), Some(id));
        assert_eq!(of_name(WHOLE), None);
        assert_eq!(of_name("x#y"), None);
    }

    fn hearing(desk: &Desk) -> Hearing {
        let rounds = Triggers::new("test", std::time::Duration::ZERO, Arc::default());
        Hearing {
            pod: "pod".to_owned(),
            engine: ("ns".to_owned(), "a".to_owned()),
            rounds,
            state: Arc::clone(&desk.state),
            failed: Arc::clone(&desk.failed),
        }
    }

    fn errand(number: u64, kind: &str) -> Errand {
        let (key, kind) = (format!("ns_a_{number}"), kind.to_owned());
        Errand { key, kind, attempt: 1, ..Errand::default() }
    }

    fn message(numbers: &[u64], complete: bool) -> ErrandsResponse {
        let errands = numbers.iter().map(|number| errand(*number, "Thing")).collect();
        ErrandsResponse { errands, complete, source: "ns_a".to_owned() }
    }

    fn desk_with_a_process() -> (Desk, Arc<Triggers>) {
        let desk = Desk::default();
        let triggers = Triggers::new("test", std::time::Duration::ZERO, Arc::default());
        desk.carried_by("Thing", &triggers);
        let client = OperandClient::new("127.0.0.1:9", None).expect("an address");
        let office = Office {
            engine_uid: "engine".to_owned(),
            engine: ("ns".to_owned(), "a".to_owned()),
            stream: tokio::spawn(std::future::pending::<()>()).abort_handle(),
            client,
            source: String::new(),
            open: HashMap::new(),
            arriving: Some(HashSet::new()),
        };
        desk.lock().offices.insert("pod".to_owned(), office);
        (desk, triggers)
    }

    fn called(triggers: &Triggers) -> Vec<String> {
        let mut names: Vec<String> = std::iter::from_fn(|| triggers.start())
            .map(|key| {
                triggers.finished(key.clone(), None);
                key.1
            })
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_complete_list_is_all_there_is_and_what_was_done_is_remembered() {
        let (desk, triggers) = desk_with_a_process();
        let hearing = hearing(&desk);
        hearing.take(message(&[1, 2], false));
        assert!(desk.place("pod").is_none(), "more is to come");
        hearing.take(message(&[3], true));
        assert_eq!(called(&triggers), ["", "ns_a_1#1", "ns_a_2#1", "ns_a_3#1"]);
        assert_eq!(desk.place("pod").expect("it is complete").open.len(), 3);
        let id = ("ns_a_2".to_owned(), 1);
        desk.note("pod", &id, |open| open.made = true);
        // A new stream of the same process.
        desk.lock().offices.get_mut("pod").expect("it is here").arriving = Some(HashSet::new());
        hearing.take(message(&[2], true));
        let place = desk.place("pod").expect("it is complete");
        assert_eq!(place.open, [id.clone()].into());
        assert!(desk.case("pod", &id).expect("it is open").open.made);
        desk.close("pod", &id);
        assert!(desk.find(&id).is_none() && !desk.is_open(&id));
        desk.forget("engine");
        assert!(desk.place("pod").is_none());
    }

    #[tokio::test]
    async fn what_nobody_carries_out_is_given_back() {
        let (desk, triggers) = desk_with_a_process();
        let errands = vec![errand(1, "Other"), errand(2, "Thing")];
        let message = ErrandsResponse { errands, ..ErrandsResponse::default() };
        let strange = hearing(&desk).take(message);
        assert_eq!(strange.len(), 1);
        assert_eq!(called(&triggers), ["ns_a_2#1"]);
    }
}
