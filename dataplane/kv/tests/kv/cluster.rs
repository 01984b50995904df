//! Several shards in a process, each with a thread, a journal and a port of its own; and several such
//! processes, each primary of some shards and follower of others.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use orrery_operand::set_hash::{route_request, sync_request};
use orrery_operand::v1::{DeclaredObject, Node, RenewRequest, ReportResponse, Role, ShardRoute};

use crate::process::{Engine, SHARDS, Value, bulk, encode, ok, pod_name, read_value};
use crate::replication::group::{PATIENCE, block_on, eventually, operator, report};

/// One process with three shards.
const ALONE: &str = "cluster: {shards: 3, pods: 1, copies: 1}\n";
/// Three shards, all of them in both processes.
const BOTH: &str = "group: true\ncluster: {shards: 3, pods: 2, copies: 2}\n";
/// A follower, on whose disk nothing has to be, and no end of the lease.
const SHAPE: (u32, u32, u32) = (1, 0, 0);

/// An engine with all its shards.
fn alone(folder: tempfile::TempDir) -> Engine {
    let engine = Engine::begin_in(folder);
    eventually("every shard serves", || report(&engine).ready.then_some(()));
    engine
}

/// A connection to a port of an engine.
struct Door(BufReader<TcpStream>);

impl Door {
    fn open(port: u16) -> Self {
        let stream =
            eventually("somebody listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self(BufReader::new(stream))
    }

    fn run(&mut self, line: &str) -> Value {
        self.0.get_mut().write_all(&encode(line)).expect("it listens");
        read_value(&mut self.0).expect("a reply")
    }
}

fn at(port: u16, line: &str) -> Value {
    Door::open(port).run(line)
}

/// Sends a command to an engine, and to the shard that it names instead. Gives the port of the shard that
/// answered.
fn routed(engine: &Engine, line: &str) -> (u16, Value) {
    let (port, answer) = followed(engine.port, line);
    // Behind that for all shards is the first one.
    (if port == engine.port { engine.shards[0] } else { port }, answer)
}

fn followed(port: u16, line: &str) -> (u16, Value) {
    let mut port = port;
    for _ in 0..3 {
        match at(port, line) {
            Value::Error(text) if text.starts_with("MOVED ") => {
                port = text.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
            }
            value => return (port, value),
        }
    }
    panic!("sent from shard to shard: {line}")
}

#[test]
fn every_shard_has_its_part_of_the_keys_and_keeps_it() {
    let mut engine = alone(Engine::prepare(ALONE));
    let mut owners = BTreeMap::new();
    for number in 0..60 {
        let (owner, answer) = routed(&engine, &format!("SET key:{number} {number}"));
        assert_eq!(answer, ok());
        *owners.entry(owner).or_insert(0) += 1;
    }
    let ports: Vec<u16> = owners.keys().copied().collect();
    let mut expected = engine.shards.to_vec();
    expected.sort_unstable();
    assert_eq!(ports, expected, "each has some: {owners:?}");
    for (shard, port) in engine.shards.iter().enumerate() {
        assert_eq!(at(*port, "DBSIZE"), Value::Integer(owners[port]), "shard {shard}");
    }
    let said = report(&engine);
    let ids: Vec<u32> = said.shards.iter().map(|shard| shard.id).collect();
    assert_eq!((ids, said.role()), (vec![0, 1, 2], Role::Primary));
    assert_eq!(said.figures["keys"], 60);
    assert_eq!(said.shards[1].slots, "5461-10921");

    for end in [Engine::kill, Engine::stop] {
        engine = alone(end(engine));
        for number in 0..60 {
            let (_, answer) =
                followed(engine.shards[number % SHARDS], &format!("GET key:{number}"));
            assert_eq!(answer, bulk(&number.to_string()));
        }
    }
}

#[test]
fn a_namespace_is_declared_to_every_shard_and_its_quota_is_for_all() {
    let engine = alone(Engine::prepare(ALONE));
    let object = DeclaredObject {
        namespace: "shop".into(),
        name: "carts".into(),
        generation: 2,
        spec: br#"{"match": {"prefix": "cart:"}, "quota": {"memory": 30000}}"#.to_vec(),
        ..DeclaredObject::default()
    };
    let request = sync_request("KVNamespace", vec![object]);
    let send = || block_on(async { operator(&engine).sync(request.clone()).await });
    assert!(send().expect("it is taken").results[0].accepted);
    assert_eq!(report(&engine).declared[0].set_hash, request.set_hash);
    // 10,000 bytes for each shard: four or five values, and the first one beyond is refused.
    let value = "v".repeat(2000);
    let mut taken = 0;
    for number in 0..60 {
        match routed(&engine, &format!("SET cart:{number} {value}")).1 {
            Value::Error(text) => assert!(text.starts_with("QUOTA memory ns=carts"), "{text}"),
            answer => {
                assert_eq!(answer, ok());
                taken += 1;
            }
        }
    }
    assert!((12..=15).contains(&taken), "{taken}");
    let figures = &send().expect("it is taken").results[0].figures;
    assert_eq!(figures["keys"], taken, "those of all shards");
}

/// What an operator does with two processes.
struct Pair([Engine; 2]);

impl Pair {
    fn start() -> Self {
        Self([(), ()].map(|()| Self::member(Engine::prepare(BOTH))))
    }

