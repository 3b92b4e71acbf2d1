"""What is kept of a run, and what it makes of one before: ``--no-journal``, ``--rerun``, ``--resume``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from multirsh.cli import values
from multirsh.cli.options.declare import Decorated, option, together
from multirsh.cli.syntax import RERUN, Rerun, rerun

_of_record = partial(option, section="Record")


def _limits(*, hidden: bool) -> Callable[[Decorated], Decorated]:
    return together(
        _of_record(
            "--journal-size",
            type=values.size,
            default="1G",
            hidden=hidden,
            metavar="SIZE",
            help="Keep so much of all records; a run that begins deletes the oldest.  [default: 1G]",
        ),
        _of_record(
            "--journal-days",
            type=values.count,
            default=90,
            hidden=hidden,
            metavar="N",
            help="Keep records for so many days.  [default: 90]",
        ),
    )


SETTLED_LIMITS = _limits(hidden=True)
"""As the environment and config.toml have them, for what has options of its own for this."""

RECORD = together(
    _of_record("--no-journal", is_flag=True, help="Keep no record of the run."),
    _of_record(
        "--journal-output",
        type=values.size,
        default="256M",
        metavar="SIZE",
        help="Output to keep of one run; what comes after is left out of its record.  [default: 256M]",
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
        help="Run on those that in the last run, or in RUN, were failed, unreachable, notrun, unknown or "
        "ok; COMMAND may be left out. Without -f, the hosts are reached as recorded.",
    ),
    _of_record(
        "--resume",
        metavar="RUN",
        configurable=False,
        help="Go on with a run that broke, or 'last': its hosts that have not run COMMAND, which may be left "
        "out. Hosts in doubt need --retry-command.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalOptions:
    """What is kept; the fields are the options.

    Attributes:
        no_journal: Keep nothing.
        journal_output: Bytes of one record that may be output.
        journal_size: Bytes of all records.
        journal_days: How old a record may be.
        rerun: Whom of which run to run again, or ``None``.
        resume: Which run to go on with, or ``None``.
    """

    no_journal: bool
    journal_output: int
    journal_size: int
    journal_days: int
    rerun: Rerun | None = None
    resume: str | None = None
