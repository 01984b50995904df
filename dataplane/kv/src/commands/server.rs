//! Commands on whole databases.

use orrery_resp::Reply;

use super::fail::{DB_OUT_OF_RANGE, Done, Fail, SYNTAX};
use super::number::{integer, parse_i64};
use super::options::is;
use crate::machine::{Machine, Session};

/// What the index takes for one key: a slot and its tag.
const INDEX_BYTES: usize = 9;

/// `DBSIZE`
pub fn dbsize(m: &mut Machine, s: &mut Session, _: &[&[u8]], out: &mut Reply) -> Done {
    m.gate_on_all();
    out.integer(m.database(s.db).len() as i64);
    Ok(())
}

/// `ASYNC` and `SYNC` mean the same here: values are freed later, bit by bit.
fn check_mode(args: &[&[u8]]) -> Done {
    match args {
        [_] => Ok(()),
        [_, mode] if is(mode, "async") || is(mode, "sync") => Ok(()),
        _ => Err(SYNTAX),
    }
}

/// `FLUSHDB [ASYNC|SYNC]`
pub fn flushdb(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    check_mode(args)?;
    m.flush_database(s.db);
    out.ok();
    Ok(())
}

/// `FLUSHALL [ASYNC|SYNC]`
pub fn flushall(m: &mut Machine, _: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    check_mode(args)?;
    m.flush_all();
    out.ok();
    Ok(())
}

/// `SWAPDB index1 index2`
pub fn swapdb(m: &mut Machine, _: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let index = |argument, error| {
        let number = parse_i64(argument).and_then(|number| i32::try_from(number).ok());
        number.map(i64::from).ok_or(Fail::text(error))
    };
    let one = index(args[1], "ERR invalid first DB index")?;
    let other = index(args[2], "ERR invalid second DB index")?;
    let known = 0..m.databases().len() as i64;
    if !known.contains(&one) || !known.contains(&other) {
        return Err(DB_OUT_OF_RANGE);
    }
    if one != other {
        m.swap_databases(one as u16, other as u16);
    }
    out.ok();
    Ok(())
}

/// `MEMORY USAGE key [SAMPLES count]`: bytes of the key with its value and its place in the index.
/// Every part is counted, so the number of samples says nothing.
pub fn memory_usage(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    match args[3..] {
        [] => {}
        [option, samples] if is(option, "samples") => {
            if integer(samples)? < 0 {
                return Err(SYNTAX);
            }
        }
        _ => return Err(SYNTAX),
    }
    let key = m.key(s, args[2]);
    match m.peek(&key) {
        Some(entry) => out.integer((entry.heap_bytes() + INDEX_BYTES) as i64),
        None => out.null(),
    }
    Ok(())
}
