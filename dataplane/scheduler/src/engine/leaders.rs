//! Jobs that follow others, before they are made: none may come to follow itself, and none may have
//! followers without end.
//!
//! Two requests at the same moment may each make one half of a circle: what is refused is what can be
//! seen. A leader that is not there is no reason to refuse: it may come later, and details say so.

use foldhash::{HashMap, HashMapExt as _, HashSet};

use super::check::{Prepared, Refusal, RefusalReason};
use super::{Engine, EngineError};
use crate::machine::Job;

/// Jobs that follow one job: each end of its runs tells all of them within one turn.
pub const FOLLOWERS_MAX: usize = 1000;
/// Jobs one behind the other.
const CHAIN_MAX: usize = 64;

/// A name, and whom it follows.
type Leaders = HashMap<String, Option<String>>;

/// Whom a job follows.
pub(super) fn leader_of(job: &Job) -> Option<&str> {
    job.definition.after.as_ref().map(|after| &*after.leader)
}

impl Engine {
    /// Turns those into refusals that would follow themselves, in however many steps, or one follower
    /// too many.
    pub(super) async fn check_leaders(
        &self,
        prepared: &mut [Result<Prepared, Refusal>],
    ) -> Result<(), EngineError> {
        if prepared.iter().flatten().all(|job| job.leader.is_none()) {
            return Ok(());
        }
        let asked = prepared.iter().flatten();
        let mut leaders: Leaders =
            asked.map(|job| (job.name.clone(), job.leader.clone())).collect();
        let mut followers: HashMap<String, HashSet<String>> = HashMap::new();
        for job in prepared {
            let Ok(Prepared { name, leader: Some(leader), .. }) = job else { continue };
            let refused = match self.chain_of(name, leader, &mut leaders).await? {
                Some(refused) => Some(refused),
                None => self.one_too_many(name, leader, &mut followers).await?,
            };
            if let Some(message) = refused {
                *job = Err(Refusal::new(RefusalReason::InvalidSpec, message));
            }
        }
        Ok(())
    }

    /// Why a job cannot follow this leader, by whom that follows.
    async fn chain_of(
        &self,
        name: &str,
        leader: &str,
        leaders: &mut Leaders,
    ) -> Result<Option<String>, EngineError> {
        let mut chain = vec![name.to_owned()];
        let mut next = Some(leader.to_owned());
        while let Some(leader) = next {
            chain.push(leader.clone());
            if leader == name {
                return Ok(Some(format!("it would follow itself: {}", chain.join(" after "))));
            }
            if chain.len() > CHAIN_MAX {
                let message = format!("more than {CHAIN_MAX} jobs follow one another");
                return Ok(Some(message));
            }
            if !leaders.contains_key(&leader) {
                let owned = leader.clone();
                let found = self.handle(&leader).look(move |state, _| {
                    state.named(&owned).and_then(leader_of).map(str::to_owned)
                });
                leaders.insert(leader.clone(), found.await?);
            }
            next = leaders.get(&leader).cloned().flatten();
        }
        Ok(None)
    }

    async fn one_too_many(
        &self,
        name: &str,
        leader: &str,
        followers: &mut HashMap<String, HashSet<String>>,
    ) -> Result<Option<String>, EngineError> {
        if !followers.contains_key(leader) {
            let owned = leader.to_owned();
            let known = self.handle(leader).look(move |state, _| {
                let known = state.links().of(&owned).iter();
                known.map(|follower| follower.name.to_string()).collect::<HashSet<_>>()
            });
            followers.insert(leader.to_owned(), known.await?);
        }
        let known = followers.entry(leader.to_owned()).or_default();
        known.insert(name.to_owned());
        let message = || format!("more than {FOLLOWERS_MAX} jobs would follow {leader}");
        Ok((known.len() > FOLLOWERS_MAX).then(message))
    }

    /// Which of these names no job has.
    pub(super) async fn missing(
        &self,
        names: HashSet<String>,
    ) -> Result<HashSet<String>, EngineError> {
        let mut by_partition: Vec<Vec<String>> = vec![vec![]; self.handles().len()];
        for name in names {
            by_partition[usize::from(self.partition_of(&name))].push(name);
        }
        let mut missing = HashSet::default();
        for (handle, names) in self.handles().iter().zip(by_partition) {
            if names.is_empty() {
                continue;
            }
            let found = handle.look(move |state, _| {
                let gone = names.iter().filter(|name| state.named(name).is_none());
                gone.cloned().collect::<Vec<_>>()
            });
            missing.extend(found.await?);
        }
        Ok(missing)
    }
}
