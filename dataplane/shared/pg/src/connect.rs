//! Finding the server that takes writes, and what its session is set to.
//!
//! All servers of the address are asked at once. Of those that are not in recovery the one with the
//! highest timeline is taken: a promotion begins a new one, so an old primary that came back is not
//! taken for the new. Safety does not hang on that; it keeps the loser from being asked.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use orrery_kit::secrets::Secret;
use tokio::time::{sleep, timeout};
use tokio_postgres::config::{LoadBalanceHosts, SslMode};
use tokio_postgres::{Config, NoTls};

use crate::tls::{Connectors, TlsError};
use crate::{Address, AddressError, Failure, Host, Link};

/// Longest time until a server has let a session in.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time until one of the IP addresses of its name answers.
const CONNECT_ADDRESS: Duration = Duration::from_secs(2);
/// How much longer the others are waited for once one takes writes.
const GRACE: Duration = Duration::from_millis(300);
/// The oldest server that this was made for.
const VERSION_MIN: u32 = 15_00_00;
/// When an idle connection is probed, how often, and how often in vain until it is dead.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent bytes may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of a session.
///
/// - The largest group on the slowest connection of use stays below `statement_timeout`. It does not
///   cut a wait for a synchronous standby short: the server stops that clock before it commits.
/// - A client that is gone must not keep what it locked: the TCP settings and the check interval.
/// - Tables are new, empty or just trimmed when statements are planned, and plans are kept; all of
///   ours go by index.
/// - `remote_apply` is stronger than `on`; `remote_write` and `local` are weaker.
const SETTINGS: &str = "
    SET default_transaction_isolation = 'read committed';
    SET search_path = pg_catalog;
    SET statement_timeout = '60s';
    SET lock_timeout = '4s';
    SET idle_in_transaction_session_timeout = '15s';
    SET tcp_keepalives_idle = 5;
    SET tcp_keepalives_interval = 2;
    SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = 10000;
    SET jit = off;
    SET enable_seqscan = off;
    SET enable_bitmapscan = off;
    SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false);
    SELECT current_setting('server_version_num'), pg_is_in_recovery(),
        current_setting('transaction_read_only'), current_setting('fsync'),
        current_setting('full_page_writes'),
        CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_walfile_name(pg_current_wal_lsn()) END";
/// Not every platform of a server can do this.
const CHECK_CLIENT: &str = "SET client_connection_check_interval = '2s'";

/// Where to connect to, and as whom.
pub struct Target {
    address: Address,
    password: Option<Secret>,
    connectors: Option<Connectors>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Target").field(&self.address.to_string()).finish()
    }
}

/// Why there is nothing to connect to. Never says anything of secrets.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A server that lets us in.
struct Candidate {
    link: Link,
    timeline: u32,
}

fn unusable(reason: impl Into<String>) -> Failure {
    Failure::Unusable(reason.into())
}

