"""What can go wrong, split by whose fault it is.

Every message names the thing, the rule and the value, and says what to do next. An event that
the log holds never raises: what is wrong with it is an `Outcome` of the fold.
"""

from __future__ import annotations


class LedgerError(Exception):
    """The root: anything that Errata refuses in words."""


class InvalidRequest(LedgerError):
    """The caller asked for what cannot be: a bad value, an unknown name, a refused event."""


class ConfigurationError(LedgerError):
    """A setting, a missing extra, or a log that is set up in a way that would lose events."""


class InvalidSetting(ConfigurationError):
    """A setting that cannot be meant: wrong usage rather than a wrong log."""


class CorruptLog(LedgerError):
    """The log itself is not what was written: a missing head, a gap, a recreated topic."""


class EventsLost(CorruptLog):
    """What is asked for takes label events that are gone, and no checkpoint tells it of them."""


class LogUnavailable(LedgerError):
    """The log cannot answer or take an event now: broker away, file locked, disk full.

    `acknowledged` is the number of messages of the refused append that are known to be stored;
    the rest may be appended again (the same event ids make that harmless).
    """

    def __init__(self, message: str, *, acknowledged: int = 0) -> None:
        super().__init__(message)
        self.acknowledged = acknowledged


class CheckpointDamaged(LedgerError):
    """A checkpoint is not what was written, or not of this log: it is made again from the log."""


class CheckpointsUnavailable(LedgerError):
    """The place of the checkpoints cannot be read or written now."""


class ViewsDamaged(LedgerError):
    """A view is not what was written, or not of this dataset: it is made again from the log."""


class ViewsUnavailable(LedgerError):
    """A view cannot be read or written now: locked for too long, disk full."""


class VerificationFailed(LedgerError):
    """What is kept beside the log is not what the log says."""


class GateFailed(LedgerError):
    """The labels are not what the contract asks for."""
