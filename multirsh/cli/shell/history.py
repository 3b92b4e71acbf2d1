"""The lines that were typed, kept for the next time, for their owner's eyes alone."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

FILE: Final = "shell_history"


def state_folder() -> Path:
    """Where state is kept (XDG Base Directory Specification).

    Raises:
        OSError: There is no home.
    """
    home = os.environ.get("XDG_STATE_HOME", "")
    if not home.startswith("/"):  # the specification has it ignored
        home = os.path.expanduser("~/.local/state")  # noqa: PTH111 - the path's own raises where there is no home
    if not home.startswith("/"):
        raise FileNotFoundError(errno.ENOENT, "there is no home folder", "~")
    return Path(home, "multirsh")


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
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        return InMemoryHistory(), f"the history is not kept: {error.filename}: {error.strerror}"
    return PrivateHistory(path), None
