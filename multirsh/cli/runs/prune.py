"""``multirsh runs prune``: records that are no longer needed."""

from __future__ import annotations

import click

from multirsh.cli import options, values
from multirsh.cli.process import print_err, print_out
from multirsh.cli.runs.group import layout
from multirsh.cli.syntax import HELP_NAMES, SectionCommand
from multirsh.exit_code import ExitCode
from multirsh.output.formatting import plural
from multirsh.output.formatting import size as format_size
from multirsh.output.options import Stdio


@click.command(
    "prune",
    short_help="Delete old records.",
    cls=SectionCommand,
    context_settings={"help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@options.option(
    "--keep",
    section="What stays",
    type=values.whole(0),
    configurable=False,
    metavar="N",
    help="Keep the newest N.",
)
@options.option(
    "--older-than",
    "days",
    section="What stays",
    type=values.days,
    configurable=False,
    metavar="DAYS",
    help="Keep the records of the last DAYS.  [default, without other limits: --journal-days]",
)
@options.option(
    "--size",
    section="What stays",
    type=values.size,
    configurable=False,
    metavar="SIZE",
    help="Keep the newest within SIZE, such as 500M.  [default, without other limits: --journal-size]",
)
@options.option(
    "--dry-run",
    section="What stays",
    is_flag=True,
    configurable=False,
    help="Only list what would be deleted.",
)
@options.COLOR
@options.SETTLED_LIMITS
def prune(
    *,
    keep: int | None,
    days: float | None,
    size: int | None,
    dry_run: bool,
    color: str,
    journal_days: int,
    journal_size: int,
) -> int:
    """Delete the oldest records, and list them.

    A record is deleted if it exceeds any of the limits. Without limits, --journal-days and --journal-size
    hold, as at the start of every run. The records of runs that are still running stay.
    """
    # Not needed for --help.
    from multirsh.journal import Journal, RetentionLimits  # noqa: PLC0415
    from multirsh.journal.journal import DAY_S  # noqa: PLC0415
    from multirsh.output.runs_list import listing  # noqa: PLC0415

    limits = RetentionLimits(records=keep, age_s=None if days is None else days * DAY_S, size=size)
    if limits == RetentionLimits():
        limits = RetentionLimits(age_s=journal_days * DAY_S, size=journal_size)
    journal = Journal()
    known = {entry.run: entry for entry in journal.runs()}
    runs = journal.prunable(limits) if dry_run else journal.prune(limits)
    gone = [known[run] for run in reversed(runs) if run in known]
    print_out(listing(gone, layout(Stdio.look(), color)))
    done = "would be deleted" if dry_run else "deleted"
    print_err(
        f"{plural(len(gone), 'record')} {done}, {format_size(sum(entry.size for entry in gone))}; "
        f"{len(known) - len(gone)} left"
    )
    return ExitCode.OK
