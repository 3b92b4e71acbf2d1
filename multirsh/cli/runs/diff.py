"""``multirsh runs diff``: what is different between two runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from multirsh.cli import options
from multirsh.cli.process import print_err, print_out
from multirsh.cli.runs.show import hosts_named
from multirsh.cli.syntax import HELP_NAMES, SectionCommand
from multirsh.errors import UsageError
from multirsh.exit_code import ExitCode
from multirsh.inventory import fold

if TYPE_CHECKING:
    from multirsh.events import Event
    from multirsh.journal import Journal, RunSummary
    from multirsh.journal.replay import RecordSurvey


@click.command(
    "diff",
    short_help="Show what is different between two runs.",
    cls=SectionCommand,
    context_settings={"help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@options.option("--json", "as_json", section="Output", is_flag=True, help="One JSON object a change.")
@options.COMPARED_OUTPUT
@click.argument("first", metavar="RUN")
@click.argument("second", default="last", metavar="[RUN]")
@click.argument("nodes", nargs=-1, metavar="[HOST]...")
def diff(*, first: str, second: str, nodes: tuple[str, ...], as_json: bool, **parameters: Any) -> int:
    """Show what is different in a run, by default the last, since an earlier one.

    A host has changed if it ended differently or wrote something else. Hosts with the same change are shown
    together: the same lines were removed and added, wherever they stand. The exit code is 0 if nothing
    changed, and 5 if something did.
    """
    output = options.DisplayOptions(**parameters, gather=True).options()
    # Not needed for --help.
    from multirsh.journal import Journal  # noqa: PLC0415
    from multirsh.journal.replay import survey  # noqa: PLC0415
    from multirsh.output.gather import BlockFormatter  # noqa: PLC0415
    from multirsh.output.printer import Outbox  # noqa: PLC0415
    from multirsh.output.runs_diff import compare_runs, diff_json, diff_report  # noqa: PLC0415
    from multirsh.output.runs_list import titles  # noqa: PLC0415
    from multirsh.output.store import OutputStore  # noqa: PLC0415

    journal = Journal()
    before, after = journal.find(first), journal.find(second)
    if before.run == after.run:
        raise UsageError(
            f"{first} and {second} are the same run", hint="name another one; see 'multirsh runs'"
        )
    surveys = [survey(journal.rows(entry, with_output=False)) for entry in (before, after)]
    for entry, found in zip((before, after), surveys, strict=True):
        _warn(entry, found)
    wanted = None
    if nodes:
        wanted = hosts_named(nodes, dict.fromkeys([*surveys[0].outcomes, *surveys[1].outcomes]), "either run")
    store = OutputStore(output.memory, on_full=_disk_is_full)
    try:
        old = _events(journal, before, surveys[0], wanted)
        new = _events(journal, after, surveys[1], wanted)
        changes = compare_runs(old, new, store, output.normalizer)
        formatter = BlockFormatter(output)
        outbox = Outbox()
        if as_json:
            outbox.put(diff_json(changes, before.run, after.run))
        else:
            outbox.put([formatter.diff_line(title) for title in titles((before, after))])
            outbox.put(diff_report(changes, formatter))
        while outbox:
            print_out(outbox.take().stdout)
    finally:
        store.close()
    return ExitCode.COMMAND if changes else ExitCode.OK


def _events(
    journal: Journal, entry: RunSummary, found: RecordSurvey, wanted: set[str] | None
) -> Iterator[Event]:
    from multirsh.journal import RunState  # noqa: PLC0415
    from multirsh.journal.replay import completed, only_hosts  # noqa: PLC0415
    from multirsh.output.runs_list import with_copy_errors  # noqa: PLC0415

    events = with_copy_errors(journal.events(entry))
    if entry.state is RunState.BROKEN:
        events = completed(events, has_gaps=found.has_gaps)
    return events if wanted is None else only_hosts(events, wanted)


def _warn(entry: RunSummary, found: RecordSurvey) -> None:
    from multirsh.journal import RunState  # noqa: PLC0415

    if entry.state is RunState.RUNNING:
        _say(f"{entry.run} is still running; only its hosts that have ended are compared")
    if entry.resumes is not None:
        _say(f"{entry.run} resumes {entry.resumes}; hosts that were done there are not compared")
    if found.cut_off:
        _say(
            f"the output of these hosts in {entry.run} was too long to be kept in full: {fold(found.cut_off)}"
        )


def _disk_is_full(error: OSError) -> None:
    _say(f"output is kept in memory, since it cannot be on disk: {error.strerror}")


def _say(message: str) -> None:
    print_err(f"multirsh: {message}")
