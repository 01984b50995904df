//! Random commands: no panic, right books, and a replay that agrees.

use proptest::prelude::*;

use super::snapshots::Image;
use super::*;
use crate::commands::commands;
use crate::namespaces::Match;

fn word() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "",
        "a",
        "b",
        "c:1",
        "c:2",
        "s:1",
        "0",
        "1",
        "-1",
        "2",
        "7",
        "1000",
        "-9223372036854775808",
        "9223372036854775807",
        "3.25",
        "inf",
        "*",
        "nx",
        "xx",
        "get",
        "ex",
        "px",
        "keepttl",
        "left",
        "right",
        "count",
        "match",
        "withvalues",
        "before",
        "limit",
        "rank",
        "db",
        "replace",
        "persist",
        "encoding",
        "536870912",
    ];
    prop_oneof![
        8 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ]
}

fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let names: Vec<&'static str> = commands()
        .filter(|spec| spec.handler.is_some() && !spec.name.starts_with("flush"))
        .map(|spec| spec.name)
        .collect();
    (prop::sample::select(names), prop::collection::vec(word(), 0..6)).prop_map(|(name, words)| {
        let mut args = vec![name.as_bytes().to_vec()];
        args.extend(words);
        args
    })
}

/// Commands with arguments that mostly fit.
fn sensible() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let key = || prop::sample::select(vec!["a", "b", "c:1", "s:1", "l", "h", "t"]);
    let value = || prop::sample::select(vec!["1", "2", "3", "x", "yy", "-7", "1.5"]);
    let name = prop::sample::select(vec![
        "set",
        "append",
        "incr",
        "incrbyfloat",
        "hset",
        "hdel",
        "hincrby",
        "lpush",
        "rpush",
        "lpop",
        "rpop",
        "lrem",
        "linsert",
        "ltrim",
        "lset",
        "sadd",
        "srem",
        "spop",
        "smove",
        "sunionstore",
        "rename",
        "copy",
        "move",
        "pexpire",
        "persist",
        "del",
        "lmove",
        "setrange",
        "getex",
        "flushdb",
        "swapdb",
        "hincrbyfloat",
        "sinterstore",
        "hrandfield",
        "get",
    ]);
    (name, key(), key(), value(), value()).prop_map(|(name, key, other, one, two)| {
        let line: Vec<&str> = match name {
            "set" | "append" | "sadd" | "srem" | "lpush" | "rpush" | "incrbyfloat" | "hdel" => {
                vec![name, key, one]
            }
            "hset" | "hincrby" | "hincrbyfloat" | "lrem" | "ltrim" | "lset" | "setrange" => {
                vec![name, key, one, two]
            }
            "linsert" => vec![name, key, "before", one, two],
            "smove" => vec![name, key, other, one],
            "sunionstore" | "sinterstore" => vec![name, key, other, "t"],
            "rename" => vec![name, key, other],
            "copy" => vec![name, key, other, "replace"],
            "move" => vec![name, key, "1"],
            "pexpire" => vec![name, key, if one == "x" { "50" } else { "5000" }],
            "getex" => vec![name, key, "px", "3000"],
            "lmove" => vec![name, key, other, "left", "right"],
            "flushdb" => vec![name],
            "swapdb" => vec![name, "0", "1"],
            _ => vec![name, key],
        };
        line.into_iter().map(|word| word.as_bytes().to_vec()).collect()
    })
}

fn rules() -> Vec<NamespaceRules> {
    let space = |name: &str, prefix: &str, class| {
        NamespaceRules::unlimited(name, Match::Prefix(prefix.into()), class)
    };
    let session = NamespaceRules { ttl_default_ms: Some(4000), ..space("s", "s:", Class::Session) };
    vec![space("c", "c:", Class::Cache), session]
}

fn run_all(bench: &mut Bench, lines: &[Vec<Vec<u8>>]) {
    for (number, line) in lines.iter().enumerate() {
        let args: Vec<&[u8]> = line.iter().map(Vec::as_slice).collect();
        bench.now_ms += (number as i64 * 7) % 40;
        bench.run_args(&args);
        if number % 16 == 0 {
            bench.expire();
            bench.machine.housekeep(1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_replay_agrees_whatever_was_run(
        lines in prop::collection::vec(prop_oneof![2 => command(), 3 => sensible()], 1..150)
    ) {
        let mut bench = Bench::with(Class::Store, rules());
        bench.machine.thresholds().hash_max_listpack_entries = 3;
        bench.machine.thresholds().set_max_intset_entries = 2;
        bench.machine.thresholds().list_max_listpack_size = 2;
        run_all(&mut bench, &lines);
        // The replaying machine knows the namespaces too, as after a restart.
        let mut other = Bench::with(Class::Store, rules());
        for (time_ms, record) in &bench.journal {
            prop_assert!(other.machine.apply(*time_ms, record).is_ok());
        }
        other.machine.begin(bench.now_ms, 0);
        bench.machine.begin(bench.now_ms, 0);
        prop_assert_eq!(bench.machine.digest(), other.machine.digest());
        bench.check_books();
        other.check_books();
    }

    #[test]
    fn a_snapshot_and_the_tail_after_it_give_the_same_keys(
        before in prop::collection::vec(sensible(), 1..80),
        during in prop::collection::vec(sensible(), 1..80),
        step in 1..4_usize,
    ) {
        let mut bench = Bench::with(Class::Store, rules());
        run_all(&mut bench, &before);
        bench.machine.begin(bench.now_ms, bench.position);
        let mut expected = Image::default();
        expected.take_now(&bench.machine);
        bench.machine.snapshot_begin();
        let tail = bench.journal.len();
        let mut image = Image::default();
        let mut done = false;
        for line in &during {
            run_all(&mut bench, std::slice::from_ref(line));
            done = done || bench.machine.snapshot_step(step, &mut image);
        }
        while !done {
            done = bench.machine.snapshot_step(step, &mut image);
        }
        prop_assert_eq!(&image.keys, &expected.keys, "the image is of the beginning");
        prop_assert_eq!(image.doubled, 0);

        let mut other = Bench::with(Class::Store, rules());
        image.load_into(&mut other.machine);
        for (time_ms, record) in &bench.journal[tail..] {
            prop_assert!(other.machine.apply(*time_ms, record).is_ok());
        }
        other.machine.begin(bench.now_ms, 0);
        bench.machine.begin(bench.now_ms, 0);
        prop_assert_eq!(bench.machine.digest(), other.machine.digest());
        bench.check_books();
    }
}
