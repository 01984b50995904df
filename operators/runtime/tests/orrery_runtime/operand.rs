//! Data planes that hold nothing: they answer the management protocol as members of a group would,
//! so that objects become ready, followers follow and the primary can change.
//!
//! They run in the test's own process behind pods of toy nodes. What a real one keeps on its disk is
//! kept here by the name of the pod.

#[path = "operand/certificate.rs"]
mod certificate;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::FutureExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{Api, ResourceExt};
use orrery_api::Reason;
use orrery_api::kv::config::FENCED_FILE;
use orrery_e2e_cluster::{MarkOnly, PodRunner, Seat};
use orrery_operand::OperandError;
use orrery_operand::errands::ErrandBook;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::secured::accepted;
use orrery_operand::server::{Access, Operand, service};
use orrery_operand::v1::{
    DeclaredSet, FenceResponse, FollowRequest, FollowResponse, Follower, Link, ObjectResult,
    PromoteResponse, RenewRequest, RenewResponse, ReportResponse, Role, SettleRequest, Standing,
    SyncRequest, SyncResponse,
};
use orrery_runtime::labels;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Position of every journal: all hold the same records.
const POSITION: u64 = 100;

/// What is left of a process when it ends.
#[derive(Debug, Clone, Default)]
struct Disk {
    /// Epoch it was promoted with last.
    promoted: u64,
    known: u64,
    sets: BTreeMap<String, String>,
}

/// A process as the others and the test see it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub role: Role,
    pub epoch: u64,
    /// Address of the primary it follows.
    pub follows: Option<String>,
    /// What it was told last about its group.
    pub renewed: Option<RenewRequest>,
    /// How often it was told.
    pub renewals: u64,
    /// Text of the configuration it started with.
    pub config: String,
    /// Names of the objects it was given, with their specs.
    pub declared: BTreeMap<String, String>,
    /// Its owner wants no writes, as it read last.
    pub fenced: bool,
}

#[derive(Debug, Default)]
struct World {
    disks: HashMap<String, Disk>,
    /// Running processes by pod.
    running: BTreeMap<String, (String, Seen)>,
    /// How declared objects fare, by name.
    states: BTreeMap<String, String>,
    /// What was said of errands.
    settled: Vec<SettleRequest>,
}

/// What keys of errands begin with.
pub const SOURCE: &str = "test_default_1";

/// The errands of all processes.
#[derive(Debug)]
struct Book(Arc<ErrandBook>);

impl Default for Book {
    fn default() -> Self {
        Self(Arc::new(ErrandBook::new(SOURCE)))
    }
}

/// Runs the pods of one namespace.
#[derive(Debug, Clone, Default)]
pub struct Answering {
    world: Arc<Mutex<World>>,
    /// Counts the changes of states.
    changes: watch::Sender<u64>,
    errands: Arc<Book>,
}

impl Answering {
    /// What the processes want done.
    pub fn errands(&self) -> &ErrandBook {
        &self.errands.0
    }

    /// What was said of the errand with this key, in order.
    pub fn settled(&self, key: &str) -> Vec<(Standing, String)> {
        let world = self.lock();
        let of_key = world.settled.iter().filter(|request| request.key == key);
        of_key.map(|request| (request.standing(), request.message.clone())).collect()
    }

    /// The processes that run now, by pod.
    pub fn seen(&self) -> BTreeMap<String, Seen> {
        let world = self.lock();
        world.running.iter().map(|(pod, (_, seen))| (pod.clone(), seen.clone())).collect()
    }

    /// From now on the processes say this of a declared object.
    pub fn say(&self, object: &str, state: &serde_json::Value) {
        self.lock().states.insert(object.to_owned(), state.to_string());
        self.changes.send_modify(|count| *count += 1);
    }

