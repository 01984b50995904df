//! The two servers that are compared: ours and the one people run today.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use orrery_kit::suite::free_port;

use crate::client::Client;
use crate::process::{Process, wait_for_port};
use crate::{orrery_binary, program};

/// A running RESP server and its folder.
#[derive(Debug)]
pub struct Server {
    pub name: &'static str,
    pub address: SocketAddr,
    pub process: Process,
}

impl Server {
    pub fn client(&self) -> Result<Client, String> {
        Client::connect(self.address).map_err(|error| format!("{}: {error}", self.address))
    }
}

/// How our server is to run.
#[derive(Debug, Clone)]
pub struct KvOptions {
    /// Class of keys without a KVNamespace: `Cache`, `Session`, `Store`.
    pub default_class: &'static str,
    /// Further lines of the configuration file.
    pub config: String,
    pub cpu: Option<usize>,
    /// Reuse this port, so that clients find the server again after a restart.
    pub port: Option<u16>,
    /// Ports of several shards, which the process then has; clients are sent there by Redis Cluster.
    pub shard_ports: Vec<u16>,
}

impl Default for KvOptions {
    fn default() -> Self {
        Self {
            default_class: "Store",
            config: String::new(),
            cpu: None,
            port: None,
            shard_ports: vec![],
        }
    }
}

/// Starts `orrery serve kv` with its data in `folder`.
pub fn orrery_kv(folder: &Path, options: &KvOptions) -> Result<Server, String> {
    let port = match options.port {
        Some(port) => port,
        None => free_port(),
    };
    let config = folder.join("kv.yaml");
    let cluster = match options.shard_ports.len() {
        0 => String::new(),
        shards => format!("\ncluster: {{shards: {shards}, pods: 1, copies: 1}}\n"),
    };
    let text = format!("defaultClass: {}\n{}{cluster}", options.default_class, options.config);
    std::fs::write(&config, text).map_err(|error| error.to_string())?;
    let mut command = Command::new(orrery_binary()?);
    command.args(["serve", "kv", "--config"]).arg(&config).arg("--data").arg(folder.join("data"));
    command.env("ORRERY_LISTEN_RESP", format!("127.0.0.1:{port}"));
    for (shard, port) in options.shard_ports.iter().enumerate() {
        command.env(format!("ORRERY_LISTEN_RESP_{shard}"), format!("127.0.0.1:{port}"));
    }
    command.env("ORRERY_LISTEN_MANAGEMENT", format!("127.0.0.1:{}", free_port()));
    command.env("ORRERY_LISTEN_HTTP", format!("127.0.0.1:{}", free_port()));
    command.env("ORRERY_LOG", "text");
    start("orrery", command, folder, port, options.cpu)
}

/// Durability of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisMode {
    /// Nothing on disk.
    Memory,
    /// `appendonly yes`, `appendfsync always`: every reply waits for the disk.
    Always,
}

/// Starts `redis-server` with its data in `folder`; an error says how to install it.
pub fn redis(folder: &Path, mode: RedisMode, cpu: Option<usize>) -> Result<Server, String> {
    let port = free_port();
    let mut command = Command::new(redis_server()?);
    command.args(["--port", &port.to_string(), "--save", "", "--dir"]).arg(folder);
    command.args(["--enable-debug-command", "yes", "--daemonize", "no"]);
    if mode == RedisMode::Always {
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        // Rewriting the log in the background would disturb the comparison.
        command.args(["--auto-aof-rewrite-percentage", "0"]);
    }
    start("redis", command, folder, port, cpu)
}

/// The same on a port of its own that speaks TLS as well, with `tls.crt` and `tls.key` in `folder`. Gives
/// that port.
pub fn redis_with_tls(folder: &Path) -> Result<(Server, u16), String> {
    let (port, tls_port) = (free_port(), free_port());
    let mut command = Command::new(redis_server()?);
    command.args(["--port", &port.to_string(), "--save", "", "--dir"]).arg(folder);
    command.args(["--tls-port", &tls_port.to_string(), "--tls-auth-clients", "no"]);
    command.arg("--tls-cert-file").arg(folder.join("tls.crt"));
    command.arg("--tls-key-file").arg(folder.join("tls.key"));
    Ok((start("redis", command, folder, port, None)?, tls_port))
}

/// Path of the package manager's redis-server.
pub fn redis_server() -> Result<PathBuf, String> {
    program(&["redis-server"])
        .ok_or_else(|| "redis-server is not installed: apt-get install redis-server".to_owned())
}

fn start(
    name: &'static str,
    command: Command,
    folder: &Path,
    port: u16,
    cpu: Option<usize>,
) -> Result<Server, String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut process = Process::start(command, &folder.join(format!("{name}.log")), cpu)?;
    wait_for_port(&mut process, address).map_err(|what| format!("{name}: {what}"))?;
    Ok(Server { name, address, process })
}
