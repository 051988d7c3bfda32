"""The kinds of failure that Canvas tells apart. Raised by all of the package, printed by the command line.

A user's mistake is a `UserError`; a candidate that could not be judged is an `EvaluationError`. Anything else is a bug
of ours.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path


class UserError(ValueError):
    """A foreseeable fault of the user's input (file, model, data, option); the message says what to do about it."""


class StudyError(UserError):
    """A study that cannot be used: wrong version, truncated, locked, read-only, its server away."""


class NoStudy(StudyError):
    """There is no study, or an empty file: one can be made there."""


class EvaluationError(RuntimeError):
    """One candidate could not be judged; it is recorded with this reason and the search goes on."""


class Diverged(EvaluationError):
    """Training gave a loss that is not a finite number."""


class ImplausibleTiming(EvaluationError):
    """A latency that would need more arithmetic per second than the machine can do."""


class WrongOutput(EvaluationError):
    """A prepared network whose output is not that of its reference."""


def other_version(place: object, version: int, expected: int) -> StudyError:
    """What to raise where a study has another format than this version of Canvas reads.

    Example:
        >>> str(other_version("study.db", 2, 1)).partition(";")[2]
        ' use that version, or start another study'
    """
    return StudyError(
        f"{place}: made by another version of Canvas (its format is {version}, this version reads {expected});"
        " use that version, or start another study"
    )


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks; for messages about what other packages raise.

    Example:
        >>> one_line(ValueError("not\\n  this"))
        'not this'
    """
    return " ".join(str(error).split())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the file, and what to do, where it cannot be written.

    Raises:
        UserError: the system refused.

    Example:
        >>> with writing(Path("/no/such/folder/page.html")):
        ...     Path("/no/such/folder/page.html").write_text("")
        Traceback (most recent call last):
        canvas.errors.UserError: /no/such/folder/page.html: cannot be written: No such file or directory; choose ...
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; choose another path") from error
