"""Where what outlives a run is kept."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from multirsh.errors import UsageError

PRIVATE_FOLDER: Final = 0o700
PRIVATE_FILE: Final = 0o600
"""Commands and what hosts answered are nobody else's business."""


def state_folder() -> Path:
    """The user's: ``$XDG_STATE_HOME/multirsh``, else ``~/.local/state/multirsh``; it need not be there.

    Raises:
        UsageError: There is no home folder.

    Source: XDG Base Directory Specification, which has a relative ``$XDG_STATE_HOME`` ignored.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base, "multirsh")
    home = os.environ.get("HOME")
    if home is None:
        home = os.path.expanduser("~")  # noqa: PTH111 - the path's own raises where there is no home
    if not home.startswith("/"):
        raise UsageError(
            "there is no home folder to keep a record in",
            hint="set HOME or XDG_STATE_HOME, or use --no-journal",
        )
    return Path(home, ".local", "state", "multirsh")


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are not there, for the user alone.

    Raises:
        OSError: It cannot be made.
    """
    if folder.is_dir():
        return
    make_private(folder.parent)
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    except FileExistsError:  # as something else; "File exists" would not say what is wrong
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
