"""``--outdir``, ``--errdir``: what each host wrote, exactly, in a file of its own.

A file grows with every run: where a host is run on again, its output is
appended. It is made when the first byte comes, so a silent host has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from multirsh.events import Event, Output
from multirsh.inventory.file_name import file_name
from multirsh.output.batch import HostFile, Stream, Write


class Folders:
    """Passes output on to hosts' files.

    Args:
        folders: Where the files of a stream are.
    """

    def __init__(self, folders: Mapping[Stream, Path]) -> None:
        self._folders = folders

    def feed(self, event: Event) -> tuple[Write, ...]:
        """Take the next event."""
        if not isinstance(event, Output) or event.stream not in self._folders:
            return ()
        return (Write(HostFile(self._folders[event.stream], file_name(event.host)), event.data),)

    def close(self) -> tuple[Write, ...]:
        """There is nothing held back."""
        return ()
