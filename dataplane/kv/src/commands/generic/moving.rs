//! Moving and copying whole values.

use orrery_resp::Reply;

use crate::commands::fail::{DB_OUT_OF_RANGE, Done, Fail, NO_SUCH_KEY, SAME_OBJECT, SYNTAX};
use crate::commands::options::{int, is};
use crate::effects::Op;
use crate::machine::{Key, Machine, Session};

/// Moves a value that exists, replacing the destination, with effects.
fn transfer(m: &mut Machine, from: &Key<'_>, to: &Key<'_>) -> Done {
    let deadline = m.peek(from).and_then(crate::keyspace::raw::Entry::expire_ms);
    let new_deadline = m.deadline_for(to, deadline)?;
    let spaces = m.namespaces();
    let both_durable = spaces.is_durable(from.space) && spaces.is_durable(to.space);
    m.move_entry(from, to);
    if both_durable {
        if let Some(effect) = m.effect(from, Op::Rename) {
            _ = effect.number(u64::from(to.db)).bytes(to.name);
        }
        // For the gate of readers of the destination.
        m.note_change(to);
    } else {
        _ = m.effect(from, Op::Delete);
        m.write_value(to);
    }
    m.signal_modified(from);
    m.signal_modified(to);
    if new_deadline != deadline
        && let Some(place) = m.locate(to)
    {
        crate::commands::string::set_deadline(m, to, place, new_deadline)?;
    }
    Ok(())
}

/// `RENAME key newkey`
pub fn rename(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let (from, to) = (m.key(s, args[1]), m.key(s, args[2]));
    m.locate(&from).ok_or(NO_SUCH_KEY)?;
    if args[1] != args[2] {
        m.locate(&to);
        transfer(m, &from, &to)?;
    }
    out.ok();
    Ok(())
}

/// `RENAMENX key newkey`
pub fn renamenx(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let (from, to) = (m.key(s, args[1]), m.key(s, args[2]));
    m.locate(&from).ok_or(NO_SUCH_KEY)?;
    let free = args[1] != args[2] && m.locate(&to).is_none();
    if free {
        transfer(m, &from, &to)?;
    }
    out.integer(i64::from(free));
    Ok(())
}

fn database(m: &Machine, argument: &[u8]) -> Result<u16, Fail> {
    let number = int(argument)?;
    let known = usize::try_from(number).is_ok_and(|number| number < m.databases().len());
    if known { Ok(number as u16) } else { Err(DB_OUT_OF_RANGE) }
}

/// `MOVE key db`
pub fn move_key(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let db = database(m, args[2])?;
    if db == s.db {
        return Err(SAME_OBJECT);
    }
    let (from, to) = (m.key(s, args[1]), m.key_in(db, args[1]));
    let movable = m.locate(&from).is_some() && m.locate(&to).is_none();
    if movable {
        transfer(m, &from, &to)?;
    }
    out.integer(i64::from(movable));
    Ok(())
}

/// `COPY source destination [DB db] [REPLACE]`
pub fn copy(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let (mut db, mut replace) = (s.db, false);
    let mut rest = &args[3..];
    while let [option, tail @ ..] = rest {
        rest = tail;
        if is(option, "replace") {
            replace = true;
        } else if is(option, "db")
            && let [number, tail @ ..] = tail
        {
            db = database(m, number)?;
            rest = tail;
        } else {
            return Err(SYNTAX);
        }
    }
    if db == s.db && args[1] == args[2] {
        return Err(SAME_OBJECT);
    }
    let (from, to) = (m.key(s, args[1]), m.key_in(db, args[2]));
    let Some(source) = m.read(&from) else {
        out.integer(0);
        return Ok(());
    };
    let copy = source.duplicate();
    if m.locate(&to).is_some() && !replace {
        out.integer(0);
        return Ok(());
    }
    let deadline = m.deadline_for(&to, copy.expire_ms())?;
    let mut copy = copy.renamed(to.name);
    copy.set_expire_ms(deadline);
    m.replace(&to, copy);
    out.integer(1);
    Ok(())
}
