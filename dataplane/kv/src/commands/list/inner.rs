//! Lists: reading and changing what lies between the ends.

use orrery_resp::Reply;

use crate::commands::fail::{Done, INDEX_OUT_OF_RANGE, NO_SUCH_KEY, SYNTAX};
use crate::commands::number::{index_range, integer};
use crate::commands::options::is;
use crate::effects::Op;
use crate::keyspace::list::{End, ListObject};
use crate::machine::{Machine, Session};

/// The place an index that may count from the tail means.
fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.saturating_add(len as i64) } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

/// `LINDEX key index`
pub fn lindex(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let Some(list) = m.read_as::<ListObject>(&key)? else {
        out.null();
        return Ok(());
    };
    match place(integer(args[2])?, list.len()).and_then(|at| list.get(at)) {
        Some(element) => out.bulk(element),
        None => out.null(),
    }
    Ok(())
}

/// `LRANGE key start stop`
pub fn lrange(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let (start, end) = (integer(args[2])?, integer(args[3])?);
    let key = m.key(s, args[1]);
    let list = m.read_as::<ListObject>(&key)?;
    match list.and_then(|list| Some((list, index_range(start, end, list.len())?))) {
        None => out.array(0),
        Some((list, range)) => {
            let count = range.end() - range.start() + 1;
            out.array(count);
            list.iter_from(*range.start()).take(count).for_each(|element| out.bulk(element));
        }
    }
    Ok(())
}

/// `LTRIM key start stop`
pub fn ltrim(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let (start, end) = (integer(args[2])?, integer(args[3])?);
    let key = m.key(s, args[1]);
    let kept = m.edit(&key, false, |list: &mut ListObject, _| {
        let (start, count) = match index_range(start, end, list.len()) {
            Some(range) => (*range.start(), range.end() - range.start() + 1),
            None => (0, 0),
        };
        list.keep(start, count);
        (start, count)
    })?;
    if let Some((start, count)) = kept {
        if let Some(effect) = m.effect(&key, Op::ListTrim) {
            _ = effect.number(start as u64).number(count as u64);
        }
        m.changed(&key);
    }
    out.ok();
    Ok(())
}

/// `LSET key index element`
pub fn lset(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let len = m.read_as::<ListObject>(&key)?.ok_or(NO_SUCH_KEY)?.len();
    let at = place(integer(args[2])?, len).ok_or(INDEX_OUT_OF_RANGE)?;
    m.edit(&key, false, |list: &mut ListObject, building| {
        list.set(at, args[3], &building.thresholds);
    })?;
    if let Some(effect) = m.effect(&key, Op::ListSet) {
        _ = effect.number(at as u64).bytes(args[3]);
    }
    m.changed(&key);
    out.ok();
    Ok(())
}

/// `LINSERT key BEFORE|AFTER pivot element`
pub fn linsert(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let after = is(args[2], "after");
    if !after && !is(args[2], "before") {
        return Err(SYNTAX);
    }
    let key = m.key(s, args[1]);
    let Some(list) = m.read_as::<ListObject>(&key)? else {
        out.integer(0);
        return Ok(());
    };
    let len = list.len();
    let Some(pivot) = list.iter().position(|element| element == args[3]) else {
        out.integer(-1);
        return Ok(());
    };
    let at = pivot + usize::from(after);
    m.edit(&key, false, |list: &mut ListObject, building| {
        list.insert(at, args[4], &building.thresholds);
    })?;
    let (op, at) = if at == len { (Op::ListPush, None) } else { (Op::ListInsert, Some(at)) };
    if let Some(effect) = m.effect(&key, op) {
        match at {
            Some(at) => _ = effect.number(at as u64).bytes(args[4]),
            None => effect.byte(End::Right as u8).all(1, [args[4]]),
        }
    }
    m.changed(&key);
    out.integer(len as i64 + 1);
    Ok(())
}

/// `LREM key count element`
pub fn lrem(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let count = integer(args[2])?;
    let end = if count < 0 { End::Right } else { End::Left };
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let key = m.key(s, args[1]);
    let removed =
        m.edit(&key, false, |list: &mut ListObject, _| list.remove_equal(args[3], end, most))?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        if let Some(effect) = m.effect(&key, Op::ListRemove) {
            _ = effect.byte(end as u8).number(removed as u64).bytes(args[3]);
        }
        m.changed(&key);
    }
    out.integer(removed as i64);
    Ok(())
}