    /// One whose shards all wait to be told their role.
    fn member(folder: tempfile::TempDir) -> Engine {
        let engine = Engine::begin_in(folder);
        eventually("all its shards wait", || {
            let waits = |id| report(&engine).of_shard(id).is_some_and(|s| s.reason == "Standby");
            (0..3).all(waits).then_some(())
        });
        engine
    }

    fn said(&self, pod: usize, shard: u32) -> ReportResponse {
        report(&self.0[pod]).of_shard(shard).expect("it has every shard")
    }

    /// Makes one of them primary of a shard, and the other its follower.
    fn lead(&self, shard: u32, pod: usize, epoch: u64) {
        let (primary, follower) = (&self.0[pod], &self.0[1 - pod]);
        block_on(async {
            operator(primary).promote(shard, epoch).await.expect("it obeys");
            let (followers, synchronous, lease_milliseconds) = SHAPE;
            let said_at = self.said_at(pod, shard).await;
            let renewal =
                RenewRequest { shard, epoch, followers, synchronous, lease_milliseconds, said_at };
            operator(primary).renew(renewal).await.expect("it listens");
            let address = format!("127.0.0.1:{}", primary.shards[shard as usize]);
            operator(follower).follow(shard, epoch, address, false).await.expect("it obeys");
        });
        eventually("the follower is in sync", || {
            let (wanted, found) = (self.said(pod, shard), self.said(1 - pod, shard));
            let is_there = found.ready && found.durable_position == wanted.durable_position;
            (is_there && wanted.writable).then_some(())
        });
    }

    async fn said_at(&self, pod: usize, shard: u32) -> u64 {
        let said = operator(&self.0[pod]).report().await.expect("it answers");
        said.of_shard(shard).expect("it has every shard").said_at
    }

