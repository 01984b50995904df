//! Hashes.

use super::*;

#[test]
fn fields_are_set_counted_and_listed() {
    let long = "x".repeat(65);
    check(
        Proto::Resp2,
        &[
            ("hset h a 1 b 2 a 3", ":2"),
            ("hset h a", "-ERR wrong number of arguments for 'hset' command"),
            ("hmset h c 4", "+OK"),
            ("hgetall h", "*6|$1|a|$1|3|$1|b|$1|2|$1|c|$1|4"),
            ("hkeys h", "*3|$1|a|$1|b|$1|c"),
            ("hvals h", "*3|$1|3|$1|2|$1|4"),
            ("hmget h a x", "*2|$1|3|$-1"),
            ("hsetnx h a 9", ":0"),
            ("hexists h a", ":1"),
            ("hstrlen h x", ":0"),
            ("hincrby h a 5", ":8"),
            ("hincrby h a x", "-ERR value is not an integer or out of range"),
            ("hset h s text", ":1"),
            ("hincrby h s 1", "-ERR hash value is not an integer"),
            ("hincrbyfloat h s 1", "-ERR hash value is not a float"),
            ("hincrbyfloat h a inf", "-ERR value is NaN or Infinity"),
            ("hincrbyfloat h a 0.5", "$3|8.5"),
            ("hdel h a b c x", ":3"),
            ("object encoding h", "$8|listpack"),
            (&format!("hset h s {long}"), ":0"),
            ("object encoding h", "$9|hashtable"),
            ("hrandfield h", "$1|s"),
            ("hrandfield h -2", "*2|$1|s|$1|s"),
            ("hrandfield h 5 nosuch", "-ERR syntax error"),
            ("hrandfield h -9223372036854775807 withvalues", "-ERR value is out of range"),
            ("hrandfield h -9223372036854775807", "-ERR value is out of range"),
            ("hscan h 0 match a*", "*2|$1|0|*0"),
            ("hdel h s", ":1"),
            ("exists h", ":0"),
            ("set str 1", "+OK"),
            ("hlen str", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ],
    );
}

#[test]
fn version_3_replies_are_maps_and_pairs() {
    check(
        Proto::Resp3,
        &[
            ("hset h a 1", ":1"),
            ("hgetall h", "%1|$1|a|$1|1"),
            ("hrandfield h 1 withvalues", "*1|*2|$1|a|$1|1"),
            ("hget h x", "_"),
            ("sadd s 1", ":1"),
            ("smembers s", "~1|$1|1"),
            ("lpop nosuch 1", "_"),
        ],
    );
}