    /// Streams of changes that are open now.
    pub fn listeners(&self) -> usize {
        self.changes.receiver_count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PodRunner for Answering {
    async fn run(&self, seat: &mut Seat) {
        let pod = seat.pod();
        let name = pod.name_any();
        let config = config(seat, &pod).await;
        let address: IpAddr = seat.address().parse().expect("a pod has an address");
        let in_group = config.lines().any(|line| line == "group: true");
        let seen = Seen {
            role: if in_group { Role::Standby } else { Role::Primary },
            config,
            ..Seen::default()
        };
        self.lock().running.insert(name.clone(), (address.to_string(), seen));
        let live = live(seat, &pod);
        let shown = certificate::shown(seat, &pod).await;
        let identity_hash = shown.as_ref().map(certificate::Shown::hash).unwrap_or_default();
        let process = Process { pod: name.clone(), all: self.clone(), live, identity_hash };
        let server = tonic::transport::Server::builder()
            .add_service(service(Arc::new(process), Access::Loopback));
        let address = SocketAddr::new(address, labels::MANAGEMENT_PORT);
        let server = match shown {
            Some(shown) => {
                let socket = TcpListener::bind(address).await.expect("an address of its own");
                server.serve_with_incoming(accepted(socket, move || shown.management())).boxed()
            }
            None => server.serve(address).boxed(),
        };
        tokio::select! {
            () = MarkOnly.run(seat) => {}
            ended = server => panic!("{name} cannot answer: {ended:?}"),
        }
        self.lock().running.remove(&name);
    }

    fn answers(&self) -> bool {
        true
    }
}

/// The configuration file that is mounted into the pod.
async fn config(seat: &Seat, pod: &Pod) -> String {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut maps = volumes.filter_map(|volume| volume.config_map.as_ref());
    let Some(map) = maps.next().map(|map| map.name.clone()) else { return String::new() };
    let api: Api<ConfigMap> = Api::namespaced(seat.client(), &pod.namespace().unwrap_or_default());
    let map = api.get_opt(&map).await.ok().flatten().and_then(|map| map.data);
    map.map(|data| data.into_values().collect()).unwrap_or_default()
}

/// The Secret that processes read again while they run.
fn live(seat: &Seat, pod: &Pod) -> Option<(Api<Secret>, String)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut secrets = volumes.filter_map(|volume| volume.secret.as_ref()?.secret_name.clone());
    let name = secrets.find(|name| name.ends_with("-live"))?;
    Some((Api::namespaced(seat.client(), &pod.namespace().unwrap_or_default()), name))
}

/// One process.
struct Process {
    pod: String,
    all: Answering,
    live: Option<(Api<Secret>, String)>,
    identity_hash: String,
}

impl Process {
    /// Whether its owner wants no writes.
    async fn is_fenced(&self) -> bool {
        let Some((api, name)) = &self.live else { return false };
        let data = api.get_opt(name).await.ok().flatten().and_then(|secret| secret.data);
        data.and_then(|data| Some(data.get(FENCED_FILE)?.0 == b"true")).unwrap_or(false)
    }

    /// A call that comes while the process ends changes nothing.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Disk, &mut Seen) -> Result<T, OperandError>,
    ) -> Result<T, OperandError> {
        let world = &mut *self.all.lock();
        let Some((_, seen)) = world.running.get_mut(&self.pod) else {
            return Err(OperandError::Unavailable("it has ended".into()));
        };
        change(world.disks.entry(self.pod.clone()).or_default(), seen)
    }
}

#[tonic::async_trait]
impl Operand for Process {
    async fn report(&self) -> ReportResponse {
        let fenced = self.is_fenced().await;
        let mut world = self.all.lock();
        if let Some((_, seen)) = world.running.get_mut(&self.pod) {
            seen.fenced = fenced;
        }
        let disk = world.disks.get(&self.pod).cloned().unwrap_or_default();
        let Some((address, seen)) = world.running.get(&self.pod) else {
            return ReportResponse::default();
        };
        let host = |address: &str| address.rsplit_once(':').map(|(host, _)| host.to_owned());
        let followers = world.running.iter().filter(|(_, (_, other))| {
            other.role == Role::Follower
                && other.epoch == seen.epoch
                && other.follows.as_deref().and_then(host).as_deref() == Some(address)
        });
        let followers: Vec<Follower> = followers
            .map(|(pod, (address, _))| Follower {
                name: pod.clone(),
                address: address.clone(),
                durable_position: POSITION,
                in_sync: true,
            })
            .collect();
        let leads = seen.role == Role::Primary;
        ReportResponse {
            system: "kv".into(),
            version: "1.0".into(),
            role: seen.role.into(),
            epoch: if leads || seen.role == Role::Follower { seen.epoch } else { disk.promoted },
            durable_position: POSITION,
            durable_epoch: 1,
            known_epoch: disk.known,
            ready: true,
            writable: leads && !fenced,
            reason: if fenced { Reason::FencedBySpec.as_str().into() } else { String::new() },
            followers: if leads { followers } else { Vec::new() },
            link: seen.follows.clone().map(|address| Link {
                address,
                up: true,
                primary_position: POSITION,
                copy_percent: 100,
                silent_milliseconds: 0,
            }),
            declared: disk
                .sets
                .iter()
                .map(|(kind, hash)| DeclaredSet { kind: kind.clone(), set_hash: hash.clone() })
                .collect(),
            durability: "disk".into(),
            identity_hash: self.identity_hash.clone(),
            ..ReportResponse::default()
        }
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncResponse, OperandError> {
        let states = self.all.lock().states.clone();
        let results = request.objects.iter().map(|object| ObjectResult {
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            generation: object.generation,
            accepted: true,
            state: states.get(&object.name).cloned().unwrap_or_default().into_bytes(),
            ..ObjectResult::default()
        });
        let results = results.collect();
        self.change(|disk, seen| {
            disk.sets.insert(request.kind.clone(), request.set_hash.clone());
            let specs = request.objects.iter();
            let text = |spec: &[u8]| String::from_utf8_lossy(spec).into_owned();
            seen.declared = specs.map(|o| (o.name.clone(), text(&o.spec))).collect();
            Ok(SyncResponse { results, set_hash: request.set_hash.clone() })
        })
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.all.changes.subscribe())
    }

