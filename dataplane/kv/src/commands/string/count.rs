//! Strings that are numbers.

use orrery_resp::Reply;

use crate::commands::extended::{Extended, parse};
use crate::commands::fail::{
    Done, Fail, NOT_A_FLOAT, NOT_AN_INTEGER, NOT_FINITE, OVERFLOW, WRONG_TYPE,
};
use crate::commands::number::{format_i64, integer, parse_i64};
use crate::keyspace::raw::Kind;
use crate::machine::{Machine, Session};

fn add(m: &mut Machine, s: &Session, name: &[u8], by: i64, out: &mut Reply) -> Done {
    let key = m.key(s, name);
    let place = m.locate(&key);
    let (old, expire_ms) = match place {
        None => (0, None),
        Some(place) => {
            let entry = m.entry(&key, place);
            if !entry.kind().is_string() {
                return Err(WRONG_TYPE);
            }
            (parse_i64(entry.string()).ok_or(NOT_AN_INTEGER)?, entry.expire_ms())
        }
    };
    let new = old.checked_add(by).ok_or(OVERFLOW)?;
    let mut buffer = [0; 20];
    let text = format_i64(&mut buffer, new);
    m.set_string_as(&key, place, Kind::Int, text, expire_ms)?;
    out.integer(new);
    Ok(())
}

/// `INCR key`
pub fn incr(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    add(m, s, args[1], 1, out)
}

/// `DECR key`
pub fn decr(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    add(m, s, args[1], -1, out)
}

/// `INCRBY key increment`
pub fn incrby(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    add(m, s, args[1], integer(args[2])?, out)
}

/// `DECRBY key decrement`
pub fn decrby(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let by = integer(args[2])?.checked_neg();
    add(m, s, args[1], by.ok_or(Fail::text("ERR decrement would overflow"))?, out)
}

/// `INCRBYFLOAT key increment`
pub fn incrbyfloat(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let place = m.locate(&key);
    let (old, expire_ms) = match place {
        None => (Extended::ZERO, None),
        Some(place) => {
            let entry = m.entry(&key, place);
            if !entry.kind().is_string() {
                return Err(WRONG_TYPE);
            }
            (parse(entry.string()).ok_or(NOT_A_FLOAT)?, entry.expire_ms())
        }
    };
    let by = parse(args[2]).ok_or(NOT_A_FLOAT)?;
    let text = old.plus(by).ok_or(NOT_FINITE)?.to_text();
    let kind = if text.len() <= 44 { Kind::Embstr } else { Kind::Raw };
    m.set_string_as(&key, place, kind, &text, expire_ms)?;
    out.bulk(&text);
    Ok(())
}
