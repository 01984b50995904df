//! The carrier: what each call of the trait does.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use orrery_journal::carrier::{Carried, Saved, check_group, check_saved};
use orrery_journal::{Carrier, CarrierError, Group, Owner, Position};
use orrery_kit::tls::{self, ClientCertificate, Roots, TlsError};

use crate::cluster::{Cluster, Host};
use crate::connection::Manner;
use crate::failure::{Deadline, Failure};
use crate::log::{Log, Seen};
use crate::sasl::User;
use crate::session::Session;
use crate::setup::{self, Replication};
use crate::snapshots::{self, Content};
use crate::topic::Topic;

/// Longest name of a topic.
const TOPIC_BYTES_MAX: usize = 249;
/// What the topic of snapshots has behind its name.
const SNAPSHOTS: &str = "_snapshots";
/// Bytes that one call reads at most.
const READ_BYTES_MAX: usize = 64 << 20;

/// How brokers are known.
#[derive(Clone, Debug)]
pub struct Tls {
    pub roots: Roots,
    pub client: Option<ClientCertificate>,
}

/// What a carrier is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Some brokers of the cluster: the others are learned from them.
    pub bootstrap: Vec<Host>,
    /// `None`: everything can be read on the way.
    pub tls: Option<Tls>,
    /// `None`: brokers let everybody in, or know who it is by the certificate.
    pub user: Option<User>,
    /// What names of topics begin with.
    pub prefix: String,
    /// Which journal of the cluster: `namespace/name/shard` of what it belongs to.
    pub journal: String,
    /// The shard that its records are of.
    pub shard: u32,
    /// How topics are made.
    pub replication: Replication,
}

/// Why a carrier cannot be opened. Never says anything of secrets.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("there is no address of a broker")]
    NoBroker,
    #[error(
        "{0:?} cannot be the name of a topic: use letters, digits, dots, dashes and underscores, \
        {TOPIC_BYTES_MAX} at most"
    )]
    Name(String),
}

/// The journal of one shard in a log that speaks the Kafka protocol.
pub struct KafkaCarrier {
    inner: Arc<Inner>,
    prefix: String,
    session: Mutex<Option<Session>>,
}

/// What a journal is read with.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) cluster: Arc<Cluster>,
    /// Names of its topics.
    pub(crate) log: String,
    snapshots: String,
    shard: u32,
    pub(crate) replication: Replication,
    seen: Seen,
}

impl Inner {
    fn new(
        cluster: Arc<Cluster>,
        prefix: &str,
        journal: &str,
        shard: u32,
        replication: Replication,
    ) -> Result<Self, OpenError> {
        let log = format!("{prefix}{}", journal.replace('/', "_"));
        let snapshots = format!("{log}{SNAPSHOTS}");
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if journal.is_empty() || snapshots.len() > TOPIC_BYTES_MAX || !log.bytes().all(is_legal) {
            return Err(OpenError::Name(log));
        }
        Ok(Self { cluster, log, snapshots, shard, replication, seen: Seen::default() })
    }

    pub(crate) fn log(&self) -> Topic<'_> {
        Topic { cluster: &self.cluster, name: &self.log }
    }

    pub(crate) fn snapshots(&self) -> Topic<'_> {
        Topic { cluster: &self.cluster, name: &self.snapshots }
    }

    fn reader(&self) -> Log<'_> {
        Log { topic: self.log(), shard: self.shard, seen: &self.seen }
    }
}

/// Does something again until it is done, cannot be done, or the time is over.
pub(crate) fn persist<T>(
    cluster: &Cluster,
    deadline: Deadline,
    mut work: impl FnMut(Deadline) -> Result<T, Failure>,
) -> Result<T, CarrierError> {
    let mut pause = Duration::from_millis(2);
    loop {
        let reason = match work(deadline) {
            Ok(done) => return Ok(done),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Away(reason)) => {
                cluster.forget();
                return Err(CarrierError::Unavailable { reason });
            }
            Err(Failure::Again(reason)) => reason,
        };
        cluster.forget();
        if deadline.left() <= pause {
            return Err(CarrierError::Unavailable { reason });
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

impl fmt::Debug for KafkaCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KafkaCarrier").field(&self.name()).finish()
    }
}

