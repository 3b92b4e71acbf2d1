"""``multirsh runs report``: the HTML page about a run, from its record."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from multirsh.cli import options
from multirsh.cli.process import print_err
from multirsh.cli.syntax import HELP_NAMES, SectionCommand
from multirsh.errors import UsageError
from multirsh.exit_code import ExitCode
from multirsh.inventory import fold

if TYPE_CHECKING:
    from multirsh.journal import RunSummary
    from multirsh.journal.replay import RecordSurvey


@click.command(
    "report",
    short_help="Write an HTML page about a run.",
    cls=SectionCommand,
    context_settings={"help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@options.REPORTED_OUTPUT
@click.argument("run", metavar="RUN")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.html")
def report(*, run: str, file: Path, **parameters: Any) -> int:
    """Write an HTML page about a run, as --report does; of a run that broke off it shows what is known."""
    showing = options.DisplayOptions(**parameters, report=file)
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
            f"{entry.run}: the beginning of the run is not in its record, so there is no page about it",
            hint=f"'multirsh runs show {entry.run}' shows what there is",
        )
    complaint = page.save()
    if complaint is not None:
        print_err(complaint)
        return ExitCode.INTERNAL
    return ExitCode.OK


def _notes(entry: RunSummary, found: RecordSurvey) -> list[str]:
    """What the reader of the page has to know of the record."""
    notes = []
    if entry.resumes is not None:
        notes.append(f"This run resumes {entry.resumes}; what was done there is not on this page.")
    if found.cut_off:
        notes.append(f"The output of these hosts was too long to be recorded in full: {fold(found.cut_off)}.")
    return notes
