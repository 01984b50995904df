//! Hashes: setting, getting and deleting fields.

mod count;
mod list;

pub use count::{hincrby, hincrbyfloat};
pub use list::{hgetall, hkeys, hrandfield, hscan, hvals};

use orrery_resp::Reply;

use super::fail::{Done, wrong_arity};
use crate::effects::Op;
use crate::keyspace::hash::HashObject;
use crate::machine::{Key, Machine, Session};

/// Sets fields, with effect and signal; returns how many are new.
fn set_fields(m: &mut Machine, key: &Key<'_>, pairs: &[&[u8]]) -> Result<usize, super::fail::Fail> {
    let added = m.edit(key, true, |hash: &mut HashObject, building| {
        let pairs = pairs.chunks_exact(2);
        pairs.filter(|pair| hash.set(pair[0], pair[1], building)).count()
    })?;
    if let Some(effect) = m.effect(key, Op::HashSet) {
        effect.all(pairs.len() / 2, pairs.iter().copied());
    }
    m.changed(key);
    Ok(added.unwrap_or(0))
}

/// `HSET key field value [field value ...]`
pub fn hset(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    if args.len() % 2 == 1 {
        return Err(wrong_arity("hset"));
    }
    let key = m.key(s, args[1]);
    let added = set_fields(m, &key, &args[2..])?;
    out.integer(added as i64);
    Ok(())
}

/// `HMSET key field value [field value ...]`
pub fn hmset(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    if args.len() % 2 == 1 {
        return Err(wrong_arity("hmset"));
    }
    let key = m.key(s, args[1]);
    set_fields(m, &key, &args[2..])?;
    out.ok();
    Ok(())
}

/// `HSETNX key field value`
pub fn hsetnx(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let there = m.read_as::<HashObject>(&key)?.is_some_and(|hash| hash.get(args[2]).is_some());
    if !there {
        set_fields(m, &key, &args[2..])?;
    }
    out.integer(i64::from(!there));
    Ok(())
}

/// `HGET key field`
pub fn hget(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    match m.read_as::<HashObject>(&key)?.and_then(|hash| hash.get(args[2])) {
        Some(value) => out.bulk(value),
        None => out.null(),
    }
    Ok(())
}

/// `HMGET key field [field ...]`
pub fn hmget(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let hash = m.read_as::<HashObject>(&key)?;
    out.array(args.len() - 2);
    for field in &args[2..] {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => out.bulk(value),
            None => out.null(),
        }
    }
    Ok(())
}

/// `HDEL key field [field ...]`
pub fn hdel(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let fields = &args[2..];
    let removed = m.edit(&key, false, |hash: &mut HashObject, _| {
        fields.iter().copied().filter(|field| hash.remove(field)).collect::<Vec<_>>()
    })?;
    let removed = removed.unwrap_or_default();
    if !removed.is_empty() {
        if let Some(effect) = m.effect(&key, Op::HashDelete) {
            effect.all(removed.len(), removed.iter().copied());
        }
        m.changed(&key);
    }
    out.integer(removed.len() as i64);
    Ok(())
}

/// `HEXISTS key field`
pub fn hexists(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let hash = m.read_as::<HashObject>(&key)?;
    out.integer(i64::from(hash.is_some_and(|hash| hash.get(args[2]).is_some())));
    Ok(())
}

/// `HLEN key`
pub fn hlen(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    out.integer(m.read_as::<HashObject>(&key)?.map_or(0, HashObject::len) as i64);
    Ok(())
}

/// `HSTRLEN key field`
pub fn hstrlen(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let value = m.read_as::<HashObject>(&key)?.and_then(|hash| hash.get(args[2]));
    out.integer(value.map_or(0, <[u8]>::len) as i64);
    Ok(())
}
