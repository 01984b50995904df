"""Recurrences by python-dateutil: a JSON request on each line of standard input, its answer on a
line of standard output.

{"text":"FREQ=DAILY","start":1800000000,"count":3} answers {"next":[…]}, UTC throughout;
{"error":"…"} when the text is refused, {"slow":true} when it takes longer than half a second.
"""

import json
import signal
import sys
from datetime import datetime, timezone
from itertools import islice

from dateutil.rrule import rrulestr


class Slow(Exception):
    pass


def late(*_):
    raise Slow


def answer(request):
    start = datetime.fromtimestamp(request["start"], timezone.utc).replace(tzinfo=None)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        rule = rrulestr(request["text"], dtstart=start)
        found = [at.replace(tzinfo=timezone.utc).timestamp() for at in islice(rule, request["count"])]
        return {"next": [int(at) for at in found]}
    except Slow:
        return {"slow": True}
    except (ValueError, TypeError) as error:
        return {"error": str(error)}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


signal.signal(signal.SIGALRM, late)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
