//! The pulse of groups: every process of every object with followers is asked once a second, so
//! that a lost primary is noticed without a watch, and the leases of primaries are renewed. A process
//! is asked once for all of its shards; each shard is renewed for itself. Where others read along and take
//! over without waiting for anybody ([`Group::tailed`]) it is asked twice a second, and waited for less.
//!
//! Must not: decide. It renews what the grant says, remembers who answered when, and calls the
//! controller when something changed that a round must look at.
//!
//! Invariant: whether this process still leads is looked at between the report that a renewal goes
//! back to and the renewal, and no renewal reaches further than the operator's own lease.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use orrery_operand::client::OperandClient;
use orrery_operand::secured::Caller;
use orrery_operand::v1::{Follower, Link, RenewRequest, ReportResponse as Report, Role};
use tokio::time::{Instant, timeout_at};

use super::decide::{Kind, SILENT_MAX, Transition};
use super::{DRIFT, Group, LEASE};
use crate::certificates::{Certificates, connect};
use crate::children::store::{CachedPod, ChildStore};
use crate::lease::Gate;
use crate::redacted::Redacted;
use crate::triggers::Triggers;

/// Pause between two beats.
pub const BEAT: Duration = Duration::from_secs(1);
/// The same for groups that are tailed.
const BEAT_TAILED: Duration = Duration::from_millis(500);
/// How long a process may take to answer a beat.
pub const ANSWER: Duration = Duration::from_millis(1500);
/// The same for groups that are tailed.
const ANSWER_TAILED: Duration = Duration::from_millis(700);
/// The same in a beat for one that did not answer before: the others' beats must not be late.
const ANSWER_BEAT_LOST: Duration = Duration::from_millis(900);
/// The same in a round.
const ANSWER_LOST: Duration = Duration::from_millis(500);
/// The same in a round for a group that is tailed, when the last beat had no answer.
const ANSWER_LOST_TAILED: Duration = Duration::from_millis(250);
/// Processes that are asked at once.
const AT_ONCE: usize = 256;

/// The grant of one shard as the pulse needs it.
#[derive(Debug, Clone)]
pub struct WatchedGroup {
    pub group: Group,
    /// Epoch of the grant; 0 before the first.
    pub epoch: u64,
    pub holder: String,
}

/// An object that has a pulse.
#[derive(Debug, Clone)]
pub struct Watched {
    pub namespace: String,
    pub name: String,
    pub system: &'static str,
    /// One for each shard.
    pub groups: Vec<WatchedGroup>,
    pub token: Option<Redacted<String>>,
    /// None where pods get no certificates.
    pub certificates: Option<Arc<Certificates>>,
    pub triggers: Arc<Triggers>,
}

impl Watched {
    fn is_tailed(&self) -> bool {
        self.groups.iter().any(|own| own.group.tailed)
    }
}

/// What is remembered of one object.
#[derive(Debug)]
struct Memory {
    watched: Watched,
    /// Since when there is this memory: nobody is known to have been silent before.
    since: Instant,
    /// When each pod answered last, by its name.
    heard: BTreeMap<String, Instant>,
    /// What a round would see, as far as it matters to one.
    said: BTreeMap<String, Option<Report>>,
    /// Changes of primary under way, by shard.
    transitions: BTreeMap<u32, (u64, Kind, Instant)>,
    /// Without followers for now. Who answered when is still remembered: it was renewed.
    is_resting: bool,
}

/// A report without what moves all the time: a change of the rest calls for a round.
fn still(report: &Report) -> Report {
    let mut still = report.clone();
    (still.durable_position, still.load_percent, still.said_at) = (0, 0, 0);
    still.message.clear();
    still.figures.clear();
    still_followers(&mut still.followers);
    still_link(still.link.as_mut());
    for shard in &mut still.shards {
        (shard.durable_position, shard.said_at) = (0, 0);
        shard.message.clear();
        shard.figures.clear();
        still_followers(&mut shard.followers);
        still_link(shard.link.as_mut());
    }
    still
}

fn still_followers(followers: &mut Vec<Follower>) {
    followers.retain(|follower| follower.in_sync);
    for follower in followers.iter_mut() {
        follower.durable_position = 0;
    }
    followers.sort_by(|a, b| a.name.cmp(&b.name));
}

