//! The pods of a pool: where they are, and how many runs of this process each has.
//!
//! Names are looked up again and again, because pods come and go. Must not: speak to a pod.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

/// How long addresses are remembered: those of pods change within seconds.
const REMEMBERED: Duration = Duration::from_secs(2);
/// Longest lookup of one name.
const LOOKUP_WITHIN: Duration = Duration::from_secs(5);
/// Pods that are looked at, twice as many as a pool may have: old ones may stand beside new ones.
const MEMBERS_MAX: usize = 200;

/// Pods that take runs, as the configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolMembers {
    /// `host:port` of each, or of several under one name.
    pub addresses: Vec<String>,
    /// Runs that each may have at the same time.
    pub runs_per_pod: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    members: PoolMembers,
    found: tokio::sync::Mutex<Option<(Instant, Vec<SocketAddr>)>>,
    taken: Mutex<HashMap<SocketAddr, usize>>,
}

impl Pool {
    pub(super) fn new(members: PoolMembers) -> Self {
        Self { members, found: tokio::sync::Mutex::default(), taken: Mutex::default() }
    }

    /// Where the pods are, in order; a sentence where not every name can be looked up.
    pub(super) async fn pods(&self) -> Result<Vec<SocketAddr>, String> {
        let mut found = self.found.lock().await;
        if let Some((at, pods)) = &*found
            && at.elapsed() < REMEMBERED
        {
            return Ok(pods.clone());
        }
        let mut pods = Vec::new();
        for address in &self.members.addresses {
            let lookup = timeout(LOOKUP_WITHIN, lookup_host(address)).await;
            let looked = lookup.map_err(|_| "the name server does not answer".to_owned());
            let looked = looked.and_then(|result| result.map_err(|error| error.to_string()));
            pods.extend(looked.map_err(|why| format!("failed to find pods at {address}: {why}"))?);
        }
        pods.sort_unstable();
        pods.dedup();
        pods.truncate(MEMBERS_MAX);
        *found = Some((Instant::now(), pods.clone()));
        Ok(pods)
    }

    /// A place in the pod with the fewest runs of this process, if one has room; none of those in `not`.
    pub(super) fn take(self: &Arc<Self>, pods: &[SocketAddr], not: &[SocketAddr]) -> Option<Place> {
        let mut taken = self.lock();
        let count = |pod: &SocketAddr| taken.get(pod).copied().unwrap_or(0);
        let free = pods.iter().filter(|pod| !not.contains(pod));
        let pod = free.min_by_key(|pod| count(pod))?;
        if count(pod) >= self.members.runs_per_pod {
            return None;
        }
        *taken.entry(*pod).or_default() += 1;
        Some(Place { pool: Arc::clone(self), pod: *pod })
    }

    /// A place in a pod that has the run already.
    pub(super) fn occupy(self: &Arc<Self>, pod: SocketAddr) -> Place {
        *self.lock().entry(pod).or_default() += 1;
        Place { pool: Arc::clone(self), pod }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place of a run in a pod; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    pool: Arc<Pool>,
    pub(super) pod: SocketAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.pool.lock();
        if let Some(count) = taken.get_mut(&self.pod) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.pod);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(addresses: &[&str], runs_per_pod: usize) -> Arc<Pool> {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        Arc::new(Pool::new(PoolMembers { addresses, runs_per_pod }))
    }

    #[tokio::test]
    async fn the_pod_with_the_fewest_runs_is_next_and_a_full_one_is_none() {
        let pool = pool(&["127.0.0.2:9", "127.0.0.1:9", "127.0.0.1:9"], 2);
        let pods = pool.pods().await.expect("they are addresses");
        assert_eq!(pods.len(), 2);
        let first = pool.take(&pods, &[]).expect("there is room");
        let second = pool.take(&pods, &[]).expect("there is room");
        assert_eq!((first.pod, second.pod), (pods[0], pods[1]));
        let third = pool.take(&pods, &[pods[0]]).expect("there is room");
        assert_eq!(third.pod, pods[1]);
        assert!(pool.take(&pods, &[pods[0]]).is_none(), "it has two");
        drop(second);
        assert_eq!(pool.take(&pods, &[pods[0]]).expect("there is room").pod, pods[1]);
        let _resumed = (pool.occupy(pods[0]), pool.occupy(pods[0]));
        assert_eq!(pool.lock()[&pods[0]], 3, "what a pod has is counted, however it came there");
    }

    #[tokio::test]
    async fn a_name_without_pods_says_so() {
        let why = pool(&["pods.invalid:9"], 1).pods().await.unwrap_err();
        assert!(why.contains("pods.invalid:9"), "{why}");
    }
}
