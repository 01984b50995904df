//! Handshake, pipelines, transactions and the order of replies.

use crate::process::{Engine, Value, bulk, encode, ok};

fn error(text: &str) -> Value {
    Value::Error(text.into())
}

#[test]
fn a_client_shakes_hands_and_works() {
    let engine = Engine::start("");
    let mut client = engine.client();
    assert_eq!(client.run("PING"), Value::Status("PONG".into()));
    assert_eq!(client.run("ECHO hi"), bulk("hi"));
    let Value::Array(Some(hello)) = client.run("HELLO 2 SETNAME me") else { panic!("a map") };
    assert_eq!(hello[..4], [bulk("server"), bulk("redis"), bulk("version"), bulk("7.0.15")]);
    assert_eq!(client.run("CLIENT GETNAME"), bulk("me"));
    assert_eq!(client.run("CLIENT SETINFO LIB-NAME test"), ok());
    assert!(client.run("CLIENT LIST").text().contains("name=me"));
    assert_eq!(client.run("SELECT 15"), ok());
    assert_eq!(client.run("SELECT 16"), error("ERR DB index is out of range"));
    assert_eq!(client.run("GET"), error("ERR wrong number of arguments for 'get' command"));
    assert_eq!(
        client.run("NOSUCH a b"),
        error("ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ")
    );
    assert_eq!(
        client.run("CLIENT NOSUCH"),
        error("ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.")
    );
    assert_eq!(client.run("CONFIG GET databases").clone(), {
        Value::Array(Some(vec![bulk("databases"), bulk("16")]))
    });
    assert_eq!(client.run("CONFIG GET nosuch"), Value::Array(Some(vec![])));
    for section in ["Server", "Clients", "Memory", "Persistence", "Durability", "Stats", "CPU"] {
        assert!(client.run("INFO").text().contains(&format!("# {section}\r\n")), "{section}");
    }
    assert_eq!(client.run("QUIT"), ok());
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn a_password_is_asked_for() {
    let engine = Engine::start_with_password("hunter2");
    let mut client = engine.client();
    assert_eq!(client.run("GET a"), error("NOAUTH Authentication required."));
    let wrong = error("WRONGPASS invalid username-password pair or user is disabled.");
    assert_eq!(client.run("AUTH hunter3"), wrong);
    assert_eq!(client.run("HELLO 2 AUTH other hunter2"), wrong);
    assert_eq!(client.run("AUTH default hunter2"), ok());
    assert_eq!(client.run("GET a"), Value::Bulk(None));
    assert_eq!(client.run("RESET"), Value::Status("RESET".into()));
    assert_eq!(client.run("GET a"), error("NOAUTH Authentication required."));
}

#[test]
fn a_long_pipeline_is_answered_in_order() {
    const COMMANDS: usize = 100_000;
    let engine = Engine::start("");
    let mut client = engine.client();
    let mut pipeline = vec![];
    for number in 0..COMMANDS {
        match number % 3 {
            0 => pipeline.extend(encode(&format!("SET key:{} {number}", number % 100))),
            1 => pipeline.extend(encode("INCR counter")),
            _ => pipeline.extend(encode(&format!("ECHO {number}"))),
        }
    }
    client.send(&pipeline).expect("it takes all");
    for number in 0..COMMANDS {
        let expected = match number % 3 {
            0 => ok(),
            1 => Value::Integer(number as i64 / 3 + 1),
            _ => bulk(&number.to_string()),
        };
        assert_eq!(client.read().expect("a reply"), expected, "reply {number}");
    }
}

#[test]
fn transactions_run_whole_or_not_at_all() {
    let engine = Engine::start("");
    let (mut one, mut two) = (engine.client(), engine.client());
    assert_eq!(one.run("EXEC"), error("ERR EXEC without MULTI"));
    assert_eq!(one.run("MULTI"), ok());
    assert_eq!(one.run("SET a 1"), Value::Status("QUEUED".into()));
    assert_eq!(one.run("INCR a"), Value::Status("QUEUED".into()));
    assert_eq!(two.run("GET a"), Value::Bulk(None));
    assert_eq!(one.run("EXEC"), Value::Array(Some(vec![ok(), Value::Integer(2)])));

    assert_eq!(one.run("MULTI"), ok());
    one.run("NOSUCH");
    assert_eq!(one.run("SET a 9"), Value::Status("QUEUED".into()));
    let aborted = "EXECABORT Transaction discarded because of previous errors.";
    assert_eq!(one.run("EXEC"), error(aborted));

    assert_eq!(one.run("WATCH a"), ok());
    assert_eq!(two.run("SET a 5"), ok());
    assert_eq!(one.run("MULTI"), ok());
    one.run("SET a 6");
    assert_eq!(one.run("EXEC"), Value::Array(None));
    assert_eq!(one.run("GET a"), bulk("5"));
    assert_eq!(one.run("MULTI"), ok());
    assert_eq!(one.run("DISCARD"), ok());
    assert_eq!(one.run("WATCH a"), ok());
    assert_eq!(one.run("MULTI"), ok());
    assert_eq!(one.run("WATCH a"), error("ERR WATCH inside MULTI is not allowed"));
}

#[test]
fn a_reply_to_a_durable_write_comes_after_the_disk() {
    let engine = Engine::start("");
    let (mut writer, mut watcher) = (engine.client(), engine.client());
    let figure = |info: &str, name: &str| -> u64 {
        let line = info.lines().find_map(|l| l.strip_prefix(&format!("{name}:")));
        line.expect("it is shown").trim().parse().expect("a number")
    };
    for round in 0..50 {
        assert_eq!(writer.run(&format!("SET k {round}")), ok());
        let info = watcher.run("INFO durability").text();
        let durable = figure(&info, "journal_durable_position");
        assert_eq!(durable, figure(&info, "journal_position"), "nothing else was written");
        assert!(durable > round);
    }
    for mode in ["STRICT", "RELAXED", "CLASS", "NONE"] {
        assert_eq!(writer.run(&format!("CLIENT DURABILITY {mode}")), ok());
        assert_eq!(writer.run("GET k"), bulk("49"));
    }
    assert!(writer.run("SET k 1").text().starts_with("DURABILITY "));
    assert_eq!(writer.run("CLIENT DURABILITY RELAXED"), ok());
    assert_eq!(writer.run("SET k 2"), ok());
    assert_eq!(writer.run("CLIENT DURABILITY NOSUCH"), error("ERR syntax error"));
}

#[test]
fn a_paused_client_goes_on_afterwards() {
    let engine = Engine::start("");
    let (mut one, mut two) = (engine.client(), engine.client());
    assert_eq!(one.run("CLIENT PAUSE 60000 WRITE"), ok());
    two.send(&encode("SET a 1")).expect("it takes it");
    assert_eq!(one.run("GET a"), Value::Bulk(None));
    assert_eq!(one.run("CLIENT UNPAUSE"), ok());
    assert_eq!(two.read().expect("a reply"), ok());
    assert_eq!(one.run("GET a"), bulk("1"));
}

#[test]
fn replies_can_be_switched_off() {
    let engine = Engine::start("");
    let mut client = engine.client();
    client.send(&encode("CLIENT REPLY OFF")).expect("sent");
    client.send(&encode("SET a 1")).expect("sent");
    assert_eq!(client.run("CLIENT REPLY ON"), ok());
    client.send(&encode("CLIENT REPLY SKIP")).expect("sent");
    client.send(&encode("SET a 2")).expect("sent");
    assert_eq!(client.run("GET a"), bulk("2"));
}

#[test]
fn a_password_set_while_running_is_asked_of_new_clients() {
    let engine = Engine::start("");
    let (mut admin, mut old) = (engine.client(), engine.client());
    assert_eq!(admin.run("CONFIG SET requirepass x1"), ok());
    assert_eq!(old.run("PING"), Value::Status("PONG".into()));
    assert_eq!(engine.client().run("GET a"), error("NOAUTH Authentication required."));
    assert_eq!(admin.run("SET a 1"), ok());
    assert_eq!(admin.run("CONFIG SET maxmemory 1"), ok());
    assert!(admin.run("SET a 1").text().starts_with("OOM "));
}

#[test]
fn command_lists_everything_that_is_answered() {
    let engine = Engine::start("");
    let mut client = engine.client();
    let mut array = |line: &str| match client.run(line) {
        Value::Array(Some(all)) => all,
        other => panic!("{line}: {other:?}"),
    };
    let names: Vec<String> = array("COMMAND LIST").iter().map(Value::text).collect();
    for name in ["get", "save", "bgsave", "bgrewriteaof", "lastsave", "debug", "exec"] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
    assert_eq!(array("COMMAND").len(), names.len());
    assert_eq!(array("COMMAND INFO").len(), names.len());
    assert_eq!(array("COMMAND DOCS").len(), names.len() * 2);
    let all = array("COMMAND LIST FILTERBY PATTERN *");
    for name in ["client|setinfo", "client|durability", "client|id"] {
        assert!(all.contains(&bulk(name)), "{name}");
        assert_eq!(array(&format!("COMMAND DOCS {name}")).len(), 2);
    }
    for name in all.iter().map(Value::text) {
        let info = array(&format!("COMMAND INFO {name}"));
        assert!(matches!(&info[0], Value::Array(Some(facts)) if facts.len() == 10), "{name}");
    }
    let Value::Integer(count) = client.run("COMMAND COUNT") else { panic!("a number") };
    assert_eq!(count as usize, names.len());
    let keyless = error("ERR The command has no key arguments");
    assert_eq!(client.run("COMMAND GETKEYS BGSAVE SCHEDULE"), keyless);
}

#[test]
fn commandstats_tell_how_long_commands_take_until_they_are_reset() {
    let engine = Engine::start("");
    let mut client = engine.client();
    client.run("RPUSH list a b c");
    for _ in 0..20 {
        client.run("LRANGE list 0 -1");
    }
    let line = |info: &str| {
        let line = info.lines().find(|line| line.starts_with("cmdstat_lrange:"));
        line.map(str::to_owned)
    };
    let shown = line(&client.run("INFO commandstats").text()).expect("it was called");
    assert!(shown.contains(":calls=20,"), "{shown}");
    assert!(!shown.contains("usec_per_call=0.00,"), "{shown}");
    assert_eq!(client.run("CONFIG RESETSTAT"), ok());
    assert_eq!(line(&client.run("INFO commandstats").text()), None);
}
