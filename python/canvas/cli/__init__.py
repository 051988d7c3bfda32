"""The command `canvas`. Every foreseeable fault is one line on stderr and exit status 2; each command has `--json`.

`view.py`, `measure.py`, `search.py`, `combine.py` and `doctor.py` hold the commands, `options.py` reads their options,
`printing.py` prints. Torch is imported only by the commands that need it.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Sequence

import typer

from canvas import _core
from canvas.cli import combine, doctor, measure, search, view
from canvas.cli.printing import fail
from canvas.errors import EvaluationError, UserError

COMMANDS = (
    view.targets,
    view.sample,
    view.show,
    view.check,
    search.search,
    search.resume,
    combine.combine,
    view.watch,
    view.report,
    view.zoo,
    measure.bench,
    measure.calibrate,
    measure.export,
    measure.rediscover,
    doctor.doctor,
)

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Kernel architecture search: invents faster kernels for a PyTorch network.",
)

for command in COMMANDS:
    about, _, examples = (inspect.getdoc(command) or "").partition("Examples:")
    lines = [f"  [cyan]{line}[/cyan]" for line in examples.split("\n") if line]
    app.command(help=about, epilog="\b\nExamples:\n" + "\n".join(lines))(command)


# Once a process: that takes longer than a short command does.
_click_command = functools.cache(functools.partial(typer.main.get_command, app))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; by default those of this process.

    Returns:
        The exit status: 0, 2 for a fault of the user's (one line on stderr says which), 130 after Ctrl-C.

    Example:
        >>> main(["check", "no_such_file.canvas"])
        2
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        return _click_command()(arguments, standalone_mode=False, prog_name="canvas") or 0
    except (UserError, EvaluationError, _core.KernelError, _core.Infeasible) as error:
        return fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read our output has seen enough
        return 141
    except Exception as error:
        if hasattr(error, "format_message"):  # a fault of the command line itself; Typer has had several classes for it
            return fail(" ".join(error.format_message().split()))
        raise
