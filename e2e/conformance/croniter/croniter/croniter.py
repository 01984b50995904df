"""croniter's interface over Orrery's rules."""

import math
from datetime import datetime, timedelta, timezone
from time import time

from .errors import *  # noqa: F403
from .errors import (
    CroniterBadCronError,
    CroniterBadDateError,
    CroniterBadTypeRangeError,
    CroniterError,
    CroniterNotAlphaError,
)
from .rules import ask
from .text import BOUNDS, DAY, SECOND, WEEKDAY, YEAR, translated, words_of

UTC_DT = timezone.utc
OVERFLOW32B_MODE = False
MINUTE_FIELD, HOUR_FIELD, DAY_FIELD, MONTH_FIELD, DOW_FIELD, SECOND_FIELD, YEAR_FIELD = range(7)
VALID_LEN_EXPRESSION = {5, 6, 7}
EPOCH = datetime(1970, 1, 1)
NAMES = ("minute", "hour", "day_of_month", "month", "day_of_week", "second", "year")


def datetime_to_timestamp(moment):
    if moment.tzinfo is not None:
        moment = moment.replace(tzinfo=None) - moment.utcoffset()
    return (moment - EPOCH).total_seconds()


def zone_name(tzinfo):
    """How Orrery calls a tzinfo of pytz, zoneinfo or dateutil; its offset when it has no name."""
    if tzinfo is None:
        return "UTC"
    for attribute in ("zone", "key"):
        name = getattr(tzinfo, attribute, None)
        if name:
            return name
    file = getattr(tzinfo, "_filename", None)
    if file:
        return file.split("zoneinfo/")[-1]
    offset = tzinfo.utcoffset(datetime(2020, 1, 1))
    return "UTC" if offset is None else str(int(offset.total_seconds()))


def bytes_of(hash_id, encoding="UTF-8"):
    if hash_id is None or isinstance(hash_id, bytes):
        return hash_id
    if not isinstance(hash_id, str):
        raise TypeError("hash_id must be bytes or UTF-8 string")
    return hash_id.encode(encoding)


class Compiled:
    """An expression as Orrery has read it."""

    def __init__(self, expression, zone, hash_id=None, second_at_beginning=False, day_or=True,
                 cron_bug=False, from_timestamp=None):
        self.words = words_of(expression, int(hash_id is not None), second_at_beginning)
        if hash_id is None and any(item.startswith("h") for w in self.words for item in w.split(",")):
            raise CroniterBadCronError("Hashed definitions must include hash_id")
        text = translated(self.words, cron_bug, from_timestamp, zone)
        answer = ask({
            "op": "compile", "text": text, "zone": zone_name(zone), "dst": "run-twice",
            "croniter_hash_id": list(hash_id or b""), "and": not day_or,
        })
        self.id = answer.get("id")
        self.fields = answer.get("fields")
        self.never = answer.get("kind") == "never"
        if self.id is None and not self.never:
            if "runs backwards" in answer["error"]:
                raise CroniterBadCronError("Range end must be greater than range begin")
            named = "unknown name" in answer["error"] or "number belongs here" in answer["error"]
            raise (CroniterNotAlphaError if named else CroniterBadCronError)(answer["error"])

    def expanded(self):
        """croniter's lists: sorted values, `*` for all, `l` for the last day."""
        if self.fields is None:
            return [["*"] if word == "*" else [] for word in self.words], {}
        lists = [list(self.fields[name]) for name in NAMES[: len(self.words)]]
        nth = {}
        for weekday, number in self.fields["nth_day_of_week"]:
            nth.setdefault(weekday, set()).add(number)
        for weekday in self.fields["last_day_of_week"]:
            nth.setdefault(weekday, set()).add("l")
        lists[WEEKDAY] = sorted(set(lists[WEEKDAY]) | set(nth))
        lists[DAY] = sorted(set(lists[DAY]) | set(self.fields["nearest_weekday"]))
        if self.fields["last_day_of_month"]:
            lists[DAY].append("l")
        for field, values in enumerate(lists):
            low, high = BOUNDS[field]
            other = {DAY: WEEKDAY, WEEKDAY: DAY}.get(field)
            whole = len(values) == high - low + 1 or (field == YEAR and not values)
            if self.words[field] in ("*", "?"):
                whole = True
            elif other is not None and "*" not in self.words[other]:
                whole = False
            if whole:
                lists[field] = ["*"]
        return lists, nth

    def step(self, at, back):
        if self.never:
            return None
        return ask({"op": "previous" if back else "next", "id": self.id, "at": at})["at"]