impl KafkaCarrier {
    /// Checks what it is given. Connects at the first call.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Options { bootstrap, tls, user, prefix, journal, shard, replication } = options;
        if bootstrap.is_empty() {
            return Err(OpenError::NoBroker);
        }
        let config = |tls: &Tls| tls::client_config(&tls.roots, tls.client.as_ref());
        let tls = tls.as_ref().map(config).transpose()?;
        let cluster = Arc::new(Cluster::new(bootstrap, Manner { tls, user }));
        let inner = Inner::new(cluster, &prefix, &journal, shard, replication)?;
        Ok(Self { inner: Arc::new(inner), prefix, session: Mutex::default() })
    }

    /// Another journal of the same cluster, by the same connections.
    pub fn beside(&self, journal: &str, shard: u32) -> Result<Self, OpenError> {
        let Inner { cluster, replication, .. } = &*self.inner;
        let cluster = Arc::clone(cluster);
        let inner = Inner::new(cluster, &self.prefix, journal, shard, *replication)?;
        let prefix = self.prefix.clone();
        Ok(Self { inner: Arc::new(inner), prefix, session: Mutex::default() })
    }

    fn held(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads.
    fn read_with<T>(
        &self,
        bytes: u64,
        mut work: impl FnMut(Log<'_>, Deadline) -> Result<T, Failure>,
    ) -> Result<T, CarrierError> {
        let log = self.inner.reader();
        persist(&self.inner.cluster, Deadline::of(bytes), |deadline| work(log, deadline))
    }

    /// Changes something in a session of the owner; begins one if there is none. Whatever fails ends
    /// the session.
    fn change<T>(
        &self,
        owner: Owner,
        bytes: u64,
        mut work: impl FnMut(&mut Session, Deadline) -> Result<T, Failure>,
    ) -> Result<T, CarrierError> {
        let mut held = self.held();
        let log = self.inner.reader();
        persist(&self.inner.cluster, Deadline::of(bytes), |deadline| {
            let own = held.take_if(|session| session.owner == owner);
            let mut session = if let Some(session) = own {
                session
            } else {
                *held = None;
                let mut session = Session::begin(log, owner, deadline)?;
                session.confirm(log, deadline)?;
                session.state.check(owner)?;
                session
            };
            let done = work(&mut session, deadline)?;
            *held = Some(session);
            Ok(done)
        })
    }

    /// What to say of a group that does not follow the last one this session knows.
    fn find_out(
        &self,
        session: &Session,
        group: &Group,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let log = self.inner.reader();
        let tail = log.look(deadline)?;
        tail.state.admit(session.owner)?;
        if tail.end != session.end {
            return Err(Failure::Again("another session of this owner wrote".to_owned()));
        }
        let (first, last) = (group.first(), Position(tail.state.last));
        if (tail.state.floor..=last.0).contains(&first.0) {
            let found = log.groups(first.0, &tail, 1, deadline);
            let found = found.map_err(|failure| log.explain(failure, deadline))?;
            if found.first().is_some_and(|(_, found)| found == group) {
                return Ok(());
            }
        }
        Err(CarrierError::OutOfPlace { last, first }.into())
    }

    /// Removes what does not count any more; what is left the next call removes.
    fn sweep(&self, topic: Topic<'_>, before: i64) {
        let removed = persist(&self.inner.cluster, Deadline::of(0), |deadline| {
            if topic.edge(crate::topic::Edge::Earliest, deadline)? >= before {
                return Ok(());
            }
            topic.remove_before(before, deadline)
        });
        if let Err(error) = removed {
            tracing::info!(%error, topic = topic.name, "what was trimmed is removed later");
        }
    }
}

impl Carrier for KafkaCarrier {
    fn name(&self) -> String {
        let brokers: Vec<String> =
            self.inner.cluster.bootstrap().iter().map(ToString::to_string).collect();
        format!("kafka://{}/{}", brokers.join(","), self.inner.log)
    }

    fn prepare(&self) -> Result<(), CarrierError> {
        persist(&self.inner.cluster, Deadline::of(0), |deadline| {
            setup::prepare(&self.inner, deadline)
        })
    }

    fn take_over(&self, owner: Owner) -> Result<Carried, CarrierError> {
        if owner.epoch.0 == 0 {
            return Err(CarrierError::Invalid("an owner has an epoch above 0".to_owned()));
        }
        let mut held = self.held();
        let (cluster, log) = (&self.inner.cluster, self.inner.reader());
        persist(cluster, Deadline::of(0), |deadline| {
            *held = None;
            let mut session = Session::begin(log, owner, deadline)?;
            let state = crate::state::State { owner, ..session.state.clone() };
            session.write(log, state, None, deadline)?;
            let carried = session.state.carried();
            *held = Some(session);
            Ok(carried)
        })
    }

    fn look(&self) -> Result<Carried, CarrierError> {
        self.read_with(0, |log, deadline| Ok(log.look(deadline)?.state.carried()))
    }

    fn append(&self, owner: Owner, group: &Group) -> Result<(), CarrierError> {
        check_group(group)?;
        let log = self.inner.reader();
        self.change(owner, group.bytes().len() as u64, |session, deadline| {
            if group.first().0 != session.state.last + 1 {
                return self.find_out(session, group, deadline);
            }
            let mut state = session.state.clone();
            (state.last, state.last_epoch) = (group.last().0, group.epoch().0);
            session.write(log, state, Some(group), deadline)
        })
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Group>, CarrierError> {
        let bytes_max = bytes_max.min(READ_BYTES_MAX);
        self.read_with(bytes_max as u64, |log, deadline| {
            let tail = log.look(deadline)?;
            let next = after.0.saturating_add(1);
            if next < tail.state.floor {
                let oldest = Position(tail.state.floor);
                return Err(CarrierError::Trimmed { after, oldest }.into());
            }
            if next > tail.state.last {
                return Ok(vec![]);
            }
            let found = log.groups(next, &tail, bytes_max, deadline);
            let found = found.map_err(|failure| log.explain(failure, deadline))?;
            Ok(found.into_iter().map(|(_, group)| group).collect())
        })
    }

    fn save(&self, owner: Owner, saved: Saved, content: &mut dyn Read) -> Result<(), CarrierError> {
        self.change(owner, 0, |session, _| Ok(check_saved(saved, session.state.last)?))?;
        let kept = snapshots::write(&self.inner, saved, content)?;
        let log = self.inner.reader();
        let needed = self.change(owner, 0, |session, deadline| {
            check_saved(saved, session.state.last)?;
            snapshots::check_begin(kept, session.state.pieces_floor())?;
            let state = session.state.with_snapshot(kept);
            session.write(log, state, None, deadline)?;
            Ok(session.state.pieces_floor())
        })?;
        self.sweep(self.inner.snapshots(), needed);
        Ok(())
    }

    fn load(&self, at: Position) -> Result<Box<dyn Read + Send>, CarrierError> {
        let state = self.read_with(0, |log, deadline| Ok(log.look(deadline)?.state))?;
        let kept = state.snapshots.into_iter().find(|kept| kept.saved.at == at);
        let kept = kept.ok_or(CarrierError::NoSnapshot { at })?;
        Ok(Box::new(Content::new(Arc::clone(&self.inner), kept)?))
    }

    fn trim(&self, owner: Owner, upto: Position) -> Result<(), CarrierError> {
        let log = self.inner.reader();
        let floor = self.change(owner, 0, |session, deadline| {
            let mut state = session.state.clone();
            let next = upto.0.min(state.last) + 1;
            if next > state.last {
                // Nothing but the record that says so.
                (state.floor, state.floor_offset) = (next, session.end);
            } else if next > state.floor {
                let tail = crate::log::Tail { end: session.end, state: state.clone() };
                let found = log.groups(next, &tail, 1, deadline);
                let found = found.map_err(|failure| log.explain(failure, deadline))?;
                let (offset, group) = found
                    .first()
                    .ok_or_else(|| Failure::Again("the group is not there yet".to_owned()))?;
                (state.floor, state.floor_offset) = (group.first().0, *offset);
            }
            session.write(log, state, None, deadline)?;
            Ok(session.state.floor_offset)
        })?;
        self.sweep(self.inner.log(), floor);
        Ok(())
    }
}
