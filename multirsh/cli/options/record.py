"""What is recorded of a run, and which run it repeats or resumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from multirsh.cli import values
from multirsh.cli.options.declare import Decorated, option, together
from multirsh.cli.syntax import RERUN, Rerun, rerun

_of_record = partial(option, section="Record")

_OUTPUT: Final = 256 << 20
_SIZE: Final = 1 << 30
_DAYS: Final = 90


def _limits(*, hidden: bool) -> Callable[[Decorated], Decorated]:
    return together(
        _of_record(
            "--journal-size",
            type=values.size,
            default=_SIZE,
            hidden=hidden,
            metavar="SIZE",
            help=f"Largest size of all records; a new run deletes the oldest.  [default: {_SIZE >> 30}G]",
        ),
        _of_record(
            "--journal-days",
            type=values.count,
            default=_DAYS,
            hidden=hidden,
            metavar="N",
            help=f"Days to keep records.  [default: {_DAYS}]",
        ),
    )


SETTLED_LIMITS = _limits(hidden=True)
"""The same, hidden in ``--help``: the defaults of subcommands that have limits of their own."""

RECORD = together(
    _of_record("--no-journal", is_flag=True, help="Do not record the run."),
    _of_record(
        "--journal-output",
        type=values.size,
        default=_OUTPUT,
        metavar="SIZE",
        help=f"Largest amount of output to record of one run.  [default: {_OUTPUT >> 20}M]",
    ),
    _limits(hidden=False),
)

AGAIN = together(
    _of_record(
        RERUN,
        "rerun",
        type=rerun,
        metavar="WHICH [RUN]",
        configurable=False,
        help="Run on the hosts that were failed, unreachable, notrun, unknown or ok in the last run, or in"
        " RUN. COMMAND may be left out. Without -f, hosts are reached as recorded.",
    ),
    _of_record(
        "--resume",
        metavar="RUN",
        configurable=False,
        help="Continue RUN ('last' for the newest), which was interrupted, on the hosts that have not run "
        "COMMAND, which may be left out. Hosts on which it may have begun require --retry-command.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalOptions:
    """What is recorded of a run, and which run it repeats or resumes; the fields are the options.

    Attributes:
        no_journal: Whether nothing is recorded.
        journal_output: The largest amount of output in one record, in bytes.
        journal_size: The largest size of all records, in bytes.
        journal_days: The age at which records are deleted, in days.
        rerun: The hosts to run on again, by how they ended in a prior run; ``None`` for a new run.
        resume: The prior run to resume; ``None`` for a new run.
    """

    no_journal: bool = False
    journal_output: int = _OUTPUT
    journal_size: int = _SIZE
    journal_days: int = _DAYS
    rerun: Rerun | None = None
    resume: str | None = None
