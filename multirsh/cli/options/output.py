"""What is printed, and how: ``-b``, ``--json``, ``--progress`` and the like."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

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

_HINT: Final = "name a directory that can be written to"

COLOR = _of_output(
    "--color",
    type=click.Choice([when.value for when in When]),
    default="auto",
    metavar="WHEN",
    help="Use colors: auto (on a terminal), always, never.",
)

_NO_PREFIX = _of_output(
    "-N", "--no-prefix", is_flag=True, help="Print neither host names before lines nor headers."
)

_EQUALS = together(
    _of_output(
        "-b", "--gather", is_flag=True, help="Print equal outputs once, under the names of their hosts."
    ),
    _of_output("-B", "--gather-all", is_flag=True, help="Like -b, with stderr."),
)

_BLOCKS = _of_output(
    "-L", "--blocks", is_flag=True, help="Print one block per host, in order; with -B, with stderr."
)

_DIFFERENCES = _of_output(
    "--diff",
    "differences",
    is_flag=True,
    help="Gather outputs, and show how the others differ from the most common one.",
)

_NORMALIZER = _of_output(
    "--normalize",
    "normalizer",
    type=values.normalizer,
    metavar="LIST",
    help="Ignore these when comparing outputs: host, ip, time, pid, /re/.",
)

_FOLDERS = together(
    _of_output(
        "--outdir",
        "out_folder",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Also append each host's stdout to a file in DIR that is named after the host.",
    ),
    _of_output(
        "--errdir",
        "err_folder",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Also append each host's stderr to a file in DIR that is named after the host.",
    ),
)

_REPORT = _of_output(
    "--report",
    type=click.Path(path_type=Path),
    configurable=False,
    metavar="FILE.html",
    help="Write an HTML page about the run.",
)

_MEMORY = _of_output(
    "--output-mem",
    "output_memory",
    type=values.size,
    default=USUAL_MEMORY,
    metavar="SIZE",
    help=f"Gathered output to keep in memory; the rest is kept on disk.  [default: {USUAL_MEMORY >> 20}M]",
)

_JSON = _of_output(
    "--json", "as_json", is_flag=True, help="Print events on stdout, one JSON object per line."
)

_QUIET = _of_output("-q", "--quiet", is_flag=True, help="Print only errors and failed hosts.")

_TELLING = together(
    _JSON,
    _QUIET,
    _of_output(
        "--progress",
        type=click.Choice([when.value for when in When]),
        default="auto",
        metavar="WHEN",
        help="Show a progress line: auto (on a terminal), always, never.",
    ),
    COLOR,
    run_option(
        "-S",
        "--largest-status",
        sets="exit_rule.largest_status",
        section="Output",
        is_flag=True,
        about="Exit with the largest remote exit status; a host without one counts as 255.",
    ),
)

SHELL_OUTPUT = together(_NO_PREFIX, _EQUALS, _BLOCKS, _DIFFERENCES, _NORMALIZER, _FOLDERS, _MEMORY, _TELLING)
"""For the shell: its many runs have no report in common."""
OUTPUT = together(SHELL_OUTPUT, _REPORT)
COPY_OUTPUT = together(_NO_PREFIX, _TELLING, _REPORT)
RECORDED_OUTPUT = together(
    _NO_PREFIX,
    _of_output("-L", "--blocks", is_flag=True, help="Print one block per host, in order."),
    _DIFFERENCES,
    _NORMALIZER,
    _MEMORY,
    _JSON,
    _QUIET,
    COLOR,
)
"""For a recorded run: both of its streams are known, and are shown together."""
COMPARED_OUTPUT = together(_NORMALIZER, _MEMORY, COLOR)
REPORTED_OUTPUT = together(_NORMALIZER, _MEMORY)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayOptions:
    """What is printed, and how; the fields are the options."""

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
        """Return the options without a progress line if the input of ``-I`` is typed on the terminal."""
        if stdin == STDIN_NAME and os.isatty(STDIN) and self.progress == When.AUTO:
            return replace(self, progress=When.NEVER.value)
        return self

    def options(self) -> OutputOptions:
        """Return the options of the output package, given our streams and the environment.

        Raises:
            UsageError: Options exclude each other.
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
        """Return the report to write; ``None`` for no report.

        Raises:
            UsageError: The file cannot be written.
        """
        if self.report is None:
            return None
        from multirsh.cli.report_file import ReportFile  # noqa: PLC0415 - not needed for --help

        return ReportFile(
            self.report, memory=capped_by_memory(self.output_memory), normalizer=self.normalizer
        )

    def _folders(self) -> dict[Stream, Path]:
        """Create the directories of ``--outdir`` and ``--errdir``, and return them."""
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
                raise UsageError(f"{name} {folder}: {error.strerror}", hint=_HINT) from None
            if not os.access(folder, os.W_OK | os.X_OK):
                raise UsageError(f"{name} {folder}: permission denied", hint=_HINT)
            made[stream] = folder
        if self.out_folder is not None and self.out_folder == self.err_folder:
            raise UsageError(
                "--outdir and --errdir are the same directory, where both would use the same files",
                hint="name two directories",
            )
        return made

    def _mode(self) -> Mode:
        """Return what is printed on stdout."""
        given = {"-b": self.gather, "-B": self.gather_all, "-L": self.blocks, "--diff": self.differences}
        gathering = [name for name, is_given in given.items() if is_given]
        if self.as_json and gathering:
            raise UsageError(f"{gathering[0]} and --json exclude each other", hint="use one of them")
        if self.blocks and (self.differences or self.gather):
            raise UsageError(
                f"-L and {'--diff' if self.differences else '-b'} exclude each other",
                hint="use one of them",
            )
        is_grouped = bool(gathering) and not self.blocks
        if self.normalizer is not None and not is_grouped:
            raise UsageError("--normalize requires -b, -B or --diff")
        if is_grouped:
            return Mode.GROUPS
        if self.blocks:
            return Mode.BLOCKS
        return Mode.JSON if self.as_json else Mode.LIVE
