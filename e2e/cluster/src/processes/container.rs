//! One container as a process that is kept running: started, probed, restarted with a growing
//! delay, stopped politely and then by force.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use tokio::sync::mpsc;

use crate::node::{ContainerState, Ended, Order, Step};
use crate::process::Process;
use crate::processes::probe::{Prober, Verdict};
use crate::run::Run;

/// Before the first restart; a kubelet starts with ten seconds.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);

/// The longest wait before a restart; a kubelet's is five minutes.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A run this long starts the delays anew.
const BACKOFF_RESET: Duration = Duration::from_secs(30);

/// A command line and where it runs.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) folder: PathBuf,
    pub(super) log: PathBuf,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

/// Keeps one container.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) container: Container,
    pub(super) launch: Launch,
    pub(super) restart: Restart,
    pub(super) address: String,
    pub(super) run: Arc<Run>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) told: mpsc::Sender<(String, ContainerState)>,
    pub(super) state: ContainerState,
    /// What a test said about readiness, against what the probes say.
    pub(super) forced: Option<bool>,
}

/// Why nobody attends to a process any more.
enum Over {
    Exited(ExitStatus),
    Stopped,
}

impl Keeper {
    /// Runs until told to stop, or until the container ended for good.
    pub(super) async fn keep(mut self) {
        let mut backoff = BACKOFF_FIRST;
        loop {
            let since = Timestamp::now();
            let over = match self.start() {
                Ok(process) => self.attend(&process, since).await,
                Err(message) => {
                    self.state.step =
                        Step::Waiting { reason: "RunContainerError".to_owned(), message };
                    self.tell().await;
                    if self.pause(backoff).await {
                        return;
                    }
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    continue;
                }
            };
            let Over::Exited(status) = over else { return };
            let end = ended(status, since);
            if Timestamp::now().duration_since(since).unsigned_abs() > BACKOFF_RESET {
                backoff = BACKOFF_FIRST;
            }
            self.state.ready = false;
            if !self.starts_again(end.exit_code) {
                self.state.step = Step::Ended(end);
                self.tell().await;
                return;
            }
            let message = format!("restarting failed container, exit code {}", end.exit_code);
            self.state.last = Some(end);
            self.state.step = Step::Waiting { reason: "CrashLoopBackOff".to_owned(), message };
            self.tell().await;
            if self.pause(backoff).await {
                return;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
            self.state.restarts += 1;
        }
    }

    fn starts_again(&self, exit_code: i32) -> bool {
        match self.restart {
            Restart::Always => true,
            Restart::OnFailure => exit_code != 0,
            Restart::Never => false,
        }
    }

    fn start(&self) -> Result<Arc<Process>, String> {
        let Launch { program, arguments, environment, folder, log } = &self.launch;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment).current_dir(folder);
        let started = self.run.start(&self.container.name, command, log.clone());
        started.map_err(|cause| match std::error::Error::source(&cause) {
            Some(source) => format!("{cause} {}: {source}", program.display()),
            None => cause.to_string(),
        })
    }

    /// Probes a running process and obeys orders until it is over.
    async fn attend(&mut self, process: &Process, since: Timestamp) -> Over {
        let mut prober = Prober::start(&self.container, &self.address);
        let mut probed = prober.ready_at_once();
        self.state.step = Step::Running { since };
        self.state.id = format!("process://{}", process.pid());
        self.state.ready = self.forced.unwrap_or(probed);
        self.tell().await;
        loop {
            tokio::select! {
                status = process.wait() => return Over::Exited(status),
                verdict = prober.next() => match verdict {
                    Verdict::Ready(ready) => probed = ready,
                    Verdict::Restart => process.kill_group(),
                },
                order = self.orders.recv() => match order {
                    Some(Order::Stop { grace }) => {
                        self.stop(process, grace, since).await;
                        return Over::Stopped;
                    }
                    Some(Order::Crash) => process.kill_group(),
                    Some(Order::Signal(number)) => send(process, number),
                    Some(Order::Ready(ready)) => self.forced = (!ready).then_some(false),
                    // The pod's own task is gone.
                    None => {
                        process.kill_group();
                        return Over::Stopped;
                    }
                },
            }
            let ready = self.forced.unwrap_or(probed);
            if ready != self.state.ready {
                self.state.ready = ready;
                self.tell().await;
            }
        }
    }

    /// Ends the process within `grace`, or sooner when another order says so.
    async fn stop(&mut self, process: &Process, grace: Duration, since: Timestamp) {
        let hook = self.container.lifecycle.as_ref().and_then(|hooks| hooks.pre_stop.as_ref());
        let pause = hook.and_then(|hook| hook.sleep.as_ref());
        let pause = pause.map_or(0, |sleep| sleep.seconds.unsigned_abs());
        // The hook's time is part of the grace period.
        let pause = Duration::from_secs(pause).min(grace);
        let polite = async {
            tokio::time::sleep(pause).await;
            process.stop(grace.saturating_sub(pause)).await;
        };
        tokio::select! {
            () = polite => {}
            () = shorter(&mut self.orders) => process.kill_group(),
        }
        let status = process.wait().await;
        self.state.ready = false;
        self.state.step = Step::Ended(ended(status, since));
        self.tell().await;
    }

    /// Waits; true when it was told to stop meanwhile.
    async fn pause(&mut self, delay: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + delay;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return false,
                order = self.orders.recv() => match order {
                    Some(Order::Stop { .. }) | None => return true,
                    Some(Order::Ready(ready)) => self.forced = (!ready).then_some(false),
                    Some(Order::Crash | Order::Signal(_)) => {}
                },
            }
        }
    }

    async fn tell(&self) {
        // Nobody listens when the pod's own task is gone; then this one ends with the next order.
        let _ = self.told.send((self.container.name.clone(), self.state.clone())).await;
    }
}

/// Returns when an order takes the rest of the grace period away.
async fn shorter(orders: &mut mpsc::Receiver<Order>) {
    loop {
        match orders.recv().await {
            Some(Order::Stop { .. }) | None => return,
            Some(_) => {}
        }
    }
}

fn send(process: &Process, number: i32) {
    if let (Ok(signal), None) = (Signal::try_from(number), process.ended()) {
        let _ = signal::killpg(Pid::from_raw(process.pid() as i32), signal);
    }
}

fn ended(status: ExitStatus, since: Timestamp) -> Ended {
    // A shell's convention for the end by a signal, which container runtimes follow.
    let exit_code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    let reason = if exit_code == 0 { "Completed" } else { "Error" };
    Ended { exit_code, reason: reason.to_owned(), since, until: Timestamp::now() }
}
