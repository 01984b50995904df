//! A running process and the conversation with it over the management protocol.
//!
//! Must not: decide what runs or what is declared. It asks for reports as long as the process runs,
//! hands over declared sets the process does not have yet, tells one that waits for its role that it
//! has it, and keeps the answers; an answer belongs
//! to one run and is forgotten with it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use orrery_operand::client::OperandClient;
use orrery_operand::v1::{ObjectResult, RenewRequest, Role, Shard, SyncRequest};
use orrery_runtime::labels::MANAGEMENT_PORT_NAME;
use orrery_runtime::observation::{PodView, Report};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::objects::Key;
use crate::process::plan::Plan;
use crate::process::supervisor::{Life, Phase, Shared, Supervisor};

/// Between two reports while something is awaited.
const ASK_SOON: Duration = Duration::from_millis(50);
/// What a process gives as its reason that waits to be told its role.
const STANDBY: &str = "Standby";
/// Between two reports at rest.
const ASK_AT_REST: Duration = Duration::from_secs(1);
/// A set that is held is sent again this often, for the figures in the answer.
const REFRESH: Duration = Duration::from_secs(5);

/// What a process said in its present run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    pub report: Option<Report>,
    /// Why it could not be asked.
    pub error: Option<String>,
    /// Answers to declared sets, by kind.
    pub answers: BTreeMap<String, Answer>,
}

/// The answer to one declared set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    pub set_hash: String,
    pub results: Vec<ObjectResult>,
}

impl Answer {
    /// How long it is good for: states change more often than figures.
    fn refresh(&self) -> Duration {
        let has_states = self.results.iter().any(|result| !result.state.is_empty());
        if has_states { ASK_AT_REST } else { REFRESH }
    }
}

/// Sets a process should hold.
pub type Sets = Rc<Vec<SyncRequest>>;

/// One process of one object.
#[derive(Debug)]
pub struct Pod {
    /// The object it runs for.
    pub owner: Key,
    /// What is wanted of it.
    pub plan: Plan,
    supervisor: Supervisor,
    said: watch::Receiver<Said>,
    sets: watch::Sender<Sets>,
    talk: JoinHandle<()>,
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.talk.abort();
    }
}

impl Pod {
    /// Starts the process. `wake` is notified whenever there is something new to see.
    pub fn start(shared: &Rc<Shared>, owner: Key, plan: Plan, wake: &Rc<Notify>) -> Self {
        let supervisor = Supervisor::start(Rc::clone(shared), plan.clone());
        let (told, said) = watch::channel(Said::default());
        let (sets, wanted) = watch::channel(Sets::default());
        let talk = Talk { life: supervisor.watch(), wanted, told, wake: Rc::clone(wake) };
        let talk = tokio::task::spawn_local(talk.talk());
        Self { owner, plan, supervisor, said, sets, talk }
    }

    /// Lets the process become `plan`.
    pub fn become_plan(&mut self, plan: Plan) {
        if self.supervisor.run(plan.clone()) {
            self.plan = plan;
        }
    }

    /// Sets the process should hold.
    pub fn declare(&self, sets: &Sets) {
        self.sets.send_if_modified(|held| {
            let new = held != sets;
            if new {
                *held = Rc::clone(sets);
            }
            new
        });
    }

    pub fn stop(&self) {
        self.supervisor.stop();
    }

    pub fn kill(&self) {
        self.supervisor.kill();
    }

    pub fn is_over(&self) -> bool {
        self.supervisor.is_over()
    }

    pub fn life(&self) -> Life {
        self.supervisor.life()
    }

    pub fn said(&self) -> Said {
        self.said.borrow().clone()
    }

    /// Whether it runs as planned and serves.
    pub fn is_ready(&self) -> bool {
        let life = self.life();
        life.phase == Phase::Running
            && life.plan_hash == self.plan.hash()
            && self.said.borrow().report.as_ref().is_some_and(|report| report.ready)
    }

    /// As the status is made from it.
    pub fn view(&self) -> PodView {
        let (life, said) = (self.life(), self.said());
        let running = life.phase == Phase::Running;
        PodView {
            name: self.plan.pod.clone(),
            uid: String::new(),
            revision: None,
            asked_hash: None,
            archive_hash: None,
            ip: Some("127.0.0.1".to_owned()),
            ready: running && said.report.as_ref().is_some_and(|report| report.ready),
            terminating: matches!(life.phase, Phase::Stopping | Phase::Stopped),
            trouble: life.trouble,
            // Right after its start a process does not listen yet; that is no error.
            report_error: None,
            report: said.report.filter(|_| running),
        }
    }

