"""What a run of the command line leaves in the journal, and what is kept there."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from multirsh.cli.stdin import OURS
from multirsh.commands.command import Command, Script
from multirsh.engine.options import RunOptions
from multirsh.errors import UsageError
from multirsh.journal import Journal, Recorder, RetentionLimits
from multirsh.journal.journal import DAY_S
from multirsh.journal.record import RecordedRoutes

if TYPE_CHECKING:
    from multirsh.files.options import CopyOptions

HASHED_AT_MOST: Final = 64 * 1024 * 1024
"""A larger ``--stdin-file`` is known by its size and time: to read it twice takes too long."""

MOST_RECORDS: Final = 5000
"""However small they are: each run looks through the index when it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """How one run is recorded.

    Attributes:
        plan: What it is to do, for who resumes it.
        output_bytes: How much of its record may be output.
        limits: What may be kept of older records.
    """

    plan: Mapping[str, Any]
    output_bytes: int
    limits: RetentionLimits

    @classmethod
    def within(cls, plan: Mapping[str, Any], *, output: int, size: int, days: int) -> Recording:
        """As the options say it."""
        return cls(
            plan=plan,
            output_bytes=output,
            limits=RetentionLimits(records=MOST_RECORDS, age_s=days * DAY_S, size=size),
        )

    def recorder(self, warn: Callable[[str], object], reached: RecordedRoutes) -> Recorder | None:
        """What records the run; ``None`` where no record can be.

        Args:
            reached: How its hosts are reached.
            warn: Told why, and that none can be kept any further, then from another thread.
        """
        try:
            journal = Journal()
        except UsageError as error:
            warn(f"the run is not recorded: {error}")
            return None
        return Recorder(
            journal,
            plan={
                **self.plan,
                "reached": replace(reached, ssh_config=_absolute(reached.ssh_config)).to_dict(),
            },
            limits=self.limits,
            output_bytes=self.output_bytes,
            warn=warn,
        )


def _absolute(config_file: str | None) -> str | None:
    """A file of ``-F``, wherever multirsh is started the next time."""
    if config_file is None or config_file == "none":
        return config_file
    return os.path.abspath(config_file)  # noqa: PTH100 - links stay as they are


def plan_of(
    command: Command,
    *,
    kind: str,
    options: RunOptions,
    stdin: str | None,
    copy: CopyOptions | None = None,
) -> dict[str, Any]:
    """What a run is to do, with no secret in it: of ``--env`` only the names.

    Args:
        command: What is run; of a copy, its title.
        kind: Of which subcommand it is.
        options: The options of the run; those that change what happens on a host are recorded.
        stdin: What file the commands read, ``-`` for our standard input; or ``None``.
        copy: How files are copied, if they are.
    """
    plan = {
        "kind": kind,
        "command": command.title,
        "cwd": command.directory,
        "sudo": None if options.sudo is None else options.sudo.option_value,
        "env": sorted(command.environment),
        "template": command.is_template,
        "tty": command.tty,
        "script": None if command.script is None else _digest_of(command.script),
        "stdin": None if stdin is None else _input(stdin),
        "copy": None if copy is None else copy.describe(),
    }
    return {key: value for key, value in plan.items() if value}


def _digest_of(script: Script) -> str:
    words = "\0".join(script.interpreter).encode(errors="surrogateescape")
    return hashlib.sha256(words + b"\0\0" + script.content).hexdigest()


def _input(name: str) -> str:
    """What can be compared of an input."""
    if name == OURS:
        return "ours"
    try:
        # A pipe would wait for its writer here, and be opened again by who really reads it.
        if not stat.S_ISREG(os.stat(name).st_mode):  # noqa: PTH116 - the kind and the size by one look
            return name
        size = Path(name).stat().st_size
        if size > HASHED_AT_MOST:
            return f"{size} bytes of {Path(name).stat().st_mtime_ns}"
        return f"sha256 {hashlib.sha256(Path(name).read_bytes()).hexdigest()}"
    except OSError:
        return name  # whoever opens it says what is wrong
