//! Pools of the configuration: what a job says about a command, checked, and the pods as the dispatcher
//! knows them.

use std::path::Path;
use std::time::Duration;

use foldhash::HashMap;
use orrery_api::scheduler::config::POOLS;
use orrery_api::scheduler::runner::COMMAND_BYTES_MAX;
use orrery_api::scheduler::{PoolFile, PooledPodAction};

use super::resolve::TargetError;
use crate::dispatch::{Auth, PoolMembers, PooledAction, Target, TargetName};

/// Bytes left for the variables that every run has.
const OWN_BYTES: usize = 4 << 10;

/// What runs of a pool are counted under. No target of the configuration is called so.
pub(crate) fn lane(pool: &str) -> String {
    format!("pool/{pool}")
}

/// All pools of an engine.
#[derive(Debug, Default)]
pub(super) struct Pools {
    by_name: HashMap<String, PoolFile>,
}

impl Pools {
    pub(super) fn new(files: &[PoolFile]) -> Self {
        let named = files.iter().map(|file| (file.name.clone(), file.clone()));
        Self { by_name: named.collect() }
    }

    pub(super) fn has(&self, pool: &str) -> bool {
        self.by_name.contains_key(pool)
    }

    /// A sentence about a pool that is not there.
    pub(super) fn unknown(&self, pool: &str) -> String {
        let mut names: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
        names.sort_unstable();
        match names.as_slice() {
            [] => format!("pool {pool} is not there: the Scheduler has none"),
            names => format!("pool {pool} is not there: the Scheduler has {}", names.join(", ")),
        }
    }

    /// What an action comes to, or a sentence why no process can be started with it.
    pub(super) fn build(
        &self,
        action: &PooledPodAction,
        timeout_seconds: Option<i64>,
    ) -> Result<PooledAction, String> {
        let pool = self.by_name.get(&action.pool).ok_or_else(|| self.unknown(&action.pool))?;
        check(action)?;
        let seconds = timeout_seconds.unwrap_or(pool.timeout_seconds);
        Ok(PooledAction {
            target: TargetName::named(&lane(&action.pool)),
            command: action.command.clone(),
            args: action.args.clone(),
            env: action.env.clone(),
            timeout: Duration::from_secs(u64::try_from(seconds).unwrap_or(1).max(1)),
        })
    }
}

fn check(action: &PooledPodAction) -> Result<(), String> {
    if action.command.first().is_none_or(String::is_empty) {
        return Err("command names no program".to_owned());
    }
    let words = || action.command.iter().chain(&action.args);
    let variables = || action.env.iter().flat_map(|variable| [&variable.name, &variable.value]);
    if words().chain(variables()).any(|text| text.contains('\0')) {
        return Err("command, args and env cannot have the character U+0000".to_owned());
    }
    let wrong = |name: &&str| name.is_empty() || name.contains('=');
    if let Some(name) = action.env.iter().map(|variable| variable.name.as_str()).find(wrong) {
        return Err(format!("{name:?} is no name of a variable"));
    }
    let bytes: usize = words().chain(variables()).map(|text| text.len() + 1).sum();
    let most = COMMAND_BYTES_MAX - OWN_BYTES;
    if bytes > most {
        return Err(format!("command, args and env have {bytes} bytes, above {most}"));
    }
    Ok(())
}

/// The pools of the configuration as the dispatcher knows them.
pub fn pools(files: &[PoolFile], folder: Option<&Path>) -> Result<Vec<Target>, TargetError> {
    files.iter().map(|file| pool(file, folder)).collect()
}

fn pool(file: &PoolFile, folder: Option<&Path>) -> Result<Target, TargetError> {
    let name = lane(&file.name);
    let count = |number: i32| usize::try_from(number).unwrap_or(1).max(1);
    let folder = match folder {
        _ if !file.has_token => None,
        Some(folder) => Some(folder.join(POOLS).join(&file.name)),
        None => return Err(TargetError::NoFolder { name }),
    };
    let runs_per_pod = count(file.runs_per_pod);
    Ok(Target {
        max_in_flight: count(file.pods).saturating_mul(runs_per_pod),
        auth: folder.map(|folder| Auth { folder }),
        pool: Some(PoolMembers { addresses: file.addresses.clone(), runs_per_pod }),
        ..Target::new(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> PoolFile {
        serde_json::from_str(
            r#"{"name": "tools", "addresses": ["a:9410"], "pods": 3, "runsPerPod": 2,
                "timeoutSeconds": 60, "hasToken": true}"#,
        )
        .expect("a pool")
    }

    fn built(action: &str) -> Result<PooledAction, String> {
        let action = serde_json::from_str(action).expect("an action");
        Pools::new(&[file()]).build(&action, None)
    }

    #[test]
    fn a_pool_is_a_target_with_as_many_places_as_its_pods_have() {
        let target = pool(&file(), Some(Path::new("/t"))).expect("it is whole");
        assert_eq!((target.name.as_str(), target.max_in_flight), ("pool/tools", 6));
        assert_eq!(target.auth.expect("a token").folder, Path::new("/t/_pools/tools"));
        pool(&file(), None).expect_err("its token is nowhere");
    }

    #[test]
    fn what_no_process_can_be_started_with_is_refused_before_it_is_a_job() {
        let action = built(r#"{"pool": "tools", "command": ["a"], "args": ["b"]}"#).expect("fine");
        assert_eq!(action.timeout, Duration::from_mins(1));
        assert!(built(r#"{"pool": "x", "command": ["a"]}"#).unwrap_err().contains("has tools"));
        for action in [
            r#"{"pool": "tools", "command": []}"#.to_owned(),
            r#"{"pool": "tools", "command": [""]}"#.to_owned(),
            r#"{"pool": "tools", "command": ["a\u0000"]}"#.to_owned(),
            r#"{"pool": "tools", "command": ["a"], "env": [{"name": "A=B"}]}"#.to_owned(),
            format!(r#"{{"pool": "tools", "command": ["{}"]}}"#, "x".repeat(COMMAND_BYTES_MAX)),
        ] {
            built(&action).unwrap_err();
        }
    }
}
