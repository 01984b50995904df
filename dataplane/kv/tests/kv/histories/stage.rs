//! A group of real processes and the operator's part, played by the test as decision 6 says it: fence,
//! wait for the end of the old lease, promote the one that has most.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use orrery_operand::OperandError;
use orrery_operand::v1::ReportResponse;

use super::backend::{Backend, Carrier, LEASE_MS};
use super::clock;
use super::proxy::Proxy;
use super::service::{Primary, Service};
use crate::process::Engine;
use crate::replication::group::{
    Shape, again, block_on, eventually, fence, operator, promote, report,
};
use crate::replication::keeper::Keeper;

/// What a lease may last longer by, as messages have their time.
const DRIFT_MS: u32 = 100;

pub(crate) struct Stage {
    pub(crate) backend: Backend,
    shape: Shape,
    /// Whether they can be set wrong.
    pub(crate) has_clocks: bool,
    pub(crate) carrier: Carrier,
    members: Vec<Option<Engine>>,
    /// The way of followers to each member.
    pub(crate) links: Vec<Proxy>,
    pub(crate) primary: usize,
    epoch: u64,
    keeper: Option<Keeper>,
    pub(crate) service: Arc<Service>,
}

impl Stage {
    /// An error is why it cannot run here.
    pub(crate) fn start(backend: Backend) -> Result<Self, String> {
        Self::start_as(backend, backend.synchronous())
    }

    /// The same with another number of followers that must have every write.
    pub(crate) fn start_as(backend: Backend, synchronous: u32) -> Result<Self, String> {
        let carrier = Carrier::start(backend)?;
        let count = backend.members();
        let library = clock::library();
        if let Err(why) = &library {
            println!("clocks stay right: {why}");
        }
        let prepare = |at: usize| {
            let folder = carrier.prepare(at);
            if let Ok(library) = &library {
                clock::install(library, folder.path());
            }
            folder
        };
        let members: Vec<_> = (0..count).map(|at| Some(again(prepare(at)))).collect();
        let links = members.iter().flatten().map(|member| Proxy::to(member.port)).collect();
        let service = Arc::new(Service::new(count));
        let mut stage = Self {
            backend,
            shape: (count as u32 - 1, synchronous, LEASE_MS),
            has_clocks: library.is_ok(),
            carrier,
            members,
            links,
            primary: 0,
            epoch: 0,
            keeper: None,
            service,
        };
        stage.promote(0);
        stage.settle();
        Ok(stage)
    }

    pub(crate) fn member(&self, at: usize) -> &Engine {
        self.members[at].as_ref().expect("it is there")
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Engine> {
        self.members.iter().flatten()
    }

    /// All but the primary.
    pub(crate) fn followers(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|at| *at != self.primary).collect()
    }

    /// Makes another one primary, after the old one can no longer believe it is. `is_planned` if that
    /// one can be told. Gives the old one.
    pub(crate) fn fail_over(&mut self, is_planned: bool) -> usize {
        let old = self.primary;
        // Nobody confirms the old one from here on.
        self.keeper = None;
        let others = self.followers();
        let epoch = self.epoch + 1;
        for other in &others {
            fence(self.member(*other), epoch);
        }
        if is_planned {
            fence(self.member(old), epoch);
        } else {
            thread::sleep(Duration::from_millis(u64::from(LEASE_MS + DRIFT_MS)));
        }
        let rank = |at: &usize| {
            let report = report(self.member(*at));
            (report.durable_epoch, report.durable_position)
        };
        let best = others.into_iter().max_by_key(rank).expect("somebody");
        self.promote(best);
        for other in self.followers() {
            if other != old {
                // One that ends now is found when all settle.
                let _ = self.follow(other);
            }
        }
        old
    }

    fn promote(&mut self, at: usize) {
        self.epoch += 1;
        self.service.grant(self.epoch);
        self.primary = at;
        eventually("it is promoted", || match promote(self.member(at), self.epoch) {
            Ok(_) => Some(()),
            Err(OperandError::Unavailable(_)) => None,
            Err(error) => panic!("{error:?}"),
        });
        let keeper = Keeper::keep(self.member(at), self.epoch, self.shape);
        self.keeper = Some(keeper);
        let (epoch, port) = (self.epoch, self.member(at).port);
        self.service.lead_to(Primary { pod: at, epoch, port });
    }

    /// Tells a member to follow the primary.
    pub(crate) fn follow(&self, at: usize) -> Result<(), OperandError> {
        self.service.tell_to_follow(at, self.epoch);
        let address = format!("127.0.0.1:{}", self.links[self.primary].port);
        let work = async { operator(self.member(at)).follow(0, self.epoch, address, false).await };
        block_on(work).map(drop)
    }

    /// Kills a member, if it lives, and starts it with what it has.
    pub(crate) fn restart(&mut self, at: usize) {
        let member = self.members[at].take().expect("it is there");
        let member = again(member.kill());
        self.links[at].lead_to(member.port);
        self.members[at] = Some(member);
    }

    /// Waits until everybody has its role and the primary takes writes. Who has ended, as an old
    /// primary does that learns it from the engine, is started again as a kubelet would.
    pub(crate) fn settle(&mut self) {
        eventually("all are in their roles", || {
            let ended = |at: &usize| has_ended(self.member(*at));
            if let Some(at) = (0..self.members.len()).find(ended) {
                self.restart(at);
                if at == self.primary {
                    self.promote(at);
                }
            }
            let is_writable = |report: ReportResponse| report.writable;
            let leads = try_report(self.member(self.primary)).is_some_and(is_writable);
            let follows = |at: usize| {
                let Some(report) = try_report(self.member(at)) else { return false };
                let Some(link) = &report.link else {
                    // It was told nothing yet, or lost that by ending.
                    let _ = self.follow(at);
                    return false;
                };
                report.ready && link.up
            };
            // All are told, also when one is not there yet: a primary may wait for them.
            let missing = self.followers().into_iter().filter(|at| !follows(*at)).count();
            (leads && missing == 0).then_some(())
        });
    }
}

/// Whether the process is over and only its exit code is left.
fn has_ended(engine: &Engine) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", engine.pid())).unwrap_or_default();
    text.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

fn try_report(engine: &Engine) -> Option<ReportResponse> {
    block_on(async {
        let patience = Duration::from_millis(500);
        tokio::time::timeout(patience, operator(engine).report()).await.ok()?.ok()
    })
}
