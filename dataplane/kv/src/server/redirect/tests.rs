//! Commands of one connection to a shard of a cluster, without sockets or other processes.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use orrery_journal::sim::SimDisk;
use orrery_journal::{Journal, Options};
use orrery_resp::Proto;
use tokio::sync::oneshot;

use super::*;
use crate::cluster::tests::cluster;
use crate::command_table::by_name;
use crate::machine::{Machine, MachineOptions};
use crate::metrics::Shared;
use crate::namespaces::Class;
use crate::persistence::log::Log;
use crate::persistence::recovery;
use crate::persistence::snapshots::Snapshots;
use crate::replication::grants::Grants;
use crate::replication::lease::Moments;
use crate::server::group::{Group, Membership};
use crate::server::requests::Request;
use crate::server::settings::Settings;
use crate::server::stream::Stream;
use crate::server::users::Users;
use crate::server::{Parts, Seat, poll_and_waker};

/// `bar` and `hello` are in slots 5061 and 866 of shard 0, `foo` is in slot 12182 of shard 1.
struct Bench {
    shard: Shard,
    slot: usize,
    ask: mpsc::SyncSender<Request>,
    _peer: mio::net::UnixStream,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// A shard that is shard 0 of a cluster, and in a group, if `primaries` are known.
    fn new(primaries: Option<&[Option<&str>]>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = Options { threaded: false, ..Options::default() };
        let opened = Journal::open(Arc::new(SimDisk::new(1)), options).expect("an empty journal");
        let mut machine = Machine::new(&MachineOptions {
            databases: 16,
            default_class: Class::Store,
            hash_seed: 1,
            random_seed: 1,
        });
        let recovered =
            recovery::recover(opened, &mut machine, 16, Class::Store).expect("nothing to recover");
        let (poll, waker) = poll_and_waker().expect("a poll");
        let membership = Membership {
            grants: Grants::load(folder.path()).expect("there are none"),
            token: None,
            identity: None,
            name: "a".into(),
            data: folder.path().into(),
            moments: Moments::new(Instant::now(), 1),
        };
        let group = primaries.map(|_| Box::new(Group::new(membership, &waker)));
        let (ask, requests) = mpsc::sync_channel(1);
        let seat = Seat { poll, waker, listeners: vec![], requests };
        let parts = Parts {
            id: 0,
            databases: 16,
            default_class: Class::Store,
            machine,
            log: Log::new(recovered.journal, recovered.fenced_below, recovered.history),
            declared: recovered.declared,
            snapshots: Snapshots::resume(0, 0, 0),
            group,
            cluster: primaries.map(|primaries| Box::new(cluster(primaries))),
            adoption: None,
            settings: Settings::default(),
            users: Users::new(None),
            users_file: None,
            fence: None,
            run_id: String::new(),
            debug_enabled: false,
            snapshot_bytes: u64::MAX,
            shared: Arc::new(Shared::default()),
            posts: Arc::default(),
        };
        let mut shard = Shard::new(seat, parts).expect("a shard");
        shard.machine.begin(shard.clock.wall_ms(), shard.log.next_position());
        let (ours, peer) = mio::net::UnixStream::pair().expect("a pair of sockets");
        let slot = shard.clients.vacant();
        let id = shard.clients.next_id();
        let connection = Connection::new(id, slot, Stream::Unix(ours), "", &shard.users, 0);
        shard.clients.insert(Box::new(connection));
        let mut bench = Self { shard, slot, ask, _peer: peer, _folder: folder };
        bench.becomes(Bar::None);
        bench
    }

    /// A primary; `b` is that of the other shard.
    fn primary() -> Self {
        Self::new(Some(&[Some("a"), Some("b")]))
    }

    fn becomes(&mut self, bar: Bar) {
        self.shard.bar = bar;
    }

    fn is_fenced(&mut self, epoch: u64) {
        let (answer, _) = oneshot::channel();
        self.ask.send(Request::Fence { epoch, answer }).expect("there is room");
        self.shard.answer_requests();
    }

    fn change(&mut self, change: impl FnOnce(&mut Connection)) {
        change(self.shard.clients.get_mut(self.slot).expect("it is there"));
    }

    /// The reply, its lines separated by blanks; nothing while it waits.
    fn run(&mut self, line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut connection = self.shard.clients.take(self.slot).expect("it is there");
        let mut reply = Reply::new(Proto::Resp2);
        if let Some(spec) = self.shard.admit(&mut connection, &args, &mut reply) {
            self.shard.run_one(&mut connection, spec, &args, &mut reply);
        }
        self.shard.clients.put_back(self.slot, connection);
        String::from_utf8_lossy(reply.as_bytes()).trim_end().replace("\r\n", " ")
    }

    #[track_caller]
    fn answers(&mut self, dialogue: &[(&str, &str)]) {
        for (line, expected) in dialogue {
            assert_eq!(self.run(line), *expected, "{line}");
        }
    }
}

const FOO_MOVED: &str = "-MOVED 12182 10.0.0.2:7001";
const CROSS: &str = "-CROSSSLOT Keys in request don't hash to the same slot";
const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.";
const DISABLED: &str = "-ERR This instance has cluster support disabled";

