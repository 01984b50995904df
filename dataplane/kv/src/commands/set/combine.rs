//! Sets: intersection, union and difference.

use orrery_resp::Reply;

use crate::commands::fail::{Done, Fail, SYNTAX};
use crate::commands::options::{at_least, is};
use crate::keyspace::object::Object;
use crate::keyspace::raw::Entry;
use crate::keyspace::set::SetObject;
use crate::machine::{Key, Machine, Session};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Combination {
    Intersection,
    Union,
    Difference,
}

/// Checks the types of all keys first; expired ones are gone afterwards.
fn open<'a>(m: &mut Machine, s: &Session, names: &[&'a [u8]]) -> Result<Vec<Key<'a>>, Fail> {
    let keys: Vec<Key<'a>> = names.iter().map(|name| m.key(s, name)).collect();
    for key in &keys {
        m.read_as::<SetObject>(key)?;
    }
    Ok(keys)
}

/// Calls `each` with the members of the intersection until it returns false.
fn intersect(sets: &[Option<&SetObject>], each: &mut dyn FnMut(&[u8]) -> bool) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<_>>>() else { return };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return };
    smallest.each(&mut |member| {
        !others.iter().all(|other| std::ptr::eq(*other, *smallest) || other.contains(member))
            || each(member)
    });
}

fn combine(m: &Machine, keys: &[Key<'_>], how: Combination) -> SetObject {
    let building = m.building();
    let sets: Vec<Option<&SetObject>> = keys.iter().map(|key| m.view_as(key)).collect();
    let mut result = SetObject::default();
    let mut add = |member: &[u8]| {
        result.insert(member, &building);
        true
    };
    match how {
        Combination::Intersection => intersect(&sets, &mut add),
        Combination::Union => sets.iter().flatten().for_each(|set| set.each(&mut add)),
        Combination::Difference => {
            if let Some((Some(first), others)) = sets.split_first() {
                first.each(&mut |member| {
                    others.iter().flatten().any(|other| other.contains(member)) || add(member)
                });
            }
        }
    }
    result
}

fn answer(m: &mut Machine, s: &Session, args: &[&[u8]], out: &mut Reply, how: Combination) -> Done {
    let keys = open(m, s, &args[1..])?;
    let result = combine(m, &keys, how);
    out.set(result.len());
    result.each(&mut |member| {
        out.bulk(member);
        true
    });
    Ok(())
}

fn store(m: &mut Machine, s: &Session, args: &[&[u8]], out: &mut Reply, how: Combination) -> Done {
    let keys = open(m, s, &args[2..])?;
    let result = combine(m, &keys, how);
    let to = m.key(s, args[1]);
    let len = result.len();
    m.locate(&to);
    if len == 0 {
        m.delete_as_command(&to);
    } else {
        let expire_ms = m.deadline_for(&to, None)?;
        m.replace(&to, Entry::boxed(to.name, Object::Set(result), expire_ms));
    }
    out.integer(len as i64);
    Ok(())
}

/// `SINTER key [key ...]`
pub fn sinter(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    answer(m, s, args, out, Combination::Intersection)
}

/// `SUNION key [key ...]`
pub fn sunion(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    answer(m, s, args, out, Combination::Union)
}

/// `SDIFF key [key ...]`
pub fn sdiff(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    answer(m, s, args, out, Combination::Difference)
}

/// `SINTERSTORE destination key [key ...]`
pub fn sinterstore(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    store(m, s, args, out, Combination::Intersection)
}

/// `SUNIONSTORE destination key [key ...]`
pub fn sunionstore(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    store(m, s, args, out, Combination::Union)
}

/// `SDIFFSTORE destination key [key ...]`
pub fn sdiffstore(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    store(m, s, args, out, Combination::Difference)
}

/// `SINTERCARD numkeys key [key ...] [LIMIT limit]`
pub fn sintercard(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let keys = at_least(args[1], 1, "ERR numkeys should be greater than 0")?;
    if keys > args.len() as i64 - 2 {
        return Err(Fail::text("ERR Number of keys can't be greater than number of args"));
    }
    let behind = 2 + keys as usize;
    let mut limit = 0;
    let mut rest = &args[behind..];
    while let [option, tail @ ..] = rest {
        let [value, tail @ ..] = tail else { return Err(SYNTAX) };
        if !is(option, "limit") {
            return Err(SYNTAX);
        }
        limit = at_least(value, 0, "ERR LIMIT can't be negative")?;
        rest = tail;
    }
    let keys = open(m, s, &args[2..behind])?;
    let sets: Vec<Option<&SetObject>> = keys.iter().map(|key| m.view_as(key)).collect();
    let mut count = 0;
    intersect(&sets, &mut |_| {
        count += 1;
        limit == 0 || count < limit
    });
    out.integer(count);
    Ok(())
}
