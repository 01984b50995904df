//! What was seen of an object: its workloads, its pods and what the processes in them say.
//!
//! Must not: decide anything. The local carrier fills the same types from child processes.

use std::collections::BTreeMap;

pub use orrery_operand::v1::{ReportResponse as Report, Role};

/// Everything seen of one engine object in one round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// StatefulSets and Deployments, by name.
    pub workloads: Vec<WorkloadView>,
    /// Pods, by name.
    pub pods: Vec<PodView>,
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
    /// Label selector of its pods as text, for the scale subresource.
    pub selector: String,
}

/// One pod, or one child process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodView {
    pub name: String,
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

impl Observation {
    /// Pods that are ready.
    pub fn ready_replicas(&self) -> i32 {
        self.pods.iter().filter(|pod| pod.ready && !pod.terminating).count() as i32
    }

    /// What the processes say, with the name of the pod.
    pub fn reports(&self) -> impl Iterator<Item = (&str, &Report)> {
        self.pods.iter().filter_map(|pod| Some((pod.name.as_str(), pod.report.as_ref()?)))
    }
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
}
