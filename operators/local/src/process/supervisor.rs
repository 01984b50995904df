//! One task per process that keeps it running as planned, until it is told to stop.
//!
//! Must not: decide what should run, nor whether it serves; it only says what it did. Everything it
//! waits for ends: a start, a stop by force after the grace period, a back-off.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::log::{self, FILE_BYTES_MAX, RotatingFile};
use super::plan::Plan;
use super::record::Recorded;
use super::tether;
use crate::folder::{Folder, make_folder, write_file};
use crate::ports::PortBook;

/// What the task is told.
#[derive(Debug)]
enum Order {
    Run(Box<Plan>),
    Stop,
    /// End it without grace.
    Kill,
}

/// Where a process is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Phase {
    /// Nothing was started yet.
    #[default]
    Idle,
    Running,
    /// It ended, or could not be started; the next try comes by itself.
    Waiting,
    Stopping,
    Stopped,
}

/// What is to be said about a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Life {
    pub phase: Phase,
    pub pid: Option<u32>,
    /// Counts starts; what was learned from one run is not true of the next.
    pub run: u64,
    /// Starts after it ended by itself.
    pub restarts: u32,
    /// Hash of the plan that runs.
    pub plan_hash: String,
    /// Ports of this run by name.
    pub ports: BTreeMap<String, u16>,
    /// Why it does not run, in one CamelCase word and a sentence.
    pub trouble: Option<(String, String)>,
}

/// What all tasks share. They run on one thread: see [`tether`].
#[derive(Debug)]
pub struct Shared {
    pub folder: Folder,
    pub ports: RefCell<PortBook>,
    /// The program that is run: this one.
    pub program: PathBuf,
}

/// The handle of a task.
#[derive(Debug)]
pub struct Supervisor {
    orders: mpsc::Sender<Order>,
    life: watch::Receiver<Life>,
    task: JoinHandle<()>,
}

/// Orders are few and the task takes them at once, except while it ends a process.
const ORDERS_MAX: usize = 16;

impl Supervisor {
    /// Starts the task; must be called within a `LocalSet`.
    pub fn start(shared: Rc<Shared>, plan: Plan) -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (told, life) = watch::channel(Life::default());
        let keeper = Keeper { shared, inbox, told, backoff: Backoff::default() };
        let task = tokio::task::spawn_local(keeper.keep(plan));
        Self { orders, life, task }
    }

    /// Lets the process become `plan`, by a restart if it is another one. False when the task is
    /// too busy to be told now; the caller's next round tells it again.
    pub fn run(&self, plan: Plan) -> bool {
        self.orders.try_send(Order::Run(Box::new(plan))).is_ok()
    }

    /// Stops the process with its grace period.
    pub fn stop(&self) -> bool {
        self.orders.try_send(Order::Stop).is_ok()
    }

    /// Ends the process now.
    pub fn kill(&self) -> bool {
        self.orders.try_send(Order::Kill).is_ok()
    }

    pub fn life(&self) -> Life {
        self.life.borrow().clone()
    }

    /// For waiting until something changes.
    pub fn watch(&self) -> watch::Receiver<Life> {
        self.life.clone()
    }

    /// Whether the process has stopped and the task has ended.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

struct Keeper {
    shared: Rc<Shared>,
    inbox: mpsc::Receiver<Order>,
    told: watch::Sender<Life>,
    backoff: Backoff,
}

/// How a run ended.
enum End {
    /// By itself.
    Exit(ExitStatus),
    /// To become something else.
    Replaced(Box<Plan>),
    Stopped,
}

