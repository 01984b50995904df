"""redis-py as an application uses it. Prints KILL when the server may be killed and restarted, and
DONE at the end; any failure is an exception. Arguments: port."""

import sys
import time

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry


def check(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


def basics(r):
    check(r.set("py:a", "1"), True)
    check(r.get("py:a"), "1")
    check(r.incrby("py:a", 41), 42)
    check(r.hset("py:h", mapping={"x": "1", "y": "2"}), 2)
    check(r.hgetall("py:h"), {"x": "1", "y": "2"})
    check(r.rpush("py:l", "a", "b", "c"), 3)
    check(r.lrange("py:l", 0, -1), ["a", "b", "c"])
    check(r.sadd("py:s", "m", "n"), 2)
    check(r.smembers("py:s"), {"m", "n"})
    check(r.set("py:ttl", "x", px=100_000), True)
    assert 0 < r.pttl("py:ttl") <= 100_000
    check(sorted(r.scan_iter("py:*")), ["py:a", "py:h", "py:l", "py:s", "py:ttl"])
    check(r.info("server")["redis_mode"], "standalone")
    check(r.config_get("maxmemory-policy").keys() >= {"maxmemory-policy"}, True)
    assert r.command_count() > 100
    try:
        r.lpush("py:a", "x")
        raise AssertionError("a list command on a string must fail")
    except redis.ResponseError as error:
        assert "WRONGTYPE" in str(error), error


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for n in range(1000):
            pipe.set(f"py:p:{n}", n)
        check(pipe.execute(), [True] * 1000)
    check(r.mget([f"py:p:{n}" for n in range(3)]), ["0", "1", "2"])


def transactions(r):
    with r.pipeline(transaction=True) as pipe:
        pipe.incr("py:t").incr("py:t")
        check(pipe.execute(), [1, 2])

    def double(pipe):
        value = int(pipe.get("py:t"))
        pipe.multi()
        pipe.set("py:t", value * 2)

    check(r.transaction(double, "py:t"), [True])
    check(r.get("py:t"), "4")
    with r.pipeline() as pipe:
        pipe.watch("py:t")
        r.set("py:t", "changed")
        pipe.multi()
        pipe.set("py:t", "lost")
        try:
            pipe.execute()
            raise AssertionError("a changed key must fail the transaction")
        except redis.WatchError:
            pass
    check(r.get("py:t"), "changed")


def main():
    port = int(sys.argv[1])
    for protocol in (2, 3):
        r = redis.Redis(port=port, protocol=protocol, decode_responses=True,
                        retry=Retry(ExponentialBackoff(cap=0.2), 60))
        r.flushall()
        basics(r)
        pipelines(r)
        transactions(r)
    r.set("py:durable", "kept")
    print("KILL", flush=True)
    sys.stdin.readline()
    deadline = time.monotonic() + 30
    while True:
        try:
            check(r.get("py:durable"), "kept")
            break
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "no reconnect"
    check(r.get("py:p:999"), "999")
    print("DONE", flush=True)


main()
