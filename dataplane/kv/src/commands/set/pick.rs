//! Sets: listing and choosing members.

use orrery_resp::Reply;

use super::note;
use crate::commands::fail::{Done, SYNTAX};
use crate::commands::options::{count, sample_count};
use crate::commands::sample::distinct;
use crate::commands::scan::{ScanOptions, cursor, reply};
use crate::effects::Op;
use crate::keyspace::set::SetObject;
use crate::machine::{Machine, Session};

/// `SMEMBERS key`
pub fn smembers(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let key = m.key(s, args[1]);
    let set = m.read_as::<SetObject>(&key)?;
    out.set(set.map_or(0, SetObject::len));
    if let Some(set) = set {
        set.each(&mut |member| {
            out.bulk(member);
            true
        });
    }
    Ok(())
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
pub fn sscan(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let mut at = cursor(args[2])?;
    let key = m.key(s, args[1]);
    let Some(set) = m.read_as::<SetObject>(&key)? else {
        reply(0, std::iter::empty(), out);
        return Ok(());
    };
    let options = ScanOptions::parse(&args[3..], false)?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let (mut seen, mut steps) = (0, options.steps_max());
    loop {
        at = set.scan(at, &mut |member| {
            seen += 1;
            if options.accepts(member) {
                found.push(member.to_vec());
            }
        });
        steps -= 1;
        if at == 0 || steps == 0 || seen >= options.count {
            break;
        }
    }
    reply(at, found.iter().map(Vec::as_slice), out);
    Ok(())
}

/// `SRANDMEMBER key [count]`
pub fn srandmember(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    let wanted = args.get(2).map(|wanted| sample_count(wanted)).transpose()?;
    let key = m.key(s, args[1]);
    let mut random = m.fork_random();
    let set = m.read_as::<SetObject>(&key)?;
    let Some(wanted) = wanted else {
        match set.and_then(|set| set.random(&mut random)) {
            Some(member) => out.bulk(&member),
            None => out.null(),
        }
        return Ok(());
    };
    let Some(set) = set else {
        out.array(0);
        return Ok(());
    };
    let total = wanted.unsigned_abs() as usize;
    if wanted < 0 {
        out.array(total);
        (0..total).filter_map(|_| set.random(&mut random)).for_each(|member| out.bulk(&member));
        return Ok(());
    }
    let all = set.to_vec();
    let chosen = distinct(total, all.len(), &mut random);
    out.array(chosen.len());
    for at in chosen {
        out.bulk(&all[at]);
    }
    Ok(())
}

/// `SPOP key [count]`
pub fn spop(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    let wanted = args.get(2).map(|wanted| count(wanted)).transpose()?;
    let key = m.key(s, args[1]);
    let mut random = m.fork_random();
    let Some(set) = m.read_as::<SetObject>(&key)? else {
        match wanted {
            Some(_) => out.set(0),
            None => out.null(),
        }
        return Ok(());
    };
    let popped: Vec<Vec<u8>> = match wanted {
        None | Some(1) => set.random(&mut random).into_iter().collect(),
        Some(wanted) if wanted >= set.len() => set.to_vec(),
        Some(wanted) => {
            let mut all = set.to_vec();
            let chosen = distinct(wanted, all.len(), &mut random);
            chosen.into_iter().map(|at| std::mem::take(&mut all[at])).collect()
        }
    };
    let whole = popped.len() == set.len();
    let members: Vec<&[u8]> = popped.iter().map(Vec::as_slice).collect();
    if whole {
        m.delete_as_command(&key);
    } else {
        m.edit(&key, false, |set: &mut SetObject, _| {
            for member in &members {
                set.remove(member);
            }
        })?;
        note(m, &key, Op::SetRemove, &members);
    }
    if wanted.is_some() {
        out.set(members.len());
    }
    for member in members {
        out.bulk(member);
    }
    Ok(())
}
