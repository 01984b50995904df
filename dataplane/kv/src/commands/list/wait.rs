//! Lists: popping that waits until there is something.
//!
//! The timeout is a number of seconds that may have a fraction; 0 waits for ever. A session that
//! may not wait (inside a transaction) is answered as if its time was up already.

use orrery_resp::Reply;

use super::pick::MultiPop;
use super::{end, pop_from_first, pop_named, shift};
use crate::commands::fail::{Done, Fail};
use crate::keyspace::list::{End, ListObject};
use crate::machine::{Machine, Session, Wanted};

/// Milliseconds of a timeout argument (`getTimeoutFromObjectOrReply`).
fn timeout_ms(argument: &[u8]) -> Result<u64, Fail> {
    let text = std::str::from_utf8(argument).ok();
    let seconds: Option<f64> = text.and_then(|text| text.parse().ok());
    let seconds = seconds
        .filter(|seconds| !seconds.is_nan())
        .ok_or(Fail::text("ERR timeout is not a float or out of range"))?;
    if seconds < 0.0 {
        return Err(Fail::text("ERR timeout is negative"));
    }
    let wait_ms = (seconds * 1000.0).ceil();
    if wait_ms >= i64::MAX as f64 {
        return Err(Fail::text("ERR timeout is out of range"));
    }
    Ok(wait_ms as u64)
}

fn pop(m: &mut Machine, s: &Session, args: &[&[u8]], out: &mut Reply, end: End) -> Done {
    let Some((timeout, names)) = args[1..].split_last() else { return Ok(()) };
    let timeout_ms = timeout_ms(timeout)?;
    for name in names {
        let key = m.key(s, name);
        if m.read_as::<ListObject>(&key)?.is_some() {
            return pop_named(m, &key, end, out);
        }
    }
    if s.may_wait {
        m.wait(s, names, timeout_ms, Wanted::Pop { end, count: None });
    } else {
        out.null_array();
    }
    Ok(())
}

/// `BLPOP key [key ...] timeout`
pub fn blpop(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    pop(m, s, args, out, End::Left)
}

/// `BRPOP key [key ...] timeout`
pub fn brpop(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    pop(m, s, args, out, End::Right)
}

/// `BLMPOP timeout numkeys key [key ...] LEFT|RIGHT [COUNT count]`
pub fn blmpop(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let timeout_ms = timeout_ms(args[1])?;
    let MultiPop { names, end, most } = MultiPop::parse(&args[2..])?;
    let mark = out.len();
    pop_from_first(m, s, names, (end, most), out)?;
    if out.len() > mark {
        return Ok(());
    }
    if s.may_wait {
        m.wait(s, names, timeout_ms, Wanted::Pop { end, count: Some(most) });
    } else {
        out.null_array();
    }
    Ok(())
}

fn move_one(
    m: &mut Machine,
    s: &Session,
    (source, destination, timeout): (&[u8], &[u8], &[u8]),
    out: &mut Reply,
    ends: (End, End),
) -> Done {
    let timeout_ms = timeout_ms(timeout)?;
    let key = m.key(s, source);
    if m.read_as::<ListObject>(&key)?.is_some() || !s.may_wait {
        return shift(m, s, (source, destination), ends, out);
    }
    let (from, to) = ends;
    m.wait(s, &[source], timeout_ms, Wanted::Move { destination: destination.into(), from, to });
    Ok(())
}

/// `BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout`
pub fn blmove(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let ends = (end(args[3])?, end(args[4])?);
    move_one(m, s, (args[1], args[2], args[5]), out, ends)
}

/// `BRPOPLPUSH source destination timeout`
pub fn brpoplpush(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    move_one(m, s, (args[1], args[2], args[3]), out, (End::Right, End::Left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_seconds_with_a_fraction_rounded_up() {
        assert_eq!(timeout_ms(b"0"), Ok(0));
        assert_eq!(timeout_ms(b"0.0001"), Ok(1));
        assert_eq!(timeout_ms(b"1.5"), Ok(1500));
        for (text, error) in [
            ("", "ERR timeout is not a float or out of range"),
            ("x", "ERR timeout is not a float or out of range"),
            ("nan", "ERR timeout is not a float or out of range"),
            ("-1", "ERR timeout is negative"),
            ("1e300", "ERR timeout is out of range"),
            ("inf", "ERR timeout is out of range"),
        ] {
            assert_eq!(timeout_ms(text.as_bytes()), Err(Fail::text(error)), "{text}");
        }
    }
}
