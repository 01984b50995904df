"""redis-py with a cluster of three shards. Prints KILL when the server may be killed and restarted, and
DONE at the end; any failure is an exception. Arguments: port."""

import sys
import time

import redis
from redis.cluster import RedisCluster


def check(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


def session(r):
    check(len(r.get_primaries()), 3)
    for n in range(300):
        check(r.set(f"py:{n}", n), True)
    for n in range(300):
        check(r.get(f"py:{n}"), str(n))
    sizes = r.dbsize(target_nodes=RedisCluster.PRIMARIES)
    check(sizes, 300)
    with r.pipeline() as pipe:
        for n in range(300):
            pipe.incr(f"py:{n}")
        check(pipe.execute(), [n + 1 for n in range(300)])
    check(r.mset({"{one}:a": 1, "{one}:b": 2}), True)
    check(r.mget("{one}:a", "{one}:b"), ["1", "2"])
    check(sorted(r.mget_nonatomic("py:1", "py:2", "py:3")), ["2", "3", "4"])
    check(sum(1 for _ in r.scan_iter("py:*")), 300)
    check(r.cluster_info(target_nodes=RedisCluster.RANDOM)["cluster_state"], "ok")
    check(r.cluster_keyslot("123456789"), 12739)
    nodes = r.cluster_nodes()
    check(len(nodes), 3)
    try:
        r.execute_command("MGET", "py:1", "py:2", target_nodes=RedisCluster.RANDOM)
        raise AssertionError("keys of two slots in one command must fail")
    except redis.exceptions.RedisClusterException as error:
        assert "same key slot" in str(error), error  # the client knows it by itself


def main():
    port = int(sys.argv[1])
    for protocol in (2, 3):
        r = RedisCluster(host="127.0.0.1", port=port, protocol=protocol, decode_responses=True)
        r.flushall(target_nodes=RedisCluster.PRIMARIES)
        session(r)
    print("KILL", flush=True)
    sys.stdin.readline()
    deadline = time.monotonic() + 30
    while True:
        try:
            for n in range(300):
                check(r.get(f"py:{n}"), str(n + 1))
            break
        except (redis.exceptions.ConnectionError, redis.exceptions.RedisClusterException):
            assert time.monotonic() < deadline, "no reconnect"
            time.sleep(0.1)
    print("DONE", flush=True)


main()
