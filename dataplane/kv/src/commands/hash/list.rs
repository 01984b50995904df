//! Hashes: listing and choosing fields.

use orrery_resp::{Proto, Reply};

use crate::commands::fail::{Done, OUT_OF_RANGE, SYNTAX};
use crate::commands::options::{is, sample_count};
use crate::commands::sample::distinct;
use crate::commands::scan::{ScanOptions, cursor, reply};
use crate::keyspace::hash::HashObject;
use crate::machine::{Machine, Session};

/// `HGETALL key`
pub fn hgetall(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let Some(hash) = m.read_as::<HashObject>(&key)? else {
        out.map(0);
        return Ok(());
    };
    out.map(hash.len());
    for (field, value) in hash {
        out.bulk(field);
        out.bulk(value);
    }
    Ok(())
}

/// `HKEYS key`
pub fn hkeys(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let hash = m.read_as::<HashObject>(&key)?;
    out.array(hash.map_or(0, HashObject::len));
    hash.into_iter().flat_map(HashObject::iter).for_each(|(field, _)| out.bulk(field));
    Ok(())
}

/// `HVALS key`
pub fn hvals(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let hash = m.read_as::<HashObject>(&key)?;
    out.array(hash.map_or(0, HashObject::len));
    hash.into_iter().flat_map(HashObject::iter).for_each(|(_, value)| out.bulk(value));
    Ok(())
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count]`
pub fn hscan(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let mut at = cursor(args[2])?;
    let key = m.key(s, args[1]);
    let Some(hash) = m.read_as::<HashObject>(&key)? else {
        reply(0, std::iter::empty(), out);
        return Ok(());
    };
    let options = ScanOptions::parse(&args[3..], false)?;
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let (mut seen, mut steps) = (0, options.steps_max());
    loop {
        at = hash.scan(at, &mut |field, value| {
            seen += 1;
            if options.accepts(field) {
                found.push((field.to_vec(), value.to_vec()));
            }
        });
        steps -= 1;
        if at == 0 || steps == 0 || seen >= options.count {
            break;
        }
    }
    reply(at, found.iter().flat_map(|(f, v)| [f.as_slice(), v]), out);
    Ok(())
}

/// `HRANDFIELD key [count [WITHVALUES]]`
pub fn hrandfield(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let mut random = m.fork_random();
    if args.len() == 2 {
        match m.read_as::<HashObject>(&key)?.and_then(|hash| hash.random(&mut random)) {
            Some((field, _)) => out.bulk(field),
            None => out.null(),
        }
        return Ok(());
    }
    let count = sample_count_with(args)?;
    let with_values = args.len() == 4;
    let Some(hash) = m.read_as::<HashObject>(&key)? else {
        out.array(0);
        return Ok(());
    };
    let wanted = count.unsigned_abs() as usize;
    let total = if count < 0 { wanted } else { wanted.min(hash.len()) };
    let nested = with_values && out.proto() == Proto::Resp3;
    out.array(if with_values && !nested { total * 2 } else { total });
    let mut write = |(field, value): (&[u8], &[u8])| {
        if nested {
            out.array(2);
        }
        out.bulk(field);
        if with_values {
            out.bulk(value);
        }
    };
    if count < 0 {
        (0..total).filter_map(|_| hash.random(&mut random)).for_each(write);
        return Ok(());
    }
    let all: Vec<_> = hash.iter().collect();
    for at in distinct(total, all.len(), &mut random) {
        write(all[at]);
    }
    Ok(())
}

fn sample_count_with(args: &[&[u8]]) -> Result<i64, crate::commands::fail::Fail> {
    let count = crate::commands::options::between(args[2], -i64::MAX, i64::MAX)?;
    if args.len() > 4 || args.len() == 4 && !is(args[3], "withvalues") {
        return Err(SYNTAX);
    }
    if args.len() == 4 && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(OUT_OF_RANGE);
    }
    sample_count(args[2])
}
