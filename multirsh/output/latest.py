"""What came last, below the progress line, while the output itself is gathered.

Gathering shows nothing until the end; this tells a person meanwhile that
something goes on, and what. It is drawn over, so it leaves no trace.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from multirsh.events import Event, HostFinished, Output
from multirsh.output.batch import Stream
from multirsh.output.escape import escape_text
from multirsh.output.width import cut

HOSTS_TOLD: Final = 3
"""So many hosts have a line."""
LONGEST_BYTES: Final = 1024
"""What a terminal's line cannot hold anyway is not looked at."""


class Latest:
    """Keeps the last line of each of the hosts that wrote last.

    Args:
        streams: Of which; what else comes is shown by others.
    """

    def __init__(self, streams: Collection[Stream]) -> None:
        self._streams = frozenset(streams)
        self._lines: dict[str, bytes] = {}

    def feed(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, HostFinished):
            self._lines.pop(event.host, None)
        elif isinstance(event, Output) and event.stream in self._streams:
            # A chunk may end in the middle of a line, and that middle is news, too.
            line = event.data[-LONGEST_BYTES:].rstrip().rpartition(b"\n")[2]
            if line.strip():
                self._lines.pop(event.host, None)
                self._lines[event.host] = line
                if len(self._lines) > HOSTS_TOLD:
                    del self._lines[next(iter(self._lines))]

    def lines(self, width: int) -> list[str]:
        """Word them, the newest last.

        Args:
            width: Columns that each may take.

        Returns:
            Lines without ends, safe on a terminal.
        """
        # A tab would be wider than it counts.
        texts = {host: line.decode(errors="replace").replace("\t", " ") for host, line in self._lines.items()}
        return [cut(f"{escape_text(host)}: {escape_text(text)}", width) for host, text in texts.items()]