impl Target {
    /// Checks what it is given. Connects nowhere yet. Without a password the server lets the user in
    /// without one.
    pub fn new(address: Address, password: Option<Secret>) -> Result<Self, OpenError> {
        address.check()?;
        let connectors = address.tls.as_ref().map(Connectors::new).transpose()?;
        Ok(Self { address, password, connectors })
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A connection to the server that takes writes.
    pub(crate) async fn connect(&self) -> Result<Link, Failure> {
        let mut open: FuturesUnordered<_> =
            self.address.hosts.iter().map(|host| self.candidate(host)).collect();
        let mut best: Option<Candidate> = None;
        let mut failures = vec![];
        while let Some(next) = next_within(&mut open, best.is_some()).await {
            match next {
                Ok(found) if best.as_ref().is_none_or(|best| best.timeline < found.timeline) => {
                    best = Some(found);
                }
                Ok(_) => {}
                Err(failure) => failures.push(failure),
            }
        }
        drop(open);
        best.map(|best| best.link).ok_or_else(|| worst(failures))
    }

    async fn candidate(&self, host: &Host) -> Result<Candidate, Failure> {
        let tried = timeout(CONNECT, self.open(host)).await;
        let result = tried.unwrap_or_else(|_| Err(Failure::Lost("no answer in time".to_owned())));
        result.map_err(|failure| at(host, failure))
    }

    async fn open(&self, host: &Host) -> Result<Candidate, Failure> {
        let config = self.config(host);
        let link = match &self.connectors {
            None => {
                let (client, connection) =
                    config.connect(NoTls).await.map_err(|error| refused(&error))?;
                Link::new(client, connection)
            }
            Some(connectors) => {
                let connected = config.connect(connectors.clone()).await;
                let (client, connection) = connected.map_err(|error| refused(&error))?;
                Link::new(client, connection)
            }
        };
        let rows = link.simple(SETTINGS).await?;
        let timeline = judge(rows.first().map_or(&[], Vec::as_slice))?;
        // That it is not possible does no harm: then locks of a client that is gone end by timeout.
        let _ = link.simple(CHECK_CLIENT).await;
        Ok(Candidate { link, timeline })
    }

    fn config(&self, host: &Host) -> Config {
        let mut config = Config::new();
        config
            .host(&host.name)
            .port(host.port)
            .dbname(&self.address.database)
            .user(&self.address.user)
            .application_name("orrery")
            .connect_timeout(CONNECT_ADDRESS)
            .load_balance_hosts(LoadBalanceHosts::Random)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .tcp_user_timeout(USER_TIMEOUT)
            .ssl_mode(if self.connectors.is_some() { SslMode::Require } else { SslMode::Disable });
        if let Some(password) = &self.password {
            config.password(password.reveal());
        }
        config
    }
}

/// Whether a server, by what it says of itself, will do now; its timeline.
fn judge(row: &[Option<String>]) -> Result<u32, Failure> {
    let [version, in_recovery, read_only, fsync, full_pages, wal_file] = row else {
        return Err(unusable("it does not describe itself as PostgreSQL does"));
    };
    let is = |value: &Option<String>, wanted: &str| value.as_deref() == Some(wanted);
    let version = version.as_deref().and_then(|text| text.parse::<u32>().ok());
    if version.is_none_or(|version| version < VERSION_MIN) {
        return Err(unusable("the server is older than PostgreSQL 15: upgrade it"));
    }
    if is(in_recovery, "t") {
        return Err(Failure::Lost("the server is in recovery".to_owned()));
    }
    if !is(read_only, "off") {
        let reason = "transactions are read only (default_transaction_read_only)";
        return Err(Failure::Lost(reason.to_owned()));
    }
    for (name, value) in [("fsync", fsync), ("full_page_writes", full_pages)] {
        if !is(value, "on") {
            let reason = format!("the server runs with {name} = off: set it to on");
            return Err(unusable(reason));
        }
    }
    let timeline = wal_file.as_deref().and_then(|name| name.get(..8));
    let timeline = timeline.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    timeline.ok_or_else(|| unusable("it does not say its timeline as PostgreSQL does"))
}

/// The next server that answered; of those that take their time no more than a moment.
async fn next_within<F: Future>(
    open: &mut FuturesUnordered<F>,
    is_found: bool,
) -> Option<F::Output> {
    if !is_found {
        return open.next().await;
    }
    tokio::select! {
        next = open.next() => next,
        () = sleep(GRACE) => None,
    }
}

/// What is said when no server will do: that asking again may help, if that is so for one of them.
fn worst(failures: Vec<Failure>) -> Failure {
    let parts = failures.into_iter().map(|failure| failure.verdict().parts());
    let (passing, reasons): (Vec<bool>, Vec<String>) = parts.unzip();
    let is_passing = passing.contains(&true);
    let reason = reasons.join("; ");
    if is_passing { Failure::Lost(reason) } else { unusable(reason) }
}

fn at(host: &Host, failure: Failure) -> Failure {
    match failure {
        Failure::Ended(reason) | Failure::Lost(reason) => {
            Failure::Lost(format!("{host}: {reason}"))
        }
        Failure::Refused { code, message } => {
            Failure::Refused { code, message: format!("{host}: {message}") }
        }
        Failure::Unusable(reason) => unusable(format!("{host}: {reason}")),
        Failure::Answer(never) => match never {},
    }
}

/// Why a server did not let us in, and whether trying again may help.
fn refused(error: &tokio_postgres::Error) -> Failure {
    let failure: Failure = Failure::of(error);
    let Failure::Ended(reason) = failure else {
        return failure;
    };
    let mut next = error.source();
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if tls.or_else(|| cause.downcast_ref()).is_some_and(is_lasting) {
            return unusable(reason);
        }
        next = cause.source();
    }
    // The kind of an error is private, its text is not: a password that is missing, one that the
    // server does not ask for in a way we know, a server without TLS.
    let lasting =
        ["invalid configuration", "authentication error", "error performing TLS handshake: server"];
    if lasting.iter().any(|lasting| reason.starts_with(lasting)) {
        return unusable(reason);
    }
    Failure::Lost(reason)
}

/// Certificates that are not trusted on either side, and nothing in common.
fn is_lasting(error: &rustls::Error) -> bool {
    use rustls::Error as Tls;
    matches!(
        error,
        Tls::InvalidCertificate(_)
            | Tls::NoCertificatesPresented
            | Tls::UnsupportedNameType
            | Tls::PeerIncompatible(_)
            | Tls::AlertReceived(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that will do, with one answer changed.
    fn judged(change: Option<(usize, &str)>) -> Result<u32, (bool, String)> {
        let answers = ["150018", "f", "off", "on", "on", "0000002A0000000100000003"];
        let mut row: Vec<Option<String>> = answers.map(|text| Some(text.to_owned())).into();
        if let Some((index, text)) = change {
            row[index] = Some(text.to_owned());
        }
        judge(&row).map_err(|failure| failure.verdict().parts())
    }

    #[test]
    fn a_server_is_judged_by_what_it_says_of_itself() {
        assert_eq!(judged(None).ok(), Some(42));
        for (index, text, wanted) in [
            (0, "140011", false),
            (0, "CockroachDB", false),
            (1, "t", true),
            (2, "on", true),
            (3, "off", false),
            (4, "off", false),
            (5, "", false),
        ] {
            let (is_passing, reason) = judged(Some((index, text))).expect_err(text);
            assert_eq!(is_passing, wanted, "{text}: {reason}");
        }
        assert!(judge(&[]).is_err());
    }

    #[test]
    fn among_servers_that_will_not_do_one_that_may_later_gives_hope() {
        let lost = || Failure::Lost("away".to_owned());
        assert!(!worst(vec![unusable("wrong")]).verdict().parts().0);
        let (is_passing, reason) = worst(vec![unusable("wrong"), lost()]).verdict().parts();
        assert!(is_passing && reason.contains("wrong; away"), "{reason}");
    }
}
