//! Commands on whole databases.

use orrery_resp::Reply;

use super::fail::{DB_OUT_OF_RANGE, Done, Fail, SYNTAX};
use super::number::integer_between;
use super::options::is;
use crate::machine::{Machine, Session};

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
    let (least, most) = (i64::from(i32::MIN), i64::from(i32::MAX));
    let index = |argument, error| integer_between(argument, least, most, Fail::text(error));
    let text = |fail: Fail, error| if fail.0 == error { fail } else { Fail::text(error) };
    let one = index(args[1], "ERR invalid first DB index")
        .map_err(|fail| text(fail, "ERR invalid first DB index"))?;
    let other = index(args[2], "ERR invalid second DB index")
        .map_err(|fail| text(fail, "ERR invalid second DB index"))?;
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
