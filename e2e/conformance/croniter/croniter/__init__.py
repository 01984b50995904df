"""The interface of croniter 7, answered by Orrery: its own tests run against this."""

from . import croniter as cron_m
from .croniter import (
    DAY_FIELD,
    HOUR_FIELD,
    MINUTE_FIELD,
    MONTH_FIELD,
    OVERFLOW32B_MODE,
    SECOND_FIELD,
    UTC_DT,
    YEAR_FIELD,
    croniter,
    croniter_range,
    datetime_to_timestamp,
)
from .errors import (
    CroniterBadCronError,
    CroniterBadDateError,
    CroniterBadTypeRangeError,
    CroniterError,
    CroniterNotAlphaError,
    CroniterUnsupportedSyntaxError,
)
