"""A view of the mounts of its own, for a program that is to see other files than the machine's."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.servers.requirement import program, require_root


def own_mounts() -> list[str]:
    """Word a prefix for a command that is to mount what nobody else sees (mount_namespaces(7))."""
    require_root()
    return [str(program("unshare", package="util-linux")), "--mount", "--propagation", _propagation()]


@functools.cache
def _propagation() -> str:
    """How the mounts are told apart.

    In a chroot they cannot be made private, for ``/`` is no mount there; nor need they be, where the mount
    below it is private already.
    """
    unshare = program("unshare", package="util-linux")
    tried = subprocess.run(
        [unshare, "--mount", "--propagation", "private", "true"], capture_output=True, check=False
    )
    return "unchanged" if tried.returncode else "private"


def with_files(instead: Mapping[str, Path]) -> list[str]:
    """Word a prefix for a command that is to see other files; it keeps its process id.

    Args:
        instead: What it is to find, file or folder, by the path under which it looks.
    """
    return [
        *own_mounts(),
        "sh",
        "-c",
        'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit; shift 2; done; shift; exec "$@"',
        "sh",
        *(str(word) for path, file in instead.items() for word in (file, path)),
        "--",
    ]
