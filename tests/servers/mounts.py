"""Files that one program sees in the place of the machine's own: a view of the mounts of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.servers.requirement import program, require_root


def with_files(instead: Mapping[str, Path]) -> list[str]:
    """Word a prefix for a command that is to see other files; nobody else does (mount_namespaces(7)).

    Args:
        instead: What it is to find, file or folder, by the path under which it looks.
    """
    require_root()
    mounts = "".join(f'mount --bind "{source}" "{target}" && ' for target, source in instead.items())
    unshare = str(program("unshare", package="util-linux"))
    return [unshare, "--mount", "sh", "-c", f'{mounts}exec "$@"', "sh"]