fn still_link(link: Option<&mut Link>) {
    let Some(link) = link else { return };
    (link.primary_position, link.silent_milliseconds) = (0, 0);
    // The steps of a copy are told in tens.
    link.copy_percent -= link.copy_percent % 10;
}

/// A client, and what it was made with.
#[derive(Debug)]
struct Connected {
    token: Option<Redacted<String>>,
    caller: Option<Caller>,
    client: OperandClient,
}

/// The pulses of a process, by UID of the object.
#[derive(Debug, Default)]
pub struct Pulses {
    groups: Mutex<HashMap<String, Memory>>,
    /// One connection per process, kept between beats.
    clients: Mutex<HashMap<String, Connected>>,
}

impl Pulses {
    /// Gives an object a pulse, or tells the pulse what changed.
    pub fn watch(&self, uid: &str, watched: Watched) {
        let mut groups = self.lock();
        if let Some(memory) = groups.get_mut(uid) {
            let is_watched = |shard: u32| watched.groups.iter().any(|g| g.group.shard == shard);
            memory.transitions.retain(|shard, _| is_watched(*shard));
            (memory.watched, memory.is_resting) = (watched, false);
            return;
        }
        let memory = Memory {
            watched,
            since: Instant::now(),
            heard: BTreeMap::new(),
            said: BTreeMap::new(),
            transitions: BTreeMap::new(),
            is_resting: false,
        };
        groups.insert(uid.to_owned(), memory);
    }

    /// Tells the pulse of a new grant of one shard.
    pub fn set_grant(&self, uid: &str, shard: u32, epoch: u64, holder: &str) {
        let mut groups = self.lock();
        let watched = groups.get_mut(uid).map(|memory| &mut memory.watched.groups);
        let found = watched.and_then(|all| all.iter_mut().find(|own| own.group.shard == shard));
        if let Some(own) = found {
            (own.epoch, own.holder) = (epoch, holder.to_owned());
        }
    }