class croniter:
    RANGES = BOUNDS

    def __init__(self, expr_format, start_time=None, ret_type=float, day_or=True,
                 max_years_between_matches=None, is_prev=False, hash_id=None,
                 implement_cron_bug=False, second_at_beginning=False,
                 expand_from_start_time=False):
        self._ret_type = ret_type
        self._is_prev = is_prev
        self._expand_from_start_time = expand_from_start_time
        self._bounded = max_years_between_matches is not None
        self._max_years_between_matches = self._checked_years(max_years_between_matches)
        self.second_at_beginning = bool(second_at_beginning)
        self.tzinfo = None
        self.start_time = self.dst_start_time = self.cur = 0.0
        self.set_current(time() if start_time is None else start_time)
        self._arguments = {
            "hash_id": bytes_of(hash_id), "second_at_beginning": second_at_beginning,
            "day_or": day_or, "cron_bug": implement_cron_bug,
            "from_timestamp": self.cur if expand_from_start_time else None,
        }
        self._expression = expr_format
        self._compiled = {}
        compiled = self._rule()
        self.expressions = compiled.words
        self.expanded, self.nth_weekday_of_month = compiled.expanded()
        self.fields = tuple(range(len(self.expanded)))

    @staticmethod
    def _checked_years(years):
        if years is None:
            return 50
        if isinstance(years, bool) or not isinstance(years, int):
            raise TypeError(f"max_years_between_matches must be an int >= 1 or None, not {years!r}")
        if years < 1:
            raise ValueError(f"max_years_between_matches must be an int >= 1 or None, not {years!r}")
        return years

    def _rule(self):
        """The rule in the zone of the current time."""
        name = zone_name(self.tzinfo)
        if name not in self._compiled:
            self._compiled[name] = Compiled(self._expression, self.tzinfo, **self._arguments)
        return self._compiled[name]

    def set_current(self, start_time, force=True):
        if force and start_time is not None:
            if isinstance(start_time, datetime):
                self.tzinfo = start_time.tzinfo
                start_time = datetime_to_timestamp(start_time)
            self.start_time = self.dst_start_time = self.cur = start_time
        return self.cur

    datetime_to_timestamp = staticmethod(datetime_to_timestamp)

    def timestamp_to_datetime(self, timestamp, tzinfo=UTC_DT):
        tzinfo = self.tzinfo if tzinfo is UTC_DT else tzinfo
        moment = EPOCH + timedelta(seconds=timestamp)
        return moment.replace(tzinfo=UTC_DT).astimezone(tzinfo) if tzinfo else moment

    _datetime_to_timestamp = datetime_to_timestamp
    _timestamp_to_datetime = timestamp_to_datetime

    def get_current(self, ret_type=None):
        ret_type = ret_type or self._ret_type
        return self.timestamp_to_datetime(self.cur) if issubclass(ret_type, datetime) else self.cur

    def get_next(self, ret_type=None, start_time=None, update_current=True):
        if start_time and self._expand_from_start_time:
            raise ValueError("start_time does not go together with expand_from_start_time")
        return self._get_next(ret_type, start_time, False, update_current)

    def get_prev(self, ret_type=None, start_time=None, update_current=True):
        return self._get_next(ret_type, start_time, True, update_current)

    def _get_next(self, ret_type=None, start_time=None, is_prev=None, update_current=None):
        self.set_current(start_time)
        self._is_prev = self._is_prev if is_prev is None else is_prev
        ret_type = ret_type or self._ret_type
        if not issubclass(ret_type, (float, datetime)):
            raise TypeError("Invalid ret_type, only 'float' or 'datetime' is acceptable.")
        # A second that is under way has begun: its start is before, the next one after it.
        at = math.ceil(self.cur) if self._is_prev else math.floor(self.cur)
        found = self._rule().step(at, self._is_prev)
        year = self.timestamp_to_datetime(self.cur).year
        if found is None or abs(self.timestamp_to_datetime(found).year - year) > self._max_years_between_matches:
            raise CroniterBadDateError(f"failed to find {'prev' if self._is_prev else 'next'} date")
        if update_current is not False:
            self.cur = float(found)
        return self.timestamp_to_datetime(found) if issubclass(ret_type, datetime) else float(found)

    def _all(self, is_prev, ret_type, start_time, update_current):
        try:
            while True:
                yield self._get_next(ret_type, start_time, is_prev, update_current)
                start_time = None
        except CroniterBadDateError:
            if not self._bounded:
                raise

    def all_next(self, ret_type=None, start_time=None, update_current=None):
        return self._all(False, ret_type, start_time, update_current)

    def all_prev(self, ret_type=None, start_time=None, update_current=None):
        return self._all(True, ret_type, start_time, update_current)

    def iter(self, *args, **kwargs):
        return self.all_prev if self._is_prev else self.all_next

    def __iter__(self):
        return self

    __next__ = next = _get_next

    @classmethod
    def expand(cls, expr_format, hash_id=None, second_at_beginning=False, from_timestamp=None,
               from_timestamp_tz=None, strict=False, strict_year=None):
        compiled = Compiled(expr_format, from_timestamp_tz, bytes_of(hash_id), second_at_beginning,
                            from_timestamp=from_timestamp)
        if strict and not cls._can_occur(compiled, strict_year):
            raise CroniterBadCronError(f"[{expr_format}] can never occur")
        return compiled.expanded()

    @staticmethod
    def _can_occur(compiled, years):
        """Whether Orrery finds any day, in these years when some are given."""
        if compiled.never or years is None:
            return not compiled.never
        words = list(compiled.words)
        if len(words) == 5:
            words.append("0")
        years = [years] if isinstance(years, int) else years
        dated = words[:SECOND + 1] + [",".join(str(year) for year in years)]
        return not Compiled(" ".join(dated), None).never

    @staticmethod
    def _get_nth_weekday_of_month(year, month, day_of_week):
        """The days of a month with this weekday, as Orrery finds them."""
        rule = Compiled(f"0 0 * {month} {day_of_week}", None)
        at, days = int((datetime(year, month, 1) - EPOCH).total_seconds()) - 1, []
        while True:
            at = rule.step(at, False)
            found = EPOCH + timedelta(seconds=at)
            if (found.year, found.month) != (year, month):
                return tuple(days)
            days.append(found.day)

    @classmethod
    def is_valid(cls, expression, hash_id=None, encoding="UTF-8", second_at_beginning=False,
                 strict=False, strict_year=None):
        try:
            cls.expand(expression, bytes_of(hash_id or None, encoding), second_at_beginning,
                       strict=strict, strict_year=strict_year)
        except CroniterError:
            return False
        return True

    @classmethod
    def match(cls, cron_expression, testdate, day_or=True, second_at_beginning=False,
              precision_in_seconds=None):
        return cls.match_range(cron_expression, testdate, testdate, day_or, second_at_beginning,
                               precision_in_seconds)

    @classmethod
    def match_range(cls, cron_expression, from_datetime, to_datetime, day_or=True,
                    second_at_beginning=False, precision_in_seconds=None):
        rule = cls(cron_expression, to_datetime, datetime, day_or,
                   second_at_beginning=second_at_beginning)
        if precision_in_seconds is None:
            precision_in_seconds = 60 if len(rule.expanded) == 5 else 1
        end = rule.cur
        # The last run at or before the end.
        found = rule._rule().step(math.floor(end) + 1, True)
        length = (to_datetime - from_datetime).total_seconds() + precision_in_seconds
        return found is not None and end - found < length


def croniter_range(start, stop, expr_format, ret_type=None, day_or=True, exclude_ends=False,
                   _croniter=None, second_at_beginning=False, expand_from_start_time=False):
    fits = isinstance(start, type(stop)) or isinstance(stop, type(start))
    if not fits:
        raise CroniterBadTypeRangeError(f"start is {type(start)}, stop is {type(stop)}")
    own = datetime
    if isinstance(start, (float, int)):
        start, stop = (EPOCH + timedelta(seconds=at) for at in (start, stop))
        own = float
    ret_type = ret_type or own
    back = start > stop
    edge = timedelta(microseconds=0 if exclude_ends else 1)
    start, stop = (start + edge, stop - edge) if back else (start - edge, stop + edge)
    rule = (_croniter or croniter)(
        expr_format, start, datetime, day_or, abs(stop.year - start.year) + 1,
        second_at_beginning=second_at_beginning, expand_from_start_time=expand_from_start_time)
    step = rule.get_prev if back else rule.get_next
    try:
        found = step()
        while found > stop if back else found < stop:
            yield rule.get_current(float) if ret_type is float else found
            found = step()
    except CroniterBadDateError:
        return
