"""Launches a second of APScheduler with its jobs in PostgreSQL.

Arguments: address of the database, jobs that are due every second, seconds.
"""

import logging
import sys
import time

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

logging.disable(logging.CRITICAL)
launched = 0


def job():
    global launched
    launched += 1


url, jobs, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
scheduler = BackgroundScheduler(
    jobstores={"default": SQLAlchemyJobStore(url=url)},
    executors={"default": ThreadPoolExecutor(8)},
    job_defaults={"coalesce": False, "max_instances": 1000, "misfire_grace_time": None},
)
scheduler.start(paused=True)
for number in range(jobs):
    scheduler.add_job("__main__:job", "cron", second="*", id=f"job-{number}")
scheduler.resume()
time.sleep(2)
before, begun = launched, time.monotonic()
time.sleep(seconds)
print((launched - before) / (time.monotonic() - begun), flush=True)
scheduler.shutdown(wait=False)