impl Keeper {
    async fn keep(mut self, mut plan: Plan) {
        loop {
            let (wait, trouble) = match self.spawn(&plan) {
                Ok((child, recorded)) => {
                    let since = Instant::now();
                    let end = self.accompany(child, &mut plan).await;
                    drop(recorded);
                    match end {
                        End::Stopped => break,
                        End::Replaced(next) => {
                            plan = *next;
                            self.backoff.reset();
                            continue;
                        }
                        End::Exit(status) => {
                            let trouble = ("Exited".to_owned(), describe(status));
                            (self.backoff.after(since.elapsed()), trouble)
                        }
                    }
                }
                Err(message) => {
                    (self.backoff.after(Duration::ZERO), ("CannotStart".to_owned(), message))
                }
            };
            tracing::warn!(
                process = plan.name,
                reason = trouble.0,
                message = trouble.1,
                wait_ms = wait.as_millis() as u64,
                "will be started again"
            );
            self.told.send_modify(|life| {
                life.phase = Phase::Waiting;
                life.pid = None;
                life.restarts = life.restarts.saturating_add(1);
                life.trouble = Some(trouble);
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                order = self.inbox.recv() => match order {
                    Some(Order::Run(next)) => {
                        if next.hash() != plan.hash() {
                            self.backoff.reset();
                        }
                        plan = *next;
                    }
                    Some(Order::Stop | Order::Kill) | None => break,
                },
            }
        }
        self.told.send_modify(|life| {
            life.phase = Phase::Stopped;
            life.pid = None;
            life.trouble = None;
        });
    }

    /// Writes what the process reads, chooses its ports and starts it.
    fn spawn(&mut self, plan: &Plan) -> Result<(Child, Option<Recorded>), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        for folder in &plan.emptied {
            match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(format!("failed to empty {}: {error}", folder.display()));
                }
                _ => {}
            }
        }
        for folder in &plan.folders {
            make_folder(folder).map_err(|error| text(&error))?;
        }
        for (path, content) in plan.files.iter().chain(&plan.live) {
            write_file(path, content).map_err(|error| text(&error))?;
        }
        let mut ports = BTreeMap::new();
        for port in &plan.ports {
            let mut book = self.shared.ports.borrow_mut();
            let chosen = book.port(&plan.port_key(&port.name), port.declared);
            ports.insert(port.name.clone(), chosen.map_err(|error| text(&error))?);
        }
        let mut child = self.command(plan, &ports).spawn().map_err(|error| {
            format!("failed to start {}: {error}", self.shared.program.display())
        })?;
        let log_path = self.shared.folder.log(&plan.namespace, &plan.name);
        let log = Rc::new(RefCell::new(RotatingFile::new(&log_path, FILE_BYTES_MAX)));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let to = Rc::clone(&log);
        if let Some(out) = out {
            tokio::task::spawn_local(log::copy(out, move |bytes| to.borrow_mut().write(bytes)));
        }
        if let Some(err) = err {
            tokio::task::spawn_local(log::copy(err, move |bytes| log.borrow_mut().write(bytes)));
        }
        let recorded = match child.id() {
            Some(pid) => {
                let name = format!("{}/{}", plan.namespace, plan.name);
                Recorded::write(&self.shared.folder, &name, pid).map_err(|error| text(&error))?
            }
            None => None,
        };
        self.told.send_modify(|life| {
            life.phase = Phase::Running;
            life.pid = child.id();
            life.run += 1;
            life.plan_hash = plan.hash();
            life.ports = ports;
            life.trouble = None;
        });
        Ok((child, recorded))
    }

    fn command(&self, plan: &Plan, ports: &BTreeMap<String, u16>) -> Command {
        let mut command = Command::new(&self.shared.program);
        command.args(&plan.arguments).env_clear();
        let own = |names: &[&'static str]| -> Vec<(&'static str, OsString)> {
            names.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))).collect()
        };
        command.envs(own(&["PATH", "HOME", "TMPDIR", "TZ", "LANG", "RUST_BACKTRACE"]));
        command.envs(&plan.environment);
        // People read these logs, and they may ask for more.
        command.env("ORRERY_LOG", "text").envs(own(&["ORRERY_LOG", "ORRERY_LOG_LEVEL"]));
        for port in &plan.ports {
            let address = format!("127.0.0.1:{}", ports.get(&port.name).copied().unwrap_or(0));
            command.env(port.variable(), address);
        }
        command.env(tether::VARIABLE, std::process::id().to_string());
        command.current_dir(self.shared.folder.root());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C in a terminal goes to the whole group; children are stopped in order instead.
        command.process_group(0).kill_on_drop(true);
        command
    }

    /// Stays with a running process until it ends, by itself or as ordered.
    async fn accompany(&mut self, mut child: Child, plan: &mut Plan) -> End {
        let hash = plan.hash();
        loop {
            let order = tokio::select! {
                status = child.wait() => return match status {
                    Ok(status) => End::Exit(status),
                    Err(error) => {
                        tracing::error!(%error, process = plan.name, "failed to wait for it");
                        End::Exit(ExitStatus::default())
                    }
                },
                order = self.inbox.recv() => order,
            };
            match order {
                Some(Order::Run(next)) if next.hash() == hash => {
                    for (path, content) in &next.live {
                        if plan.live.get(path) == Some(content) {
                            continue;
                        }
                        if let Err(error) = write_file(path, content) {
                            tracing::error!(%error, process = plan.name, "it keeps the old file");
                        }
                    }
                    *plan = *next;
                }
                Some(Order::Run(next)) => {
                    self.end(&mut child, plan.grace_seconds).await;
                    return End::Replaced(next);
                }
                Some(Order::Kill) => {
                    self.end(&mut child, 0).await;
                    return End::Stopped;
                }
                Some(Order::Stop) | None => {
                    self.end(&mut child, plan.grace_seconds).await;
                    return End::Stopped;
                }
            }
        }
    }

    /// SIGTERM, the grace period, SIGKILL. An order to kill cuts the grace short.
    async fn end(&mut self, child: &mut Child, grace_seconds: u64) {
        self.told.send_modify(|life| life.phase = Phase::Stopping);
        if grace_seconds > 0
            && let Some(pid) = child.id()
        {
            // It may have ended this very moment.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
            let deadline = tokio::time::sleep(Duration::from_secs(grace_seconds));
            tokio::pin!(deadline);
            loop {
                tokio::select! {
                    _ = child.wait() => return,
                    () = &mut deadline => break,
                    order = self.inbox.recv() => match order {
                        Some(Order::Kill) | None => break,
                        // The newest state is told again in the next round.
                        Some(Order::Run(_) | Order::Stop) => {}
                    },
                }
            }
        }
        if let Err(error) = child.kill().await {
            tracing::error!(%error, "failed to end a process");
        }
    }
}

/// How it ended, for people.
fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(70), _) => "its journal failed; it recovers what was acknowledged".to_owned(),
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => {
            let name =
                Signal::try_from(signal).map_or_else(|_| signal.to_string(), |s| s.to_string());
            format!("it was ended by {name}")
        }
        (None, None) => "it ended".to_owned(),
    }
}

#[cfg(test)]
mod tests;
