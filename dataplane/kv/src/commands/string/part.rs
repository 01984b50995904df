//! Strings: reading and changing parts.

use orrery_resp::Reply;

use crate::commands::fail::{Done, Fail, TOO_LONG, WRONG_TYPE};
use crate::commands::number::integer;
use crate::effects::Op;
use crate::keyspace::raw::Kind;
use crate::machine::{Key, Machine, Session};

/// `STRLEN key`
pub fn strlen(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    out.integer(m.read_string(&key)?.map_or(0, <[u8]>::len) as i64);
    Ok(())
}

/// `GETRANGE key start end`. An end before the beginning means the first byte, as in Redis.
pub fn getrange(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let (start, end) = (integer(args[2])?, integer(args[3])?);
    let key = m.key(s, args[1]);
    let value = m.read_string(&key)?.unwrap_or(b"");
    let len = value.len() as i64;
    let from_back = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let backwards = start < 0 && end < 0 && start > end;
    let (start, end) = (from_back(start), from_back(end).min(len - 1));
    if backwards || start > end || len == 0 {
        out.bulk(b"");
    } else {
        out.bulk(&value[start as usize..=end as usize]);
    }
    Ok(())
}

/// Refuses strings beyond `proto-max-bulk-len` or the namespace's limit.
fn check_len(m: &Machine, key: &Key<'_>, len: usize) -> Result<(), Fail> {
    if len > m.building().thresholds.proto_max_bulk_len {
        return Err(TOO_LONG);
    }
    m.namespaces().check_value_bytes(key.space, len)
}

/// `APPEND key value`
pub fn append(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let Some(place) = m.locate(&key) else {
        m.set_string(&key, None, args[2], None)?;
        out.integer(args[2].len() as i64);
        return Ok(());
    };
    let entry = m.entry(&key, place);
    if !entry.kind().is_string() {
        return Err(WRONG_TYPE);
    }
    let old = entry.string().len();
    let len = old.saturating_add(args[2].len());
    check_len(m, &key, len)?;
    m.put_range(&key, place, old, args[2]);
    if let Some(effect) = m.effect(&key, Op::SetRange) {
        _ = effect.number(old as u64).bytes(args[2]);
    }
    m.signal_modified(&key);
    out.integer(len as i64);
    Ok(())
}

/// `SETRANGE key offset value`
pub fn setrange(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let Ok(offset) = usize::try_from(integer(args[2])?) else {
        return Err(Fail::text("ERR offset is out of range"));
    };
    let key = m.key(s, args[1]);
    let place = m.locate(&key);
    let old = match place {
        Some(place) if !m.entry(&key, place).kind().is_string() => return Err(WRONG_TYPE),
        Some(place) => m.entry(&key, place).string().len(),
        None => 0,
    };
    if args[3].is_empty() {
        out.integer(old as i64);
        return Ok(());
    }
    let end = offset.saturating_add(args[3].len());
    check_len(m, &key, end)?;
    if let Some(place) = place {
        m.put_range(&key, place, offset, args[3]);
        if let Some(effect) = m.effect(&key, Op::SetRange) {
            _ = effect.number(offset as u64).bytes(args[3]);
        }
        m.signal_modified(&key);
    } else {
        let mut value = vec![0; end];
        value[offset..].copy_from_slice(args[3]);
        m.set_string_as(&key, None, Kind::Raw, &value, None)?;
    }
    out.integer(old.max(end) as i64);
    Ok(())
}
