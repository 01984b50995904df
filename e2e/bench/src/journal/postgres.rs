//! The journal carried by PostgreSQL beside one transaction for each record, on a server of its own
//! with `fsync = on`, in turn.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_e2e_tests::postgres::{DATABASE, PASSWORD, Postgres, USER};
use orrery_journal_pg::{Address, Options as PgOptions, PgCarrier};
use orrery_kit::secrets::Secret;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::clients::{self, Measured, cpu_time};
use super::ours::Ours;
use super::{BODY, CLIENTS};
use crate::Options;
use crate::row::{Bar, Row};

pub const NAME: &str = "carried by PostgreSQL, 64 clients of 150 B";
/// Records of one run at full scale.
const OURS: u64 = 100_000;
const THEIRS: u64 = 40_000;
const TABLE: &str = "CREATE TABLE records (id bigserial PRIMARY KEY, body bytea NOT NULL)";
const INSERT: &str = "INSERT INTO records (body) VALUES ($1)";

pub fn rows(folder: &Path, options: &Options) -> Result<(), String> {
    let server = match start(&folder.join("server")) {
        Ok(server) => server,
        Err(why) => {
            println!("{NAME}: not run: {why}");
            return Ok(());
        }
    };
    let address = address(&server)?;
    let mut ours = Ours::open_carried(&folder.join("carried"), Arc::new(carrier(&address)?))?;
    let peer = Peer::connect(&address)?;
    let name = |what: &str| format!("{NAME}, {what}");
    let mut rate = Row::new(name("records/s"), "/s", Bar::OursAtLeastOr(10_000.0, 20.0));
    let mut cpu = Row::new(name("CPU of the client per record"), "us", Bar::None);
    let mut p50 = Row::new(name("p50"), "ms", Bar::None);
    let mut p99 = Row::new(name("p99"), "ms", Bar::None);
    clients::run(&mut ours, options.scaled(OURS) / 10)?;
    for _ in 0..options.rounds {
        let a = clients::run(&mut ours, options.scaled(OURS))?;
        let b = peer.run(options.scaled(THEIRS))?;
        rate.pairs.push((a.per_second, b.per_second));
        cpu.pairs.push((a.cpu_us_per_record, b.cpu_us_per_record));
        p50.pairs.push((a.p50_ms, b.p50_ms));
        p99.pairs.push((a.p99_ms, b.p99_ms));
    }
    for row in [rate, cpu, p50, p99] {
        println!("{}", row.line());
    }
    Ok(())
}

/// A server whose user may enter the folders above its own.
fn start(folder: &Path) -> Result<Postgres, String> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir(folder).map_err(|error| error.to_string())?;
    let above = folder.parent().ok_or("a folder has one above it")?;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(above, open).map_err(|error| error.to_string())?;
    Postgres::start(folder)
}

/// Where the server listens.
fn address(server: &Postgres) -> Result<Address, String> {
    let secret = server.secret();
    let field = |name: &str| {
        let behind = secret.split(&format!("{name}: \"")).nth(1)?;
        behind.split('"').next()
    };
    let (host, port) = field("host").zip(field("port")).ok_or("the server has no address")?;
    let text = format!("postgres://{USER}@{host}:{port}/{DATABASE}");
    text.parse().map_err(|error| format!("{error}"))
}

fn carrier(address: &Address) -> Result<PgCarrier, String> {
    let options = PgOptions {
        address: address.clone(),
        password: Some(Secret::new(PASSWORD.to_owned())),
        journal: "bench/journal/0".to_owned(),
        shard: 0,
        needs_replication: false,
    };
    PgCarrier::open(options).map_err(|error| error.to_string())
}

/// A connection for each client, all on one thread.
struct Peer {
    runtime: tokio::runtime::Runtime,
    clients: Vec<Rc<(Client, Statement)>>,
}

impl Peer {
    fn connect(address: &Address) -> Result<Self, String> {
        let host = address.hosts.first().ok_or("the address has no host")?;
        let mut config = Config::new();
        config.user(&address.user).dbname(&address.database).password(PASSWORD);
        config.host(&host.name).port(host.port);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let connect = async {
            let mut clients = Vec::new();
            for number in 0..CLIENTS {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                if number == 0 {
                    client.batch_execute(TABLE).await?;
                }
                let insert = client.prepare(INSERT).await?;
                clients.push(Rc::new((client, insert)));
            }
            Ok(clients)
        };
        let clients = runtime.block_on(connect);
        let clients = clients.map_err(|error: tokio_postgres::Error| error.to_string())?;
        Ok(Self { runtime, clients })
    }

    fn run(&self, records: u64) -> Result<Measured, String> {
        let left = Rc::new(Cell::new(records));
        let (start, cpu) = (Instant::now(), cpu_time()?);
        let local = tokio::task::LocalSet::new();
        let tasks: Vec<_> = self
            .clients
            .iter()
            .map(|client| local.spawn_local(insert(Rc::clone(client), Rc::clone(&left))))
            .collect();
        let latencies = local.block_on(&self.runtime, async {
            let mut latencies = Vec::new();
            for task in tasks {
                let taken = task.await.map_err(|error| error.to_string())?;
                latencies.extend(taken.map_err(|error| error.to_string())?);
            }
            Ok::<_, String>(latencies)
        })?;
        let (elapsed, used) = (start.elapsed(), cpu_time()?.saturating_sub(cpu));
        Ok(Measured::of(latencies, elapsed, used))
    }
}

/// One client: a transaction after the other while records are left.
async fn insert(
    client: Rc<(Client, Statement)>,
    left: Rc<Cell<u64>>,
) -> Result<Vec<Duration>, tokio_postgres::Error> {
    let mut latencies = Vec::new();
    while left.get() > 0 {
        left.set(left.get() - 1);
        let asked = Instant::now();
        client.0.execute(&client.1, &[&BODY.as_slice()]).await?;
        latencies.push(asked.elapsed());
    }
    Ok(latencies)
}
