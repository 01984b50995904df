//! Strings.

use super::*;

#[test]
fn set_has_its_conditions_and_deadlines() {
    check(
        Proto::Resp2,
        &[
            ("set a 1", "+OK"),
            ("set a 2 nx", "$-1"),
            ("set a 2 nx get", "$1|1"),
            ("set b 2 xx", "$-1"),
            ("set a 2 xx get", "$1|1"),
            ("set b 2 get", "$-1"),
            ("set a 3 nx xx", "-ERR syntax error"),
            ("set a 3 ex 10 px 10", "-ERR syntax error"),
            ("set a 3 ex 10 keepttl", "-ERR syntax error"),
            ("set a 3 ex", "-ERR syntax error"),
            ("set a 3 ex 0", "-ERR invalid expire time in 'set' command"),
            ("set a 3 ex x", "-ERR value is not an integer or out of range"),
            ("set a 3 ex 9223372036854775807", "-ERR invalid expire time in 'set' command"),
            ("set a 3 ex 10", "+OK"),
            ("set a 4 keepttl", "+OK"),
            ("ttl a", ":10"),
            ("set a 5", "+OK"),
            ("ttl a", ":-1"),
            ("set a 5 pxat 999999", "+OK"),
            ("get a", "$-1"),
            ("setex a 0 v", "-ERR invalid expire time in 'setex' command"),
            ("psetex a 1500 v", "+OK"),
            ("pttl a", ":1500"),
            ("getex a persist", "$1|v"),
            ("getex a persist PERSIST", "$1|v"),
            ("ttl a", ":-1"),
            ("getex a exat 1", "$1|v"),
            ("exists a", ":0"),
            ("get a b", "-ERR wrong number of arguments for 'get' command"),
            ("mset a 1 b", "-ERR wrong number of arguments for 'mset' command"),
            ("mset a 1 b 2", "+OK"),
            ("msetnx b 3 c 4", ":0"),
            ("mget a b c", "*3|$1|1|$1|2|$-1"),
            ("getset a 9", "$1|1"),
            ("getdel a", "$1|9"),
            ("setnx a 1", ":1"),
            ("setnx a 1", ":0"),
        ],
    );
}

#[test]
fn parts_are_read_and_changed() {
    check(
        Proto::Resp2,
        &[
            ("append a hello", ":5"),
            ("object encoding a", "$6|embstr"),
            ("append a -world", ":11"),
            ("object encoding a", "$3|raw"),
            ("getrange a -5 -1", "$5|world"),
            ("getrange a -100 -90", "$1|h"),
            ("getrange a 5 2", "$0"),
            ("setrange a 6 W", ":11"),
            ("get a", "$11|hello-World"),
            ("setrange b 0 ", ":0"),
            ("exists b", ":0"),
            ("setrange b 2 x", ":3"),
            ("strlen b", ":3"),
            ("setrange b -1 x", "-ERR offset is out of range"),
            (
                "setrange b 536870912 x",
                "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            ),
            ("rpush l x", ":1"),
            ("append l x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ],
    );
}

#[test]
fn numbers_count_without_overflow() {
    check(
        Proto::Resp2,
        &[
            ("incr n", ":1"),
            ("object encoding n", "$3|int"),
            ("object refcount n", ":2147483647"),
            ("decrby n 3", ":-2"),
            ("set n 9223372036854775807", "+OK"),
            ("incr n", "-ERR increment or decrement would overflow"),
            ("decrby n -9223372036854775808", "-ERR decrement would overflow"),
            ("set n 012", "+OK"),
            ("incr n", "-ERR value is not an integer or out of range"),
            ("set f 10.50", "+OK"),
            ("incrbyfloat f 0.1", "$4|10.6"),
            ("incrbyfloat f 5.0e3", "$22|5010.60000000000000009"),
            ("incrbyfloat f x", "-ERR value is not a valid float"),
            ("incrbyfloat f inf", "-ERR increment would produce NaN or Infinity"),
        ],
    );
}
