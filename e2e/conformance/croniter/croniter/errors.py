"""The exceptions of croniter's interface."""


class CroniterError(ValueError):
    """Anything that is wrong."""


class CroniterBadTypeRangeError(TypeError):
    """Ends of a range that do not fit together."""


class CroniterBadCronError(CroniterError):
    """An expression that cannot be read."""


class CroniterUnsupportedSyntaxError(CroniterBadCronError):
    """An expression that is read nowhere."""


class CroniterBadDateError(CroniterError):
    """Nothing more to come."""


class CroniterNotAlphaError(CroniterBadCronError):
    """A name that is none."""
