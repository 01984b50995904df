//! Namespaces: classes, deadlines, quotas, eviction.

use super::*;
use crate::namespaces::{Eviction, Match};

fn space(name: &str, prefix: &str, class: Class) -> NamespaceRules {
    NamespaceRules::unlimited(name, Match::Prefix(prefix.into()), class)
}

#[test]
fn session_keys_get_a_deadline_that_reads_extend() {
    let rules =
        NamespaceRules { ttl_default_ms: Some(60_000), ..space("sess", "sess:", Class::Session) };
    let mut bench = Bench::with(Class::Store, vec![rules]);
    bench.run("set sess:1 v");
    bench.run("hset sess:2 f v");
    assert_eq!(bench.run("pttl sess:1"), ":60000");
    assert_eq!(bench.run("pttl sess:2"), ":60000");
    let records = bench.journal.len();
    bench.now_ms += 500;
    bench.run("get sess:1");
    assert_eq!(bench.run("pttl sess:1"), ":59500", "not more often than once per second");
    assert_eq!(bench.journal.len(), records);
    bench.now_ms += 1000;
    bench.run("get sess:1");
    bench.run("hgetall sess:2");
    assert_eq!(bench.run("pttl sess:1"), ":60000");
    assert_eq!(bench.run("pttl sess:2"), ":60000");
    assert_eq!(bench.run("persist sess:1"), ":1");
    assert_eq!(bench.run("pttl sess:1"), ":60000", "a session cannot be made to last for ever");
    bench.check_replay();
    bench.check_books();
}

#[test]
fn a_session_without_any_deadline_is_refused() {
    let mut bench = Bench::with(Class::Store, vec![space("sess", "s:", Class::Session)]);
    let refused = "-NAMESPACE ns=sess requires a TTL";
    for line in ["set s:1 v", "hset s:1 f v", "rpush s:1 v", "sadd s:1 v", "incr s:1"] {
        assert_eq!(bench.run(line), refused, "{line}");
    }
    bench.run("rpush l v");
    assert_eq!(bench.run("lmove l s:1 left left"), refused);
    assert_eq!(bench.run("rename l s:1"), refused);
    assert_eq!(bench.run("llen l"), ":1", "nothing is lost by a refusal");
    assert_eq!(bench.run("set s:1 v ex 10"), "+OK");
    assert_eq!(bench.run("dbsize"), ":2");
    bench.check_replay();
    bench.check_books();
}

#[test]
fn quotas_refuse_with_a_typed_error() {
    let rules = NamespaceRules {
        memory_bytes_max: Some(2000),
        value_bytes_max: Some(100),
        ..space("ns", "q:", Class::Store)
    };
    let mut bench = Bench::with(Class::Store, vec![rules]);
    let long = "x".repeat(101);
    assert_eq!(bench.run(&format!("set q:1 {long}")), "-QUOTA valueBytes ns=ns limit=100");
    assert_eq!(bench.run(&format!("set other {long}")), "+OK");
    let mut stored = 0;
    while bench.run(&format!("set q:{stored} {}", "x".repeat(90))) == "+OK" {
        stored += 1;
        assert!(stored < 100);
    }
    assert_eq!(bench.run("append q:0 y"), "-QUOTA memory ns=ns limit=2000");
    assert_eq!(bench.run("get q:0").len(), 4 + 90);
    bench.run("del q:0 q:1");
    assert_eq!(bench.run("set q:0 y"), "+OK");
    bench.check_books();
}

#[test]
fn a_full_cache_evicts_its_own_keys_only() {
    let rules =
        NamespaceRules { memory_bytes_max: Some(10_000), ..space("cache", "c:", Class::Cache) };
    let mut bench = Bench::with(Class::Store, vec![rules]);
    bench.run("set keep v");
    for number in 0..2000 {
        assert_eq!(bench.run(&format!("set c:{number} {}", "x".repeat(100))), "+OK");
        bench.run("get c:0");
    }
    let used = bench.machine.namespaces.get(1).used_bytes;
    assert!(used <= 10_200, "{used}");
    assert_eq!(bench.run("get keep"), "$1|v");
    assert_ne!(bench.run("get c:0"), "$-1", "what is used again and again stays");
    assert!(bench.machine.stats().evicted_keys > 1800);
    bench.check_books();
}

