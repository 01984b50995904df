//! A whole scheduler in this process, as `serve` puts it together, and a client of its API.

mod client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orrery_api::scheduler::SchedulerConfig;
use orrery_kit::env::{Env, SystemEnv};
use orrery_kit::health::Health;
use orrery_kit::secrets::Secret;
use orrery_recurrence::Zones;
use orrery_scheduler::api::{self, Api};
use orrery_scheduler::dispatch::{Dispatcher, Options};
use orrery_scheduler::engine::{Engine, Resolver, Shared, targets};
use orrery_scheduler::machine::Bounds;
use orrery_scheduler::machine::definition::CatchUp;
use orrery_scheduler::partition::{Handle, Partition, PartitionOptions};

pub(crate) use client::{Answer, Call};

/// How long anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A scheduler at work.
pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Arc<Engine>,
    token: Option<String>,
    api: Option<Api>,
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// With four partitions and no token.
    pub(crate) fn new() -> Self {
        Self::with(&config(), None)
    }

    pub(crate) fn with(config: &SchedulerConfig, token: Option<&str>) -> Self {
        _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let count = u16::try_from(config.partitions).unwrap();
        let shared = Arc::new(Shared::new(count, Health::default()));
        let resolver = Arc::new(Resolver::new("test.default".to_owned(), &config.targets));
        let (handles, mailboxes): (Vec<Handle>, Vec<_>) =
            (0..count).map(Partition::handle).map(|pair| (pair.0.clone(), pair)).unzip();
        let engine = Arc::new(Engine::new(
            config.clone(),
            handles.clone(),
            Zones::bundled(),
            Arc::clone(&resolver),
            Arc::clone(&shared),
        ));
        let dispatcher = {
            let handles = handles.clone();
            let options = Options { allow_loopback: true, ..Options::default() };
            let targets = targets(&config.targets, None).unwrap();
            let started = Dispatcher::start(options, targets, move |run, attempt, outcome| {
                handles[usize::from(run.partition)].outcome(run.number, attempt, outcome);
            });
            Arc::new(started.unwrap())
        };
        let env: Arc<dyn Env> = Arc::new(SystemEnv::default());
        let peers: Arc<[Handle]> = handles.clone().into();
        let mut threads = vec![];
        for (id, mailbox) in mailboxes.into_iter().enumerate() {
            let catch_up = &config.catch_up_default;
            let options = PartitionOptions {
                id: id as u16,
                folder: folder.path().join(id.to_string()),
                bounds: Bounds {
                    catch_up: CatchUp {
                        policy: catch_up.policy,
                        runs_max: 100,
                        seconds_max: catch_up.max_seconds,
                    },
                    running_max: 10_000,
                    of_target_max: 1000,
                },
                history_seconds: config.history.keep_seconds,
                snapshot_after_bytes: 16 << 20,
                peers: Arc::clone(&peers),
            };
            let opened = Partition::open(
                options,
                Arc::clone(&env),
                Arc::clone(&dispatcher),
                Arc::clone(&resolver),
                Arc::clone(&shared),
                mailbox,
            );
            let partition = opened.unwrap();
            threads.push(std::thread::spawn(move || partition.run().unwrap()));
        }
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let secret = token.map(Secret::new);
        let api = api::start(any, secret, Arc::clone(&engine), dispatcher, env).unwrap();
        let token = token.map(str::to_owned);
        let address = api.address;
        let stage =
            Self { address, engine, token, api: Some(api), handles, threads, _folder: folder };
        stage.until("it is ready", || stage.get("/healthz").status == 200);
        stage
    }

    /// A request that shows the token, if there is one.
    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        let call = Call::new(self.address, method, path);
        match &self.token {
            Some(token) => call.header("Authorization", &format!("Bearer {token}")),
            None => call,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send()
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path).send()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.call("POST", path).json(body).send()
    }

    pub(crate) fn put(&self, path: &str, body: &str) -> Answer {
        self.call("PUT", path).json(body).send()
    }

    /// Waits until something is true.
    #[expect(clippy::unused_self, reason = "it reads better")]
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < until, "not so in time: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.api.take();
        self.handles.iter().for_each(Handle::end);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a partition failed");
        }
    }
}

/// The configuration of a stage.
pub(crate) fn config() -> SchedulerConfig {
    SchedulerConfig { partitions: 4, ..SchedulerConfig::default() }
}
