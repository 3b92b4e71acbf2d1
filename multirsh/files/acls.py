"""Access control lists of files that a push overwrites, kept by a shell on the host: SFTP knows of none."""

from __future__ import annotations

import asyncio
import posixpath
from collections import Counter
from collections.abc import Iterable
from typing import Final

from multirsh.files.host_shell import HostShell
from multirsh.files.modes import ACL_LOST
from multirsh.sh_text import quoted

FEW: Final = 8
"""Of more files in one folder, the folder is asked for first: its answer is one for all of them."""

UNSEEN: Final = "access control lists are lost, if there are any: only a shell beside SFTP could see them"


class Acls:
    """What is known of them on one host."""

    def __init__(self, shell: HostShell) -> None:
        self._shell = shell
        self._crowds: Counter[bytes] = Counter()
        self._known: dict[bytes, asyncio.Future[bool]] = {}

    def expect(self, targets: Iterable[bytes]) -> None:
        """Take note of all files that are pushed, by their names on the host."""
        self._crowds.update(map(posixpath.dirname, targets))

    async def keep(self, target: bytes, temporary: bytes) -> str | None:
        """Give a file the access control list of the one that it is to replace.

        Returns:
            What could not be kept, in words.
        """
        folder = posixpath.dirname(target)
        if self._crowds[folder] > FEW and await self._has_none(folder):
            return None
        said = await self._shell.ask(f"keep_acl {quoted(target)} {quoted(temporary)}")
        if said is None:
            return UNSEEN
        return ACL_LOST if said else None

    async def _has_none(self, folder: bytes) -> bool:
        known = self._known.get(folder)
        if known is None:
            known = self._known[folder] = asyncio.get_running_loop().create_future()
            try:
                said = await self._shell.ask(f"no_acls_in {quoted(folder or b'.')}")
            except BaseException:
                known.cancel()
                raise
            known.set_result(said == ["none"])
        return await asyncio.shield(known)