#[test]
fn keys_of_other_shards_are_where_their_primary_is() {
    let mut bench = Bench::primary();
    bench.answers(&[
        ("SET bar 1", "+OK"),
        ("GET foo", FOO_MOVED),
        ("SET foo 1", FOO_MOVED),
        ("MGET bar {bar}2", "*2 $1 1 $-1"),
        ("MGET bar hello", CROSS),
        ("BLMPOP 0 2 bar foo LEFT", CROSS),
        ("LMPOP x bar foo LEFT", "-ERR numkeys should be greater than 0"),
        ("OBJECT ENCODING foo", FOO_MOVED),
        ("WATCH foo", FOO_MOVED),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("PING", "+PONG"),
        ("DBSIZE", ":1"),
    ]);
    let mut bench = Bench::new(Some(&[Some("a"), None]));
    bench.answers(&[("GET foo", "-CLUSTERDOWN Hash slot not served"), ("GET bar", "$-1")]);
}

#[test]
fn a_transaction_is_of_one_shard() {
    let mut bench = Bench::primary();
    bench.answers(&[
        ("MULTI", "+OK"),
        ("SET bar 1", "+QUEUED"),
        ("SET hello 2", "+QUEUED"),
        ("EXEC", "*2 +OK +OK"),
        ("MULTI", "+OK"),
        ("SET bar 3", "+QUEUED"),
        ("SET foo 3", FOO_MOVED),
        ("EXEC", ABORTED),
        ("GET bar", "$1 1"),
    ]);
}

#[test]
fn a_follower_is_read_from_by_those_who_asked_for_it() {
    let mut bench = Bench::new(Some(&[Some("c"), Some("b")]));
    bench.becomes(Bar::Follower);
    let moved = "-MOVED 5061 10.0.0.3:7000";
    bench.answers(&[
        ("GET bar", moved),
        ("READONLY", "+OK"),
        ("GET bar", "$-1"),
        ("SET bar 1", moved),
        ("GET foo", FOO_MOVED),
        ("MULTI", "+OK"),
        ("GET bar", "+QUEUED"),
        ("EXEC", "*1 $-1"),
        ("READWRITE", "+OK"),
        ("GET bar", moved),
        ("READONLY", "+OK"),
        ("RESET", "+RESET"),
        ("GET bar", moved),
        ("ASKING", "+OK"),
        ("GET bar", moved),
    ]);
    bench.becomes(Bar::Copying);
    bench.answers(&[("READONLY", "+OK"), ("GET bar", moved), ("CLUSTER KEYSLOT bar", ":5061")]);
    assert!(bench.run("CLUSTER SLOTS").starts_with("*2 "), "it says where to go");
    assert!(bench.run("CLUSTER COUNTKEYSINSLOT 1").starts_with("-LOADING "));
}

#[test]
fn a_transaction_that_met_a_change_of_role_is_sent_on() {
    let mut bench = Bench::new(Some(&[Some("c"), Some("b")]));
    for queued in ["SET bar 1", "GET bar"] {
        bench.becomes(Bar::None);
        bench.answers(&[("MULTI", "+OK"), ("PING", "+QUEUED"), (queued, "+QUEUED")]);
        bench.becomes(Bar::Follower);
        bench
            .answers(&[("EXEC", "-MOVED 5061 10.0.0.3:7000"), ("EXEC", "-ERR EXEC without MULTI")]);
    }
    bench.becomes(Bar::None);
    bench.answers(&[("GET bar", "$-1")]);
}

#[test]
fn whoever_lost_its_role_says_that_the_cluster_is_down_until_another_is_named() {
    let mut bench = Bench::primary();
    for bar in [Bar::Fenced, Bar::Lease, Bar::Standby] {
        bench.becomes(bar);
        bench.answers(&[("GET bar", "-CLUSTERDOWN The cluster is down"), ("GET foo", FOO_MOVED)]);
    }
    bench.becomes(Bar::Ending);
    bench.answers(&[("GET bar", "$-1"), ("SET bar 1", "-CLUSTERDOWN The cluster is down")]);
    // It stays the primary.
    bench.becomes(Bar::Replicas);
    let short = "-NOREPLICAS Not enough good replicas to write.";
    bench.answers(&[("GET bar", "$-1"), ("SET bar 1", short)]);
}

#[test]
fn nobody_waits_for_what_is_pushed_elsewhere() {
    let mut bench = Bench::primary();
    bench.answers(&[("BLPOP bar 0", "")]);
    bench.shard.release_waiting_in_cluster();
    assert_eq!(bench.shard.waiting.len(), 1, "a primary has them wait");
    bench.becomes(Bar::Lease);
    bench.shard.release_waiting_in_cluster();
    assert_eq!(bench.shard.waiting.len(), 0);
    let mut sent = Vec::new();
    bench.change(|connection| sent = connection.output.sendable(0).to_vec());
    assert!(sent.starts_with(b"-UNBLOCKED "), "{}", String::from_utf8_lossy(&sent));
}

