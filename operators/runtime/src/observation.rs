//! What was seen of an object: its workloads, its pods and what the processes in them say.
//!
//! Must not: decide anything. The local carrier fills the same types from child processes.

use std::collections::BTreeMap;

use orrery_api::Reason;
use orrery_api::spec::RecoveredFrom;
use orrery_operand::v1::ObjectResult;
pub use orrery_operand::v1::{ReportResponse as Report, Role};

/// Everything seen of one engine object in one round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// StatefulSets and Deployments, by name.
    pub workloads: Vec<WorkloadView>,
    /// Pods, by name.
    pub pods: Vec<PodView>,
    /// Who is primary and who follows, of each shard of objects with followers.
    pub groups: Vec<GroupView>,
    /// Which release the spec names that is not there, while the one before runs on.
    pub missing_release: Option<String>,
    /// Why pods of an older template are not replaced yet.
    pub held: Option<(Reason, String)>,
    /// What the object is recovered from, once that was carried out.
    pub recovered_from: Option<RecoveredFrom>,
    /// Why volumes are not as large as asked for yet.
    pub growing: Option<(Reason, String)>,
    /// A process does not show the newest certificate of its Secret yet.
    pub old_certificates: bool,
}

/// The primary of a shard and its followers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupView {
    pub shard: u32,
    /// Pod that holds the grant; none before the first.
    pub primary: Option<String>,
    /// Epoch of the grant.
    pub epoch: u64,
    /// Whether it takes writes.
    pub writable: bool,
    /// The other pods, by name.
    pub followers: Vec<(String, FollowerView)>,
    /// Why no primary takes writes, or why something that was asked for waits.
    pub trouble: Option<(Reason, String)>,
    /// A change of primary in this round that nobody asked for.
    pub failover: Option<Failover>,
}

/// How a follower is, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FollowerView {
    /// It has everything but the tail.
    InSync,
    /// It takes the first copy.
    Copying,
    /// It is connected and further behind.
    Behind,
    /// It is not connected to the primary, or does not answer.
    Disconnected,
}

/// A change of primary that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    pub from: String,
    pub to: String,
    pub epoch: u64,
    /// Journal position the new primary goes on from.
    pub position: u64,
}

/// One StatefulSet or Deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkloadView {
    pub name: String,
    /// Pods asked for.
    pub replicas: i32,
    pub ready_replicas: i32,
    /// Pods of the newest revision.
    pub updated_replicas: i32,
    /// Whether its controller has seen the newest generation.
    pub observed: bool,
    /// Newest revision of its template; none while its controller has not said.
    pub revision: Option<String>,
    /// Its pods are beside those of the engine: their controller looks after them.
    pub beside: bool,
    /// Label selector of its pods as text, for the scale subresource.
    pub selector: String,
}

/// One pod, or one child process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodView {
    pub name: String,
    /// UID of the pod; empty for a child process.
    pub uid: String,
    /// Revision of its workload's template it was made from.
    pub revision: Option<String>,
    /// Hash of what its template says by the spec alone; see [`crate::labels::ASKED_HASH`].
    pub asked_hash: Option<String>,
    /// Which archive it was started with; see [`crate::labels::ARCHIVE_HASH`].
    pub archive_hash: Option<String>,
    /// Address other pods reach it at.
    pub ip: Option<String>,
    /// Whether its readiness probe passes.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Why it does not start, in one CamelCase word and a sentence: `ImagePullBackOff` …
    pub trouble: Option<(String, String)>,
    /// What the process says; none when it could not be asked.
    pub report: Option<Report>,
    /// Why it could not be asked.
    pub report_error: Option<String>,
}

impl PodView {
    /// Whether its template says by the spec alone what the template of this hash says.
    pub fn asks(&self, hash: &str) -> bool {
        self.asked_hash.as_deref() == Some(hash)
    }
}

impl Observation {
    /// Pods that are ready.
    pub fn ready_replicas(&self) -> i32 {
        self.pods.iter().filter(|pod| pod.ready && !pod.terminating).count() as i32
    }

    /// A sentence about one of the groups, which is named if there are several.
    pub fn of_group(&self, group: &GroupView, text: &str) -> String {
        match self.groups.len() {
            0 | 1 => text.to_owned(),
            _ => format!("shard {}: {text}", group.shard),
        }
    }

    /// What the processes say, with the name of the pod.
    pub fn reports(&self) -> impl Iterator<Item = (&str, &Report)> {
        self.pods.iter().filter_map(|pod| Some((pod.name.as_str(), pod.report.as_ref()?)))
    }
}

/// Whether a process refuses writes because the spec says so.
pub fn is_fenced_by_spec(report: &Report) -> bool {
    report.reason == Reason::FencedBySpec.as_str()
}

/// What an engine said about one declared object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acceptance {
    /// Generation of the object the answer is about.
    pub generation: i64,
    pub accepted: bool,
    /// One CamelCase word when refused.
    pub reason: String,
    pub message: String,
    /// Figures of the object by name, the largest of all pods.
    pub figures: BTreeMap<String, i64>,
    /// How the object fares, in the words of its kind: of the pod that has it.
    pub state: Option<serde_json::Value>,
}

impl From<ObjectResult> for Acceptance {
    fn from(result: ObjectResult) -> Self {
        Self {
            generation: result.generation,
            accepted: result.accepted,
            reason: result.reason,
            message: result.message,
            figures: result.figures.into_iter().collect(),
            state: serde_json::from_slice(&result.state).ok(),
        }
    }
}

impl Acceptance {
    /// Takes in what another process said. An object is accepted when every process accepts it; of
    /// figures the largest counts, and of states the one there is.
    pub fn merge(&mut self, other: Self) {
        for (name, value) in other.figures {
            let largest = self.figures.entry(name).or_insert(value);
            *largest = (*largest).max(value);
        }
        self.state = self.state.take().or(other.state);
        if self.accepted && !other.accepted {
            self.accepted = false;
            self.generation = other.generation;
            self.reason = other.reason;
            self.message = other.message;
        }
    }
}
