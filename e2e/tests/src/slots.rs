//! A client of Redis Cluster as small as can be: asks any node where a key is, and goes there. After the
//! Redis Cluster specification: `CLUSTER KEYSLOT`, `CLUSTER SLOTS`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::client::{Client, Reply};

/// For an answer.
const LIMIT: Duration = Duration::from_secs(1);
const SLOTS: i64 = 16_384;
/// Keys that are tried until every shard has one.
const KEYS_MAX: u32 = 1000;

/// How a node is reached.
pub type Dial = dyn Fn(SocketAddr) -> Option<TcpStream>;

/// Where the primary of a key is, as the first of the nodes says that knows.
pub fn owner(nodes: &[SocketAddr], password: &str, key: &str, dial: &Dial) -> Option<SocketAddr> {
    nodes.iter().find_map(|node| ask(*node, password, key, dial))
}

/// A connection that is logged in and does not wait for long.
pub fn log_in(node: SocketAddr, password: &str, dial: &Dial) -> Option<Client> {
    let mut client = Client::over(dial(node)?).ok()?;
    client.stream().set_read_timeout(Some(LIMIT)).ok()?;
    let reply = client.call(&["AUTH", password]).ok()?;
    (reply == Reply::Simple("OK".to_owned())).then_some(client)
}

/// A key in each of so many shards, in their order; none while no node answers.
pub fn keys(nodes: &[SocketAddr], password: &str, shards: u32, dial: &Dial) -> Option<Vec<String>> {
    let mut client = nodes.iter().find_map(|node| log_in(*node, password, dial))?;
    let mut found = BTreeMap::new();
    for number in 0..KEYS_MAX {
        let key = format!("book:{number}");
        let shard = slot(&mut client, &key)? * i64::from(shards) / SLOTS;
        found.entry(shard).or_insert(key);
        if found.len() == shards as usize {
            return Some(found.into_values().collect());
        }
    }
    None
}

fn slot(client: &mut Client, key: &str) -> Option<i64> {
    number(&client.call(&["CLUSTER", "KEYSLOT", key]).ok()?)
}

fn ask(node: SocketAddr, password: &str, key: &str, dial: &Dial) -> Option<SocketAddr> {
    let mut client = log_in(node, password, dial)?;
    let slot = slot(&mut client, key)?;
    let ranges = client.call(&["CLUSTER", "SLOTS"]).ok()?;
    ranges.items().iter().find_map(|range| {
        let [first, last, primary, ..] = range.items() else { return None };
        let [host, port, ..] = primary.items() else { return None };
        let port = u16::try_from(number(port)?).ok()?;
        let host: IpAddr = host.text().parse().unwrap_or_else(|_| node.ip());
        let has = number(first)? <= slot && slot <= number(last)?;
        has.then(|| SocketAddr::new(host, port))
    })
}

fn number(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::Integer(number) => Some(*number),
        _ => None,
    }
}
