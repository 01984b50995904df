//! What a running `orrery up` says about itself to other commands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orrery_api::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::objects::Key;
use crate::spec::Problem;

/// Everything there is to know at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    pub version: String,
    pub pid: u32,
    pub data: PathBuf,
    pub sources: Vec<PathBuf>,
    /// Objects with their status, as Kubernetes would show them.
    pub objects: Vec<Json>,
    pub processes: Vec<ProcessView>,
    /// What is wrong with the files as they are now; the objects are of the files before.
    pub problems: Vec<Problem>,
    pub events: Vec<Event>,
    /// Whether every object is where it should be.
    pub settled: bool,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessView {
    pub name: String,
    pub namespace: String,
    /// The object it runs for.
    pub owner: Key,
    pub state: String,
    pub ready: bool,
    pub pid: Option<u32>,
    pub restarts: u32,
    /// Ports on loopback, by name.
    pub ports: BTreeMap<String, u16>,
    pub log: PathBuf,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one from event to event.
    pub number: u64,
    pub at: Time,
    /// Object or process.
    pub about: String,
    pub text: String,
}