#[test]
fn a_process_without_followers_serves_until_it_is_fenced() {
    let mut bench = Bench::primary();
    bench.shard.group = None;
    // It takes a Redis over, which is no matter of the cluster's.
    bench.becomes(Bar::Follower);
    let readonly = "-READONLY You can't write against a read only replica.";
    bench.answers(&[("GET bar", "$-1"), ("SET bar 1", readonly)]);
    bench.becomes(Bar::None);
    bench.answers(&[("SET bar 1", "+OK"), ("BLPOP hello 0", "")]);
    bench.is_fenced(9);
    assert_eq!(bench.shard.waiting.len(), 0);
    bench.answers(&[("GET bar", "-CLUSTERDOWN The cluster is down"), ("GET foo", FOO_MOVED)]);
}

#[test]
fn who_only_replicates_is_not_sent_elsewhere() {
    let mut bench = Bench::primary();
    bench.change(|connection| connection.is_follower = true);
    bench.answers(&[("GET foo", "-NOPERM this user may only replicate")]);
}

#[test]
fn a_cluster_has_one_database() {
    let mut bench = Bench::primary();
    let copying = "-ERR Copying to another database is not allowed in cluster mode";
    let moving = "-ERR MOVE is not allowed in cluster mode";
    bench.answers(&[
        ("SET bar 1", "+OK"),
        ("SELECT 0", "+OK"),
        ("SELECT 1", "-ERR SELECT is not allowed in cluster mode"),
        ("SELECT 99", "-ERR DB index is out of range"),
        ("MOVE bar 1", moving),
        ("SWAPDB 0 1", "-ERR SWAPDB is not allowed in cluster mode"),
        ("COPY bar {bar}2 DB 1", copying),
        ("COPY bar {bar}2 DB 0", ":1"),
        ("MULTI", "+OK"),
        ("MOVE bar 1", "+QUEUED"),
        ("EXEC", &format!("*1 {moving}")),
    ]);
}

#[test]
fn commands_on_other_databases_are_refused() {
    let refused = |line: &str| {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        refuse_database(by_name(args[0]).expect("is in the table"), &args)
    };
    let copying = Some("ERR Copying to another database is not allowed in cluster mode");
    assert_eq!(refused("copy a b DB 1"), copying);
    assert_eq!(refused("copy a b replace db 1"), copying);
    for line in ["copy a b", "copy a b db 0", "copy db 1 replace", "copy a b db x", "get a"] {
        assert_eq!(refused(line), None, "{line}");
    }
}

#[test]
fn clients_are_told_that_this_is_a_cluster_and_that_the_operator_assigns() {
    let mut bench = Bench::primary();
    let assigned = "-ERR the operator of this cluster assigns the slots: change the KVCluster \
                    instead";
    bench.answers(&[
        ("CONFIG GET cluster-enabled", "*2 $15 cluster-enabled $3 yes"),
        ("CLUSTER KEYSLOT {bar}.x", ":5061"),
        ("CLUSTER LINKS", "*0"),
        ("CLUSTER MEET 10.0.0.5 6379", assigned),
        ("CLUSTER RESET", assigned),
        ("CLUSTER SET-CONFIG-EPOCH 5", assigned),
        ("CLUSTER NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP."),
        ("CLUSTER COUNT-FAILURE-REPORTS x", "-ERR Unknown node x"),
        ("SET bar 1", "+OK"),
        ("SET {bar}2 1", "+OK"),
        ("SET hello 1", "+OK"),
        ("CLUSTER COUNTKEYSINSLOT 5061", ":2"),
        ("CLUSTER COUNTKEYSINSLOT 12182", ":0"),
        ("CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot"),
        ("CLUSTER GETKEYSINSLOT 866 10", "*1 $5 hello"),
        ("CLUSTER GETKEYSINSLOT 5061 0", "*0"),
        ("CLUSTER GETKEYSINSLOT 5061 -1", "-ERR Invalid slot or number of keys"),
    ]);
    let id = bench.run("CLUSTER MYID");
    assert!(bench.run("CLUSTER NODES").contains(&format!("{} ", &id[4..])), "{id}");
    assert!(bench.run("INFO").contains("redis_mode:cluster"));
    assert!(bench.run("INFO").contains("cluster_enabled:1"));
    assert!(bench.run("HELLO").contains("mode $7 cluster"));
    assert!(bench.run("CLUSTER INFO").contains("cluster_state:ok"));
}

#[test]
fn without_cluster_mode_there_is_no_cluster() {
    let mut bench = Bench::new(None);
    bench.answers(&[
        ("MSET foo 1 bar 1", "+OK"),
        ("SELECT 1", "+OK"),
        ("CLUSTER SLOTS", DISABLED),
        ("CLUSTER MEET 10.0.0.5 6379", DISABLED),
        ("READONLY", DISABLED),
        ("READWRITE", DISABLED),
        ("ASKING", DISABLED),
        ("CONFIG GET cluster-enabled", "*2 $15 cluster-enabled $2 no"),
    ]);
    assert!(bench.run("CLUSTER HELP").starts_with('*'));
    assert!(bench.run("INFO").contains("redis_mode:standalone"));
}
