"""A barrier: all hosts log in and wait, and then the command is released to all of them at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from multirsh.inventory import fold

MISSING_CHARACTERS: Final = 400
"""The length to which the names of missing hosts are cut in a message."""


class Barrier:
    """The hosts of one run that are waited for.

    Attributes:
        is_released: Whether the command was released.
        is_called_off: Whether the command will never be released.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        """Wait for ``hosts``, given by name."""
        self.is_released = False
        self.is_called_off = False
        self._awaited = dict.fromkeys(hosts)
        self._total = len(self._awaited)
        self._missing: list[str] = []
        self._ready = 0
        self._first_start: float | None = None
        self._last_start = 0.0

    @property
    def waiting(self) -> int:
        """The number of hosts that are logged in and wait for the others."""
        return 0 if self.is_released or self.is_called_off else self._ready

    @property
    def skew(self) -> float | None:
        """Seconds between the first start of the command and the last; ``None`` before the first."""
        return None if self._first_start is None else self._last_start - self._first_start

    def reached(self, host: str) -> str | None:
        """Note that ``host`` is logged in.

        Returns:
            A message for people if this releases the command; else ``None``.
        """
        self._ready += 1
        return self._release_if_complete(host)

    def ended(self, host: str) -> str | None:
        """Note that ``host`` has its result; a host that has not reached the barrier will not.

        Returns:
            As of ``reached``.
        """
        if host not in self._awaited:
            return None
        self._missing.append(host)
        return self._release_if_complete(host)

    def left(self, now: float) -> None:
        """Note that a host starts its command at ``now``."""
        if self._first_start is None:
            self._first_start = now
        self._last_start = now

    def call_off(self) -> str | None:
        """Never release the command.

        Returns:
            A message for people; ``None`` if the command was released or called off before.
        """
        if self.is_released or self.is_called_off:
            return None
        self.is_called_off = True
        return f"barrier: called off; {self._ready} of {self._total} hosts were ready"

    def _release_if_complete(self, host: str) -> str | None:
        self._awaited.pop(host, None)
        if self._awaited or self.is_called_off or self.is_released:
            return None
        self.is_released = True
        missing = ""
        if self._missing:
            names = fold(self._missing)
            cut = names if len(names) <= MISSING_CHARACTERS else f"{names[:MISSING_CHARACTERS]}..."
            missing = f"; missing: {cut}"
        return f"barrier: {self._ready} of {self._total} hosts are ready{missing}"
