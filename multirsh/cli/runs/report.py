"""``multirsh runs report``: the page about a run, made of its record."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from multirsh.cli import options
from multirsh.cli.descriptors import tell
from multirsh.cli.names import HELP_NAMES
from multirsh.cli.sections import SectionCommand
from multirsh.errors import UsageError
from multirsh.exit_code import ExitCode
from multirsh.inventory import fold

if TYPE_CHECKING:
    from multirsh.journal import RunSummary
    from multirsh.journal.replay import RecordSurvey


@click.command(
    "report",
    short_help="Write a page about a run, for a browser.",
    cls=SectionCommand,
    context_settings={"help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@options.REPORTED_OUTPUT
@click.argument("run", metavar="RUN")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.html")
def report(*, run: str, file: Path, **parameters: Any) -> int:
    """Write a page about a run, as --report does during one; of one that broke off, what is known of it."""
    showing = options.Showing(**parameters, report=file)
    # Not needed for --help.
    from multirsh.cli.report_file import ReportFile  # noqa: PLC0415
    from multirsh.journal import Journal  # noqa: PLC0415
    from multirsh.journal.replay import survey  # noqa: PLC0415

    journal = Journal()
    entry = journal.find(run)
    page = ReportFile(
        file,
        began=datetime.fromtimestamp(entry.began, UTC),
        notes=_notes(entry, survey(journal.rows(entry, with_output=False))),
        memory=showing.output_memory,
        normalizer=showing.normalizer,
    )
    for event in journal.events(entry):
        page.feed(event)
    if not page.has_begun:
        raise UsageError(
            f"{entry.run}: the run's beginning is not in its record, so there is no page of it",
            hint=f"'multirsh runs show {entry.run}' tells what there is",
        )
    complaint = page.save()
    if complaint is not None:
        tell(complaint)
        return ExitCode.INTERNAL
    return ExitCode.OK


def _notes(entry: RunSummary, found: RecordSurvey) -> list[str]:
    """What of the record the page's reader has to know."""
    notes = []
    if entry.resumes is not None:
        notes.append(f"This run goes on with {entry.resumes}: what was done there is not in this page.")
    if found.cut_off:
        notes.append(f"Output was too much to be recorded in full: {fold(found.cut_off)}.")
    return notes
