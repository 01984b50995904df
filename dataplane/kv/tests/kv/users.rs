//! Users and what they may do: as in a real `redis-server`, and as the file of users says.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::process::{Client, Engine, Value, bulk, ok};
use crate::replica::Redis;
use crate::replication::group::eventually;

const HASH: &str = "30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4";

fn error(text: &str) -> Value {
    Value::Error(text.into())
}

/// What both say, with what cannot be equal left out: ages, and what clients look like.
fn comparable(value: Value) -> Value {
    let Value::Array(Some(items)) = value else { return value };
    let mut shown = vec![];
    let mut is_left_out = false;
    for item in items {
        let is_name = item == bulk("age-seconds") || item == bulk("client-info");
        if !is_left_out {
            shown.push(comparable(item));
        }
        is_left_out = is_name;
    }
    Value::Array(Some(shown))
}

struct Pair {
    ours: Client,
    redis: Client,
}

impl Pair {
    fn of(engine: &Engine, redis: &Redis) -> Self {
        Self { ours: engine.client(), redis: redis.client() }
    }

    fn same(&mut self, line: &str) {
        let (ours, redis) = (self.ours.run(line), self.redis.run(line));
        assert_eq!(comparable(ours), comparable(redis), "{line}");
    }
}

#[test]
fn every_answer_about_users_is_that_of_redis() {
    let Some(redis) = Redis::serve(&[]) else { return };
    let engine = Engine::start("debugCommands: true\n");
    let mut admin = Pair::of(&engine, &redis);
    let mut shop = Pair::of(&engine, &redis);
    let lines = "\
ACL WHOAMI;ACL USERS;ACL LIST;ACL GETUSER default;ACL GETUSER nosuch;ACL CAT;ACL CAT nosuch;ACL HELP
ACL;ACL NOSUCH;ACL SETUSER;ACL GENPASS 0;ACL GENPASS 4097;ACL LOG;ACL LOG abc;ACL SAVE;ACL LOAD
ACL SETUSER shop on >pw -@all +get +mget +set +multi +exec +discard %R~ro:* ~rw:* &news (+del ~rw:*)
ACL DRYRUN shop get ro:1;ACL USERS;ACL SETUSER shop +nosuch;ACL SETUSER shop +@nosuch
ACL SETUSER shop foo;ACL SETUSER shop %X~a;ACL SETUSER shop #abc;ACL SETUSER shop <abc
ACL SETUSER shop !abc;ACL SETUSER shop (+get;ACL SETUSER shop (+get (a));ACL SETUSER shop (on)
ACL SETUSER shop +config|get|x;ACL SETUSER shop -get|x;ACL SETUSER shop +config|nosuch
ACL SETUSER other ~* ~x;ACL SETUSER other &* &x;ACL SETUSER other +get ~a ~a %R~b %W~b %W~c
ACL GETUSER other;ACL SETUSER other reset;ACL GETUSER other
ACL SETUSER other nopass +@all allkeys allchannels (+get) clearselectors (~x +set)
ACL GETUSER other;ACL SETUSER other >a >b <a;ACL GETUSER other
ACL SETUSER other resetpass;ACL GETUSER other;ACL DELUSER other nosuch
ACL DELUSER default;ACL DRYRUN shop get ro:1;ACL DRYRUN shop set ro:1 x;ACL DRYRUN shop set rw:1 x
ACL DRYRUN shop get x;ACL DRYRUN shop del rw:1;ACL DRYRUN shop del ro:1;ACL DRYRUN shop flushall
ACL DRYRUN nosuch get x;ACL DRYRUN shop nosuch;ACL DRYRUN shop get;ACL DRYRUN shop acl whoami
ACL DRYRUN shop config nosuch;ACL DRYRUN shop mget ro:1 x ro:2;ACL SETUSER select +select|1
ACL GETUSER select;ACL DRYRUN select select 1;ACL DRYRUN select select 2;ACL SETUSER select -select
ACL DRYRUN select select 1;CLIENT KILL USER nosuch;CLIENT KILL USER select;CONFIG GET acllog-max-len";
    for line in lines.split(['\n', ';']) {
        admin.same(line);
    }
    for line in [
        "AUTH shop wrong",
        "AUTH nosuch pw",
        "HELLO 2 AUTH shop wrong",
        "AUTH shop pw",
        "GET x",
        "GET ro:1",
        "SET ro:1 x",
        "SET rw:1 x",
        "SET rw:1 y GET",
        "FLUSHALL",
        "CONFIG GET x",
        "CLIENT LIST",
        "ACL WHOAMI",
        "MULTI",
        "GET x",
        "EXEC",
        "MULTI",
        "FLUSHALL",
        "SAVE",
        "EXEC",
        "MULTI",
        "SET rw:2 x",
    ] {
        shop.same(line);
    }
    admin.same("ACL SETUSER shop -set");
    shop.same("GET ro:1");
    shop.same("EXEC");
    shop.same("MULTI");
    shop.same("GET rw:2");
    admin.same("ACL SETUSER shop resetkeys ~z");
    shop.same("EXEC");
    admin.same("ACL LOG");
    admin.same("ACL LOG 2");
    admin.same("ACL LOG RESET");
    admin.same("ACL LOG");
    admin.same("ACL SETUSER shop off");
    shop.same("GET z");
    shop.same("AUTH shop pw");
    admin.same("ACL DELUSER shop");
    assert_eq!(shop.ours.read_to_end(), "");
    assert_eq!(shop.redis.read_to_end(), "");
    admin.same("ACL USERS");
}

/// Words of permissions, some of which undo others.
const WORDS: [&str; 32] = [
    "+@all",
    "-@all",
    "+@read",
    "-@read",
    "+@write",
    "-@write",
    "+@dangerous",
    "-@dangerous",
    "+@fast",
    "-@slow",
    "+@hash",
    "-@string",
    "+@keyspace",
    "-@admin",
    "+get",
    "-get",
    "+set",
    "+config",
    "+config|get",
    "-config|set",
    "+object|encoding",
    "+select|1",
    "-select",
    "+select",
    "allkeys",
    "resetkeys",
    "~a*",
    "%R~b*",
    "%W~b*",
    "%W~c",
    "(+mset~set ~a* %R~b*)",
    "clearselectors",
];

const COMMANDS: [&str; 30] = [
    "get a1",
    "get b1",
    "set b1 x",
    "set b1 x get",
    "set c x",
    "mset a1 x c y",
    "mget a1 b1 c",
    "del a1 b1",
    "copy a1 b1",
    "copy b1 a1",
    "rename b1 c",
    "getdel c",
    "hset c f v",
    "hgetall b1",
    "lmove a1 c left right",
    "lmpop 2 a1 b1 left",
    "sinterstore c a1 b1",
    "sintercard 2 a1 b1",
    "expire b1 1",
    "exists b1",
    "type c",
    "keys *",
    "scan 0",
    "flushall",
    "config get x",
    "config set x y",
    "object encoding b1",
    "select 1",
    "select 2",
    "ping",
];

#[test]
fn whatever_is_allowed_is_what_redis_allows() {
    let Some(redis) = Redis::serve(&[]) else { return };
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let engine = Engine::start("debugCommands: true\n");
    let mut admin = Pair::of(&engine, &redis);
    for round in 0..200 {
        admin.same("ACL SETUSER shop reset");
        let mut words = vec![];
        for _ in 0..random.random_range(1..9) {
            let word = WORDS[random.random_range(0..WORDS.len())].replace("mset~set", "mset +set");
            // Refused words change nothing, on both sides.
            admin.same(&format!("ACL SETUSER shop {word}"));
            words.push(word);
        }
        for command in COMMANDS {
            let line = format!("ACL DRYRUN shop {command}");
            let (ours, theirs) = (admin.ours.run(&line), admin.redis.run(&line));
            assert_eq!(ours, theirs, "round {round}: {words:?}: {command}");
        }
    }
}

fn write_users(folder: &Path, text: &str) {
    let folder = folder.join("live");
    std::fs::create_dir_all(&folder).expect("writable");
    let (new, file) = (folder.join("new"), folder.join("users.acl"));
    std::fs::write(&new, text).expect("writable");
    std::fs::rename(new, file).expect("writable");
}

fn logged_in(engine: &Engine, user: &str) -> Client {
    let mut client = engine.client();
    assert_eq!(client.run(&format!("AUTH {user} pw")), ok());
    client
}

#[test]
fn users_of_the_file_come_change_and_go_without_a_restart() {
    let folder = Engine::prepare("");
    let line = |name: &str, words: &str| format!("user {name} on #{HASH} {words}\n");
    let users = [line("shop", "+@all ~shop:*"), line("blog", "+@read +ping allkeys")].concat();
    write_users(folder.path(), &users);
    let engine = Engine::start_in(folder);
    let mut default = engine.client();
    let (mut shop, mut blog) = (logged_in(&engine, "shop"), logged_in(&engine, "blog"));
    assert_eq!(shop.run("SET shop:1 x"), ok());
    assert!(shop.run("SET blog:1 x").text().starts_with("NOPERM"));
    assert_eq!(blog.run("GET shop:1"), bulk("x"));

    // One is gone, one may do something else, one is new.
    let users = [line("shop", "+get +blpop allkeys"), line("cart", "+@all allkeys")].concat();
    write_users(engine.folder.path(), &users);
    eventually("the new users are in use", || {
        (engine.client().run("AUTH cart pw") == ok()).then_some(())
    });
    assert!(shop.run("SET shop:1 y").text().starts_with("NOPERM"), "its connection has gone on");
    assert_eq!(shop.run("GET blog:1"), Value::Bulk(None));
    assert_eq!(blog.read_to_end(), "", "its user is gone");
    assert_eq!(default.run("ACL WHOAMI"), bulk("default"));

    // Not even one that waits survives its user; what cannot be used changes nothing.
    shop.send(&crate::process::encode("BLPOP list 0")).expect("it is connected");
    write_users(engine.folder.path(), &line("cart", "+nosuch"));
    write_users(engine.folder.path(), &line("cart", "+@all allkeys"));
    assert_eq!(shop.read_to_end(), "");
    write_users(engine.folder.path(), "user default off\n");
    eventually("nobody is let in", || {
        matches!(engine.client().run("GET a"), Value::Error(_)).then_some(())
    });
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_keeps_nothing_from_starting_open() {
    let folder = Engine::prepare("");
    write_users(folder.path(), &format!("user shop on #{HASH} +@all allkeys\n"));
    let engine = Engine::start_in(folder);
    let mut shop = logged_in(&engine, "shop");
    write_users(engine.folder.path(), "user shop +nosuch\n");
    // A user that is added with the next file shows that the one before was looked at or passed over.
    let two = format!("user shop on #{HASH} +get allkeys\nuser two on #{HASH} +@all\n");
    assert_eq!(shop.run("SET a x"), ok());
    write_users(engine.folder.path(), &two);
    eventually("it is in use", || (engine.client().run("AUTH two pw") == ok()).then_some(()));
    assert!(shop.run("SET a x").text().starts_with("NOPERM"));
    let folder = engine.stop();
    write_users(folder.path(), "user shop +nosuch\n");
    let (code, _) = Engine::begin_in(folder).wait_for_end();
    assert_ne!(code, Some(0), "it would be open to everybody");
}

#[test]
fn clients_cannot_change_users_that_are_declared() {
    let engine = Engine::start("");
    let mut client = engine.client();
    let refused = error("ERR users are declared: change spec.resp.users of the KVCluster");
    assert_eq!(client.run("ACL SETUSER a on nopass +@all"), refused);
    assert_eq!(client.run("ACL DELUSER a"), refused);
    let Value::Bulk(Some(password)) = client.run("ACL GENPASS 5") else { panic!("a password") };
    assert_eq!(password.len(), 2);
    assert_eq!(client.run("ACL GENPASS").text().len(), 64);
    assert!(client.run("CLIENT INFO").text().contains("user=default"));
}
