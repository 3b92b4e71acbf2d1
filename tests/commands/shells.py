"""The shells that people log in with, each under the name that it goes by."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.servers.requirement import program

LOGIN_SHELLS: Final = ("dash", "bash", "zsh", "ash", "fish", "csh", "tcsh")
"""ash is busybox's; csh is BSD's."""

_PROGRAMS: Final = {"ash": ("busybox", "busybox"), "csh": ("bsd-csh", "csh")}
"""Program and package, where they are not called as the shell is."""


def at(shell: str, folder: Path) -> str:
    """The path of ``shell``; of one that has another name on this machine, a link in ``folder``."""
    name, package = _PROGRAMS.get(shell, (shell, shell))
    found = program(name, package=package)
    if name == shell:
        return str(found)
    link = folder / shell
    if not link.exists():
        link.symlink_to(found)
    return str(link)
