//! Sets.

use super::*;

#[test]
fn members_are_kept_as_integers_while_they_are() {
    check(
        Proto::Resp2,
        &[
            ("sadd s 3 1 2 3", ":3"),
            ("object encoding s", "$6|intset"),
            ("smembers s", "*3|$1|1|$1|2|$1|3"),
            ("sismember s 2", ":1"),
            ("sismember s 02", ":0"),
            ("smismember s 1 x", "*2|:1|:0"),
            ("sadd s x", ":1"),
            ("object encoding s", "$9|hashtable"),
            ("srem s x y", ":1"),
            ("scard s", ":3"),
            ("smove s t 1", ":1"),
            ("smove s t 1", ":0"),
            ("smembers t", "*1|$1|1"),
            ("spop t 5", "*1|$1|1"),
            ("spop t", "$-1"),
            ("spop s x", "-ERR value is out of range, must be positive"),
            ("spop s 1 2", "-ERR syntax error"),
            ("srandmember s 0", "*0"),
            ("srandmember s x", "-ERR value is not an integer or out of range"),
            ("srandmember nosuch", "$-1"),
            ("sscan nosuch 0", "*2|$1|0|*0"),
        ],
    );
}

#[test]
fn sets_are_combined_and_stored() {
    check(
        Proto::Resp2,
        &[
            ("sadd a 1 2 3", ":3"),
            ("sadd b 2 3 4", ":3"),
            ("sinter a b", "*2|$1|2|$1|3"),
            ("sinter a nosuch", "*0"),
            ("sunion a b nosuch", "*4|$1|1|$1|2|$1|3|$1|4"),
            ("sdiff a b", "*1|$1|1"),
            ("sinterstore c a b", ":2"),
            ("sdiffstore c a a", ":0"),
            ("exists c", ":0"),
            ("sunionstore a a b", ":4"),
            ("sintercard 2 a b", ":3"),
            ("sintercard 2 a b limit 2", ":2"),
            ("sintercard 3 a b", "-ERR Number of keys can't be greater than number of args"),
            ("sintercard 1 a limit -1", "-ERR LIMIT can't be negative"),
            ("set str 1", "+OK"),
            ("sunion a str", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("sinterstore a nosuch b", ":0"),
        ],
    );
}
