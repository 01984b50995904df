//! Commands as clients see them: one table of lines with replies per group, taken from Redis 7.0.15.
//!
//! `|` stands for CRLF. Lines of a table run one after the other on one machine.

use orrery_resp::{Proto, Reply};

use super::lookup;
use crate::machine::{Machine, MachineOptions, Session};

mod hashes;
mod keys;
mod lists;
mod sets;
mod strings;

/// Runs the lines of a table and compares every reply.
fn check(proto: Proto, table: &[(&str, &str)]) {
    let mut machine = Machine::new(&MachineOptions::default());
    let mut session = Session::default();
    for (number, (line, wanted)) in table.iter().enumerate() {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let spec = lookup(args[0]).expect("the command is known");
        machine.begin(1_000_000, number as u64 + 1);
        let mut out = Reply::new(proto);
        machine.execute(&mut session, spec, &args, &mut out);
        let reply = String::from_utf8_lossy(out.as_bytes()).replace("\r\n", "|");
        assert_eq!(reply.trim_end_matches('|'), *wanted, "{line}");
    }
}
