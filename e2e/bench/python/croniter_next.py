"""Nanoseconds of one `get_next` of croniter: texts and moments of one JSON line on standard input,
one number on standard output."""

import json
import sys
import time
from datetime import datetime
from zoneinfo import ZoneInfo

from croniter import croniter

request = json.loads(sys.stdin.readline())
zone = ZoneInfo(request["zone"])
moments = [datetime.fromtimestamp(at, zone) for at in request["at"]]
rules = [croniter(text, moments[0]) for text in request["texts"]]
begun = time.perf_counter_ns()
for rule in rules:
    for moment in moments:
        rule.get_next(float, start_time=moment)
print((time.perf_counter_ns() - begun) / (len(rules) * len(moments)))
