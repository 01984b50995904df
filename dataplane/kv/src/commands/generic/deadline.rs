//! Deadlines of keys.

use orrery_resp::Reply;

use crate::commands::fail::{Done, Fail};
use crate::commands::number::integer;
use crate::commands::options::{DeadlineForm, is};
use crate::commands::string::set_deadline;
use crate::machine::{Machine, Session};

/// When an existing deadline may be replaced. One switch per keyword, as the protocol has them.
#[expect(clippy::struct_excessive_bools)]
#[derive(Debug, Default)]
struct Conditions {
    none_yet: bool,
    some_already: bool,
    later: bool,
    sooner: bool,
}

impl Conditions {
    fn parse(args: &[&[u8]]) -> Result<Self, Fail> {
        let mut conditions = Self::default();
        for option in args {
            if is(option, "nx") {
                conditions.none_yet = true;
            } else if is(option, "xx") {
                conditions.some_already = true;
            } else if is(option, "gt") {
                conditions.later = true;
            } else if is(option, "lt") {
                conditions.sooner = true;
            } else {
                let option = option.split(|byte| *byte == 0).next().unwrap_or_default();
                let option = String::from_utf8_lossy(option);
                return Err(Fail::owned(format!("ERR Unsupported option {option}")));
            }
        }
        if conditions.none_yet && (conditions.some_already || conditions.later || conditions.sooner)
        {
            return Err(Fail::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if conditions.later && conditions.sooner {
            return Err(Fail::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    fn allow(&self, old: Option<i64>, new: i64) -> bool {
        !(self.none_yet && old.is_some()
            || self.some_already && old.is_none()
            || self.later && old.is_none_or(|old| new <= old)
            || self.sooner && old.is_some_and(|old| new >= old))
    }
}

fn set(
    m: &mut Machine,
    s: &Session,
    args: &[&[u8]],
    out: &mut Reply,
    (form, name): (DeadlineForm, &str),
) -> Done {
    let conditions = Conditions::parse(&args[3..])?;
    let at = form.deadline(integer(args[2])?, m.now_ms(), name)?;
    let key = m.key(s, args[1]);
    let Some(place) = m.locate(&key) else {
        out.integer(0);
        return Ok(());
    };
    if !conditions.allow(m.entry(&key, place).expire_ms(), at) {
        out.integer(0);
        return Ok(());
    }
    if m.has_passed(at) {
        m.delete_as_command(&key);
    } else {
        set_deadline(m, &key, place, Some(at))?;
    }
    out.integer(1);
    Ok(())
}

const SECONDS: DeadlineForm = DeadlineForm { seconds: true, absolute: false };
const MILLISECONDS: DeadlineForm = DeadlineForm { seconds: false, absolute: false };
const AT_SECOND: DeadlineForm = DeadlineForm { seconds: true, absolute: true };
const AT_MILLISECOND: DeadlineForm = DeadlineForm { seconds: false, absolute: true };

/// `EXPIRE key seconds [NX|XX|GT|LT]`
pub fn expire(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    set(m, s, args, out, (SECONDS, "expire"))
}

/// `PEXPIRE key milliseconds [NX|XX|GT|LT]`
pub fn pexpire(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    set(m, s, args, out, (MILLISECONDS, "pexpire"))
}

/// `EXPIREAT key unix-time-seconds [NX|XX|GT|LT]`
pub fn expireat(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    set(m, s, args, out, (AT_SECOND, "expireat"))
}

/// `PEXPIREAT key unix-time-milliseconds [NX|XX|GT|LT]`
pub fn pexpireat(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    set(m, s, args, out, (AT_MILLISECOND, "pexpireat"))
}

/// Replies -2 without the key, -1 without a deadline, else what `figure` makes of the deadline.
fn tell(
    m: &mut Machine,
    s: &Session,
    name: &[u8],
    out: &mut Reply,
    figure: impl FnOnce(i64, i64) -> i64,
) {
    let key = m.key(s, name);
    let now_ms = m.now_ms();
    out.integer(match m.peek(&key).map(crate::keyspace::raw::Entry::expire_ms) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => figure(at, now_ms),
    });
}

/// Milliseconds as the nearest second.
fn seconds(ms: i64) -> i64 {
    ms.saturating_add(500) / 1000
}

/// `TTL key`
pub fn ttl(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    tell(m, s, args[1], out, |at, now| seconds((at - now).max(0)));
    Ok(())
}

/// `PTTL key`
pub fn pttl(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    tell(m, s, args[1], out, |at, now| (at - now).max(0));
    Ok(())
}

/// `EXPIRETIME key`
pub fn expiretime(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    tell(m, s, args[1], out, |at, _| seconds(at));
    Ok(())
}

/// `PEXPIRETIME key`
pub fn pexpiretime(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    tell(m, s, args[1], out, |at, _| at);
    Ok(())
}

/// `PERSIST key`
pub fn persist(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let place = m.locate(&key);
    let place = place.filter(|place| m.entry(&key, *place).expire_ms().is_some());
    if let Some(place) = place {
        set_deadline(m, &key, place, None)?;
    }
    out.integer(i64::from(place.is_some()));
    Ok(())
}
