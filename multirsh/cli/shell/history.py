"""The lines that were typed, kept for the next time, for their owner's eyes alone."""

from __future__ import annotations

import os
from typing import Final

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from multirsh.errors import UsageError
from multirsh.journal.folder import PRIVATE_FILE, make_private, state_folder

FILE: Final = "shell_history"


class PrivateHistory(FileHistory):
    """A file; what begins with a blank is not kept, as with ``HISTCONTROL=ignorespace`` (bash(1))."""

    def store_string(self, string: str) -> None:
        """Append a line."""
        if not string[:1].isspace():
            super().store_string(string)


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
        return InMemoryHistory(), f"the history is not kept: {error.message}"
    except OSError as error:
        return InMemoryHistory(), f"the history is not kept: {error.filename}: {error.strerror}"
    return PrivateHistory(path), None
