//! Connecting to another server of the field's protocol, and speaking to it as a client.
//!
//! Must not: know what is asked for, or read answers.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Connects to `host:port`, each of its addresses in turn for at most `limit`.
///
/// # Errors
/// What the last of its addresses failed with.
pub(crate) fn connect(address: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the address stands for nothing");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Appends a command as clients send it: an array of bulk strings.
pub(crate) fn write_command(args: &[&[u8]], to: &mut Vec<u8>) {
    to.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        to.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        to.extend_from_slice(arg);
        to.extend_from_slice(b"\r\n");
    }
}
