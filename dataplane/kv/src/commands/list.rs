//! Lists: pushing, popping and moving at the ends.

mod inner;
mod pick;
mod wait;

pub use inner::{lindex, linsert, lrange, lrem, lset, ltrim};
pub(crate) use pick::pop_from_first;
pub use pick::{lmpop, lpos};
pub use wait::{blmove, blmpop, blpop, brpop, brpoplpush};

use orrery_resp::Reply;

use super::fail::{Done, Fail, SYNTAX, wrong_arity};
use super::options::{count, is};
use crate::effects::Op;
use crate::keyspace::list::{End, ListObject};
use crate::machine::{Key, Machine, Session};

/// Pushes elements one after the other, with effect and signal; returns the new length.
fn push_all(
    m: &mut Machine,
    key: &Key<'_>,
    end: End,
    elements: &[&[u8]],
    create: bool,
) -> Result<usize, Fail> {
    let len = m.edit(key, create, |list: &mut ListObject, building| {
        for element in elements {
            list.push(end, element, &building.thresholds);
        }
        list.len()
    })?;
    let Some(len) = len else { return Ok(0) };
    if let Some(effect) = m.effect(key, Op::ListPush) {
        effect.byte(end as u8).all(elements.len(), elements.iter().copied());
    }
    m.changed(key);
    Ok(len)
}

/// Pops up to `most` elements, with effect and signal; none if there is no list.
fn pop_some(
    m: &mut Machine,
    key: &Key<'_>,
    end: End,
    most: usize,
) -> Result<Option<Vec<Vec<u8>>>, Fail> {
    let popped = m.edit(key, false, |list: &mut ListObject, _| {
        let count = most.min(list.len());
        let elements: Vec<Vec<u8>> = match end {
            End::Left => list.iter().take(count).map(<[u8]>::to_vec).collect(),
            End::Right => {
                let last = list.len() - 1;
                list.iter_back_from(last).take(count).map(<[u8]>::to_vec).collect()
            }
        };
        list.remove_at_end(end, count);
        elements
    })?;
    if let Some(popped) = popped.as_ref().filter(|popped| !popped.is_empty()) {
        if let Some(effect) = m.effect(key, Op::ListPop) {
            _ = effect.byte(end as u8).number(popped.len() as u64);
        }
        m.changed(key);
    }
    Ok(popped)
}

fn push(
    m: &mut Machine,
    s: &Session,
    args: &[&[u8]],
    out: &mut Reply,
    (end, create): (End, bool),
) -> Done {
    let key = m.key(s, args[1]);
    out.integer(push_all(m, &key, end, &args[2..], create)? as i64);
    Ok(())
}

/// `LPUSH key element [element ...]`
pub fn lpush(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    push(m, s, args, out, (End::Left, true))
}

/// `RPUSH key element [element ...]`
pub fn rpush(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    push(m, s, args, out, (End::Right, true))
}

/// `LPUSHX key element [element ...]`
pub fn lpushx(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    push(m, s, args, out, (End::Left, false))
}

/// `RPUSHX key element [element ...]`
pub fn rpushx(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    push(m, s, args, out, (End::Right, false))
}

fn pop(
    m: &mut Machine,
    s: &Session,
    args: &[&[u8]],
    out: &mut Reply,
    (end, name): (End, &str),
) -> Done {
    if args.len() > 3 {
        return Err(wrong_arity(name));
    }
    let most = args.get(2).map(|most| count(most)).transpose()?;
    let key = m.key(s, args[1]);
    let popped = pop_some(m, &key, end, most.unwrap_or(1))?;
    match (popped, most) {
        (None, None) => out.null(),
        (None, Some(_)) => out.null_array(),
        (Some(popped), None) => out.bulk(popped.first().map_or(&[], Vec::as_slice)),
        (Some(popped), Some(_)) => {
            out.array(popped.len());
            for element in &popped {
                out.bulk(element);
            }
        }
    }
    Ok(())
}

/// `LPOP key [count]`
pub fn lpop(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    pop(m, s, args, out, (End::Left, "lpop"))
}

/// `RPOP key [count]`
pub fn rpop(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    pop(m, s, args, out, (End::Right, "rpop"))
}

/// `LLEN key`
pub fn llen(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    out.integer(m.read_as::<ListObject>(&key)?.map_or(0, ListObject::len) as i64);
    Ok(())
}

/// An end by its name.
fn end(argument: &[u8]) -> Result<End, Fail> {
    if is(argument, "left") {
        Ok(End::Left)
    } else if is(argument, "right") {
        Ok(End::Right)
    } else {
        Err(SYNTAX)
    }
}

/// Pops one element of a list that exists; answers with its name and the element.
pub(crate) fn pop_named(m: &mut Machine, key: &Key<'_>, end: End, out: &mut Reply) -> Done {
    let popped = pop_some(m, key, end, 1)?.unwrap_or_default();
    out.array(2);
    out.bulk(key.name);
    out.bulk(popped.first().map_or(&[], Vec::as_slice));
    Ok(())
}

/// Moves one element between the ends of two lists, which may be one; answers with it.
pub(crate) fn shift(
    m: &mut Machine,
    s: &Session,
    (source, destination): (&[u8], &[u8]),
    (from, to): (End, End),
    out: &mut Reply,
) -> Done {
    let (source, destination) = (m.key(s, source), m.key(s, destination));
    if m.read_as::<ListObject>(&source)?.is_none() {
        out.null();
        return Ok(());
    }
    if m.read_as::<ListObject>(&destination)?.is_none() {
        m.deadline_for(&destination, None)?;
    }
    let same = source.name == destination.name;
    if same && m.view_as::<ListObject>(&source).is_some_and(|list| list.len() == 1) {
        // Popping the only element would delete the key and its deadline with it.
        let element = m.view_as::<ListObject>(&source).and_then(|list| list.get(0));
        out.bulk(element.unwrap_or_default());
        m.signal_modified(&source);
        return Ok(());
    }
    let popped = pop_some(m, &source, from, 1)?.unwrap_or_default();
    for element in &popped {
        push_all(m, &destination, to, &[element], true)?;
        out.bulk(element);
    }
    Ok(())
}

/// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`
pub fn lmove(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let ends = (end(args[3])?, end(args[4])?);
    shift(m, s, (args[1], args[2]), ends, out)
}

/// `RPOPLPUSH source destination`
pub fn rpoplpush(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    shift(m, s, (args[1], args[2]), (End::Right, End::Left), out)
}
