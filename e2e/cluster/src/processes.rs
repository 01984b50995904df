//! The runner that runs pods as processes of this machine: no image, no isolation, but the pod's
//! own command, arguments, environment, volumes, probes and restarts.
//!
//! Mount paths in commands, arguments and variables are replaced by folders; programs come from
//! this machine. Every pod has an address in 127.0.0.0/8, and `ORRERY_LISTEN_*` variables that say
//! "all addresses" get that one. Users, limits, security contexts and tokens are left out. A pod
//! with sidecars, other probes than HTTP and TCP or other hooks than sleep waits and says so.

mod container;
mod environment;
mod mounts;
mod probe;
mod volumes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::ResourceExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::node::{ContainerState, Order, Phase, PodRunner, PodState, Seat, Step};
use crate::processes::container::{Keeper, Launch, Restart};
use crate::processes::environment::{Sources, expand};
use crate::processes::mounts::Mounts;

/// How often something missing is looked for again.
const RETRY: Duration = Duration::from_millis(250);

/// How often ConfigMaps and Secrets are looked at for changes; a kubelet takes up to a minute.
const REFRESH: Duration = Duration::from_secs(1);

/// Orders and news that may wait between a pod and its containers.
const QUEUE_MAX: usize = 64;

/// Runs pods as processes.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    programs: BTreeMap<String, PathBuf>,
    environment: BTreeMap<String, String>,
    addresses: BTreeMap<String, String>,
}

impl Processes {
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs the file at `path` where a container's command, or its image when it has no command,
    /// is called `name` (`registry.example/team/name:tag`). Commands without such a name are
    /// looked for on PATH.
    #[must_use]
    pub fn program(mut self, name: &str, path: impl Into<PathBuf>) -> Self {
        self.programs.insert(name.to_owned(), path.into());
        self
    }

    /// A variable that every process gets unless its container sets it.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Where ConfigMaps have the address of a Service (`name.namespace.svc:port`), pods that start from
    /// now on find this one: no name leads to a process.
    #[must_use]
    pub fn service(mut self, name: &str, address: &str) -> Self {
        self.addresses.insert(name.to_owned(), address.to_owned());
        self
    }

    /// Writes addresses over names.
    fn rename(&self, sources: &mut Sources) {
        let files = sources.config_maps.values_mut().flat_map(BTreeMap::values_mut);
        for file in files {
            for (name, address) in &self.addresses {
                if let Ok(text) = std::str::from_utf8(file) {
                    *file = text.replace(name, address).into_bytes();
                }
            }
        }
    }

    /// The command line of a container, everything resolved.
    fn launch(&self, pod: &Pod, container: &Container, place: &Prepared) -> Result<Launch, String> {
        known_features(container)?;
        let mounts = Mounts::of(container, &place.volumes);
        let mut own = environment::resolve(pod, container, &place.sources)?;
        let command = container.command.clone().unwrap_or_default();
        let mut words = command.into_iter().chain(container.args.clone().unwrap_or_default());
        let program = match container.command.as_ref().and_then(|command| command.first()) {
            Some(_) => words.next().unwrap_or_default(),
            None => self.entrypoint(container)?,
        };
        let arguments = words.map(|word| mounts.replace(&expand(&word, &own))).collect();
        for value in own.values_mut() {
            *value = mounts.replace(value);
        }
        let mut environment = self.environment.clone();
        environment.insert("HOSTNAME".to_owned(), pod.name_any());
        environment.insert("PATH".to_owned(), std::env::var("PATH").unwrap_or_default());
        environment.append(&mut own);
        let name = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned());
        let namespace = pod.namespace().unwrap_or_default();
        let known = name.and_then(|name| self.programs.get(&name));
        Ok(Launch {
            program: known.cloned().unwrap_or_else(|| PathBuf::from(mounts.replace(&program))),
            arguments,
            environment,
            folder: place.folder.clone(),
            log: place.logs.join(log_name(&namespace, &pod.name_any(), &container.name)),
        })
    }

    /// The name in the image's reference, when a program goes by it.
    fn entrypoint(&self, container: &Container) -> Result<String, String> {
        let image = container.image.as_deref().unwrap_or_default();
        let name = image.rsplit('/').next().unwrap_or_default();
        let name = name.split(['@', ':']).next().unwrap_or_default();
        if self.programs.contains_key(name) {
            Ok(name.to_owned())
        } else {
            Err(format!("no program stands for the image {image:?}, and there is no command"))
        }
    }
}

