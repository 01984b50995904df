//! Finding keys: KEYS, SCAN, RANDOMKEY.

use orrery_resp::Reply;

use super::type_name;
use crate::commands::fail::Done;
use crate::commands::glob;
use crate::commands::scan::{ScanOptions, cursor, reply};
use crate::machine::{Machine, Session};

/// Draws of RANDOMKEY before it gives up on finding a key that has not expired.
const DRAWS: usize = 100;

/// `KEYS pattern`
pub fn keys(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    m.gate_on_all();
    let all = args[1] == b"*";
    let now_ms = m.now_ms();
    let list = out.defer();
    let mut count = 0;
    for entry in m.database(s.db).entries() {
        let alive = entry.expire_ms().is_none_or(|at| at > now_ms);
        if alive && (all || glob::matches(args[1], entry.key())) {
            out.bulk(entry.key());
            count += 1;
        }
    }
    out.finish_array(list, count);
    Ok(())
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
pub fn scan(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let mut at = cursor(args[1])?;
    let options = ScanOptions::parse(&args[2..], true)?;
    m.gate_on_all();
    let now_ms = m.now_ms();
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut seen = 0;
    let mut steps = options.steps_max();
    loop {
        at = m.database(s.db).scan(at, &mut |entry| {
            seen += 1;
            let alive = entry.expire_ms().is_none_or(|at| at > now_ms);
            let wanted = options
                .kind
                .is_none_or(|kind| kind.eq_ignore_ascii_case(type_name(entry).as_bytes()));
            if alive && wanted && options.accepts(entry.key()) {
                found.push(entry.key().to_vec());
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

/// `RANDOMKEY`
pub fn randomkey(m: &mut Machine, s: &mut Session, _: &[&[u8]], out: &mut Reply) -> Done {
    m.gate_on_all();
    for _ in 0..DRAWS {
        let Some(name) = m.draw(s.db) else { break };
        let key = m.key(s, &name);
        if m.locate(&key).is_some() {
            out.bulk(&name);
            return Ok(());
        }
    }
    out.null();
    Ok(())
}
