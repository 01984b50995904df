//! Commands on keys of any type: existence, type and the like.

mod deadline;
mod moving;
mod object;
mod search;

pub use deadline::{
    expire, expireat, expiretime, persist, pexpire, pexpireat, pexpiretime, pttl, ttl,
};
pub use moving::{copy, move_key, rename, renamenx};
pub use object::object;
pub use search::{keys, randomkey, scan};

use orrery_resp::Reply;

use super::fail::Done;
use crate::keyspace::raw::{Entry, Kind};
use crate::machine::{Machine, Session};

/// The name TYPE gives.
pub(super) fn type_name(entry: &Entry) -> &'static str {
    match entry.kind() {
        Kind::Int | Kind::Embstr | Kind::Raw | Kind::Big => "string",
        Kind::Hash => "hash",
        Kind::List => "list",
        Kind::Set => "set",
    }
}

/// `DEL key [key ...]`
pub fn del(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let mut deleted = 0;
    for name in &args[1..] {
        let key = m.key(s, name);
        if m.locate(&key).is_some() {
            deleted += i64::from(m.delete_as_command(&key));
        }
    }
    out.integer(deleted);
    Ok(())
}

/// `UNLINK key [key ...]`: as DEL, which frees large values later too.
pub fn unlink(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    del(m, s, args, out)
}

/// `EXISTS key [key ...]`
pub fn exists(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let mut found = 0;
    for name in &args[1..] {
        let key = m.key(s, name);
        found += i64::from(m.peek(&key).is_some());
    }
    out.integer(found);
    Ok(())
}

/// `TOUCH key [key ...]`
pub fn touch(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let mut found = 0;
    for name in &args[1..] {
        let key = m.key(s, name);
        found += i64::from(m.read(&key).is_some());
    }
    out.integer(found);
    Ok(())
}

/// `TYPE key`
pub fn kind_of(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    out.simple(m.peek(&key).map_or("none", type_name));
    Ok(())
}