    /// Where it is, in a few words for people.
    pub fn state(&self) -> String {
        let (life, said) = (self.life(), self.said());
        match life.phase {
            Phase::Idle => "starting".to_owned(),
            Phase::Stopping => "stopping".to_owned(),
            Phase::Stopped => "stopped".to_owned(),
            Phase::Waiting => {
                let why = life.trouble.map_or_else(String::new, |(_, message)| message);
                format!("will be started again: {why}")
            }
            Phase::Running => match said.report {
                None => "starting".to_owned(),
                Some(report) if report.ready && report.reason.is_empty() => "ready".to_owned(),
                Some(report) if report.ready => {
                    format!("ready, {}: {}", report.reason, report.message)
                }
                Some(report) => format!("{}: {}", report.reason.to_lowercase(), report.message),
            },
        }
    }
}

struct Talk {
    life: watch::Receiver<Life>,
    wanted: watch::Receiver<Sets>,
    told: watch::Sender<Said>,
    wake: Rc<Notify>,
}

impl Talk {
    async fn talk(mut self) {
        let mut known = Life::default();
        let mut run = 0;
        let mut client = None;
        let mut sent: BTreeMap<String, Instant> = BTreeMap::new();
        loop {
            let life = self.life.borrow_and_update().clone();
            let sets = Rc::clone(&self.wanted.borrow_and_update());
            if life.run != run || life.phase != Phase::Running {
                run = life.run;
                client = None;
                sent.clear();
                self.tell(Said::default());
            }
            if life != known {
                self.wake.notify_one();
            }
            known = life.clone();
            let port = life.ports.get(MANAGEMENT_PORT_NAME);
            let mut pause = ASK_AT_REST;
            if let (Phase::Running, Some(port)) = (&life.phase, port) {
                if client.is_none() {
                    client = OperandClient::new(&format!("127.0.0.1:{port}"), None).ok();
                }
                if let Some(client) = &client
                    && !self.ask(client, &sets, &mut sent).await
                {
                    pause = ASK_SOON;
                }
            }
            tokio::select! {
                changed = self.life.changed() => if changed.is_err() { return },
                changed = self.wanted.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Asks for a report and hands over what is missing. False when something is awaited.
    async fn ask(
        &self,
        client: &OperandClient,
        sets: &Sets,
        sent: &mut BTreeMap<String, Instant>,
    ) -> bool {
        let mut said = self.told.borrow().clone();
        let mut at_rest = true;
        match client.report().await {
            Ok(report) => {
                at_rest &= report.ready;
                for shard in &report.shards {
                    if shard.role() == Role::Standby && shard.reason == STANDBY {
                        lead(client, shard).await;
                    }
                }
                (said.report, said.error) = (Some(report), None);
            }
            Err(error) => {
                (said.report, said.error) = (None, Some(error.to_string()));
                self.tell(said);
                return false;
            }
        }
        for set in sets.iter() {
            let held = said.answers.get(&set.kind).is_some_and(|a| a.set_hash == set.set_hash);
            let refresh = said.answers.get(&set.kind).map_or(REFRESH, Answer::refresh);
            let fresh = sent.get(&set.kind).is_some_and(|at| at.elapsed() < refresh);
            if held && fresh {
                continue;
            }
            match client.sync(set.clone()).await {
                Ok(response) => {
                    sent.insert(set.kind.clone(), Instant::now());
                    let (set_hash, results) = (set.set_hash.clone(), response.results);
                    said.answers.insert(set.kind.clone(), Answer { set_hash, results });
                }
                Err(error) => {
                    tracing::debug!(%error, kind = set.kind, "failed to hand over a set");
                    at_rest = false;
                }
            }
        }
        said.answers.retain(|kind, _| sets.iter().any(|set| set.kind == *kind));
        self.tell(said);
        at_rest
    }

    fn tell(&self, said: Said) {
        let new = self.told.send_if_modified(|held| {
            let new = *held != said;
            if new {
                *held = said;
            }
            new
        });
        if new {
            self.wake.notify_one();
        }
    }
}

/// Tells a process that waits for the role of a shard that it is the one that writes: on one machine
/// there is no other. It is told again as long as it waits.
async fn lead(client: &OperandClient, shard: &Shard) {
    let epoch = shard.epoch.max(shard.known_epoch) + 1;
    if let Err(error) = client.promote(shard.id, epoch).await {
        tracing::debug!(%error, epoch, "failed to promote");
        return;
    }
    let alone = RenewRequest {
        shard: shard.id,
        epoch,
        followers: 0,
        synchronous: 0,
        lease_milliseconds: 0,
        said_at: shard.said_at,
    };
    if let Err(error) = client.renew(alone).await {
        tracing::debug!(%error, epoch, "failed to say that it is alone");
    }
}
