"""What is shown, and how: ``-b``, ``--json``, ``--progress`` and the like."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from multirsh.cli import values
from multirsh.cli.options.command import STDIN_NAME
from multirsh.cli.options.declare import option, run_option, together
from multirsh.cli.process import STDIN, capped_by_memory
from multirsh.errors import UsageError
from multirsh.output import Mode, OutputOptions, Stdio, Stream, When
from multirsh.output.store import USUAL_MEMORY

if TYPE_CHECKING:
    from multirsh.cli.report_file import ReportFile
    from multirsh.output.normalize import Normalizer

_of_output = partial(option, section="Output")

COLOR = _of_output(
    "--color",
    type=click.Choice([when.value for when in When]),
    default="auto",
    metavar="WHEN",
    help="Colours: auto (on a terminal), always, never.",
)

_NO_PREFIX = _of_output(
    "-N", "--no-prefix", is_flag=True, help="Neither host names before lines nor headers."
)

_EQUALS = together(
    _of_output("-b", "--gather", is_flag=True, help="Equal outputs once, under their hosts."),
    _of_output("-B", "--gather-all", is_flag=True, help="The same, with stderr."),
)

_BLOCKS = _of_output("-L", "--blocks", is_flag=True, help="One block a host, in order; with -B, with stderr.")

_DIFFERENCES = _of_output(
    "--diff",
    "differences",
    is_flag=True,
    help="Gather, and show how the others differ from the majority.",
)

_NORMALIZER = _of_output(
    "--normalize",
    "normalizer",
    type=values.normalizer,
    metavar="LIST",
    help="What does not count in comparing: host, ip, time, pid, /re/.",
)

_FOLDERS = together(
    _of_output(
        "--outdir",
        "out_folder",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Append each host's stdout to a file of its name in DIR, too.",
    ),
    _of_output(
        "--errdir",
        "err_folder",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The same with its stderr.",
    ),
)

_REPORT = _of_output(
    "--report",
    type=click.Path(path_type=Path),
    configurable=False,
    metavar="FILE.html",
    help="Write a page about the run, for a browser.",
)

_MEMORY = _of_output(
    "--output-mem",
    "output_memory",
    type=values.size,
    default="64M",
    metavar="SIZE",
    help="Gathered output to hold in memory; the rest goes to disk.  [default: 64M]",
)

_JSON = _of_output("--json", "as_json", is_flag=True, help="Events on stdout, a JSON object a line.")

_QUIET = _of_output("-q", "--quiet", is_flag=True, help="Of our own words, only errors and who is not ok.")

_TELLING = together(
    _JSON,
    _QUIET,
    _of_output(
        "--progress",
        type=click.Choice([when.value for when in When]),
        default="auto",
        metavar="WHEN",
        help="A progress line: auto (on a terminal), always, never.",
    ),
    COLOR,
    run_option(
        "-S",
        "--largest-status",
        sets="exit_rule.largest_status",
        section="Output",
        is_flag=True,
        about="Exit with the largest remote status; no status is 255.",
    ),
)

SHELL_OUTPUT = together(_NO_PREFIX, _EQUALS, _BLOCKS, _DIFFERENCES, _NORMALIZER, _FOLDERS, _MEMORY, _TELLING)
"""Of many runs, which have no page in common."""
OUTPUT = together(SHELL_OUTPUT, _REPORT)
COPY_OUTPUT = together(_NO_PREFIX, _TELLING, _REPORT)
RECORDED_OUTPUT = together(
    _NO_PREFIX,
    _of_output("-L", "--blocks", is_flag=True, help="One block a host, in order."),
    _DIFFERENCES,
    _NORMALIZER,
    _MEMORY,
    _JSON,
    _QUIET,
    COLOR,
)
"""Of a run that is over: both streams are there, and stand together."""
COMPARED_OUTPUT = together(_NORMALIZER, _MEMORY, COLOR)
REPORTED_OUTPUT = together(_NORMALIZER, _MEMORY)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayOptions:
    """How to print; the fields are the options."""

    no_prefix: bool = False
    as_json: bool = False
    quiet: bool = False
    progress: str = When.AUTO.value
    color: str = When.AUTO.value
    gather: bool = False
    gather_all: bool = False
    blocks: bool = False
    differences: bool = False
    normalizer: Normalizer | None = None
    output_memory: int = USUAL_MEMORY
    out_folder: Path | None = None
    err_folder: Path | None = None
    report: Path | None = None

    def beside(self, stdin: str | None) -> DisplayOptions:
        """The same beside ``-I``: where its input is typed, no progress is drawn over that."""
        if stdin == STDIN_NAME and os.isatty(STDIN) and self.progress == When.AUTO:
            return replace(self, progress=When.NEVER.value)
        return self

    def options(self) -> OutputOptions:
        """What the output room needs, the streams and the environment looked at.

        Raises:
            UsageError: Options that cannot be meant together.
        """
        return OutputOptions(
            stdio=Stdio.look(),
            mode=self._mode(),
            prefix=not self.no_prefix,
            with_stderr=self.gather_all,
            differences=self.differences,
            normalizer=self.normalizer,
            memory=capped_by_memory(self.output_memory),
            folders=self._folders(),
            quiet=self.quiet,
        ).decided(os.environ, color=When(self.color), progress=When(self.progress))

    def report_file(self) -> ReportFile | None:
        """Where the report goes, or ``None``.

        Raises:
            UsageError: It cannot be written there.
        """
        if self.report is None:
            return None
        from multirsh.cli.report_file import ReportFile  # noqa: PLC0415 - not needed for --help

        return ReportFile(
            self.report, memory=capped_by_memory(self.output_memory), normalizer=self.normalizer
        )

    def _folders(self) -> dict[Stream, Path]:
        """Where hosts' files are; the folders are there then."""
        wanted: dict[Stream, tuple[str, Path | None]] = {
            "stdout": ("--outdir", self.out_folder),
            "stderr": ("--errdir", self.err_folder),
        }
        made: dict[Stream, Path] = {}
        for stream, (name, folder) in wanted.items():
            if folder is None:
                continue
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    f"{name} {folder}: {error.strerror}", hint="name a folder to write in"
                ) from None
            if not os.access(folder, os.W_OK | os.X_OK):
                raise UsageError(f"{name} {folder}: permission denied", hint="name a folder to write in")
            made[stream] = folder
        if self.out_folder is not None and self.out_folder == self.err_folder:
            raise UsageError(
                "--outdir and --errdir are one folder, where a host would have one file for both",
                hint="name two folders",
            )
        return made

    def _mode(self) -> Mode:
        """What stdout carries."""
        asked = {"-b": self.gather, "-B": self.gather_all, "-L": self.blocks, "--diff": self.differences}
        gathering = [name for name, is_asked in asked.items() if is_asked]
        if self.as_json and gathering:
            raise UsageError(f"{gathering[0]} is for people, and --json for programs", hint="use one of them")
        if self.blocks and (self.differences or self.gather):
            raise UsageError(
                f"-L shows each host by itself, and {'--diff' if self.differences else '-b'} equals together",
                hint="use one of them",
            )
        is_grouped = bool(gathering) and not self.blocks
        if self.normalizer is not None and not is_grouped:
            raise UsageError("--normalize is for comparing outputs", hint="give -b, -B or --diff, too")
        if is_grouped:
            return Mode.GROUPS
        if self.blocks:
            return Mode.BLOCKS
        return Mode.JSON if self.as_json else Mode.LIVE
