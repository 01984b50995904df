//! Durable records per second of 64 closed-loop clients with 150 bytes each, on a server of yours:
//! all that wait in one group, one group under way, against one transaction per record on 64
//! connections. The ways take turns.
//!
//! `cargo run --profile ci -p orrery-journal-pg --example pg -- postgres://user@host:5432/database`
//!
//! A second argument, `group` or `single`, leaves the other way out, for a look at what the server
//! spends on it. A third one is another number of clients.
//!
//! One line per way and round, `way`, `records/s`, `p50_us`, `p99_us`, `commits`, then the ratios.
//! The password is read from `PGPASSWORD`. It makes the schema `orrery` and the table `pg_example`.

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use orrery_journal::{Carrier, Epoch, Group, Owner, Position, Record};
use orrery_journal_pg::{Address, Options, PgCarrier};
use orrery_kit::secrets::Secret;
use tokio_postgres::{Config, NoTls};

const CLIENTS: usize = 64;
const BODY_BYTES: usize = 150;
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;
const SHARD: u32 = 0;

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What one way came to in one round.
struct Outcome {
    way: &'static str,
    latencies_us: Vec<u64>,
    took: Duration,
    commits: u64,
}

impl Outcome {
    fn per_second(&self) -> f64 {
        self.latencies_us.len() as f64 / self.took.as_secs_f64()
    }

    /// Prints it; gives its rate.
    fn print(mut self) -> f64 {
        self.latencies_us.sort_unstable();
        let at = |share: usize| {
            let last = self.latencies_us.len().saturating_sub(1);
            self.latencies_us.get(last * share / 100).copied().unwrap_or(0)
        };
        let (p50, p99) = (at(50), at(99));
        println!("{}\t{:.0}\t{p50}\t{p99}\t{}", self.way, self.per_second(), self.commits);
        self.per_second()
    }
}

/// What waits for the next group: whom to tell. All bodies are alike.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Vec<SyncSender<()>>>,
    came: Condvar,
}

fn grouped(carrier: &PgCarrier, epoch: u64, clients: usize) -> Fallible<Outcome> {
    let owner = Owner { epoch: Epoch(epoch), token: epoch };
    let mut last = carrier.take_over(owner)?.last.0;
    let body = [7_u8; BODY_BYTES];
    let (queue, is_over) = (Queue::default(), AtomicBool::new(false));
    let started = Instant::now();
    let mut commits = 0;
    thread::scope(|scope| {
        let client = || {
            let (tell, told) = sync_channel(1);
            let mut latencies_us = vec![];
            while !is_over.load(Ordering::Acquire) {
                let asked = Instant::now();
                queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(tell.clone());
                queue.came.notify_one();
                if told.recv_timeout(Duration::from_secs(30)).is_ok() {
                    latencies_us.push(asked.elapsed().as_micros() as u64);
                }
            }
            latencies_us
        };
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        while clients.iter().any(|client| !client.is_finished()) {
            let waiting = queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let waited =
                queue.came.wait_timeout_while(waiting, Duration::from_millis(20), |waiting| {
                    waiting.is_empty()
                });
            let taken = std::mem::take(&mut *waited.unwrap_or_else(PoisonError::into_inner).0);
            if started.elapsed() >= ROUND {
                is_over.store(true, Ordering::Release);
            }
            if taken.is_empty() {
                continue;
            }
            let record = || Record { stream: 0, kind: 1, time_us: 0, body: &body };
            let records: Vec<Record<'_>> = taken.iter().map(|_| record()).collect();
            let group = Group::of(SHARD, Epoch(epoch), Position(last + 1), &records);
            carrier.append(owner, &group)?;
            commits += 1;
            last = group.last().0;
            for told in taken {
                let _ = told.send(());
            }
        }
        let latencies = clients.into_iter().map(|client| client.join().unwrap_or_default());
        let latencies_us = latencies.flatten().collect();
        Ok(Outcome { way: "group", latencies_us, took: started.elapsed(), commits })
    })
}

fn one_by_one(config: &Config, clients: usize) -> Fallible<Outcome> {
    let connected = AtomicU64::new(0);
    let started = Mutex::new(None);
    let client = || -> Fallible<Vec<u64>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(connection);
            let insert = client.prepare("INSERT INTO pg_example (body) VALUES ($1)").await?;
            connected.fetch_add(1, Ordering::AcqRel);
            while connected.load(Ordering::Acquire) < clients as u64 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let begun = *started
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(Instant::now);
            let mut latencies_us = vec![];
            while begun.elapsed() < ROUND {
                let asked = Instant::now();
                client.execute(&insert, &[&[7_u8; BODY_BYTES].as_slice()]).await?;
                latencies_us.push(asked.elapsed().as_micros() as u64);
            }
            Ok(latencies_us)
        })
    };
    let latencies_us = thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let all: Fallible<Vec<Vec<u64>>> = clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| Ok(vec![])))
            .collect();
        all
    })?;
    let latencies_us: Vec<u64> = latencies_us.into_iter().flatten().collect();
    let commits = latencies_us.len() as u64;
    Ok(Outcome { way: "single", latencies_us, took: ROUND, commits })
}

fn measure(text: &str, only: Option<&str>, clients: usize) -> Fallible<()> {
    let address: Address = text.parse()?;
    let password = std::env::var("PGPASSWORD").ok();
    let mut config = Config::new();
    config.user(&address.user).dbname(&address.database);
    for host in &address.hosts {
        config.host(&host.name).port(host.port);
    }
    if let Some(password) = &password {
        config.password(password);
    }
    let carrier = PgCarrier::open(Options {
        address,
        password: password.map(Secret::new),
        journal: "example/pg/0".to_owned(),
        shard: SHARD,
        needs_replication: false,
    })?;
    carrier.prepare()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        let table = "DROP TABLE IF EXISTS pg_example;
            CREATE TABLE pg_example (id bigserial PRIMARY KEY, body bytea NOT NULL)";
        client.batch_execute(table).await
    })?;
    println!("way\trecords/s\tp50_us\tp99_us\tcommits");
    let mut ratios = vec![];
    for _ in 0..ROUNDS {
        let epoch = carrier.look()?.epoch.0 + 1;
        let mut rates = vec![];
        if only != Some("single") {
            rates.push(grouped(&carrier, epoch, clients)?.print());
        }
        if only != Some("group") {
            rates.push(one_by_one(&config, clients)?.print());
        }
        if let [group, single] = rates[..] {
            ratios.push(format!("{:.1}", group / single));
        }
    }
    println!("ratio\t{}", ratios.join("\t"));
    Ok(())
}

fn main() -> ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("usage: pg postgres://user@host:5432/database");
        return ExitCode::from(2);
    };
    let only = std::env::args().nth(2);
    let clients = std::env::args().nth(3).map_or(Ok(CLIENTS), |digits| digits.parse());
    let result = match clients {
        Ok(clients) => measure(&address, only.as_deref(), clients),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
