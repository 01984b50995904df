//! A whole scheduler in this process, as `serve` puts it together, and a client of its API.

mod client;
pub(crate) mod runner;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orrery_api::scheduler::SchedulerConfig;
use orrery_kit::env::{Env, SystemEnv};
use orrery_kit::secrets::Secret;
use orrery_scheduler::api::{self, Api};
use orrery_scheduler::assembly::{Assembly, Parts};
use orrery_scheduler::dispatch::{Dispatcher, Options};
use orrery_scheduler::engine::{Engine, Resolver};
use orrery_scheduler::partition::{Handle, Partition};

pub(crate) use client::{Answer, Call};

/// How long anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A scheduler at work.
pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    /// Where gRPC is served.
    pub(crate) grpc: SocketAddr,
    pub(crate) engine: Arc<Engine>,
    dispatcher: Arc<Dispatcher>,
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
        let env: Arc<dyn Env> = Arc::new(SystemEnv::default());
        let resolver = Resolver::new("test.default", &config.targets);
        let partitions = usize::try_from(config.partitions).unwrap();
        let parts = Parts {
            dispatch: Options { allow_loopback: true, ..Options::default() },
            running_max: 10_000 * partitions,
            of_target_max: 1000 * partitions,
            ..Parts::alone(config, resolver, Arc::clone(&env))
        };
        let mut assembly = Assembly::new(parts).unwrap();
        let run = |partition: Partition| std::thread::spawn(move || partition.run().unwrap());
        let opened = assembly.open(folder.path()).unwrap();
        let threads = opened.into_iter().map(run).collect();
        let Assembly { engine, handles, crew, .. } = assembly;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let secret = token.map(Secret::new);
        let dispatcher = Arc::clone(&crew.dispatcher);
        let options = api::Options { http: any, grpc: Some(any), token: secret, tls: None };
        let api = api::start(options, Arc::clone(&engine), crew.dispatcher, env).unwrap();
        let token = token.map(str::to_owned);
        let (address, grpc) = (api.address, api.grpc.unwrap());
        let stage = Self {
            address,
            grpc,
            engine,
            dispatcher,
            token,
            api: Some(api),
            handles,
            threads,
            _folder: folder,
        };
        stage.until("it is ready", || stage.get("/healthz").status == 200);
        stage
    }

    /// The same API once more, by TLS with what is in a folder, and with a token.
    pub(crate) fn with_certificates(&self, folder: &Path, token: &str) -> Api {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let env: Arc<dyn Env> = Arc::new(SystemEnv::default());
        let (token, tls) = (Some(Secret::new(token)), Some(folder.to_owned()));
        let options = api::Options { http: any, grpc: Some(any), token, tls };
        let (engine, dispatcher) = (Arc::clone(&self.engine), Arc::clone(&self.dispatcher));
        api::start(options, engine, dispatcher, env).unwrap()
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
