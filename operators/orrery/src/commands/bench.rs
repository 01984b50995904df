//! `orrery bench`: load on a key-value service for some seconds, and what it took.
//!
//! Must not: touch a key that it did not make itself, nor read a Secret of the cluster.

mod histogram;
mod load;
mod resp;
mod tls;

use std::fmt::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use orrery_local::control::Request;
use serde_json::Value as Json;

use self::load::{Load, Outcome};
use self::resp::Connection;
use self::tls::Tls;
use crate::cli::bench::Bench;
use crate::cluster::Cluster;
use crate::output::{self, Progress};

/// Name of the port of clients.
const PORT: &str = "resp";
/// The system that speaks its protocol.
const SYSTEM: &str = "kv";

pub(crate) fn run(arguments: &Bench) -> anyhow::Result<ExitCode> {
    let place = place(arguments)?;
    let address = place.address()?;
    let speaks_tls = place.tls || arguments.tls.is_asked();
    let tls = speaks_tls.then(|| Tls::new(&arguments.tls, &place.host)).transpose()?;
    let login = login(arguments)?;
    let connect = || Connection::open(address, tls.as_ref(), login.as_ref());
    let mut control = connect()?;
    check(&mut control, arguments.yes)?;
    let load = Load {
        prefix: format!("{}orrery-bench:{:08x}:", arguments.prefix, std::process::id()),
        clients: arguments.clients,
        pipeline: arguments.pipeline,
        value_bytes: arguments.value_bytes as usize,
        keys: arguments.keys,
        reads_percent: arguments.reads,
    };
    // Nothing is written that cannot be removed again.
    load.remove_first(&mut control)?;
    let connections =
        (0..arguments.clients).map(|_| connect()).collect::<anyhow::Result<Vec<_>>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_ctrl_c(&stop)?;
    output::print(&format!("{address}: {load}; keys below {}\n", load.prefix));
    let mut progress = Progress::new();
    let length = Duration::from_secs(arguments.seconds);
    let outcome = load.run(connections, length, &stop, &mut |percent, text| {
        progress.show(percent, text);
    });
    progress.end();
    // A new connection: those of the load may have ended.
    let removed = connect().and_then(|mut connection| load.remove(&mut connection));
    output::print(&told(&outcome));
    match removed {
        Ok(count) => output::print(&format!("{count} keys are removed again\n")),
        Err(error) => output::print(&format!(
            "keys below {} are still there and expire within the hour: {error:#}\n",
            load.prefix
        )),
    }
    Ok(if outcome.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(outcome: &Outcome) -> String {
    let milliseconds = |share: f64| outcome.latency.quantile(share).as_secs_f64() * 1e3;
    let mut text = format!(
        "operations  {} ({:.0} a second)\np50         {:.3} ms\np99         {:.3} ms\n\
         p999        {:.3} ms\nerrors      {}\n",
        outcome.operations,
        outcome.operations as f64 / outcome.took.as_secs_f64().max(1e-9),
        milliseconds(0.5),
        milliseconds(0.99),
        milliseconds(0.999),
        outcome.errors,
    );
    if let Some(first) = &outcome.first_error {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "the first   {first}");
    }
    text
}

/// A service that others use is not put under load by mistake.
fn check(connection: &mut Connection, yes: bool) -> anyhow::Result<()> {
    let keys = connection.call(&[b"DBSIZE"])?;
    match keys.strip_prefix(':').and_then(|count| count.parse::<u64>().ok()) {
        Some(0) => Ok(()),
        Some(_) if yes => Ok(()),
        Some(count) => bail!(
            "it holds {count} keys: load takes time from its clients, and memory that a cache may \
             need. Nothing of theirs is touched; go ahead with --yes"
        ),
        None if !keys.starts_with("-NOPERM") => bail!("the service answers {keys:?}"),
        None if yes => Ok(()),
        None => bail!(
            "the user may not ask with DBSIZE whether there are keys of others; go ahead with --yes"
        ),
    }
}

fn login(arguments: &Bench) -> anyhow::Result<Option<(String, String)>> {
    let password = match &arguments.password_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("failed to read {}", path.display()))?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        None => ["ORRERY_PASSWORD", "REDISCLI_AUTH"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok()),
    };
    Ok(password.map(|password| (arguments.user.clone(), password)))
}

/// Where the service is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Host and port.
    text: String,
    /// Name its certificate has, if it shows one.
    host: String,
    /// Whether its spec says that it speaks TLS.
    tls: bool,
}

impl Place {
    fn address(&self) -> anyhow::Result<SocketAddr> {
        let text = &self.text;
        let mut found = text.to_socket_addrs().with_context(|| format!("{text} is no address"))?;
        found.next().with_context(|| format!("{text} has no address"))
    }
}

fn place(arguments: &Bench) -> anyhow::Result<Place> {
    let is_of_cluster =
        arguments.cluster || arguments.choice.context.is_some() || super::logs::is_plugin();
    match &arguments.address {
        Some(text) => {
            let host = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host);
            let host = host.trim_matches(['[', ']']).to_owned();
            Ok(Place { text: text.clone(), host, tls: false })
        }
        None if is_of_cluster => of_cluster(arguments),
        None => of_this_machine(arguments),
    }
}

