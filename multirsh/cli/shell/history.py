"""The lines that were typed, kept for the next time, for their owner's eyes alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from multirsh.errors import UsageError
from multirsh.journal.state_folder import (
    PRIVATE_FILE,
    call_with_timeout,
    check_owner,
    make_private,
    open_owned,
    state_folder,
)

FILE: Final = "shell_history"


class _Discreet(History):
    """Keeps no line that begins with a blank, as with ``HISTCONTROL=ignorespace`` (bash(1))."""

    def append_string(self, string: str) -> None:
        """Keep a line, or several that were pasted."""
        kept = "\n".join(line for line in string.split("\n") if not line[:1].isspace())
        if kept:
            super().append_string(kept)


class _InFile(_Discreet, FileHistory):
    """For the next time, too."""


class _InMemory(_Discreet, InMemoryHistory):
    """For as long as the shell goes on."""


def open_history() -> tuple[History, str | None]:
    """The history, and what to tell people if it will not be kept."""
    try:
        path = state_folder() / FILE
    except UsageError as error:
        return _InMemory(), f"the history is not kept: {error.message}"
    try:
        call_with_timeout(lambda: _make(path))
    except OSError as error:
        return _InMemory(), f"the history is not kept: {error.filename or path}: {error.strerror}"
    return _InFile(path), None


def _make(path: Path) -> None:
    """See to it that the file is there, and the user's alone.

    Raises:
        OSError: It cannot be made, or its name or its folder is another user's.
    """
    make_private(path.parent)
    check_owner(path.parent.stat(), path.parent)
    descriptor = open_owned(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
    finally:
        os.close(descriptor)
