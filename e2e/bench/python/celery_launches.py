"""Launches a second of celery beat, whose broker is in memory and costs next to nothing.

Arguments: tasks that are due every second, seconds.
"""

import sys
import tempfile
import time

from celery import Celery
from celery.beat import PersistentScheduler

jobs, seconds = int(sys.argv[1]), float(sys.argv[2])
app = Celery("bench", broker="memory://")
app.conf.beat_schedule = {
    f"job-{number}": {"task": "bench.job", "schedule": 1.0} for number in range(jobs)
}
app.conf.task_ignore_result = True
folder = tempfile.mkdtemp()
sent = 0


class Counting(PersistentScheduler):
    def apply_async(self, *args, **kwargs):
        global sent
        result = super().apply_async(*args, **kwargs)
        sent += 1
        return result


scheduler = Counting(app, schedule_filename=f"{folder}/schedule")
begun = None
while begun is None or time.monotonic() - begun < seconds:
    pause = scheduler.tick()
    if begun is None:
        # The first tick builds its heap.
        before, begun = sent, time.monotonic()
    time.sleep(max(0.0, min(pause, 0.05)))
print((sent - before) / (time.monotonic() - begun))
