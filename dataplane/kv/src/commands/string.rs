//! Strings: setting and getting whole values.

mod count;
mod part;

pub use count::{decr, decrby, incr, incrby, incrbyfloat};
pub use part::{append, getrange, setrange, strlen};

use orrery_resp::Reply;

use super::fail::{Done, Fail, SYNTAX, WRONG_TYPE, wrong_arity};
use super::options::{DeadlineForm, is};
use crate::effects::Op;
use crate::machine::{Key, Machine, Session};

/// Writes a string or null.
#[inline]
fn reply_string(value: Option<&[u8]>, out: &mut Reply) {
    match value {
        Some(value) => out.bulk(value),
        None => out.null(),
    }
}

/// `GET key`
#[inline]
pub fn get(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    reply_string(m.read_string(&key)?, out);
    Ok(())
}

/// What SET was asked for beyond key and value. One switch per keyword, as the protocol has them.
#[expect(clippy::struct_excessive_bools)]
#[derive(Debug, Default)]
struct SetOptions<'a> {
    only_new: bool,
    only_old: bool,
    keep_ttl: bool,
    get: bool,
    deadline: Option<(DeadlineForm, &'a [u8])>,
}

impl<'a> SetOptions<'a> {
    fn parse(args: &[&'a [u8]]) -> Result<Self, Fail> {
        let mut options = Self::default();
        let mut rest = args;
        while let [option, tail @ ..] = rest {
            rest = tail;
            if is(option, "nx") && !options.only_old {
                options.only_new = true;
            } else if is(option, "xx") && !options.only_new {
                options.only_old = true;
            } else if is(option, "get") {
                options.get = true;
            } else if is(option, "keepttl") && options.deadline.is_none() {
                options.keep_ttl = true;
            } else if let Some(form) = DeadlineForm::by_keyword(option)
                && !options.keep_ttl
                && options.deadline.is_none_or(|(other, _)| other == form)
                && let [value, tail @ ..] = tail
            {
                options.deadline = Some((form, value));
                rest = tail;
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(options)
    }
}

/// `SET key value [NX|XX] [GET] [EX s|PX ms|EXAT t|PXAT t|KEEPTTL]`
pub fn set(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    if args.len() == 3 {
        let place = m.locate(&key);
        m.set_string(&key, place, args[2], None)?;
        out.ok();
        return Ok(());
    }
    let options = SetOptions::parse(&args[3..])?;
    let mut expire_ms = match options.deadline {
        Some((form, value)) => Some(form.positive(value, m.now_ms(), "set")?),
        None => None,
    };
    if options.get {
        reply_string(m.read_string(&key)?, out);
    }
    let place = m.locate(&key);
    if options.only_new && place.is_some() || options.only_old && place.is_none() {
        if !options.get {
            out.null();
        }
        return Ok(());
    }
    if let Some(place) = place
        && options.keep_ttl
    {
        expire_ms = m.entry(&key, place).expire_ms();
    }
    m.set_string(&key, place, args[2], expire_ms)?;
    if !options.get {
        out.ok();
    }
    Ok(())
}

/// `SETNX key value`
pub fn setnx(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let place = m.locate(&key);
    if place.is_none() {
        m.set_string(&key, None, args[2], None)?;
    }
    out.integer(i64::from(place.is_none()));
    Ok(())
}

fn set_for(
    m: &mut Machine,
    s: &Session,
    args: &[&[u8]],
    out: &mut Reply,
    (seconds, name): (bool, &str),
) -> Done {
    let form = DeadlineForm { seconds, absolute: false };
    let expire_ms = form.positive(args[2], m.now_ms(), name)?;
    let key = m.key(s, args[1]);
    let place = m.locate(&key);
    m.set_string(&key, place, args[3], Some(expire_ms))?;
    out.ok();
    Ok(())
}

/// `SETEX key seconds value`
pub fn setex(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    set_for(m, s, args, out, (true, "setex"))
}

/// `PSETEX key milliseconds value`
pub fn psetex(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    set_for(m, s, args, out, (false, "psetex"))
}

/// `GETSET key value`
pub fn getset(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    reply_string(m.read_string(&key)?, out);
    let place = m.locate(&key);
    m.set_string(&key, place, args[2], None)
}

/// `GETDEL key`
pub fn getdel(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    reply_string(m.read_string(&key)?, out);
    m.delete_as_command(&key);
    Ok(())
}

/// `GETEX key [EX s|PX ms|EXAT t|PXAT t|PERSIST]`
pub fn getex(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let (form, persist) = match &args[2..] {
        [] => (None, false),
        // Redis takes this one as often as it is said.
        options if options.iter().all(|option| is(option, "persist")) => (None, true),
        [option, value] => match DeadlineForm::by_keyword(option) {
            Some(form) => (Some((form, *value)), false),
            None => return Err(SYNTAX),
        },
        _ => return Err(SYNTAX),
    };
    let key = m.key(s, args[1]);
    let Some(entry) = m.read(&key) else {
        out.null();
        return Ok(());
    };
    if !entry.kind().is_string() {
        return Err(WRONG_TYPE);
    }
    out.bulk(entry.string());
    let had_deadline = entry.expire_ms().is_some();
    let Some(place) = m.locate(&key) else { return Ok(()) };
    if let Some((form, value)) = form {
        let at = form.positive(value, m.now_ms(), "getex")?;
        if form.absolute && m.has_passed(at) {
            m.delete_as_command(&key);
        } else {
            set_deadline(m, &key, place, Some(at))?;
        }
    } else if persist && had_deadline {
        set_deadline(m, &key, place, None)?;
    }
    Ok(())
}

/// Changes the deadline of a key as the result of a command.
pub(super) fn set_deadline(
    m: &mut Machine,
    key: &Key<'_>,
    place: crate::keyspace::raw::Place,
    expire_ms: Option<i64>,
) -> Done {
    let expire_ms = m.deadline_for(key, expire_ms)?;
    m.put_deadline(key, place, expire_ms);
    if let Some(effect) = m.effect(key, Op::Expire) {
        _ = effect.deadline(expire_ms);
    }
    m.signal_modified(key);
    Ok(())
}

/// `MGET key [key ...]`
pub fn mget(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    out.array(args.len() - 1);
    for name in &args[1..] {
        let key = m.key(s, name);
        reply_string(m.read_string(&key).unwrap_or(None), out);
    }
    Ok(())
}

/// `MSET key value [key value ...]`
pub fn mset(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    set_pairs(m, s, args, "mset")?;
    out.ok();
    Ok(())
}

/// `MSETNX key value [key value ...]`
pub fn msetnx(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    if args.len().is_multiple_of(2) {
        return Err(wrong_arity("msetnx"));
    }
    for pair in args[1..].chunks_exact(2) {
        let key = m.key(s, pair[0]);
        if m.locate(&key).is_some() {
            out.integer(0);
            return Ok(());
        }
    }
    set_pairs(m, s, args, "msetnx")?;
    out.integer(1);
    Ok(())
}

fn set_pairs(m: &mut Machine, s: &Session, args: &[&[u8]], name: &str) -> Done {
    if args.len().is_multiple_of(2) {
        return Err(wrong_arity(name));
    }
    for pair in args[1..].chunks_exact(2) {
        let key = m.key(s, pair[0]);
        m.deadline_for(&key, None)?;
    }
    for pair in args[1..].chunks_exact(2) {
        let key = m.key(s, pair[0]);
        let place = m.locate(&key);
        m.set_string(&key, place, pair[1], None)?;
    }
    Ok(())
}
