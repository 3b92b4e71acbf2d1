"""Which names are looked up now and which wait; and what was found, for as long as that may be believed.

Pure: no thread, no clock. ``transports.resolver`` is the shell around it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

PROMPT_AT_ONCE: Final = 32
"""Look-ups at once that have not yet shown to be slow."""

SLOW_SECONDS: Final = 1.0
"""From then on a look-up is slow: it goes on, and another one may begin beside it. glibc asks again after 5
seconds (resolv.conf(5), timeout), so what is not there by now lacks an answer, and not a moment."""

BELIEVED_SECONDS: Final = 60.0
"""How long addresses are used again; getaddrinfo(3) does not tell the records' own times."""

NOT_FOUND_SECONDS: Final = 5.0
"""How long a failure is: for those that ask together, not for those that try again."""


class Name(NamedTuple):
    """What is looked up once for all who ask.

    Attributes:
        host: As it was written.
        family: ``AF_INET``, ``AF_INET6`` or ``AF_UNSPEC``.
    """

    host: str
    family: int


@dataclass(frozen=True, slots=True)
class Found:
    """The addresses of a name.

    Attributes:
        addresses: Family and ``sockaddr`` with port 0, in the order to try them; one or more.
    """

    addresses: tuple[tuple[int, tuple[Any, ...]], ...]


@dataclass(frozen=True, slots=True)
class NotFound:
    """There are none.

    Attributes:
        reason: The system's words.
        is_ours: Whether that is this machine's fault, and not the name's.
    """

    reason: str
    is_ours: bool = False


Answer: TypeAlias = Found | NotFound


class Lookups:
    """Names on their way to the system's resolver, which may take long over some of them.

    Names that a host waits for go before those that are only looked up
    ahead. A look-up cannot be called off once it has begun, so slow ones are
    put up with, up to a bound, and prompt ones are not kept waiting by them.
    """

    def __init__(self, *, at_once: int, prompt_at_once: int = PROMPT_AT_ONCE) -> None:
        """Begin with none.

        Args:
            at_once: Look-ups under way at once at the most, slow ones included; 1 or more.
            prompt_at_once: Of these, such as are not slow yet.
        """
        self._at_once = at_once
        self._prompt_at_once = prompt_at_once
        self._needed: dict[Name, None] = {}
        self._ahead: dict[Name, None] = {}
        self._askers: dict[Name, int] = {}
        self._under_way: dict[Name, float] = {}

    def look_ahead(self, name: Name) -> None:
        """Somebody will ask for ``name``."""
        if name not in self._under_way and name not in self._needed:
            self._ahead.setdefault(name)

    def ask(self, name: Name) -> None:
        """Somebody waits for ``name``, until ``leave``."""
        self._askers[name] = self._askers.get(name, 0) + 1
        if name not in self._under_way:
            self._ahead.pop(name, None)
            self._needed.setdefault(name)

    def leave(self, name: Name) -> bool:
        """Who asked waits no more.

        Returns:
            Whether the look-up was dropped: it had not begun, and nobody else waits for it.
        """
        self._askers[name] -= 1
        if self._askers[name]:
            return False
        del self._askers[name]
        if name not in self._needed:
            return False
        del self._needed[name]
        return True

    def begin(self, now: float) -> list[Name]:
        """Take the names whose look-up begins now."""
        begun = []
        while (self._needed or self._ahead) and self._has_place(now):
            waiting = self._needed or self._ahead
            name = next(iter(waiting))
            del waiting[name]
            self._under_way[name] = now
            begun.append(name)
        return begun

    def ended(self, name: Name) -> None:
        """A look-up has ended."""
        del self._under_way[name]

    def next_begin(self, now: float) -> float | None:
        """When ``begin`` is worth a call although nothing has ended; ``None`` if then only."""
        if not (self._needed or self._ahead) or len(self._under_way) >= self._at_once:
            return None
        return min((began for began in self._under_way.values() if not _is_slow(began, now)), default=now) + (
            SLOW_SECONDS
        )

    def _has_place(self, now: float) -> bool:
        prompt = sum(not _is_slow(began, now) for began in self._under_way.values())
        return len(self._under_way) < self._at_once and prompt < self._prompt_at_once


def _is_slow(began: float, now: float) -> bool:
    return now >= began + SLOW_SECONDS


class Answers:
    """What was found, until it is too old."""

    def __init__(self) -> None:
        self._known: dict[Name, tuple[float, Answer]] = {}
        self._ends: list[tuple[float, Name]] = []

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: Name, now: float) -> Answer | None:
        """The answer, if it is known and not too old at ``now``."""
        until, answer = self._known.get(name, (now, None))
        return answer if until > now else None

    def put(self, name: Name, answer: Answer, now: float) -> None:
        """Remember an answer, and forget those that are too old."""
        while self._ends and self._ends[0][0] <= now:
            until, old = heapq.heappop(self._ends)
            if self._known.get(old, (None, None))[0] == until:
                del self._known[old]
        until = now + (BELIEVED_SECONDS if isinstance(answer, Found) else NOT_FOUND_SECONDS)
        self._known[name] = (until, answer)
        heapq.heappush(self._ends, (until, name))