    /// Tells both where the shards are.
    fn route(&self, primaries: [usize; 3]) {
        let node = |pod: usize, shard: usize| Node {
            name: pod_name(self.0[pod].folder.path()),
            address: format!("127.0.0.1:{}", self.0[pod].shards[shard]),
        };
        let routes = primaries.into_iter().enumerate().map(|(shard, pod)| ShardRoute {
            id: shard as u32,
            epoch: 1,
            primary: Some(node(pod, shard)),
            followers: vec![node(1 - pod, shard)],
        });
        let request = route_request(routes.collect());
        for engine in &self.0 {
            let answer = block_on(async { operator(engine).route(request.clone()).await });
            assert_eq!(answer.expect("it is taken").hash, request.hash);
            assert_eq!(report(engine).routes_hash, request.hash);
        }
    }
}

#[test]
fn each_process_is_primary_of_some_shards_and_hands_them_over_when_it_ends() {
    let pair = Pair::start();
    for (shard, pod) in [(0, 0), (1, 1), (2, 0)] {
        pair.lead(shard, pod, 1);
    }
    pair.route([0, 1, 0]);
    let ports = |pod: usize| pair.0[pod].shards;
    for number in 0..60 {
        let (owner, answer) = routed(&pair.0[1], &format!("SET key:{number} {number}"));
        assert_eq!(answer, ok());
        let owners = [ports(0)[0], ports(1)[1], ports(0)[2]];
        assert!(owners.contains(&owner), "primaries take writes: {owner} of {owners:?}");
    }
    // A follower sends its clients to the primary, unless they ask for what it has.
    let key = (0..60)
        .map(|number| format!("key:{number}"))
        .find(|key| routed(&pair.0[0], &format!("GET {key}")).0 == ports(0)[0]);
    let key = key.expect("some key is in shard 0");
    let mut door = Door::open(ports(1)[0]);
    assert!(door.run(&format!("GET {key}")).text().starts_with("MOVED "));
    assert_eq!(door.run("READONLY"), ok());
    let Value::Array(Some(hello)) = door.run("HELLO 2") else { panic!("no fields") };
    for (field, expected) in [("mode", "cluster"), ("role", "replica")] {
        let at = hello.iter().position(|one| *one == bulk(field)).expect("it is there");
        assert_eq!(hello[at + 1], bulk(expected));
    }
    eventually("it has the value", || {
        (door.run(&format!("GET {key}")) == bulk(&key["key:".len()..])).then_some(())
    });
    assert!(door.run(&format!("SET {key} other")).text().starts_with("MOVED "));

    // One ends: the other has everything of its shards, by its word.
    let Pair([first, second]) = pair;
    let folder = first.stop();
    for shard in [0, 2] {
        let said = report(&second).of_shard(shard).expect("it has every shard");
        assert_eq!(said.completed_epoch, 1, "shard {shard}");
        block_on(async { operator(&second).promote(shard, 2).await }).expect("it obeys");
    }
    let pair = Pair([Pair::member(folder), second]);
    for shard in [0, 2] {
        pair.lead(shard, 1, 3);
    }
    pair.route([1, 1, 1]);
    for number in 0..60 {
        let (owner, answer) = routed(&pair.0[0], &format!("GET key:{number}"));
        assert_eq!(answer, bulk(&number.to_string()));
        assert!(pair.0[1].shards.contains(&owner));
    }
}

#[test]
fn nobody_is_sent_anywhere_before_anything_is_known() {
    let pair = Pair::start();
    pair.lead(0, 0, 1);
    let answer = at(pair.0[0].shards[1], "SET key:1 1");
    assert!(answer.text().starts_with("CLUSTERDOWN"), "{answer:?}");
    let wrong = route_request(vec![ShardRoute::default()]);
    let refused = block_on(async { operator(&pair.0[0]).route(wrong).await });
    assert!(refused.is_err(), "two shards are missing");
}

#[test]
fn a_follower_that_comes_to_another_shard_changes_nothing_there() {
    let pair = Pair::start();
    pair.lead(0, 0, 1);
    let address = format!("127.0.0.1:{}", pair.0[0].shards[0]);
    block_on(async { operator(&pair.0[1]).follow(1, 7, address, false).await }).expect("it obeys");
    // It tries again and again; the epoch that it names is not one of that shard.
    std::thread::sleep(Duration::from_millis(500));
    let lost = pair.said(1, 1).link.expect("it has a link");
    assert!(!lost.up);
    let primary = pair.said(0, 0);
    assert_eq!((primary.role(), primary.known_epoch, primary.writable), (Role::Primary, 1, true));
}

/// Appends numbers to a list until the process is gone; gives how many were acknowledged.
fn append(port: u16, list: &str, from: i64) -> i64 {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return from };
    let mut reader = BufReader::new(stream);
    let mut last = from;
    loop {
        let line = format!("RPUSH {list} {}", last + 1);
        if reader.get_mut().write_all(&encode(&line)).is_err() {
            return last;
        }
        match read_value(&mut reader) {
            Ok(Value::Integer(_)) => last += 1,
            Ok(other) => panic!("{other:?}"),
            Err(_) => return last,
        }
    }
}

#[test]
fn a_killed_process_keeps_what_each_of_its_shards_acknowledged() {
    let rounds = std::env::var("ORRERY_CRASH_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let mut engine = alone(Engine::prepare(&format!("{ALONE}snapshotAfterBytes: 20000\n")));
    // One of these is in each shard.
    let lists = ["book:1", "book:2", "book:3"];
    let shard = |engine: &Engine, list: &str| {
        let (port, _) = routed(engine, &format!("LLEN {list}"));
        engine.shards.iter().position(|own| *own == port).expect("it is one of its shards")
    };
    let owners: std::collections::BTreeSet<usize> =
        lists.iter().map(|list| shard(&engine, list)).collect();
    assert_eq!(owners.len(), SHARDS, "each list is in another shard");
    let mut acknowledged = [0; SHARDS];
    for round in 0..rounds {
        let ports = lists.map(|list| engine.shards[shard(&engine, list)]);
        let folder = std::thread::scope(|scope| {
            let before = acknowledged;
            let writers: Vec<_> = (0..SHARDS)
                .map(|n| scope.spawn(move || append(ports[n], lists[n], before[n])))
                .collect();
            std::thread::sleep(Duration::from_millis(40 + 13 * (round % 11)));
            let folder = engine.kill();
            for (n, writer) in writers.into_iter().enumerate() {
                acknowledged[n] = writer.join().expect("no panic");
            }
            folder
        });
        engine = alone(folder);
        for (list, acknowledged) in lists.iter().zip(&mut acknowledged) {
            let (_, found) = routed(&engine, &format!("LRANGE {list} 0 -1"));
            let Value::Array(Some(found)) = found else { panic!("{found:?}") };
            let numbers: Vec<i64> =
                found.iter().map(|number| number.text().parse().expect("a number")).collect();
            // The last one may have been on its way.
            let last = numbers.len() as i64;
            assert!((*acknowledged..=*acknowledged + 1).contains(&last), "{list}, round {round}");
            assert!(numbers.iter().copied().eq(1..=last), "{list}: in order, and none twice");
            *acknowledged = last;
        }
    }
    assert!(acknowledged.iter().all(|count| *count > 0), "{acknowledged:?}");
}
