//! The four processes of a control plane: etcd, API server, controllers, scheduler. They are
//! started once per test process at one of two sites: on a loopback address of their own (see
//! `address`), which needs no rights, or in a network namespace where real nodes reach them.

mod flags;

pub(crate) use flags::ADVERTISED;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::control_plane::flags::Layout;
use crate::netns::NetNs;
use crate::pki::Pki;
use crate::process::Process;
use crate::run::Run;
use crate::say::say;
use crate::wait::poll_for;
use crate::{ClusterError, address, kubeconfig, relay, tool};

/// From start to ready. It takes about five seconds; a busy machine may take many times that.
const START_LIMIT: Duration = Duration::from_mins(2);

/// What a cluster may be asked to do differently.
#[derive(Debug, Clone)]
pub struct Options {
    /// After how long without a sign of life a node counts as not ready. Kubernetes' own default
    /// by default, because a busy test machine may starve the toy nodes for seconds.
    pub node_grace: Duration,
    /// How many toy nodes there are, each in a zone of its own.
    pub nodes: usize,
    /// How many real nodes there are, each in a zone of its own. They need root.
    pub real_nodes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { node_grace: Duration::from_secs(50), nodes: 3, real_nodes: 0 }
    }
}

impl Options {
    /// A cluster of `count` real nodes and no toys. A dead node is noticed sooner than in the
    /// default, because tests wait for it; real nodes report often enough for that.
    pub fn real(count: usize) -> Self {
        Self { node_grace: Duration::from_secs(12), nodes: 0, real_nodes: count }
    }
}

/// Where a control plane listens.
#[derive(Debug, Clone)]
pub(crate) enum Site {
    /// A loopback address of this machine.
    Loopback,
    /// This address in a namespace; from outside there is a relay to the API server.
    Inside(NetNs, Ipv4Addr),
}

/// A running control plane.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) config: kube::Config,
    layout: Layout,
    pki: Pki,
    site: Site,
    binary: PathBuf,
    processes: Mutex<Vec<Arc<Process>>>,
}

impl ControlPlane {
    /// Builds the binary when needed, starts the parts in their order and waits until the API
    /// server serves and the controllers work.
    pub(crate) async fn start(
        run: &Run,
        options: &Options,
        site: Site,
    ) -> Result<Self, ClusterError> {
        let binary = tokio::task::spawn_blocking(|| tool("kubernetes"))
            .await
            .map_err(|cause| ClusterError::Missing(format!("the build panicked: {cause}")))??;
        let begun = Instant::now();
        let (layout, pki) = Self::lay_out(run, options, &site)?;
        let config = kubeconfig::read(&layout.admin).await?;
        let kubeconfig = layout.admin.clone();
        let processes = Mutex::default();
        let plane = Self { kubeconfig, config, layout, pki, site, binary, processes };

        plane.launch(run, "etcd", plane.layout.etcd())?;
        plane.launch(run, "apiserver", plane.layout.apiserver())?;
        let client = kube::Client::try_from(plane.config.clone())?;
        plane.wait("apiserver", || serves(client.clone())).await?;
        plane.launch(run, "controllers", plane.layout.controllers())?;
        plane.launch(run, "scheduler", plane.layout.scheduler())?;
        plane.wait("controllers", || controls(client.clone())).await?;

        say(&format!(
            "control plane {} ready in {:.1} s at {}",
            run.id(),
            begun.elapsed().as_secs_f32(),
            plane.config.cluster_url
        ));
        Ok(plane)
    }

    /// Addresses, folders, certificates and kubeconfigs: everything the parts find on disk.
    fn lay_out(run: &Run, options: &Options, site: &Site) -> Result<(Layout, Pki), ClusterError> {
        let (address, outside) = match site {
            Site::Loopback => {
                let address = address::free(&flags::PORTS)?;
                (address, SocketAddr::from((address, flags::APISERVER)))
            }
            Site::Inside(netns, address) => {
                let target = SocketAddr::from((*address, flags::APISERVER));
                (*address, relay::start(run, netns.clone(), target)?)
            }
        };
        let pki = Pki::new(run.folder("pki")?)?;
        let layout = Layout {
            address,
            is_reachable: matches!(site, Site::Inside(..)),
            folder: run.folder("control-plane")?,
            authority: pki.authority_files(),
            server_pair: pki.server(&[
                address.into(),
                outside.ip(),
                flags::FIRST_SERVICE.into(),
            ])?,
            token_key: pki.token_key()?,
            admin_pair: pki.client("admin", "orrery-admin", Some("system:masters"))?,
            admin: run.folder("control-plane")?.join("admin.kubeconfig"),
            node_grace: options.node_grace,
        };
        let parts = [
            ("controllers", "system:kube-controller-manager"),
            ("scheduler", "system:kube-scheduler"),
        ];
        let authority = &layout.authority.certificate;
        let server = format!("https://{outside}");
        kubeconfig::write(&layout.admin, &server, authority, &layout.admin_pair)?;
        for (part, user) in parts {
            let pair = pki.client(part, user, None)?;
            kubeconfig::write(&layout.kubeconfig(part), &layout.server(), authority, &pair)?;
        }
        Ok((layout, pki))
    }