    fn errands(&self) -> Result<Arc<ErrandBook>, OperandError> {
        Ok(Arc::clone(&self.all.errands.0))
    }

    async fn settle(&self, request: SettleRequest) -> Result<(), OperandError> {
        if request.standing() == Standing::Started {
            self.all.errands().started(&request.key, request.attempt);
        } else {
            self.all.errands().close(&request.key, request.attempt);
        }
        self.all.lock().settled.push(request);
        Ok(())
    }

    async fn drain(&self, _: u32, _: ProgressSender) -> Result<Finished, OperandError> {
        Ok(Finished { position: POSITION, location: String::new(), units: 0, epoch: 0 })
    }

    async fn promote(&self, _: u32, epoch: u64) -> Result<PromoteResponse, OperandError> {
        self.change(|disk, seen| {
            if epoch <= disk.promoted || epoch < disk.known {
                return Err(OperandError::Fenced { holder: disk.promoted.max(disk.known) });
            }
            (disk.promoted, disk.known) = (epoch, epoch);
            (seen.role, seen.epoch, seen.follows) = (Role::Primary, epoch, None);
            Ok(PromoteResponse { epoch, durable_position: POSITION })
        })
    }

    async fn fence(&self, _: u32, epoch: u64) -> Result<FenceResponse, OperandError> {
        self.change(|disk, seen| {
            disk.known = disk.known.max(epoch);
            if seen.role == Role::Primary && seen.epoch < epoch {
                seen.role = Role::Fenced;
            }
            Ok(FenceResponse { epoch: disk.known, durable_position: POSITION })
        })
    }

    async fn follow(&self, request: FollowRequest) -> Result<FollowResponse, OperandError> {
        let FollowRequest { epoch, address, .. } = request;
        self.change(|disk, seen| {
            if epoch < disk.known {
                return Err(OperandError::Fenced { holder: disk.known });
            }
            disk.known = epoch;
            (seen.role, seen.epoch, seen.follows) = (Role::Follower, epoch, Some(address));
            Ok(FollowResponse { epoch, durable_position: POSITION })
        })
    }

    async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, OperandError> {
        self.change(|disk, seen| {
            disk.known = disk.known.max(request.epoch);
            if seen.role == Role::Primary && seen.epoch < request.epoch {
                seen.role = Role::Fenced;
            }
            seen.renewed = Some(request);
            seen.renewals += 1;
            Ok(RenewResponse { epoch: disk.known })
        })
    }

    async fn snapshot(&self, to: String, _: ProgressSender) -> Result<Finished, OperandError> {
        if to != "archive:" {
            return Err(OperandError::Invalid(to));
        }
        let archived = |_: &mut Disk, seen: &mut Seen| {
            let has_archive = seen.config.lines().any(|line| line.starts_with("archive:"));
            let none = || OperandError::Unavailable("there is no archive".into());
            has_archive.then_some(()).ok_or_else(none)
        };
        self.change(archived)?;
        Ok(Finished { position: POSITION, location: "file:///archive".into(), units: 1, epoch: 0 })
    }

    async fn restore(&self, _: String, _: ProgressSender) -> Result<Finished, OperandError> {
        Err(OperandError::Unsupported("it holds nothing".into()))
    }
}