/// The name of a container's log in the run's folder of logs. Pods that follow each other under
/// one name share it.
pub(crate) fn log_name(namespace: &str, pod: &str, container: &str) -> String {
    format!("{namespace}_{pod}_{container}.log")
}

/// Refuses what would otherwise be left out silently.
fn known_features(container: &Container) -> Result<(), String> {
    let probes = [&container.startup_probe, &container.readiness_probe, &container.liveness_probe];
    for probe in probes.into_iter().flatten() {
        let https = probe.http_get.as_ref().and_then(|get| get.scheme.as_deref()) == Some("HTTPS");
        if https || (probe.http_get.is_none() && probe.tcp_socket.is_none()) {
            return Err("toy nodes probe by HTTP and TCP only".to_owned());
        }
    }
    let hooks = container.lifecycle.as_ref();
    let before_stop = hooks.and_then(|hooks| hooks.pre_stop.as_ref());
    if hooks.is_some_and(|hooks| hooks.post_start.is_some())
        || before_stop.is_some_and(|hook| hook.sleep.is_none())
    {
        return Err("toy nodes know the preStop hook sleep only".to_owned());
    }
    if container.restart_policy.is_some() {
        return Err("toy nodes know no sidecars".to_owned());
    }
    Ok(())
}

/// What all containers of a pod need before they start.
struct Prepared {
    sources: Sources,
    volumes: BTreeMap<String, PathBuf>,
    folder: PathBuf,
    logs: PathBuf,
}

#[async_trait]
impl PodRunner for Processes {
    fn answers(&self) -> bool {
        true
    }

    async fn run(&self, seat: &mut Seat) {
        let mut carried = Carried {
            runner: self,
            state: PodState { phase: Phase::Pending, reason: None, containers: BTreeMap::new() },
            seat,
        };
        let Some(place) = carried.prepare().await else { return };
        let pod = carried.seat.pod();
        let Some(spec) = pod.spec.clone() else { return };
        for init in spec.init_containers.iter().flatten() {
            let restart = match policy(&spec) {
                Restart::Never => Restart::Never,
                _ => Restart::OnFailure,
            };
            let succeeded = carried.attend(&pod, std::slice::from_ref(init), restart, &place).await;
            match succeeded {
                Some(true) => {}
                Some(false) => return carried.complete(Phase::Failed).await,
                None => return,
            }
        }
        carried.state.phase = Phase::Running;
        match carried.attend(&pod, &spec.containers, policy(&spec), &place).await {
            Some(true) => carried.complete(Phase::Succeeded).await,
            Some(false) => carried.complete(Phase::Failed).await,
            None => {}
        }
    }
}

fn policy(spec: &PodSpec) -> Restart {
    match spec.restart_policy.as_deref() {
        Some("Never") => Restart::Never,
        Some("OnFailure") => Restart::OnFailure,
        _ => Restart::Always,
    }
}

/// A pod on its way.
struct Carried<'a> {
    runner: &'a Processes,
    state: PodState,
    seat: &'a mut Seat,
}