    fn launch(&self, run: &Run, part: &str, flags: Vec<String>) -> Result<(), ClusterError> {
        let mut command = Command::new(&self.binary);
        command.arg(part).args(flags).current_dir(&self.layout.folder);
        if let Site::Inside(netns, _) = &self.site {
            netns.enter(&mut command);
        }
        let log = self.log(part);
        let process = run.start(part, command, log)?;
        self.processes().push(process);
        Ok(())
    }

    /// Stops the API server where it stands: connections stay open and nothing is answered.
    pub(crate) fn freeze_api_server(&self) {
        if let Some(process) = self.part("apiserver") {
            process.signal(Signal::SIGSTOP);
        }
    }

    /// Kills the API server: connections break and new ones are refused.
    pub(crate) async fn kill_api_server(&self) {
        let Some(process) = self.part("apiserver") else { return };
        process.kill_group();
        process.wait().await;
        self.processes().retain(|other| !Arc::ptr_eq(other, &process));
    }

    /// Starts the API server that was killed, and waits until it serves.
    pub(crate) async fn start_api_server(&self, run: &Run) -> Result<(), ClusterError> {
        self.launch(run, "apiserver", self.layout.apiserver())?;
        let client = kube::Client::try_from(self.config.clone())?;
        self.wait("apiserver", || serves(client.clone())).await
    }

    fn part(&self, name: &str) -> Option<Arc<Process>> {
        self.processes().iter().find(|process| process.name() == name).cloned()
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Arc<Process>>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `ready`; the end of any part before that is an error at once.
    async fn wait<F, W>(&self, part: &str, ready: F) -> Result<(), ClusterError>
    where
        F: Fn() -> W,
        W: Future<Output = Result<(), String>>,
    {
        let last = Mutex::new(String::new());
        let awaited = poll_for(part, START_LIMIT, || async {
            let dead = self.processes().iter().find(|part| part.ended().is_some()).cloned();
            if let Some(dead) = dead {
                return Some(Err(self.not_ready(&dead, "it ended")));
            }
            match ready().await {
                Ok(()) => Some(Ok(())),
                Err(reason) => {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = reason;
                    None
                }
            }
        });
        awaited.await.map_err(|late| {
            let reason = last.lock().unwrap_or_else(PoisonError::into_inner);
            let process = self.part(part);
            process.map_or(late, |process| self.not_ready(&process, &reason))
        })?
    }

    fn not_ready(&self, process: &Process, reason: &str) -> ClusterError {
        let mut logs = process.tail();
        if process.name() != "etcd" {
            logs = format!("{}\n{logs}", crate::process::tail(&self.log("etcd")));
        }
        ClusterError::NotReady { part: process.name().to_owned(), reason: reason.to_owned(), logs }
    }

    fn log(&self, part: &str) -> PathBuf {
        log_in(&self.layout.folder, part)
    }

    /// Writes the kubeconfig of `user`, a member of `group`, for use where the control plane is.
    pub(crate) fn kubeconfig_for(
        &self,
        part: &str,
        user: &str,
        group: &str,
    ) -> Result<PathBuf, ClusterError> {
        let path = self.layout.kubeconfig(part);
        let pair = self.pki.client(part, user, Some(group))?;
        let authority = &self.layout.authority.certificate;
        kubeconfig::write(&path, &self.layout.server(), authority, &pair)?;
        Ok(path)
    }

    /// The certificate of the authority that signed every other.
    pub(crate) fn authority(&self) -> &Path {
        &self.layout.authority.certificate
    }

    /// The end of every part's log, for a failure whose cause is not known.
    pub(crate) fn logs(&self) -> String {
        self.processes().iter().map(|process| process.tail() + "\n").collect()
    }
}

fn log_in(folder: &Path, part: &str) -> PathBuf {
    folder.join(format!("{part}.log"))
}

async fn serves(client: kube::Client) -> Result<(), String> {
    let request = http_get("/readyz").map_err(|cause| cause.to_string())?;
    client.request_text(request).await.map(drop).map_err(|cause| cause.to_string())
}

/// The service account controller has been here: the controllers have their informers in sync.
async fn controls(client: kube::Client) -> Result<(), String> {
    use k8s_openapi::api::core::v1::ServiceAccount;
    let accounts = kube::Api::<ServiceAccount>::namespaced(client, "default");
    accounts.get("default").await.map(drop).map_err(|cause| cause.to_string())
}

fn http_get(path: &str) -> Result<http::Request<Vec<u8>>, http::Error> {
    http::Request::get(path).body(Vec::new())
}
