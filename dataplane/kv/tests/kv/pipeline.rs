//! Commands are parsed ahead of the one that runs; nobody may be able to tell.

use crate::process::{Engine, Value, bulk, encode, ok};

/// Requests in one piece, and the text of all replies up to the end.
fn exchange(engine: &Engine, requests: &[u8]) -> String {
    let mut client = engine.client();
    client.send(requests).expect("it takes it");
    client.read_to_end()
}

#[test]
fn array_and_inline_requests_mix_in_one_pipeline() {
    let engine = Engine::start("");
    let mut requests = vec![];
    let mut texts = vec![];
    for number in 0..100 {
        if number % 7 == 0 {
            requests.extend(format!("ECHO \"inline {number}\"\r\n").into_bytes());
            texts.push(format!("inline {number}"));
        } else if number % 5 == 0 {
            requests.extend(b"*0\r\n\r\n");
        } else {
            requests.extend(encode(&format!("ECHO {number}")));
            texts.push(number.to_string());
        }
    }
    requests.extend(encode("QUIT"));
    let expected: Vec<_> = texts.iter().map(|t| format!("${}\r\n{t}\r\n", t.len())).collect();
    assert_eq!(exchange(&engine, &requests), expected.concat() + "+OK\r\n");
}

#[test]
fn what_follows_quit_or_a_broken_request_is_not_run() {
    let engine = Engine::start("");
    let set = encode("SET a 1");
    let quit = [encode("PING"), encode("QUIT"), set.clone()].concat();
    assert_eq!(exchange(&engine, &quit), "+PONG\r\n+OK\r\n");
    let broken = [encode("PING"), encode("PING"), b"*1\r\nPING\r\n".to_vec(), set].concat();
    assert_eq!(
        exchange(&engine, &broken),
        "+PONG\r\n+PONG\r\n-ERR Protocol error: expected '$', got 'P'\r\n"
    );
    assert_eq!(engine.client().run("GET a"), Value::Bulk(None));
}

#[test]
fn limits_before_authentication_hold_within_a_pipeline() {
    let engine = Engine::start_with_password("hunter2");
    let eleven = encode("MSET a 1 b 2 c 3 d 4 e 5 f 6");
    let after = [encode("AUTH hunter2"), eleven.clone(), encode("QUIT")].concat();
    assert_eq!(exchange(&engine, &after), "+OK\r\n+OK\r\n+OK\r\n");
    let before = [encode("PING"), eleven].concat();
    assert_eq!(
        exchange(&engine, &before),
        "-NOAUTH Authentication required.\r\n-ERR Protocol error: unauthenticated multibulk length\r\n"
    );
}

#[test]
fn a_pipeline_that_arrives_in_pieces_is_one_pipeline() {
    let engine = Engine::start("");
    let mut requests: Vec<u8> = (0..64).flat_map(|n| encode(&format!("RPUSH l {n}"))).collect();
    requests.extend(encode("LRANGE l 0 -1"));
    for piece in [1, 3, 7, 50, 333] {
        let mut client = engine.client();
        assert!(matches!(client.run("DEL l"), Value::Integer(_)));
        for part in requests.chunks(piece) {
            client.send(part).expect("it takes it");
        }
        for number in 1..=64 {
            assert_eq!(client.read().expect("a reply"), Value::Integer(number));
        }
        let all = (0..64).map(|n: i32| bulk(&n.to_string())).collect();
        assert_eq!(client.read().expect("a reply"), Value::Array(Some(all)));
    }
}

#[test]
fn a_pause_in_the_middle_holds_what_follows_until_it_ends() {
    let engine = Engine::start("");
    let mut paused = engine.client();
    let pipeline = [
        encode("SET a 1"),
        encode("CLIENT PAUSE 60000 WRITE"),
        encode("GET a"),
        encode("SET a 2"),
        encode("GET a"),
    ];
    paused.send(&pipeline.concat()).expect("it takes it");
    for expected in [ok(), ok(), bulk("1")] {
        assert_eq!(paused.read().expect("a reply"), expected);
    }
    let mut other = engine.client();
    assert_eq!(other.run("GET a"), bulk("1"));
    assert_eq!(other.run("CLIENT UNPAUSE"), ok());
    for expected in [ok(), bulk("2")] {
        assert_eq!(paused.read().expect("a reply"), expected);
    }
}
