//! Sets: adding, removing and asking for members.

mod combine;
mod pick;

pub use combine::{sdiff, sdiffstore, sinter, sintercard, sinterstore, sunion, sunionstore};
pub use pick::{smembers, spop, srandmember, sscan};

use orrery_resp::Reply;

use super::fail::Done;
use crate::effects::Op;
use crate::keyspace::set::SetObject;
use crate::machine::{Key, Machine, Session};

/// Writes effect and signal of members that came or went.
fn note(m: &mut Machine, key: &Key<'_>, op: Op, members: &[&[u8]]) {
    if members.is_empty() {
        return;
    }
    if let Some(effect) = m.effect(key, op) {
        effect.all(members.len(), members.iter().copied());
    }
    m.changed(key);
}

/// `SADD key member [member ...]`
pub fn sadd(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let members = &args[2..];
    let added = m.edit(&key, true, |set: &mut SetObject, building| {
        members.iter().copied().filter(|member| set.insert(member, building)).collect::<Vec<_>>()
    })?;
    let added = added.unwrap_or_default();
    note(m, &key, Op::SetAdd, &added);
    out.integer(added.len() as i64);
    Ok(())
}

/// `SREM key member [member ...]`
pub fn srem(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let members = &args[2..];
    let removed = m.edit(&key, false, |set: &mut SetObject, _| {
        members.iter().copied().filter(|member| set.remove(member)).collect::<Vec<_>>()
    })?;
    let removed = removed.unwrap_or_default();
    note(m, &key, Op::SetRemove, &removed);
    out.integer(removed.len() as i64);
    Ok(())
}

/// `SCARD key`
pub fn scard(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    out.integer(m.read_as::<SetObject>(&key)?.map_or(0, SetObject::len) as i64);
    Ok(())
}

/// `SISMEMBER key member`
pub fn sismember(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let set = m.read_as::<SetObject>(&key)?;
    out.integer(i64::from(set.is_some_and(|set| set.contains(args[2]))));
    Ok(())
}

/// `SMISMEMBER key member [member ...]`
pub fn smismember(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let set = m.read_as::<SetObject>(&key)?;
    out.array(args.len() - 2);
    for member in &args[2..] {
        out.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

/// `SMOVE source destination member`
pub fn smove(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let (from, to, member) = (m.key(s, args[1]), m.key(s, args[2]), args[3]);
    let Some(source) = m.read_as::<SetObject>(&from)? else {
        out.integer(0);
        return Ok(());
    };
    let there = source.contains(member);
    let target_exists = m.read_as::<SetObject>(&to)?.is_some();
    if from.name != to.name && there {
        if !target_exists {
            m.deadline_for(&to, None)?;
        }
        m.edit(&from, false, |set: &mut SetObject, _| set.remove(member))?;
        note(m, &from, Op::SetRemove, &[member]);
        let added =
            m.edit(&to, true, |set: &mut SetObject, building| set.insert(member, building))?;
        if added == Some(true) {
            note(m, &to, Op::SetAdd, &[member]);
        }
    }
    out.integer(i64::from(there));
    Ok(())
}
