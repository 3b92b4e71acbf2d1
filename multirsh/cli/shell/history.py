"""The lines that were typed, kept for the next time, for their owner's eyes alone."""

from __future__ import annotations

import os
from typing import Final

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from multirsh.errors import UsageError
from multirsh.journal.folder import PRIVATE_FILE, make_private, state_folder

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
        make_private(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            os.fchmod(descriptor, PRIVATE_FILE)
        finally:
            os.close(descriptor)
    except UsageError as error:
        return _InMemory(), f"the history is not kept: {error.message}"
    except OSError as error:
        return _InMemory(), f"the history is not kept: {error.filename}: {error.strerror}"
    return _InFile(path), None
