"""``multirsh runs show``: the results and the output of a run, from its record."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from multirsh.cli import options
from multirsh.cli.process import STDERR, print_out, write_all
from multirsh.cli.syntax import HELP_NAMES, SectionCommand
from multirsh.errors import UsageError, did_you_mean
from multirsh.exit_code import ExitCode
from multirsh.model import Status
from multirsh.output.options import When

if TYPE_CHECKING:
    from multirsh.events import Event
    from multirsh.journal import RunSummary
    from multirsh.journal.replay import RecordSurvey
    from multirsh.output import Batch, OutputOptions

_NOT_OK: Final = "not-ok"
_HELD_BYTES: Final = 64 * 1024
"""The bytes that are collected for one write: to write each line by itself would take long."""


def statuses(value: str | frozenset[Status]) -> frozenset[Status]:
    """Read a list of statuses, such as ``failed,timeout``; ``not-ok`` stands for all but ok.

    Raises:
        click.BadParameter: There is no such status.
    """
    if not isinstance(value, str):
        return value
    known = {status.value.replace("_", "-"): {status} for status in Status}
    known[_NOT_OK] = set(Status) - {Status.OK}
    found: set[Status] = set()
    for part in value.split(","):
        word = part.strip().replace("_", "-")
        if word not in known:
            hint = did_you_mean(word, known) or f"the statuses are {', '.join(known)}"
            raise click.BadParameter(f"{part.strip()!r} is not a status; {hint}")
        found |= known[word]
    return frozenset(found)


@click.command(
    "show",
    short_help="Show the results and the output of a run.",
    cls=SectionCommand,
    context_settings={"help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@options.option(
    "--status",
    "wanted",
    section="Hosts",
    type=statuses,
    configurable=False,
    metavar="LIST",
    help="Only hosts with these statuses, such as failed,timeout; not-ok stands for all but ok.",
)
@options.RECORDED_OUTPUT
@click.argument("run", default="last", metavar="[RUN]")
@click.argument("nodes", nargs=-1, metavar="[HOST]...")
def show(*, run: str, nodes: tuple[str, ...], wanted: frozenset[Status] | None, **parameters: Any) -> int:
    """Show the results and the output of a run, by default of the last.

    Equal outputs of both streams are shown once, under the names of their hosts, and the summary is at the
    end, as after a run with -B. HOST may be a pattern, such as 'web[01-12]'. With --json, print the events of
    the run as it would have printed them.
    """
    showing = options.DisplayOptions(
        **parameters, gather_all=not parameters["as_json"], progress=When.NEVER.value
    )
    # Not needed for --help.
    from multirsh.journal import Journal, RunState  # noqa: PLC0415
    from multirsh.journal.replay import (  # noqa: PLC0415
        completed,
        only_hosts,
        survey,
    )
    from multirsh.journal.resuming import DONE, hosts_standing, standings  # noqa: PLC0415
    from multirsh.output.runs_list import facts, with_copy_errors  # noqa: PLC0415

    output = showing.options()
    journal = Journal()
    entry = journal.find(run)
    found = survey(journal.rows(entry, with_output=False))
    chosen = chosen_hosts(entry, found, nodes, wanted)
    events: Iterable[Event] = journal.events(entry)
    if not showing.as_json:
        if entry.state is RunState.BROKEN:
            events = completed(events, has_gaps=found.has_gaps)
        events = with_copy_errors(events)
    if chosen is not None:
        events = only_hosts(events, chosen)
    cut_off = found.cut_off if chosen is None else found.cut_off & chosen
    done_before = len(hosts_standing(standings(journal.plan(entry), {}), *DONE))
    _print(events, output, facts(entry, found.started, done_before=done_before, cut_off=cut_off))
    return ExitCode.OK


def chosen_hosts(
    entry: RunSummary, found: RecordSurvey, nodes: tuple[str, ...], wanted: frozenset[Status] | None
) -> set[str] | None:
    """Choose the hosts to show; ``None`` for all.

    Raises:
        InventoryError: A pattern cannot be read, or names a host that was not in the run.
        UsageError: No host is left.
    """
    from multirsh.journal.replay import status_of  # noqa: PLC0415

    if not nodes and wanted is None:
        return None
    chosen = hosts_named(nodes, found.outcomes, entry.run) if nodes else set(found.outcomes)
    if wanted is not None:
        chosen = {host for host in chosen if status_of(found.outcomes[host]) in wanted}
        if not chosen:
            raise UsageError(
                "no host of the run has such a status", hint=f"see 'multirsh runs show {entry.run}'"
            )
    return chosen


def hosts_named(nodes: tuple[str, ...], names: Iterable[str], run: str) -> set[str]:
    """Select the hosts among ``names`` that match patterns.

    Raises:
        InventoryError: A pattern cannot be read, or names a host that is not there.
    """
    from multirsh.inventory import Inventory  # noqa: PLC0415
    from multirsh.model import Host  # noqa: PLC0415

    recorded = Inventory(by_name={name: Host(name) for name in names}, sources=(f"run {run}",))
    return {host.name for host in recorded.select(nodes)}


def _print(events: Iterable[Event], output: OutputOptions, facts: list[str]) -> None:
    from multirsh.output import Printer  # noqa: PLC0415

    printer = Printer(output, began=time.monotonic())
    try:
        if not output.quiet:
            for fact in facts:
                printer.say(fact)
        for event in events:
            printer.feed(event)
            if printer.waiting_bytes > _HELD_BYTES:
                write(printer.take(time.monotonic()))
        printer.finish()
        while printer.has_more:
            write(printer.take(time.monotonic()))
    finally:
        printer.close()


def write(batch: Batch) -> None:
    """Write a batch to our streams.

    Raises:
        ReaderGone: The reader of stdout has gone.
        OSError: Stdout cannot be written for another reason.
    """
    for one in batch.writes:
        if one.target == "stdout":
            print_out(one.data)
        elif one.target == "stderr":
            with suppress(OSError):  # stderr is closed, so nothing can be reported
                write_all(STDERR, one.data)
