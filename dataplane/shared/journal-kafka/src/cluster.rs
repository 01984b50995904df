//! The brokers: where the leader of a topic and the coordinator of a journal are, and the
//! connections to them. One connection carries one request at a time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::connection::{Api, Connection, Manner};
use crate::failure::{Deadline, Failure, check};
use crate::wire::{Malformed, Reader, Writer};

/// Connections to one broker that are kept while nobody needs them.
const KEPT_MAX: usize = 4;

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    pub name: String,
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// What is known of a topic: its only partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) leader: Host,
    pub(crate) replicas: usize,
    pub(crate) partitions: usize,
}

#[derive(Debug, Default)]
struct Routes {
    leaders: HashMap<String, Host>,
}

/// The brokers of one cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    bootstrap: Vec<Host>,
    manner: Manner,
    routes: Mutex<Routes>,
    kept: Mutex<HashMap<Host, Vec<Connection>>>,
}

impl Cluster {
    pub(crate) fn new(bootstrap: Vec<Host>, manner: Manner) -> Self {
        Self { bootstrap, manner, routes: Mutex::default(), kept: Mutex::default() }
    }

    pub(crate) fn bootstrap(&self) -> &[Host] {
        &self.bootstrap
    }

    /// Forgets where things are.
    pub(crate) fn forget(&self) {
        *lock(&self.routes) = Routes::default();
    }

    /// Asks one broker.
    pub(crate) fn ask(
        &self,
        host: &Host,
        api: Api,
        body: &[u8],
        deadline: Deadline,
    ) -> Result<Vec<u8>, Failure> {
        let kept = lock(&self.kept).get_mut(host).and_then(Vec::pop);
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(host, &self.manner, deadline)?,
        };
        match connection.ask(api, body, deadline) {
            Ok(answer) => {
                let mut kept = lock(&self.kept);
                let kept = kept.entry(host.clone()).or_default();
                if kept.len() < KEPT_MAX {
                    kept.push(connection);
                }
                Ok(answer)
            }
            Err(failure) => {
                // The others are of the same age.
                lock(&self.kept).remove(host);
                Err(failure)
            }
        }
    }

    /// Asks the first broker of the list that answers. What is asked must be harmless to ask twice.
    pub(crate) fn ask_any(
        &self,
        api: Api,
        body: &[u8],
        deadline: Deadline,
    ) -> Result<Vec<u8>, Failure> {
        let mut last = Failure::Away("there is no address of a broker".to_owned());
        let share = deadline.left() / self.bootstrap.len().max(1) as u32;
        for host in &self.bootstrap {
            match self.ask(host, api, body, deadline.within(share)) {
                Err(failure @ (Failure::Away(_) | Failure::Again(_))) => {
                    // Who can be reached says more than who cannot.
                    if matches!(last, Failure::Away(_)) {
                        last = failure;
                    }
                }
                other => return other,
            }
        }
        Err(last)
    }

    /// The only partition of a topic.
    pub(crate) fn partition(&self, topic: &str, deadline: Deadline) -> Result<Partition, Failure> {
        let body = Writer::default().i32(1).string(topic).flag(false).into_bytes();
        let answer = self.ask_any(Api::Metadata, &body, deadline)?;
        let metadata = read_metadata(&answer)?;
        let (code, partitions) = metadata.topics.into_iter().next().ok_or(Malformed)?;
        check(code, &format!("find the topic {topic}"))?;
        let count = partitions.len();
        let first = partitions.into_iter().find(|found| found.index == 0).ok_or(Malformed)?;
        check(first.code, &format!("find the leader of {topic}"))?;
        let leader = metadata.brokers.into_iter().find(|(node, _)| *node == first.leader);
        let (_, leader) = leader
            .ok_or_else(|| Failure::Again(format!("the leader of {topic} is no broker there")))?;
        Ok(Partition { leader, replicas: first.replicas, partitions: count })
    }

    /// Asks the leader of a topic.
    pub(crate) fn ask_leader(
        &self,
        topic: &str,
        api: Api,
        body: &[u8],
        deadline: Deadline,
    ) -> Result<Vec<u8>, Failure> {
        let known = lock(&self.routes).leaders.get(topic).cloned();
        let leader = if let Some(leader) = known {
            leader
        } else {
            let leader = self.partition(topic, deadline)?.leader;
            lock(&self.routes).leaders.insert(topic.to_owned(), leader.clone());
            leader
        };
        self.ask(&leader, api, body, deadline).map_err(moved)
    }

    /// Asks the broker that takes changes of topics.
    pub(crate) fn ask_controller(
        &self,
        api: Api,
        body: &[u8],
        deadline: Deadline,
    ) -> Result<Vec<u8>, Failure> {
        // No topics.
        let answer = self.ask_any(
            Api::Metadata,
            &Writer::default().i32(0).flag(false).into_bytes(),
            deadline,
        )?;
        let metadata = read_metadata(&answer)?;
        let controller =
            metadata.brokers.into_iter().find(|(node, _)| *node == metadata.controller);
        let (_, host) = controller
            .ok_or_else(|| Failure::Again("the brokers have no controller (yet)".to_owned()))?;
        self.ask(&host, api, body, deadline).map_err(moved)
    }
}

/// A broker that is away may have been replaced: ask the others.
fn moved(failure: Failure) -> Failure {
    match failure {
        Failure::Away(reason) => Failure::Again(reason),
        other => other,
    }
}

struct FoundPartition {
    code: i16,
    index: i32,
    leader: i32,
    replicas: usize,
}

struct Metadata {
    brokers: Vec<(i32, Host)>,
    controller: i32,
    topics: Vec<(i16, Vec<FoundPartition>)>,
}

fn host(reader: &mut Reader<'_>) -> Result<Host, Malformed> {
    let name = reader.string()?;
    let port = u16::try_from(reader.i32()?).map_err(|_| Malformed)?;
    Ok(Host { name, port })
}

fn read_metadata(answer: &[u8]) -> Result<Metadata, Malformed> {
    let mut answer = Reader::new(answer);
    answer.i32()?;
    let brokers = answer.items(|reader| {
        let node = reader.i32()?;
        let host = host(reader)?;
        reader.optional_string()?;
        Ok((node, host))
    })?;
    answer.optional_string()?;
    let controller = answer.i32()?;
    let topics = answer.items(|reader| {
        let code = reader.i16()?;
        reader.string()?;
        reader.i8()?;
        let partitions = reader.items(|reader| {
            let (code, index, leader) = (reader.i16()?, reader.i32()?, reader.i32()?);
            reader.i32()?;
            let replicas = reader.items(Reader::i32)?.len();
            reader.items(Reader::i32)?;
            reader.items(Reader::i32)?;
            Ok(FoundPartition { code, index, leader, replicas })
        })?;
        Ok((code, partitions))
    })?;
    Ok(Metadata { brokers, controller, topics })
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
