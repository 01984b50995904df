//! The two ways to serve: with journals of its own, or with journals that are carried elsewhere, for which
//! a process stands by until it owns them.
//!
//! Must not: outlive the ownership. An owner that is none any more ends, and the next process stands by.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use orrery_api::scheduler::SchedulerConfig;
use orrery_api::spec::JournalBackend;
use orrery_archiving::config::RecoveryConfig;
use orrery_carrying::Carried;
use orrery_journal::{Carrier, Owner};
use orrery_kit::env::Env;
use orrery_kit::shutdown::Shutdown;

use super::{ServeArgs, ServeError, work};
use crate::archive::Archives;
use crate::assembly::{Assembly, snapshot_after_bytes};
use crate::ownership::{LENGTH, Owned, RENEW, SEAT, Seat, Standby, StandbyParts, Standing};
use crate::partition::Handle;
use crate::{api, archive, instance};

/// Folder of the partitions in the data folder.
const PARTITIONS: &str = "partitions";
/// How long an owner that hands over waits for answers of targets: the next one asks for the rest.
const HAND_OVER_PATIENCE: Duration = Duration::from_millis(500);

/// What carries the journals, if anything does: that of the seat first, then those of the partitions.
pub(super) fn carriers(
    config: &SchedulerConfig,
    partitions: u16,
) -> Result<Option<Vec<Arc<dyn Carrier>>>, ServeError> {
    if config.journal == JournalBackend::Local {
        return Ok(None);
    }
    let object = format!("{}/{}", config.object.namespace, config.object.name);
    let carried = Carried { backend: config.journal, object };
    let shards: Vec<u32> = [SEAT].into_iter().chain((0..partitions).map(u32::from)).collect();
    Ok(Some(orrery_carrying::open_all(&carried, &shards)?))
}

/// What both ways of serving need.
pub(super) struct Served<'a> {
    pub(super) args: &'a ServeArgs,
    pub(super) config: &'a SchedulerConfig,
    pub(super) env: Arc<dyn Env>,
    /// What an empty data folder is filled from.
    pub(super) recovery: Option<RecoveryConfig>,
    /// Where the journals are archived.
    pub(super) archives: Option<Arc<Archives>>,
}

impl Served<'_> {
    fn folder(&self) -> PathBuf {
        self.args.data.join(PARTITIONS)
    }

    /// What keys of runs begin with.
    fn key(&self, name: &str) -> String {
        format!("{}_{}_{name}", self.config.object.namespace, self.config.object.name)
    }

    /// With journals of its own. Clients come in once they are read.
    pub(super) fn alone(
        &self,
        mut assembly: Assembly,
        serve: impl FnOnce() -> Result<api::Api, ServeError>,
    ) -> Result<u8, ServeError> {
        let data = &self.args.data;
        if let Some(from) = &self.recovery {
            let partitions = assembly.handles.len() as u16;
            let health = &assembly.crew.shared.health;
            archive::recover(from, (data, PARTITIONS), partitions, health)?;
        }
        let name = instance::name(data, &*self.env)
            .map_err(|source| ServeError::Folder { path: data.clone(), source })?;
        let (name, folder) = (self.key(&name), self.folder());
        let inherited = archive::inherited(&folder)
            .map_err(|source| ServeError::Folder { path: folder.clone(), source })?;
        assembly.crew.name(&name);
        if let Some(archives) = &self.archives {
            archives
                .start(&folder, &assembly.handles, &name, &inherited)
                .map_err(|source| ServeError::Folder { path: folder.clone(), source })?;
        }
        assembly.crew.inherit(inherited);
        let opened = assembly.open(&folder)?;
        let _api = serve()?;
        let all = assembly.handles.clone();
        let _shutdown = Shutdown::on_signals(move || all.iter().for_each(Handle::end))?;
        work(opened, &assembly.handles)
    }

    /// With journals that are carried elsewhere: stands by until it owns them, and ends when it does not
    /// any more; the next process stands by again.
    pub(super) fn grouped(
        &self,
        mut assembly: Assembly,
        mut carriers: Vec<Arc<dyn Carrier>>,
        standing: &Arc<Standing>,
    ) -> Result<u8, ServeError> {
        let _shutdown = Shutdown::on_signals({
            let standing = Arc::clone(standing);
            move || standing.end()
        })?;
        let seat = carriers.remove(0);
        let folder = self.folder();
        let standby = Standby::new(StandbyParts {
            folder: &folder,
            seat: Arc::clone(&seat),
            carriers,
            standing: Arc::clone(standing),
            env: Arc::clone(&self.env),
            shared: Arc::clone(&assembly.crew.shared),
            history_seconds: self.config.history.keep_seconds,
            snapshot_after_bytes: snapshot_after_bytes(self.config),
        });
        let Some(owned) = standby.wait()? else { return Ok(0) };
        let Owned { owner, seat: mut own, name, partitions, asked, others_until } = owned;
        assembly.crew.name(&self.key(&name));
        standing.lease.confirm(asked);
        let opened = assembly.go_on(&folder, partitions, others_until);
        if !standing.owns(owner.epoch.0) {
            tracing::warn!(epoch = owner.epoch.0, "a later owner is known: beginning again");
            return Ok(0);
        }
        let watch = {
            let (standing, handles) = (Arc::clone(standing), assembly.handles.clone());
            let watch = move || watch(&*seat, owner, &standing, &handles);
            thread::Builder::new().name("owner".into()).spawn(watch)?
        };
        let ended = work(opened, &assembly.handles);
        standing.end();
        if watch.join().is_err() {
            tracing::error!("the thread that watches over the ownership panicked");
        }
        // What was sent is answered or will be asked about: nothing more leaves from here.
        standing.lease.revoke();
        assembly.crew.dispatcher.stop(Duration::ZERO);
        if let Err(error) = own.leave(owner) {
            tracing::warn!(%error, epoch = owner.epoch.0, "the next owner is not told of the end");
        }
        ended
    }
}

/// Keeps the lease while the seat says that this process is the owner; ends the partitions when it is
/// not any more, or the process is to end.
fn watch(seat: &dyn Carrier, owner: Owner, standing: &Standing, handles: &[Handle]) {
    let mut pause = RENEW;
    while !standing.is_over_within(pause) {
        let asked = Instant::now();
        match Seat::ask(seat) {
            Ok(held) if held == owner.epoch => standing.lease.confirm(asked),
            Ok(held) => _ = standing.fence(held.0),
            Err(error) => tracing::debug!(%error, "the seat does not answer"),
        }
        let took = asked.elapsed();
        pause = RENEW.saturating_sub(took).max(RENEW / 10);
        if took >= LENGTH {
            tracing::warn!(milliseconds = took.as_millis() as u64, "the seat answers late");
        }
    }
    let patience = if standing.is_owner() { HAND_OVER_PATIENCE } else { Duration::ZERO };
    for handle in handles {
        handle.end_within(patience);
    }
}
