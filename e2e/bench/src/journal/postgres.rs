//! The journal carried by PostgreSQL beside one transaction for each record, on a server of its own
//! with `fsync = on`, in turn.

use std::path::Path;
use std::sync::Arc;

use orrery_e2e_tests::postgres::{DATABASE, PASSWORD, Postgres, USER};
use orrery_journal_pg::{Address, Options as PgOptions, PgCarrier};
use orrery_kit::secrets::Secret;
use tokio_postgres::Config;

use super::ours::Ours;
use super::{BODY, CLIENTS, clients};
use crate::measured::Compared;
use crate::row::Bar;
use crate::{Options, postgres};

pub const NAME: &str = "carried by PostgreSQL, 64 clients of 150 B";
/// Records of one run at full scale.
const OURS: u64 = 100_000;
const THEIRS: u64 = 40_000;
const TABLE: &str = "CREATE TABLE records (id bigserial PRIMARY KEY, body bytea NOT NULL)";
const INSERT: &str = "INSERT INTO records (body) VALUES ($1)";

pub fn rows(folder: &Path, options: &Options) -> Result<(), String> {
    let server = match postgres::start(&folder.join("server"), Postgres::start) {
        Ok(server) => server,
        Err(why) => {
            println!("{NAME}: not run: {why}");
            return Ok(());
        }
    };
    let address = address(&server)?;
    let mut ours = Ours::open_carried(&folder.join("carried"), Arc::new(carrier(&address)?))?;
    let peer = postgres::Peer::connect(&config(&address)?, CLIENTS, TABLE, INSERT)?;
    clients::run(&mut ours, options.scaled(OURS) / 10)?;
    let compared = Compared {
        name: NAME,
        rate: "records/s",
        rate_bar: Bar::OursAtLeastOr(10_000.0, 20.0),
        cpu: "CPU of the client per record",
        cpu_bar: Bar::None,
    };
    compared.in_turn(
        options.rounds,
        &mut ours,
        |ours| clients::run(ours, options.scaled(OURS)),
        |_| peer.run(options.scaled(THEIRS), || [BODY.to_vec()]),
    )
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

/// Where the peer connects to: the same server.
fn config(address: &Address) -> Result<Config, String> {
    let host = address.hosts.first().ok_or("the address has no host")?;
    let mut config = Config::new();
    config.user(&address.user).dbname(&address.database).password(PASSWORD);
    config.host(&host.name).port(host.port);
    Ok(config)
}
