//! Lists.

use super::*;

#[test]
fn elements_come_and_go_at_the_ends() {
    check(
        Proto::Resp2,
        &[
            ("rpushx l a", ":0"),
            ("rpush l b c", ":2"),
            ("lpush l a z", ":4"),
            ("lrange l 0 -1", "*4|$1|z|$1|a|$1|b|$1|c"),
            ("lrange l -2 100", "*2|$1|b|$1|c"),
            ("lrange l 5 9", "*0"),
            ("lpop l 0", "*0"),
            ("lpop l -1", "-ERR value is out of range, must be positive"),
            ("lpop l 1 1", "-ERR wrong number of arguments for 'lpop' command"),
            ("lpop l", "$1|z"),
            ("rpop l 2", "*2|$1|c|$1|b"),
            ("rpop nosuch", "$-1"),
            ("rpop nosuch 1", "*-1"),
            ("lmove l l left right", "$1|a"),
            ("rpoplpush l m", "$1|a"),
            ("exists l", ":0"),
            ("lmove nosuch l left right", "$-1"),
            ("lmove m l up right", "-ERR syntax error"),
            ("rpush m b c", ":3"),
            ("lmpop 2 nosuch m right count 2", "*2|$1|m|*2|$1|c|$1|b"),
            ("lmpop 1 nosuch left", "*-1"),
            ("lmpop 0 m left", "-ERR numkeys should be greater than 0"),
            ("lmpop 1 m left count 0", "-ERR count should be greater than 0"),
        ],
    );
}

#[test]
fn elements_are_found_and_changed_in_between() {
    check(
        Proto::Resp2,
        &[
            ("rpush l a b c a b a", ":6"),
            ("lindex l -1", "$1|a"),
            ("lindex l 9", "$-1"),
            ("lset l 9 x", "-ERR index out of range"),
            ("lset nosuch 0 x", "-ERR no such key"),
            ("lpos l a", ":0"),
            ("lpos l a rank -1", ":5"),
            ("lpos l a count 0", "*3|:0|:3|:5"),
            ("lpos l a count 0 maxlen 4", "*2|:0|:3"),
            ("lpos l a rank -2 count 1", "*1|:3"),
            ("lpos l a count -1", "-ERR COUNT can't be negative"),
            ("lpos l x", "$-1"),
            ("linsert l before c x", ":7"),
            ("linsert l after nosuch x", ":-1"),
            ("linsert l beside c x", "-ERR syntax error"),
            ("lrem l -2 a", ":2"),
            ("lrange l 0 -1", "*5|$1|a|$1|b|$1|x|$1|c|$1|b"),
            ("lset l -1 z", "+OK"),
            ("ltrim l 1 2", "+OK"),
            ("lrange l 0 -1", "*2|$1|b|$1|x"),
            ("ltrim l 5 9", "+OK"),
            ("exists l", ":0"),
        ],
    );
}
