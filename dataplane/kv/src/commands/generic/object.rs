//! `OBJECT`: how a value is kept.

use orrery_resp::Reply;

use crate::commands::fail::{Done, Fail};
use crate::commands::number::parse_i64;
use crate::commands::options::is;
use crate::keyspace::object::Object;
use crate::keyspace::raw::{Entry, Kind};
use crate::machine::{Machine, Session};

const HELP: [&str; 15] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

/// Integers below this are shared objects in Redis, which says so by a reference count of INT_MAX.
const SHARED_INTEGERS: i64 = 10_000;

fn encoding(entry: &Entry) -> &'static str {
    match (entry.kind(), entry.object()) {
        (Kind::Int, _) => "int",
        (Kind::Embstr, _) => "embstr",
        (_, Some(Object::Hash(hash))) => hash.encoding(),
        (_, Some(Object::List(_))) => "quicklist",
        (_, Some(Object::Set(set))) => set.encoding(),
        _ => "raw",
    }
}

/// `OBJECT ENCODING|FREQ|IDLETIME|REFCOUNT key`, `OBJECT HELP`
pub fn object(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let known = ["encoding", "freq", "idletime", "refcount", "help"];
    let Some(name) = known.into_iter().find(|name| is(args[1], name)) else {
        let given = String::from_utf8_lossy(args[1]);
        return Err(Fail::owned(format!("ERR unknown subcommand '{given}'. Try OBJECT HELP.")));
    };
    if args.len() != if name == "help" { 2 } else { 3 } {
        return Err(crate::commands::fail::wrong_arity(&format!("object|{name}")));
    }
    if name == "help" {
        out.array(HELP.len());
        for line in HELP {
            out.simple(line);
        }
        return Ok(());
    }
    let key = m.key(s, args[2]);
    let clock = m.now_ms().div_euclid(1000) as u16;
    let Some(entry) = m.peek(&key) else {
        out.null();
        return Ok(());
    };
    match name {
        "encoding" => out.bulk(encoding(entry).as_bytes()),
        "idletime" => out.integer(i64::from(clock.wrapping_sub(entry.clock()))),
        "refcount" => {
            let number = parse_i64(entry.string()).filter(|_| entry.kind() == Kind::Int);
            let shared = number.is_some_and(|n| (0..SHARED_INTEGERS).contains(&n));
            out.integer(if shared { i64::from(i32::MAX) } else { 1 });
        }
        _ => {
            return Err(Fail::text(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
                 Please note that when switching between policies at runtime LRU and LFU data \
                 will take some time to adjust.",
            ));
        }
    }
    Ok(())
}
