//! Where the servers are and as whom one speaks to them:
//! `postgres://user@host:port,other-host:port/database`.
//!
//! A password is no part of it: addresses stand in specs and logs.

use std::fmt;
use std::str::FromStr;

use crate::Tls;

/// The port of PostgreSQL.
pub const PORT: u16 = 5432;
/// Servers that one address may name.
const HOSTS_MAX: usize = 16;
/// Longest address and longest part of one, in bytes.
const BYTES_MAX: usize = 1024;

/// One server, or one that may take its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name, an IP address, or the folder of a Unix socket, which begins with `/`.
    pub name: String,
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            return write!(f, "[{}]:{}", self.name, self.port);
        }
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// The servers of one cluster, of which at most one takes writes.
#[derive(Clone, Debug)]
pub struct Address {
    /// All of them, in any order: the one that is not in recovery is found by asking.
    pub hosts: Vec<Host>,
    pub database: String,
    pub user: String,
    /// `None`: unencrypted, for Unix sockets and test servers.
    pub tls: Option<Tls>,
}

/// Why a text is no address. Does not repeat it: someone may have put a password there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no address of PostgreSQL servers: {0}")]
pub struct AddressError(&'static str);

impl Address {
    /// Refuses what cannot be an address.
    pub fn check(&self) -> Result<(), AddressError> {
        if self.hosts.is_empty() || self.hosts.len() > HOSTS_MAX {
            return Err(AddressError("it names no host, or more than 16"));
        }
        let names = self.hosts.iter().map(|host| &host.name);
        for part in names.chain([&self.database, &self.user]) {
            if part.is_empty() || part.len() > BYTES_MAX {
                return Err(AddressError("a part of it is empty or too long"));
            }
            if part.chars().any(char::is_control) {
                return Err(AddressError("it holds control characters"));
            }
        }
        if self.hosts.iter().any(|host| host.port == 0) {
            return Err(AddressError("a port is 0"));
        }
        Ok(())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.user)?;
        for (index, host) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}", if index == 0 { "" } else { "," })?;
        }
        write!(f, "/{}", self.database)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads what `Display` writes; TLS is set aside.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > BYTES_MAX {
            return Err(AddressError("it is too long"));
        }
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or(AddressError("it does not begin with postgres://"))?;
        let (user, rest) = rest.split_once('@').ok_or(AddressError("it names no user"))?;
        if user.contains(':') {
            return Err(AddressError("it holds a password, which belongs into a Secret"));
        }
        let (hosts, database) = rest.rsplit_once('/').ok_or(AddressError("it has no database"))?;
        if database.contains('?') {
            return Err(AddressError("it has parameters, and takes none"));
        }
        let hosts: Result<Vec<Host>, AddressError> = hosts.split(',').map(host).collect();
        let (database, user) = (database.to_owned(), user.to_owned());
        let address = Self { hosts: hosts?, database, user, tls: None };
        address.check()?;
        Ok(address)
    }
}

fn host(text: &str) -> Result<Host, AddressError> {
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        rest.split_once(']').ok_or(AddressError("a bracket is not closed"))?
    } else {
        text.split_at(text.find(':').unwrap_or(text.len()))
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => PORT,
        Some(digits) => digits.parse().map_err(|_| AddressError("a port is no number"))?,
        None => return Err(AddressError("behind a bracket stands no port")),
    };
    Ok(Host { name: name.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_again() {
        for text in [
            "postgres://kv@db:5432/orrery",
            "postgres://kv@db-0:5432,db-1:6432/orrery",
            "postgres://kv@[::1]:5432/orrery",
            "postgres://kv@/run/postgresql:5432/orrery",
        ] {
            let address: Address = text.parse().expect("it is an address");
            assert_eq!(address.to_string(), text);
        }
        let address: Address = "postgresql://kv@db/orrery".parse().expect("it is an address");
        assert_eq!(address.hosts[0].port, PORT);
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for text in [
            "",
            "mysql://kv@db/orrery",
            "postgres://db/orrery",
            "postgres://kv:hunter2@db/orrery",
            "postgres://kv@db",
            "postgres://kv@db/",
            "postgres://kv@/orrery",
            "postgres://kv@db:x/orrery",
            "postgres://kv@db:0/orrery",
            "postgres://kv@[::1/orrery",
            "postgres://kv@[::1]5/orrery",
            "postgres://kv@db,/orrery",
            "postgres://kv@db/orrery?sslmode=disable",
            "postgres://kv@db/orr\nery",
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
