//! Hash fields that are numbers.

use orrery_resp::Reply;

use super::set_fields;
use crate::commands::extended::{Extended, parse};
use crate::commands::fail::{Done, Fail, NOT_A_FLOAT, NOT_FINITE, OVERFLOW};
use crate::commands::number::{format_i64, integer, parse_i64};
use crate::keyspace::hash::HashObject;
use crate::machine::{Machine, Session};

/// `HINCRBY key field increment`
pub fn hincrby(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let by = integer(args[3])?;
    let key = m.key(s, args[1]);
    let old = match m.read_as::<HashObject>(&key)?.and_then(|hash| hash.get(args[2])) {
        Some(text) => parse_i64(text).ok_or(Fail::text("ERR hash value is not an integer"))?,
        None => 0,
    };
    let new = old.checked_add(by).ok_or(OVERFLOW)?;
    set_fields(m, &key, &[args[2], format_i64(&mut [0; 20], new)])?;
    out.integer(new);
    Ok(())
}

/// `HINCRBYFLOAT key field increment`
pub fn hincrbyfloat(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let by = parse(args[3]).ok_or(NOT_A_FLOAT)?;
    if by.is_infinite() {
        return Err(Fail::text("ERR value is NaN or Infinity"));
    }
    let key = m.key(s, args[1]);
    let old = match m.read_as::<HashObject>(&key)?.and_then(|hash| hash.get(args[2])) {
        Some(text) => parse(text).ok_or(Fail::text("ERR hash value is not a float"))?,
        None => Extended::ZERO,
    };
    let text = old.plus(by).ok_or(NOT_FINITE)?.to_text();
    set_fields(m, &key, &[args[2], &text])?;
    out.bulk(&text);
    Ok(())
}