impl Carried<'_> {
    /// Waits until everything the pod refers to is there. Nothing when it is to stop before.
    async fn prepare(&mut self) -> Option<Prepared> {
        let mut said = String::new();
        loop {
            match self.try_prepare().await {
                Ok(place) => return Some(place),
                Err(message) if message != said => {
                    self.all_wait("CreateContainerConfigError", &message).await;
                    said = message;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                order = self.seat.order() => {
                    if matches!(order, Order::Stop { .. }) {
                        return None;
                    }
                }
            }
        }
    }

    async fn try_prepare(&self) -> Result<Prepared, String> {
        let (pod, client) = (self.seat.pod(), self.seat.client());
        let (own, host) = (self.seat.address(), self.seat.host_address());
        let mut sources = volumes::read_sources(&client, &pod, own, host).await?;
        self.runner.rename(&mut sources);
        let folder = self.seat.folder().to_owned();
        std::fs::create_dir_all(&folder).map_err(|cause| cause.to_string())?;
        let volumes = volumes::fill(&client, &pod, &folder, &sources).await?;
        let logs = self.seat.run().folder("logs").map_err(|cause| cause.to_string())?;
        let place = Prepared { sources, volumes, folder, logs };
        let spec = pod.spec.clone().unwrap_or_default();
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            self.runner.launch(&pod, container, &place)?;
        }
        Ok(place)
    }

    async fn all_wait(&mut self, reason: &str, message: &str) {
        let spec = self.seat.pod().spec.clone().unwrap_or_default();
        for container in &spec.containers {
            let waiting = ContainerState::waiting(reason, message);
            self.state.containers.insert(container.name.clone(), waiting);
        }
        self.seat.report(&self.state).await;
    }

    /// Keeps `containers` until they all ended by themselves, and says whether all succeeded.
    /// Nothing when they were told to stop; then nothing of them is left.
    async fn attend(
        &mut self,
        pod: &Pod,
        containers: &[Container],
        restart: Restart,
        place: &Prepared,
    ) -> Option<bool> {
        let (told, mut news) = mpsc::channel(QUEUE_MAX);
        let mut keepers = JoinSet::new();
        let mut lines = Vec::new();
        for container in containers {
            let launch = match self.runner.launch(pod, container, place) {
                Ok(launch) => launch,
                // Resolved a moment ago with the same sources.
                Err(message) => {
                    self.all_wait("CreateContainerConfigError", &message).await;
                    return Some(false);
                }
            };
            let (line, orders) = mpsc::channel(QUEUE_MAX);
            lines.push(line);
            let keeper = Keeper {
                container: container.clone(),
                launch,
                restart,
                address: self.seat.address().to_owned(),
                run: self.seat.run().clone(),
                orders,
                told: told.clone(),
                state: ContainerState::waiting("ContainerCreating", ""),
                forced: None,
            };
            keepers.spawn(keeper.keep());
        }
        drop(told);
        let stopped = self.follow(&mut news, &lines).await;
        while keepers.join_next().await.is_some() {}
        let succeeded = containers.iter().all(|container| {
            let state = self.state.containers.get(&container.name);
            matches!(state, Some(ContainerState { step: Step::Ended(end), .. }) if end.exit_code == 0)
        });
        (!stopped).then_some(succeeded)
    }

    /// Passes orders down and news up until all containers are over. True when that was ordered.
    async fn follow(
        &mut self,
        news: &mut mpsc::Receiver<(String, ContainerState)>,
        lines: &[mpsc::Sender<Order>],
    ) -> bool {
        let mut stopped = false;
        let mut refresh = tokio::time::interval(REFRESH);
        loop {
            tokio::select! {
                told = news.recv() => match told {
                    Some((name, state)) => {
                        self.state.containers.insert(name, state);
                        // All that waits goes into one report.
                        while let Ok((name, state)) = news.try_recv() {
                            self.state.containers.insert(name, state);
                        }
                        self.seat.report(&self.state).await;
                    }
                    None => return stopped,
                },
                order = self.seat.order() => {
                    stopped |= matches!(order, Order::Stop { .. });
                    for line in lines {
                        // A container that is over takes none.
                        let _ = line.send(order.clone()).await;
                    }
                }
                _ = refresh.tick(), if !stopped => self.refresh().await,
            }
        }
    }

    /// Brings changed ConfigMaps and Secrets into the volumes. What is missing now stays as it was.
    async fn refresh(&self) {
        let (pod, client) = (self.seat.pod(), self.seat.client());
        let (own, host) = (self.seat.address(), self.seat.host_address());
        if let Ok(mut sources) = volumes::read_sources(&client, &pod, own, host).await {
            self.runner.rename(&mut sources);
            let _ = volumes::fill(&client, &pod, self.seat.folder(), &sources).await;
        }
    }

    async fn complete(&mut self, phase: Phase) {
        self.state.phase = phase;
        self.seat.report(&self.state).await;
    }
}