    /// Stops the pulse of an object that is asleep or without followers.
    pub fn rest(&self, uid: &str) {
        if let Some(memory) = self.lock().get_mut(uid) {
            memory.is_resting = true;
            memory.transitions.clear();
            memory.said.clear();
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// How long a pod has not answered this operator.
    pub fn silent(&self, uid: &str, pod: &str) -> Duration {
        let groups = self.lock();
        let Some(memory) = groups.get(uid) else { return Duration::ZERO };
        memory.heard.get(pod).unwrap_or(&memory.since).elapsed()
    }

    /// For how long no operator can have renewed a pod. Nothing is known of those before this one,
    /// unless they bounded their renewals by the lease that this one waited for.
    pub fn unrenewed(&self, uid: &str, pod: &str, gate: &Gate) -> Duration {
        let alone =
            gate.alone_since().map_or(Duration::ZERO, |since| since.elapsed() + LEASE + DRIFT);
        let groups = self.lock();
        let Some(memory) = groups.get(uid) else { return Duration::ZERO };
        match memory.heard.get(pod) {
            Some(heard) => heard.elapsed(),
            None => memory.since.elapsed().max(alone),
        }
    }

    /// How long a round waits for a pod: one that has not answered for long, or never yet, is given
    /// a moment only, so that it does not hold up what is done about it. The beats hear of it.
    pub fn patience(&self, uid: &str, pod: &str) -> Duration {
        let missed_tailed = self.lock().get(uid).is_some_and(|memory| {
            memory.watched.is_tailed() && memory.said.get(pod).is_some_and(Option::is_none)
        });
        if missed_tailed {
            ANSWER_LOST_TAILED
        } else if self.answers(uid, pod) {
            ANSWER
        } else {
            ANSWER_LOST
        }
    }

    fn answers(&self, uid: &str, pod: &str) -> bool {
        let groups = self.lock();
        let heard = groups.get(uid).and_then(|memory| memory.heard.get(pod));
        heard.is_some_and(|heard| heard.elapsed() < SILENT_MAX)
    }

    /// A pod answered outside a beat.
    pub fn heard(&self, uid: &str, pod: &str) {
        if let Some(memory) = self.lock().get_mut(uid) {
            memory.heard.insert(pod.to_owned(), Instant::now());
        }
    }

    /// The change of primary of a shard that is under way.
    pub fn transition(&self, uid: &str, shard: u32) -> Option<Transition> {
        let groups = self.lock();
        let (epoch, kind, since) = groups.get(uid)?.transitions.get(&shard)?;
        Some(Transition { epoch: *epoch, kind: kind.clone(), waited: since.elapsed() })
    }

    /// Remembers a change of primary whose fences were answered now, or that it is over.
    pub fn set_transition(&self, uid: &str, shard: u32, transition: Option<(u64, Kind)>) {
        let mut groups = self.lock();
        let Some(memory) = groups.get_mut(uid) else { return };
        match transition {
            Some((epoch, kind)) => {
                memory.transitions.insert(shard, (epoch, kind, Instant::now()));
            }
            None => {
                memory.transitions.remove(&shard);
            }
        }
    }

    /// Runs the beats; never ends. Nothing is renewed while `gate` is closed.
    pub async fn run(self: Arc<Self>, children: Arc<ChildStore>, gate: Arc<Gate>) {
        tokio::join!(self.beats(false, &children, &gate), self.beats(true, &children, &gate));
    }

    /// The beats of the groups that are tailed, or of the others: neither waits for the other.
    async fn beats(&self, tailed: bool, children: &ChildStore, gate: &Gate) {
        let mut beat = tokio::time::interval(if tailed { BEAT_TAILED } else { BEAT });
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let asked = self.questions(tailed, children);
            let answers =
                futures::stream::iter(asked.into_iter().map(|question| question.ask(gate)));
            let mut answers = answers.buffer_unordered(AT_ONCE);
            while let Some((question, answer)) = answers.next().await {
                self.note(&question, answer.as_ref());
            }
            self.keep_clients(children);
        }
    }

    fn questions(&self, tailed: bool, children: &ChildStore) -> Vec<Question> {
        let groups: Vec<(String, Watched)> = awake(&self.lock())
            .filter(|(_, memory)| memory.watched.is_tailed() == tailed)
            .map(|(uid, memory)| (uid.clone(), memory.watched.clone()))
            .collect();
        let mut questions = Vec::new();
        for (uid, watched) in groups {
            for pod in children.pods(&watched.namespace, watched.system, &watched.name) {
                let client = self.client(&pod, &watched);
                let (address, watched) = (pod.management_address(), watched.clone());
                let (uid, pod) = (uid.clone(), pod.view.name);
                let limit = if tailed {
                    ANSWER_TAILED
                } else if self.answers(&uid, &pod) {
                    ANSWER
                } else {
                    ANSWER_BEAT_LOST
                };
                questions.push(Question { uid, pod, address, watched, client, limit });
            }
        }
        questions
    }

    /// A client for a pod, the same from beat to beat.
    fn client(&self, pod: &CachedPod, watched: &Watched) -> Option<OperandClient> {
        let (address, token) = (pod.management_address()?, &watched.token);
        let certificates = watched.certificates.as_deref();
        let name = pod.identity.as_deref();
        let caller = name.and_then(|name| certificates?.caller(name));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connected) = clients.get(&address)
            && connected.token == *token
            && match (&connected.caller, &caller) {
                (Some(same), Some(caller)) => same.is_same(caller),
                (None, None) => true,
                _ => false,
            }
        {
            return Some(connected.client.clone());
        }
        let client = connect(certificates, pod, token.as_ref()).ok()?;
        let connected = Connected { token: token.clone(), caller, client: client.clone() };
        clients.insert(address, connected);
        Some(client)
    }