/// The load knows no slots.
fn has_one_shard(object: &Json) -> anyhow::Result<()> {
    let count = |field: &str| object["spec"][field].as_i64().unwrap_or(1);
    match count("replicas") * count("shardsPerPod") {
        ..=1 => Ok(()),
        shards => bail!("it has {shards} shards: measure it by `redis-benchmark --cluster`"),
    }
}

/// Whether the clients of an object must speak TLS.
fn speaks_tls(object: &Json) -> bool {
    !object["spec"]["resp"]["tls"].is_null()
}

fn of_this_machine(arguments: &Bench) -> anyhow::Result<Place> {
    let snapshot = super::ask(&arguments.data.data, Request::Get)?;
    let kinds = crate::systems::kinds();
    let words: Vec<&str> = arguments.target.iter().flat_map(|word| word.split('/')).collect();
    let (kind, name) = match words.as_slice() {
        [name] => (None, *name),
        [kind, name] => (Some(super::known(&kinds, kind)?.kind.clone()), *name),
        _ => bail!("name one object: NAME, KIND NAME or KIND/NAME"),
    };
    let namespace = arguments.choice.namespace.as_deref();
    let owned = snapshot.processes.iter().filter(|process| {
        process.owner.name == name
            && kind.as_ref().is_none_or(|kind| process.owner.kind == *kind)
            && namespace.is_none_or(|namespace| process.owner.namespace == namespace)
    });
    let found: Vec<_> =
        owned.filter_map(|process| Some((&process.owner, *process.ports.get(PORT)?))).collect();
    match found.as_slice() {
        [(owner, port)] => {
            let is_owner = |object: &&Json| {
                object["kind"] == owner.kind
                    && object["metadata"]["name"] == owner.name
                    && object["metadata"]["namespace"] == owner.namespace
            };
            let host = "127.0.0.1".to_owned();
            let object = snapshot.objects.iter().find(is_owner);
            object.map_or(Ok(()), has_one_shard)?;
            let tls = object.is_some_and(speaks_tls);
            Ok(Place { text: format!("{host}:{port}"), host, tls })
        }
        [] => bail!("nothing of the name {name} listens for clients here"),
        _ => bail!("{name} is there several times; name one by -n NAMESPACE"),
    }
}

fn of_cluster(arguments: &Bench) -> anyhow::Result<Place> {
    let cluster = Cluster::connect(&arguments.choice)?;
    let target = super::Target::of_system(&arguments.target, &cluster, SYSTEM)?;
    let object = cluster.get(&target.path)?;
    has_one_shard(&object)?;
    let pod = primary(&object, &target.name);
    let pod = cluster.get(&format!("/api/v1/namespaces/{}/pods/{pod}", cluster.namespace))?;
    Ok(Place {
        text: endpoint(&object, &pod)?,
        host: format!("{}-kv-rw.{}.svc", target.name, cluster.namespace),
        tls: speaks_tls(&object),
    })
}

/// The pod that takes writes.
fn primary(object: &Json, name: &str) -> String {
    let known = object["status"]["primary"].as_str();
    known.map_or_else(|| format!("{name}-kv-0"), str::to_owned)
}

fn endpoint(object: &Json, pod: &Json) -> anyhow::Result<String> {
    let port = object["spec"]["resp"]["port"].as_u64().unwrap_or(6379);
    match pod["status"]["podIP"].as_str() {
        Some(ip) if ip.contains(':') => Ok(format!("[{ip}]:{port}")),
        Some(ip) => Ok(format!("{ip}:{port}")),
        None => bail!("its pod has no address yet"),
    }
}

/// The first Ctrl-C ends the load; keys are removed all the same.
fn stop_on_ctrl_c(stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let stop = Arc::clone(stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("ctrl-c".into()).spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            stop.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pod_that_takes_writes_is_connected_to() {
        let object = json!({"status": {"primary": "a-kv-1"}, "spec": {"resp": {"port": 7000}}});
        assert_eq!(primary(&object, "a"), "a-kv-1");
        assert_eq!(primary(&json!({}), "a"), "a-kv-0");
        assert!(has_one_shard(&object).is_ok());
        let several = json!({"spec": {"replicas": 3, "shardsPerPod": 2}});
        assert!(has_one_shard(&several).unwrap_err().to_string().contains("6 shards"));
        let pod = |ip: &str| json!({"status": {"podIP": ip}});
        assert_eq!(endpoint(&object, &pod("10.0.0.7")).expect("there is one"), "10.0.0.7:7000");
        assert_eq!(endpoint(&json!({}), &pod("fd00::1")).expect("there is one"), "[fd00::1]:6379");
        assert!(endpoint(&object, &json!({})).is_err());
        assert!(speaks_tls(&json!({"spec": {"resp": {"tls": {}}}})) && !speaks_tls(&object));
    }
}
