"""croniter's spelling of an expression to Orrery's.

Only spelling is translated: where the seconds stand, aliases, `R`, equal ranges, `25-L`, and the
phase that `expand_from_start_time` asks for. Values, ranges, steps, names, `H`, `L`, `W` and `#`
are read by Orrery.
"""

import random
import re
from datetime import datetime, timezone

from .errors import CroniterBadCronError

MINUTE, HOUR, DAY, MONTH, WEEKDAY, SECOND, YEAR = range(7)
# Bounds of the fields, in croniter's order.
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6), (0, 59), (1970, 2099))
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()

# Without and with a hash_id.
ALIASES = {
    "@midnight": ("0 0 * * *", "h h(0-2) * * * h"),
    "@hourly": ("0 * * * *", "h * * * * h"),
    "@daily": ("0 0 * * *", "h h * * * h"),
    "@weekly": ("0 0 * * 0", "h h * * h h"),
    "@monthly": ("0 0 1 * *", "h h h * * h"),
    "@yearly": ("0 0 1 1 *", "h h h h * h"),
    "@annually": ("0 0 1 1 *", "h h h h * h"),
}
RANDOM = re.compile(r"^r(?:\((\d+)-(\d+)\))?(?:/(\d+))?$")
HASHED = re.compile(r"^h(?:\((\d+)-(\d+)\))?(?:/(\d+))?$")
RANGE = re.compile(r"^(\*|\w+)(?:-(\w+))?(?:/(\d+))?$", re.ASCII)


def words_of(expression, has_hash, second_at_beginning):
    """The fields in croniter's order: minute, hour, day, month, weekday, second, year."""
    lower = expression.lower()
    if lower in ALIASES:
        lower = ALIASES[lower][has_hash]
    words = re.findall(r"\S+", lower, re.ASCII)
    if len(words) not in (5, 6, 7):
        raise CroniterBadCronError("5, 6 or 7 fields belong to an expression")
    if len(words) > 5 and second_at_beginning:
        words.insert(SECOND, words.pop(0))
    return words


def number_of(word, field):
    """The number that a word is in this field, or None."""
    names = {MONTH: MONTHS, WEEKDAY: WEEKDAYS}.get(field, [])
    if word in names:
        return names.index(word) + (field == MONTH)
    return int(word) if word.isdigit() else None


def drawn(word, field):
    """`R`: a value, or a first value and its step, drawn anew for each expression."""
    match = RANDOM.match(word)
    if not match:
        return word
    low, high, step = match.groups()
    low, high = int(low or BOUNDS[field][0]), int(high or BOUNDS[field][1])
    if match.group(1) and low >= high:
        raise CroniterBadCronError("the range of R runs backwards")
    least, most = BOUNDS[field]
    if low < least or high > most:
        raise CroniterBadCronError("the range of R is outside of the field")
    if step is None:
        return str(random.randint(low, high))
    if int(step) == 0:
        raise CroniterBadCronError("a step must be at least 1")
    first = random.randint(low, min(low + int(step) - 1, high))
    return f"{first}-{high}/{step}" if first < high else str(first)


def spelled(item, field, cron_bug, start):
    """One element of a list; `start` is the start time when it gives the phase."""
    if start is not None and not re.match(r"^r.*/", item):
        item = drawn(item, field)
    hashed = HASHED.match(item.replace("r", "h", 1) if item.startswith("r") else item)
    if hashed and start is not None and hashed.group(3):
        low, high = hashed.group(1) or BOUNDS[field][0], hashed.group(2) or BOUNDS[field][1]
        item, hashed = f"{low}-{high}/{hashed.group(3)}", None
    if field == DAY:
        item = re.sub(r"^w(\d+)$", r"\1w", item)
    match = RANGE.match(item)
    if not match or hashed:
        return item
    first, last, step = match.groups()
    least, most = BOUNDS[field]
    if field == DAY and last == "l":
        last = "31"
    if last is None and step is None:
        return item
    low = least if first == "*" else number_of(first, field)
    high = most if first == "*" else (None if last is None else number_of(last, field))
    equal = last is not None and low is not None and low == high
    if equal:
        # An equal range is the whole cycle there.
        low, high, first = least, most, "*"
    if start is not None and low is not None and (high is not None or last is None):
        item = phased(item, field, low, most if high is None else high, int(step or 1), start)
        return item
    if first == "*" and (field not in (DAY, WEEKDAY) or cron_bug):
        return f"*/{step or 1}"
    if first == "*":
        # A star that does not count as one: days of both kinds are joined by OR there.
        return f"{least}-{most}/{step or 1}"
    if last is None:
        # Their years end earlier.
        return f"{first}-{most}/{step}" if field == YEAR else item
    return f"{first}-{last}" + (f"/{step}" if step else "")


def phased(item, field, low, high, step, start):
    """A cycle in phase with the start time, inside the bounds that are written."""
    if low == high or step == 0:
        return item
    own = {
        MINUTE: start.minute,
        HOUR: start.hour,
        DAY: start.day - 1,
        MONTH: start.month - 1,
        WEEKDAY: start.isoweekday() % 7,
        SECOND: start.second,
        YEAR: start.year - BOUNDS[YEAR][0],
    }[field]
    base = {DAY: 1, MONTH: 1, YEAR: BOUNDS[YEAR][0]}.get(field, 0)
    phase = own % step + base
    if phase < low:
        phase += -(-(low - phase) // step) * step
    return f"{phase if low <= phase <= high else low}-{high}/{step}"


def translated(words, cron_bug, from_timestamp, zone):
    """The expression in Orrery's spelling."""
    start = None
    if from_timestamp is not None:
        start = datetime.fromtimestamp(int(from_timestamp), tz=zone or timezone.utc)
    out = []
    for field, word in enumerate(words):
        # What is written twice is sent once: Orrery reads 4096 bytes at the most.
        items = dict.fromkeys(word.split(","))
        if "?" in word and (field not in (DAY, WEEKDAY) or word != "?"):
            raise CroniterBadCronError("`?` stands alone, for a day of month or of week")
        if word == "*":
            out.append(word)
            continue
        if start is None:
            items = [drawn(item, field) for item in items]
        out.append(",".join(spelled(item, field, cron_bug, start) for item in items))
    if len(out) > 5:
        out.insert(0, out.pop(SECOND))
    return " ".join(out)