    fn keep_clients(&self, children: &ChildStore) {
        let groups = self.lock();
        let pods = awake(&groups).flat_map(|(_, memory)| {
            let watched = &memory.watched;
            children.pods(&watched.namespace, watched.system, &watched.name)
        });
        let used: std::collections::HashSet<String> =
            pods.filter_map(|pod| pod.management_address()).collect();
        drop(groups);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|address, _| used.contains(address));
    }

    fn note(&self, question: &Question, answer: Option<&Report>) {
        if answer.is_none() {
            // A connection to a machine that went away would hang for minutes.
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            clients.retain(|address, _| Some(address) != question.address.as_ref());
        }
        let mut groups = self.lock();
        let Some(memory) = groups.get_mut(&question.uid) else { return };
        if answer.is_some() {
            memory.heard.insert(question.pod.clone(), Instant::now());
        }
        let leads = |shard: u32| {
            let said = answer.and_then(|report| report.of_shard(shard));
            said.is_some_and(|said| said.role() == Role::Primary)
        };
        let mut held = memory.watched.groups.iter().filter(|own| own.holder == question.pod);
        let falls_short = held.any(|own| !leads(own.group.shard));
        let said = answer.map(still);
        // A primary that falls silent calls for a round at every beat: the decision goes by how
        // long it has been silent.
        let calls = memory.said.get(&question.pod) != Some(&said)
            || falls_short
            || !memory.transitions.is_empty();
        memory.said.insert(question.pod.clone(), said);
        if calls {
            let watched = &memory.watched;
            watched.triggers.push((watched.namespace.clone(), watched.name.clone()));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Memory>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Question {
    uid: String,
    pod: String,
    address: Option<String>,
    watched: Watched,
    client: Option<OperandClient>,
    limit: Duration,
}

impl Question {
    async fn ask(self, gate: &Gate) -> (Self, Option<Report>) {
        let Some(client) = self.client.clone() else { return (self, None) };
        let until = Instant::now() + self.limit;
        let Ok(Ok(report)) = timeout_at(until, client.report()).await else { return (self, None) };
        let granted = self.watched.groups.iter().filter(|own| own.epoch > 0);
        let renewals = granted.filter_map(|own| {
            let report = report.of_shard(own.group.shard)?;
            renewal(&own.group, own.epoch, &report, gate)
        });
        let renewals: Vec<RenewRequest> = renewals.collect();
        // A renewal without an answer may have been taken: the process counts as heard.
        join_all(renewals.into_iter().map(|one| timeout_at(until, client.renew(one)))).await;
        (self, Some(report))
    }
}

fn awake(groups: &HashMap<String, Memory>) -> impl Iterator<Item = (&String, &Memory)> {
    groups.iter().filter(|(_, memory)| !memory.is_resting)
}

/// What a member of a group that just said `report` of its shard is told about it; none while nothing
/// may be written.
pub fn renewal(group: &Group, epoch: u64, report: &Report, gate: &Gate) -> Option<RenewRequest> {
    let own = gate.writes_until()?.saturating_duration_since(Instant::now());
    Some(RenewRequest {
        shard: group.shard,
        epoch,
        followers: group.followers,
        synchronous: group.synchronous,
        // Alone, nobody else could be promoted.
        lease_milliseconds: if group.followers > 0 { LEASE.as_millis() as u32 } else { 0 },
        said_at: bounded(report.said_at, own),
    })
}

/// The moment a renewal counts from, in milliseconds: that of the report, or as much earlier as a
/// lease from then would outlast what is left of the operator's `own`.
fn bounded(said_at: u64, own: Duration) -> u64 {
    let excess = (LEASE + DRIFT).saturating_sub(own);
    said_at.saturating_sub(excess.as_micros().div_ceil(1000) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_operand::v1::Shard;

    #[test]
    fn what_moves_all_the_time_in_a_shard_calls_for_no_round_and_the_rest_does() {
        let said = |role: Role, position: u64, percent: u32| {
            let link =
                Link { copy_percent: percent, primary_position: position, ..Link::default() };
            let shard = Shard {
                id: 3,
                role: role.into(),
                durable_position: position,
                said_at: position,
                message: format!("at {position}"),
                figures: [("keys".to_owned(), position as i64)].into(),
                link: Some(link),
                ..Shard::default()
            };
            let other = Shard { id: 1, role: Role::Primary.into(), ..Shard::default() };
            still(&Report { shards: vec![other, shard], ..Report::default() })
        };
        let before = said(Role::Follower, 7, 41);
        assert_eq!(before, said(Role::Follower, 9, 44));
        assert_ne!(before, said(Role::Follower, 9, 50));
        assert_ne!(before, said(Role::Standby, 7, 41));
    }

    #[test]
    fn a_renewal_ends_before_the_lease_of_the_operator() {
        let left = Duration::from_millis;
        assert_eq!(bounded(10_000, left(60_000)), 10_000);
        assert_eq!(bounded(10_000, left(3_100)), 10_000);
        // 1,500 ms from the moment it was said, and the drift.
        assert_eq!(bounded(10_000, left(1_600)), 8_500);
        assert_eq!(bounded(10_000, Duration::ZERO), 6_900);
        assert_eq!(bounded(0, left(1_000)), 0, "no moment stays none");
    }
}
