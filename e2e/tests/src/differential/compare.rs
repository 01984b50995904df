//! When two replies say the same. Everything is compared to the letter but what Redis itself
//! leaves open: the order of unordered collections, random choices, and the passing of time
//! between two servers.

use crate::client::Reply;

/// How far apart two answers about time may be: the commands reach the servers one after another.
const SLACK_MS: i64 = 5_000;
/// Keys whose time is up count until a server comes across them, which each does at its own pace.
/// What is really held is compared by name at every checkpoint.
const EXPIRED_MAX: i64 = 4;

/// Whether both servers answered `args` alike.
pub fn same(args: &[Vec<u8>], ours: &Reply, theirs: &Reply) -> bool {
    if ours == theirs {
        return true;
    }
    let name = args.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    match name.as_slice() {
        b"OBJECT" if is(args.get(1), b"REFCOUNT") => same_small_number(ours, theirs),
        b"TTL" | b"EXPIRETIME" | b"OBJECT" => close(ours, theirs, SLACK_MS / 1000),
        b"PTTL" | b"PEXPIRETIME" => close(ours, theirs, SLACK_MS),
        b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"KEYS" | b"HKEYS" | b"HVALS" => {
            same_elements(ours, theirs, 1)
        }
        b"HGETALL" => same_elements(ours, theirs, 2),
        b"SCAN" => same_scan(args.get(1), ours, theirs, 1),
        b"SSCAN" => same_scan(args.get(2), ours, theirs, 1),
        b"HSCAN" => same_scan(args.get(2), ours, theirs, 2),
        b"DBSIZE" => close(ours, theirs, EXPIRED_MAX),
        b"EXPIRE" | b"PEXPIRE" if compares_deadlines(args) => close(ours, theirs, 1),
        b"RANDOMKEY" | b"SPOP" | b"SRANDMEMBER" | b"HRANDFIELD" => same_shape(ours, theirs),
        b"EXEC" => same_transaction(ours, theirs),
        _ => false,
    }
}

fn close(ours: &Reply, theirs: &Reply, slack: i64) -> bool {
    match (ours, theirs) {
        // Negative answers say "no key" and "no expiry": they are no times.
        (Reply::Integer(a), Reply::Integer(b)) => {
            *a >= 0 && *b >= 0 && a.abs_diff(*b) <= slack as u64
        }
        _ => false,
    }
}

fn is(argument: Option<&Vec<u8>>, word: &[u8]) -> bool {
    argument.is_some_and(|argument| argument.eq_ignore_ascii_case(word))
}

/// Small integers are shared objects in Redis, unless they came about by COPY. Here nothing is
/// shared; the answer is made from the value.
fn same_small_number(ours: &Reply, theirs: &Reply) -> bool {
    const SHARED: i64 = i32::MAX as i64;
    *ours == Reply::Integer(SHARED) && *theirs == Reply::Integer(1)
}

/// Whether the answer depends on which of two deadlines is later; they may be one, given a
/// millisecond apart.
fn compares_deadlines(args: &[Vec<u8>]) -> bool {
    is(args.last(), b"GT") || is(args.last(), b"LT")
}

/// The same elements in any order; `width` neighbours belong together.
fn same_elements(ours: &Reply, theirs: &Reply, width: usize) -> bool {
    std::mem::discriminant(ours) == std::mem::discriminant(theirs)
        && ordered(ours.items(), width) == ordered(theirs.items(), width)
}

fn ordered(items: &[Reply], width: usize) -> Vec<Vec<String>> {
    let mut groups: Vec<Vec<String>> = items
        .chunks(width)
        .map(|group| group.iter().map(|item| format!("{item:?}")).collect())
        .collect();
    groups.sort();
    groups
}

/// Most streams ask for whole collections at once: from cursor 0 to cursor 0 the elements are all
/// there. Where a page in the middle begins and how much it holds is left open.
fn same_scan(from: Option<&Vec<u8>>, ours: &Reply, theirs: &Reply, width: usize) -> bool {
    let end = Reply::Bulk(b"0".to_vec());
    match (ours.items(), theirs.items()) {
        ([our_cursor, our_items], [cursor, items])
            if *our_cursor == end && *cursor == end && is(from, b"0") =>
        {
            same_elements(our_items, items, width)
        }
        ([_, our_items], [_, items]) => {
            std::mem::discriminant(our_items) == std::mem::discriminant(items)
        }
        _ => false,
    }
}

/// A random choice: the same kind and number of things.
fn same_shape(ours: &Reply, theirs: &Reply) -> bool {
    std::mem::discriminant(ours) == std::mem::discriminant(theirs)
        && !matches!(theirs, Reply::Error(_) | Reply::Simple(_))
        && ours.items().len() == theirs.items().len()
}

/// The replies within a transaction do not name their commands; those that may differ are kept out
/// of transactions by the grammar, but for times and order.
fn same_transaction(ours: &Reply, theirs: &Reply) -> bool {
    let (Reply::Array(our_items), Reply::Array(items)) = (ours, theirs) else {
        return false;
    };
    our_items.len() == items.len()
        && our_items.iter().zip(items).all(|(a, b)| {
            a == b || close(a, b, SLACK_MS) || (!b.items().is_empty() && same_elements(a, b, 1))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<Vec<u8>> {
        text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    fn array(words: &[&str]) -> Reply {
        Reply::Array(words.iter().map(|word| Reply::Bulk(word.as_bytes().to_vec())).collect())
    }

    #[test]
    fn order_matters_only_where_redis_keeps_one() {
        let (ab, ba) = (array(&["a", "b"]), array(&["b", "a"]));
        assert!(same(&args("SMEMBERS k"), &ab, &ba));
        assert!(!same(&args("LRANGE k 0 -1"), &ab, &ba));
        assert!(!same(&args("HGETALL k"), &ab, &ba));
    }

    #[test]
    fn a_missing_key_is_not_close_to_a_time() {
        assert!(!same(&args("TTL k"), &Reply::Integer(-2), &Reply::Integer(-1)));
        assert!(same(&args("TTL k"), &Reply::Integer(1000), &Reply::Integer(999)));
        assert!(!same(&args("INCR k"), &Reply::Integer(1000), &Reply::Integer(999)));
    }

    #[test]
    fn a_whole_scan_is_compared_and_a_page_of_one_is_not() {
        let scan = |cursor: &str, items: &[&str]| {
            Reply::Array(vec![Reply::Bulk(cursor.as_bytes().to_vec()), array(items)])
        };
        assert!(same(&args("SCAN 0"), &scan("0", &["a", "b"]), &scan("0", &["b", "a"])));
        assert!(!same(&args("SCAN 0"), &scan("0", &["a"]), &scan("0", &["b", "a"])));
        assert!(same(&args("SCAN 0"), &scan("7", &["a"]), &scan("0", &["b", "a"])));
        assert!(same(&args("SCAN 9"), &scan("0", &["a"]), &scan("0", &["b", "a"])));
        assert!(!same(&args("SSCAN k 0"), &scan("0", &["a"]), &scan("0", &["b", "a"])));
    }

    #[test]
    fn error_texts_are_compared_to_the_letter() {
        let (a, b) = (Reply::Error("ERR a".into()), Reply::Error("ERR b".into()));
        assert!(!same(&args("SPOP k"), &a, &b));
    }
}
