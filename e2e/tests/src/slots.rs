//! A client of Redis Cluster as small as can be: asks any node where a key is, and goes there. After the
//! Redis Cluster specification: `CLUSTER KEYSLOT`, `CLUSTER SLOTS`.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::client::{Client, Reply};

/// For a connection and for an answer.
const LIMIT: Duration = Duration::from_secs(1);

/// Where the primary of a key is, as the first of the nodes says that knows.
pub fn owner(nodes: &[SocketAddr], password: &str, key: &str) -> Option<SocketAddr> {
    nodes.iter().find_map(|node| ask(*node, password, key))
}

/// The slot of a key.
pub fn slot(client: &mut Client, key: &str) -> Option<i64> {
    number(&client.call(&["CLUSTER", "KEYSLOT", key]).ok()?)
}

/// A connection that is logged in and does not wait for long.
pub fn log_in(node: SocketAddr, password: &str) -> Option<Client> {
    let stream = TcpStream::connect_timeout(&node, LIMIT).ok()?;
    let mut client = Client::over(stream).ok()?;
    client.stream().set_read_timeout(Some(LIMIT)).ok()?;
    let reply = client.call(&["AUTH", password]).ok()?;
    (reply == Reply::Simple("OK".to_owned())).then_some(client)
}

fn ask(node: SocketAddr, password: &str, key: &str) -> Option<SocketAddr> {
    let mut client = log_in(node, password)?;
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
