"""The kinds of failure that Canvas tells apart. Raised by all of the package, printed by the command line.

A user's mistake is a `UserError`; a candidate that could not be judged is an `EvaluationError`. Anything else is a bug
of ours.
"""


class UserError(ValueError):
    """A foreseeable fault of the user's input (file, model, data, option); the message says what to do about it."""


class StudyError(UserError):
    """A study file that cannot be used: wrong version, truncated, locked, read-only."""


class EvaluationError(RuntimeError):
    """One candidate could not be judged; it is recorded with this reason and the search goes on."""


class Diverged(EvaluationError):
    """Training gave a loss that is not a finite number."""


class ImplausibleTiming(EvaluationError):
    """A latency that would need more arithmetic per second than the machine can do."""


class WrongOutput(EvaluationError):
    """A prepared network whose output is not that of its reference."""
