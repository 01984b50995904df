use orrery_resp::Proto;

use super::super::tests::cluster;
use super::*;

fn here() -> Here {
    Here { host: "10.0.0.9".into(), port: 7009, is_tls: false, position: 41 }
}

fn written(write: impl FnOnce(&mut Reply)) -> String {
    let mut reply = Reply::new(Proto::Resp2);
    write(&mut reply);
    let text = String::from_utf8_lossy(reply.as_bytes()).into_owned();
    // One word per element: types with counts, and texts without their lengths.
    let lines = text.split("\r\n").filter(|line| !line.starts_with('$') && !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

fn ids() -> [String; 3] {
    [node_id("a", 0), node_id("b", 1), node_id("c", 1)]
}

#[test]
fn an_id_is_the_same_in_every_process_and_another_for_every_node() {
    let id = node_id("cache-kv-0", 3);
    assert_eq!(id, node_id("cache-kv-0", 3));
    assert!(id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(id, id.to_lowercase());
    assert_ne!(id, node_id("cache-kv-0", 4));
    assert_ne!(id, node_id("cache-kv-1", 3));
}

#[test]
fn slots_are_listed_with_the_primary_first() {
    let [a, b, c] = ids();
    let roster = Roster::new(&cluster(&[Some("a"), Some("b")]), here());
    let expected = format!(
        "*2 *3 :0 :8191 *4 10.0.0.1 :7000 {a} *0 \
         *4 :8192 :16383 *4 10.0.0.2 :7001 {b} *0 *4 10.0.0.3 :7001 {c} *0"
    );
    assert_eq!(written(|reply| roster.slots(reply)), expected);
}

#[test]
fn slots_without_a_primary_are_nobodys() {
    let [a, _, c] = ids();
    let roster = Roster::new(&cluster(&[Some("a"), None]), here());
    let slots = written(|reply| roster.slots(reply));
    assert!(slots.starts_with("*1 *3 :0 :8191 ") && slots.contains(&a), "{slots}");
    let shards = written(|reply| roster.shards(reply));
    assert!(shards.contains(&format!("slots *0 nodes *1 *14 id {c}")), "{shards}");
    let info = roster.info();
    for line in ["cluster_state:fail", "cluster_slots_ok:8192", "cluster_size:1"] {
        assert!(info.contains(&format!("{line}\r\n")), "{info}");
    }
}

#[test]
fn shards_tell_what_each_node_is() {
    let [a, b, c] = ids();
    let roster = Roster::new(&cluster(&[Some("a"), Some("b")]), here());
    let node = |id: &str, ip: &str, role: &str, port: u16, offset: u64| {
        format!(
            "*14 id {id} ip {ip} endpoint {ip} role {role} health online port :{port} \
             replication-offset :{offset}"
        )
    };
    let expected = format!(
        "*2 *4 slots *2 :0 :8191 nodes *1 {} *4 slots *2 :8192 :16383 nodes *2 {} {}",
        node(&a, "10.0.0.1", "master", 7000, 41),
        node(&b, "10.0.0.2", "master", 7001, 0),
        node(&c, "10.0.0.3", "replica", 7001, 0),
    );
    assert_eq!(written(|reply| roster.shards(reply)), expected);
    let tls = Roster::new(&cluster(&[Some("a"), None]), Here { is_tls: true, ..here() });
    assert!(written(|reply| tls.shards(reply)).contains("tls-port :7000"));
}

#[test]
fn nodes_are_lines_with_one_that_is_myself() {
    let [a, b, c] = ids();
    let roster = Roster::new(&cluster(&[Some("a"), Some("b")]), here());
    let expected = format!(
        "{a} 10.0.0.1:7000@17000 myself,master - 0 0 4 connected 0-8191\n\
         {b} 10.0.0.2:7001@17001 master - 0 0 5 connected 8192-16383\n\
         {c} 10.0.0.3:7001@17001 slave {b} 0 0 5 connected\n"
    );
    assert_eq!(roster.nodes(), expected);
    let followers = roster.followers_of(b.to_uppercase().as_bytes()).expect("b is a primary");
    assert_eq!(followers, [format!("{c} 10.0.0.3:7001@17001 slave {b} 0 0 5 connected")]);
    assert_eq!(roster.followers_of(c.as_bytes()), Err(NodeError::NoPrimary));
    assert_eq!(roster.followers_of(b"x"), Err(NodeError::Unknown("x".into())));
    assert_eq!(roster.check(c.as_bytes()), Ok(()));
}

#[test]
fn a_process_that_nobody_names_knows_itself() {
    let a = node_id("a", 0);
    // Another is primary of its shard.
    let roster = Roster::new(&cluster(&[Some("b"), None]), here());
    let b = node_id("b", 0);
    let line = format!("{a} 10.0.0.9:7009@17009 myself,slave {b} 0 0 4 connected\n");
    assert!(roster.nodes().contains(&line), "{}", roster.nodes());
    assert!(!written(|reply| roster.slots(reply)).contains(&a), "nothing is known of its keys");
    // Nothing is known at all.
    let roster = Roster::new(&cluster(&[]), Here { port: 60_000, ..here() });
    let line = format!("{a} 10.0.0.9:60000@0 myself,slave - 0 0 0 connected\n");
    assert_eq!(roster.nodes(), line);
    assert_eq!(written(|reply| roster.slots(reply)), "*0");
    assert!(roster.info().contains("cluster_slots_assigned:0\r\n"));
}
