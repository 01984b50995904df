//! Lists: finding elements, and popping from the first of several lists.

use orrery_resp::Reply;

use super::{end, pop_some};
use crate::commands::fail::{Done, Fail, SYNTAX};
use crate::commands::number::integer;
use crate::commands::options::{at_least, is};
use crate::keyspace::list::{End, ListObject};
use crate::machine::{Machine, Session};

/// Options of LPOS.
#[derive(Debug)]
struct Search {
    /// Which match comes first, negative from the tail.
    rank: i64,
    /// How many matches are wanted, 0 = all; none: just one, not in an array.
    count: Option<usize>,
    /// Elements compared at most.
    compared_max: usize,
}

impl Search {
    fn parse(args: &[&[u8]]) -> Result<Self, Fail> {
        let mut search = Self { rank: 1, count: None, compared_max: usize::MAX };
        let mut rest = args;
        while let [option, tail @ ..] = rest {
            let [value, tail @ ..] = tail else { return Err(SYNTAX) };
            if is(option, "rank") {
                search.rank = integer(value)?;
                if search.rank == 0 {
                    return Err(Fail::text(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    ));
                }
            } else if is(option, "count") {
                let count = at_least(value, 0, "ERR COUNT can't be negative")?;
                search.count = Some(count as usize);
            } else if is(option, "maxlen") {
                let most = at_least(value, 0, "ERR MAXLEN can't be negative")?;
                search.compared_max = if most == 0 { usize::MAX } else { most as usize };
            } else {
                return Err(SYNTAX);
            }
            rest = tail;
        }
        Ok(search)
    }

    fn run(&self, list: &ListObject, wanted: &[u8]) -> Vec<usize> {
        let len = list.len();
        let backwards = self.rank < 0;
        let elements = if backwards { list.iter_back_from(len - 1) } else { list.iter_from(0) };
        let most = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => count,
        };
        // Redis negates the rank; the smallest number stays itself and skips nothing.
        let skipped = if self.rank == i64::MIN { 0 } else { self.rank.unsigned_abs() - 1 };
        elements
            .take(self.compared_max)
            .enumerate()
            .filter(|(_, element)| *element == wanted)
            .skip(skipped as usize)
            .take(most)
            .map(|(at, _)| if backwards { len - 1 - at } else { at })
            .collect()
    }
}

/// `LPOS key element [RANK rank] [COUNT count] [MAXLEN len]`
pub fn lpos(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let search = Search::parse(&args[3..])?;
    let key = m.key(s, args[1]);
    let list = m.read_as::<ListObject>(&key)?;
    let found = list.map(|list| search.run(list, args[2])).unwrap_or_default();
    match (search.count, found.first()) {
        (Some(_), _) => {
            out.array(found.len());
            for at in &found {
                out.integer(*at as i64);
            }
        }
        (None, Some(at)) => out.integer(*at as i64),
        (None, None) => out.null(),
    }
    Ok(())
}

/// Arguments of LMPOP and BLMPOP: `numkeys key [key ...] LEFT|RIGHT [COUNT count]`.
#[derive(Debug)]
pub(super) struct MultiPop<'a> {
    pub(super) names: &'a [&'a [u8]],
    pub(super) end: End,
    pub(super) most: usize,
}

impl<'a> MultiPop<'a> {
    pub(super) fn parse(args: &'a [&'a [u8]]) -> Result<Self, Fail> {
        let keys = at_least(args[0], 1, "ERR numkeys should be greater than 0")?;
        let where_at = usize::try_from(keys).ok().and_then(|keys| keys.checked_add(1));
        let Some(where_at) = where_at.filter(|at| *at < args.len()) else { return Err(SYNTAX) };
        let end = end(args[where_at])?;
        let mut most = None;
        let mut rest = &args[where_at + 1..];
        while let [option, tail @ ..] = rest {
            let ([value, tail @ ..], None, true) = (tail, most, is(option, "count")) else {
                return Err(SYNTAX);
            };
            most = Some(at_least(value, 1, "ERR count should be greater than 0")? as usize);
            rest = tail;
        }
        Ok(Self { names: &args[1..where_at], end, most: most.unwrap_or(1) })
    }
}

/// Pops from the first list that exists; answers with its name and the elements, or not at all.
pub(crate) fn pop_from_first(
    m: &mut Machine,
    s: &Session,
    names: &[&[u8]],
    (end, most): (End, usize),
    out: &mut Reply,
) -> Done {
    for name in names {
        let key = m.key(s, name);
        let Some(popped) = pop_some(m, &key, end, most)? else { continue };
        out.array(2);
        out.bulk(name);
        out.array(popped.len());
        for element in &popped {
            out.bulk(element);
        }
        break;
    }
    Ok(())
}

/// `LMPOP numkeys key [key ...] LEFT|RIGHT [COUNT count]`
pub fn lmpop(m: &mut Machine, s: &mut Session, args: &[&[u8]], out: &mut Reply) -> Done {
    let MultiPop { names, end, most } = MultiPop::parse(&args[1..])?;
    let mark = out.len();
    pop_from_first(m, s, names, (end, most), out)?;
    if out.len() == mark {
        out.null_array();
    }
    Ok(())
}
