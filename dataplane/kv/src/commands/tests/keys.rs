//! Keys of any type.

use super::*;

#[test]
fn keys_are_moved_copied_and_deleted() {
    check(
        Proto::Resp2,
        &[
            ("rename a b", "-ERR no such key"),
            ("set a 1 ex 100", "+OK"),
            ("rename a a", "+OK"),
            ("renamenx a a", ":0"),
            ("rename a b", "+OK"),
            ("ttl b", ":100"),
            ("copy b b", "-ERR source and destination objects are the same"),
            ("copy b c", ":1"),
            ("ttl c", ":100"),
            ("copy b c", ":0"),
            ("copy b c replace", ":1"),
            ("copy b c db 99", "-ERR DB index is out of range"),
            ("copy b b db 1", ":1"),
            ("move b 1", ":0"),
            ("move c 1", ":1"),
            ("move b 0", "-ERR source and destination objects are the same"),
            ("move b x", "-ERR value is not an integer or out of range"),
            ("type b", "+string"),
            ("type c", "+none"),
            ("touch b c", ":1"),
            ("exists b b c", ":2"),
            ("del b b c", ":1"),
            ("dbsize", ":0"),
            ("randomkey", "$-1"),
            ("swapdb 0 1", "+OK"),
            ("dbsize", ":2"),
            ("swapdb x 1", "-ERR invalid first DB index"),
            ("flushall now", "-ERR syntax error"),
            ("flushall async", "+OK"),
            ("dbsize", ":0"),
        ],
    );
}

#[test]
fn deadlines_follow_their_conditions() {
    check(
        Proto::Resp2,
        &[
            ("expire a 10", ":0"),
            ("ttl a", ":-2"),
            ("set a 1", "+OK"),
            ("expire a 10 xx", ":0"),
            ("expire a 10 gt", ":0"),
            ("expire a 10 lt", ":1"),
            ("expire a 20 lt", ":0"),
            ("expire a 20 gt", ":1"),
            ("expire a 30 nx", ":0"),
            ("expiretime a", ":1020"),
            ("pexpireat a 1030400", ":1"),
            ("pexpiretime a", ":1030400"),
            ("persist a", ":1"),
            ("persist a", ":0"),
            (
                "expire a 1 nx xx",
                "-ERR NX and XX, GT or LT options at the same time are not compatible",
            ),
            ("expire a 1 gt lt", "-ERR GT and LT options at the same time are not compatible"),
            ("expire a 1 zz", "-ERR Unsupported option zz"),
            ("expire a 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
            ("expire a -1", ":1"),
            ("exists a", ":0"),
        ],
    );
}

#[test]
fn scans_take_patterns_types_and_cursors() {
    check(
        Proto::Resp2,
        &[
            ("mset key1 1 other 2", "+OK"),
            ("rpush list 1", ":1"),
            ("keys k*", "*1|$4|key1"),
            ("scan 0 match k*", "*2|$1|0|*1|$4|key1"),
            ("scan 0 type list", "*2|$1|0|*1|$4|list"),
            ("scan 0 type nosuch", "*2|$1|0|*0"),
            ("scan x", "-ERR invalid cursor"),
            ("scan 0 count 0", "-ERR syntax error"),
            ("scan 0 count x", "-ERR value is not an integer or out of range"),
            ("scan 0 nosuch 1", "-ERR syntax error"),
            ("object encoding list", "$9|quicklist"),
            ("object encoding nosuch", "$-1"),
            ("object nosuch key", "-ERR unknown subcommand 'nosuch'. Try OBJECT HELP."),
        ],
    );
}