#[test]
fn a_full_cache_without_eviction_refuses() {
    let rules = NamespaceRules {
        memory_bytes_max: Some(100),
        eviction: Eviction::None,
        ..space("cache", "c:", Class::Cache)
    };
    let mut bench = Bench::with(Class::Store, vec![rules]);
    bench.run(&format!("set c:1 {}", "x".repeat(100)));
    assert_eq!(bench.run("set c:2 v"), "-QUOTA memory ns=cache limit=100");
}

#[test]
fn maxmemory_never_evicts_durable_keys() {
    let mut bench = Bench::with(Class::Store, vec![space("cache", "c:", Class::Cache)]);
    for number in 0..100 {
        bench.run(&format!("set d:{number} {}", "x".repeat(100)));
        bench.run(&format!("set c:{number} {}", "x".repeat(100)));
    }
    let used = bench.machine.used_bytes();
    bench.machine.set_memory_limit(used - 3000, MemoryPolicy::NoEviction);
    let refused = "-OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(bench.run("set d:x v"), refused);
    assert_eq!(bench.run("get d:1").len(), 5 + 100);
    bench.machine.set_memory_limit(used - 3000, MemoryPolicy::Volatile);
    assert_eq!(bench.run("set d:x v"), refused, "no cache key has a deadline");
    bench.machine.set_memory_limit(used - 3000, MemoryPolicy::AllKeys);
    assert_eq!(bench.run("set d:x v"), "+OK");
    bench.machine.set_memory_limit(1, MemoryPolicy::AllKeys);
    assert_eq!(bench.run("set d:y v"), refused);
    assert_eq!(bench.run("dbsize"), ":101");
    bench.check_replay();
    bench.check_books();
}

#[test]
fn operations_per_second_are_bounded() {
    let rules = NamespaceRules { ops_per_second: Some(3), ..space("ns", "o:", Class::Store) };
    let mut bench = Bench::with(Class::Store, vec![rules]);
    let refused = "-QUOTA opsPerSecond ns=ns limit=3";
    let replies: Vec<String> = (0..4).map(|_| bench.run("incr o:1")).collect();
    assert_eq!(replies, [":1", ":2", ":3", refused]);
    assert_eq!(bench.run("incr other"), ":1");
    bench.now_ms += 1000;
    assert_eq!(bench.run("incr o:1"), ":4");
}

#[test]
fn a_key_that_changes_its_class_enters_or_leaves_the_journal() {
    let mut bench = Bench::new();
    bench.run("set c:1 v");
    bench.run("rpush d:1 a b");
    bench.machine.set_namespaces(Class::Store, vec![space("c", "c:", Class::Cache)]);
    bench.append();
    assert_eq!(bench.replayed().databases()[0].len(), 1);
    bench.run("set c:1 w");
    bench.machine.set_namespaces(Class::Store, Vec::new());
    bench.append();
    bench.check_replay();
    assert_eq!(bench.replayed().databases()[0].len(), 2);
}

#[test]
fn values_move_between_classes_with_all_they_hold() {
    let mut bench = Bench::with(Class::Store, vec![space("c", "c:", Class::Cache)]);
    bench.run("hset c:1 f v");
    bench.run("pexpire c:1 100000");
    bench.run("rename c:1 d:1");
    bench.run("copy d:1 d:2");
    bench.run("rename d:2 c:2");
    let replayed = bench.replayed();
    assert_eq!(replayed.databases()[0].len(), 1);
    assert_eq!(replayed.databases()[0].expires(), 1);
    bench.check_books();
}
