//! Processes that hold nothing and run several shards: they answer the management protocol as members
//! of each shard's group would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use orrery_operand::OperandError;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::server::{Access, Operand, service};
use orrery_operand::v1::{
    FenceResponse, FollowRequest, FollowResponse, Follower, Link, PromoteResponse, RenewRequest,
    RenewResponse, ReportResponse, Role, RouteRequest, RouteResponse, Shard, SyncRequest,
    SyncResponse,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

/// Position of every journal: all hold the same records.
const POSITION: u64 = 100;

/// One shard in one process.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub role: Role,
    pub epoch: u64,
    known: u64,
    follows: String,
    /// The last renewal.
    pub renewed: Option<RenewRequest>,
}

/// A process as the test sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub shards: BTreeMap<u32, Own>,
    pub routes: RouteRequest,
    /// How often it was told routes.
    pub told: u32,
}

/// All processes, by name of the pod.
pub(super) type World = Arc<Mutex<BTreeMap<String, Seen>>>;

#[derive(Debug)]
struct Process {
    pod: String,
    world: World,
}

/// Starts a process that has these shards; it ends with the runtime of the test.
pub(super) async fn start(world: &World, pod: &str, host: &str, shards: &[u32]) -> SocketAddr {
    let own =
        Own { role: Role::Standby, epoch: 0, known: 0, follows: String::new(), renewed: None };
    let shards = shards.iter().map(|shard| (*shard, own.clone())).collect();
    let seen = Seen { shards, ..Seen::default() };
    world.lock().unwrap_or_else(PoisonError::into_inner).insert(pod.to_owned(), seen);
    let socket = TcpListener::bind((host, 0)).await.expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    let process = Process { pod: pod.to_owned(), world: Arc::clone(world) };
    let server = tonic::transport::Server::builder()
        .add_service(service(Arc::new(process), Access::Loopback));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(socket)));
    address
}

impl Process {
    fn change<T>(
        &self,
        shard: u32,
        change: impl FnOnce(&mut Own) -> Result<T, OperandError>,
    ) -> Result<T, OperandError> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let own = world.get_mut(&self.pod).and_then(|seen| seen.shards.get_mut(&shard));
        change(own.ok_or_else(|| OperandError::Invalid(format!("no shard {shard} here")))?)
    }
}

fn shard(world: &BTreeMap<String, Seen>, id: u32, own: &Own) -> Shard {
    let follower = |(pod, seen): (&String, &Seen)| {
        let other = seen.shards.get(&id)?;
        let follows = other.role == Role::Follower && other.epoch == own.epoch;
        let (name, in_sync) = (pod.clone(), true);
        follows.then(|| Follower { name, in_sync, ..Follower::default() })
    };
    let leads = own.role == Role::Primary;
    let mut all = world.values().filter_map(|seen| seen.shards.get(&id));
    let up = all.any(|other| other.role == Role::Primary && other.epoch == own.epoch);
    let link = Link {
        address: own.follows.clone(),
        up,
        copy_percent: 100,
        primary_position: POSITION,
        silent_milliseconds: if up { 0 } else { 10_000 },
    };
    Shard {
        id,
        role: own.role.into(),
        epoch: own.epoch,
        known_epoch: own.known,
        durable_position: POSITION,
        durable_epoch: 1,
        ready: true,
        writable: leads,
        whole: Some(true),
        followers: if leads { world.iter().filter_map(follower).collect() } else { Vec::new() },
        link: (own.role == Role::Follower).then_some(link),
        ..Shard::default()
    }
}

#[tonic::async_trait]
impl Operand for Process {
    async fn report(&self) -> ReportResponse {
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = &world[&self.pod];
        ReportResponse {
            version: "1.0".into(),
            role: Role::Standby.into(),
            ready: true,
            shards: seen.shards.iter().map(|(id, own)| shard(&world, *id, own)).collect(),
            routes_hash: seen.routes.hash.clone(),
            ..ReportResponse::default()
        }
    }

    async fn promote(&self, shard: u32, epoch: u64) -> Result<PromoteResponse, OperandError> {
        self.change(shard, |own| {
            if epoch <= own.epoch && own.role == Role::Primary || epoch < own.known {
                return Err(OperandError::Fenced { holder: own.known });
            }
            (own.role, own.epoch, own.known) = (Role::Primary, epoch, epoch);
            Ok(PromoteResponse { epoch, durable_position: POSITION })
        })
    }

    async fn fence(&self, shard: u32, epoch: u64) -> Result<FenceResponse, OperandError> {
        self.change(shard, |own| {
            own.known = own.known.max(epoch);
            if own.role == Role::Primary && own.epoch < epoch {
                own.role = Role::Fenced;
            }
            Ok(FenceResponse { epoch: own.known, durable_position: POSITION })
        })
    }

    async fn follow(&self, request: FollowRequest) -> Result<FollowResponse, OperandError> {
        let FollowRequest { shard, epoch, address, .. } = request;
        self.change(shard, |own| {
            if epoch < own.known {
                return Err(OperandError::Fenced { holder: own.known });
            }
            (own.role, own.epoch, own.known, own.follows) = (Role::Follower, epoch, epoch, address);
            Ok(FollowResponse { epoch, durable_position: POSITION })
        })
    }

    async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, OperandError> {
        self.change(request.shard, |own| {
            own.known = own.known.max(request.epoch);
            own.renewed = Some(request);
            Ok(RenewResponse { epoch: own.known })
        })
    }

    async fn route(&self, request: RouteRequest) -> Result<RouteResponse, OperandError> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = request.hash.clone();
        if let Some(seen) = world.get_mut(&self.pod) {
            (seen.routes, seen.told) = (request, seen.told + 1);
        }
        Ok(RouteResponse { hash })
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncResponse, OperandError> {
        Ok(SyncResponse { set_hash: request.set_hash, ..SyncResponse::default() })
    }

    async fn drain(&self, _: u32, _: ProgressSender) -> Result<Finished, OperandError> {
        Err(OperandError::Unsupported("it holds nothing".into()))
    }

    async fn snapshot(&self, _: String, _: ProgressSender) -> Result<Finished, OperandError> {
        Err(OperandError::Unsupported("it holds nothing".into()))
    }

    async fn restore(&self, _: String, _: ProgressSender) -> Result<Finished, OperandError> {
        Err(OperandError::Unsupported("it holds nothing".into()))
    }
}
