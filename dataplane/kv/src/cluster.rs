//! Which shard has a key, and where that shard is served: what sends clients of Redis Cluster to it.
//!
//! Which shard has a key is arithmetic ([`Layout`]). Where a shard is served is told by the operator
//! (`Route`), and known from the beginning where one process has all of them.

pub(crate) mod course;
pub(crate) mod roster;
pub(crate) mod slot;

use std::sync::{Arc, PoisonError, RwLock};

use orrery_api::kv::Layout;
use orrery_operand::v1::{self, RouteRequest};

/// Where one shard of one process is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Name of the process.
    pub(crate) name: String,
    /// None: where the client reached this process.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
}

/// Who serves one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Epoch of its primary.
    pub(crate) epoch: u64,
    /// None while nobody may write.
    pub(crate) primary: Option<Node>,
    pub(crate) followers: Vec<Node>,
}

/// Where every shard is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    /// What the operator calls it; empty before it told.
    pub(crate) hash: String,
    /// By id. Empty before anything is known.
    pub(crate) places: Vec<Place>,
}

/// The topology that all shards of a process know.
#[derive(Debug, Default)]
pub(crate) struct Known(RwLock<Arc<Topology>>);

impl Known {
    pub(crate) fn new(topology: Topology) -> Self {
        Self(RwLock::new(Arc::new(topology)))
    }

    pub(crate) fn get(&self) -> Arc<Topology> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, topology: Topology) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(topology);
    }
}

/// What one shard knows of its cluster.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) layout: Layout,
    /// The shard.
    pub(crate) shard: u32,
    /// Name of its process, as the topology has it.
    pub(crate) pod: String,
    pub(crate) known: Arc<Known>,
}

/// A route that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    #[error("shard {0} is missing or there more than once")]
    Shards(u32),
    #[error("{0:?} is no address: expected host:port")]
    Address(String),
}

impl Topology {
    /// What the operator told: every shard of `layout`, once.
    pub(crate) fn of(request: RouteRequest, layout: &Layout) -> Result<Self, RouteError> {
        let told = |n: u32| request.shards.get(n as usize).map(|shard| shard.id);
        let is_wrong = |n: &u32| told(*n) != (*n < layout.shards).then_some(*n);
        if let Some(wrong) = (0..=layout.shards).find(is_wrong) {
            return Err(RouteError::Shards(wrong));
        }
        let places = request.shards.into_iter().map(|shard| {
            Ok(Place {
                epoch: shard.epoch,
                primary: shard.primary.map(node).transpose()?,
                followers: shard.followers.into_iter().map(node).collect::<Result<_, _>>()?,
            })
        });
        Ok(Self { hash: request.hash, places: places.collect::<Result<_, _>>()? })
    }
}

fn node(node: v1::Node) -> Result<Node, RouteError> {
    let v1::Node { name, address } = node;
    let parsed = address.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
    });
    let Some((host, port)) = parsed else { return Err(RouteError::Address(address)) };
    Ok(Node { name, host: Some(host), port })
}

#[cfg(test)]
pub(crate) mod tests {
    use orrery_operand::set_hash::route_request;
    use orrery_operand::v1::ShardRoute;

    use super::*;

    const LAYOUT: Layout = Layout { shards: 2, pods: 2, copies: 1 };

    /// Shard 0 of two in process `a`, which knows these primaries and that `c` follows in shard 1.
    pub(crate) fn cluster(primaries: &[Option<&str>]) -> Cluster {
        let node = |name: &str, shard: usize| Node {
            name: name.into(),
            host: Some(format!("10.0.0.{}", name.as_bytes()[0] - b'a' + 1)),
            port: 7000 + shard as u16,
        };
        let place = |(shard, primary): (usize, Option<&str>)| Place {
            epoch: 4 + shard as u64,
            primary: primary.map(|name| node(name, shard)),
            followers: (shard == 1).then(|| node("c", shard)).into_iter().collect(),
        };
        let places = primaries.iter().copied().enumerate().map(place).collect();
        let known = Arc::new(Known::new(Topology { hash: String::new(), places }));
        Cluster { layout: LAYOUT, shard: 0, pod: "a".into(), known }
    }

    fn route(ids: &[u32], address: &str) -> RouteRequest {
        let primary = Some(v1::Node { name: "a-kv-0".into(), address: address.into() });
        let shard =
            |id: &u32| ShardRoute { id: *id, primary: primary.clone(), ..ShardRoute::default() };
        route_request(ids.iter().map(shard).collect())
    }

    #[test]
    fn a_route_names_every_shard_once() {
        let told = Topology::of(route(&[1, 0], "10.0.0.7:6380"), &LAYOUT).expect("it is whole");
        let node = Node { name: "a-kv-0".into(), host: Some("10.0.0.7".into()), port: 6380 };
        assert_eq!(told.places[1].primary, Some(node));
        for (ids, wrong) in [(&[0][..], 1), (&[1], 0), (&[0, 0], 1), (&[0, 1, 2], 2), (&[], 0)] {
            let refused = Topology::of(route(ids, "10.0.0.7:1"), &LAYOUT);
            assert_eq!(refused, Err(RouteError::Shards(wrong)), "{ids:?}");
        }
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let host = |address: &str| {
            let told = Topology::of(route(&[0, 1], address), &LAYOUT)?;
            Ok::<_, RouteError>(told.places[0].primary.as_ref().and_then(|node| node.host.clone()))
        };
        assert_eq!(host("[fd00::1]:6380"), Ok(Some("fd00::1".into())));
        for wrong in ["10.0.0.7", ":6380", "10.0.0.7:x", "10.0.0.7:70000", ""] {
            assert_eq!(host(wrong), Err(RouteError::Address(wrong.into())), "{wrong}");
        }
    }
}
