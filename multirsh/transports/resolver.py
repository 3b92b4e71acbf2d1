"""Resolves names to addresses in threads, so that slow look-ups do not block the loop."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from multirsh.shortage import NO_MEMORY, NO_THREAD, NoThreadError
from multirsh.transports.threads import daemon_thread

PROMPT_AT_ONCE: Final = 32
"""The number of concurrent look-ups that are not slow yet."""

SLOW_SECONDS: Final = 1.0
"""Seconds after which a look-up is slow: it goes on, and another one may begin beside it. glibc repeats a
query after 5 seconds (resolv.conf(5), timeout), so a look-up of this age is probably waiting for that."""

BELIEVED_SECONDS: Final = 60.0
"""Seconds for which addresses are cached; getaddrinfo(3) does not return the records' own lifetimes."""

NOT_FOUND_SECONDS: Final = 5.0
"""Seconds for which a failure is cached: long enough for concurrent look-ups, but not for a retry."""


class Name(NamedTuple):
    """The key of a look-up, which is shared by all hosts that need it.

    Attributes:
        host: The name as it was written.
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
    """The result of a failed look-up.

    Attributes:
        reason: The system's error message.
        is_ours: Whether the cause is on this machine, such as a lack of memory, and not in the name.
    """

    reason: str
    is_ours: bool = False


Answer: TypeAlias = Found | NotFound


class Lookups:
    """The queue of names for the system's resolver, which may be slow for some of them.

    Names that a host waits for go before those that are only prefetched. A
    look-up cannot be cancelled once it has begun, so slow look-ups are
    allowed, up to a bound, to run beside the others without delaying them.
    """

    def __init__(self, *, at_once: int, prompt_at_once: int = PROMPT_AT_ONCE) -> None:
        """Make an empty queue.

        Args:
            at_once: The most look-ups in progress at once, slow ones included; 1 or more.
            prompt_at_once: The most of them that are not slow yet.
        """
        self._at_once = at_once
        self._prompt_at_once = prompt_at_once
        self._needed: dict[Name, None] = {}
        self._ahead: dict[Name, None] = {}
        self._askers: dict[Name, int] = {}
        self._under_way: dict[Name, float] = {}

    def prefetch(self, name: Name) -> None:
        """Queue ``name``, which a host will need later."""
        if name not in self._under_way and name not in self._needed:
            self._ahead.setdefault(name)

    def ask(self, name: Name) -> None:
        """Queue ``name``, which a host waits for until it calls ``leave``."""
        self._askers[name] = self._askers.get(name, 0) + 1
        if name not in self._under_way:
            self._ahead.pop(name, None)
            self._needed.setdefault(name)

    def leave(self, name: Name) -> bool:
        """End one wait for ``name``.

        Returns:
            Whether the look-up was dropped: it had not begun, and no other host waits for it.
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
        """Remove and return the names whose look-up is to begin now."""
        begun = []
        while (self._needed or self._ahead) and self._has_place(now):
            waiting = self._needed or self._ahead
            name = next(iter(waiting))
            del waiting[name]
            self._under_way[name] = now
            begun.append(name)
        return begun

    def ended(self, name: Name) -> None:
        """Record that the look-up of ``name`` has ended."""
        del self._under_way[name]

    def next_begin(self, now: float) -> float | None:
        """Return when to call ``begin`` even if no look-up ends before; ``None`` if it would begin none."""
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
    """The cache of results."""

    def __init__(self) -> None:
        self._known: dict[Name, tuple[float, Answer]] = {}
        self._ends: list[tuple[float, Name]] = []

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: Name, now: float) -> Answer | None:
        """Return the cached result, unless it has expired at ``now``."""
        until, answer = self._known.get(name, (now, None))
        return answer if until > now else None

    def put(self, name: Name, answer: Answer, now: float) -> None:
        """Store a result, and remove those that have expired."""
        while self._ends and self._ends[0][0] <= now:
            until, old = heapq.heappop(self._ends)
            if self._known.get(old, (None, None))[0] == until:
                del self._known[old]
        until = now + (BELIEVED_SECONDS if isinstance(answer, Found) else NOT_FOUND_SECONDS)
        self._known[name] = (until, answer)
        heapq.heappush(self._ends, (until, name))


LOOKUPS_AT_ONCE: Final = 128
"""The most threads in getaddrinfo(3); each may block for as long as the resolver's own timeout."""


SLOW_S: Final = 1.0
"""Seconds after which a look-up is reported as slow."""


@dataclass(frozen=True, slots=True)
class Address:
    """One address to connect to, from getaddrinfo(3).

    Attributes:
        family: ``AF_INET`` or ``AF_INET6``.
        sockaddr: The argument for ``connect``.
    """

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]


class NameNotFound(Exception):  # noqa: N818 - what it means the dialler says
    """A name has no address.

    Attributes:
        reason: The system's error message.
        is_ours: Whether the cause is on this machine, and not in the name.
    """

    def __init__(self, reason: str, *, is_ours: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_ours = is_ours


@dataclass(frozen=True, slots=True)
class _PendingLookup:
    """A look-up that at least one host waits for.

    Attributes:
        answer: Its result.
        since: When it was first needed, in seconds on the loop's clock.
    """

    answer: asyncio.Future[Answer]
    since: float


LookUp: TypeAlias = Callable[[Name], Answer]
"""Looks up a name. Blocks, so it is called in a thread."""


def look_up(name: Name) -> Answer:
    """Look up a name with getaddrinfo(3). Blocks."""
    try:
        found = _addresses(name.host, 0, name.family, 0)
    except UnicodeError:
        return NotFound("not a valid name")
    except OSError as error:  # gaierror is one
        return NotFound(error.strerror or str(error))
    return Found(tuple((address.family, address.sockaddr) for address in found))


class Resolver:
    """Looks up names, each in its own thread and once for all hosts that need it, some of them in advance.

    A task that waits for a name may be cancelled at any time; the look-up goes
    on for the others. A resolver need not be closed: its threads are daemons.
    """

    def __init__(self, *, at_once: int = LOOKUPS_AT_ONCE, look_up: LookUp = look_up) -> None:
        """Make a resolver with an empty cache.

        Args:
            at_once: The most look-ups at once; each uses one or two descriptors.
            look_up: The function that looks up one name.
        """
        self._look_up = look_up
        self._lookups = Lookups(at_once=at_once)
        self._answers = Answers()
        self._awaited: dict[Name, _PendingLookup] = {}
        self._timer: asyncio.TimerHandle | None = None

    def prefetch(self, host: str, family: int = socket.AF_UNSPEC) -> None:
        """Start to look up ``host``, which will be needed soon, if it is a name."""
        name = Name(host, family)
        if self._answers.get(name, _now()) is None and not _is_literal(host):
            self._lookups.prefetch(name)
            self._begin()

    def known(self, host: str, family: int = socket.AF_UNSPEC) -> list[str]:
        """Return the cached addresses of a name, without a look-up."""
        answer = self._answers.get(Name(host, family), _now())
        return (
            [] if answer is None or isinstance(answer, NotFound) else [one[0] for _, one in answer.addresses]
        )

    def slow(self, now: float) -> int:
        """Return the number of look-ups that hosts have been waiting for since ``SLOW_S`` or longer."""
        # The dict is in the order of asking, so the oldest come first.
        return sum(
            1 for _ in itertools.takewhile(lambda asked: asked.since <= now - SLOW_S, self._awaited.values())
        )

    async def resolve(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Address]:
        """Resolve a name or an IP literal to addresses, in the order in which to try them.

        Raises:
            NameNotFound: The name has no address.
        """
        try:
            # A literal, with a zone or without, needs no look-up and so no thread.
            return _addresses(host, port, family, socket.AI_NUMERICHOST)
        except UnicodeError:
            raise NameNotFound("not a valid name") from None
        except socket.gaierror:
            pass
        name = Name(host, family)
        answer = self._answers.get(name, _now()) or await self._answered(name)
        if isinstance(answer, NotFound):
            raise NameNotFound(answer.reason, is_ours=answer.is_ours)
        return [
            Address(socket.AddressFamily(family), (sockaddr[0], port, *sockaddr[2:]))
            for family, sockaddr in answer.addresses
        ]

    async def _answered(self, name: Name) -> Answer:
        self._lookups.ask(name)
        try:
            loop = asyncio.get_running_loop()
            asked = self._awaited.setdefault(name, _PendingLookup(loop.create_future(), loop.time()))
            self._begin()
            return await asyncio.shield(asked.answer)
        finally:
            if self._lookups.leave(name):
                del self._awaited[name]

    def _begin(self) -> None:
        """Start the look-ups that may begin now, and set a timer for those that may begin later."""
        for name in self._lookups.begin(_now()):
            try:
                looking = daemon_thread(partial(self._look_up, name), name="multirsh-resolve")
            except NoThreadError:
                self._end(name, NotFound(NO_THREAD, is_ours=True))
            else:
                looking.add_done_callback(partial(self._ended, name))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = self._lookups.next_begin(_now())
        if when is not None:
            self._timer = asyncio.get_running_loop().call_at(when, self._begin)

    def _ended(self, name: Name, looking: asyncio.Future[Answer]) -> None:
        error = looking.exception()
        if error is None:
            answer = looking.result()
        elif isinstance(error, MemoryError):
            answer = NotFound(NO_MEMORY, is_ours=True)
        else:
            answer = NotFound(f"{type(error).__name__}: {error}")
        self._end(name, answer)
        self._begin()

    def _end(self, name: Name, answer: Answer) -> None:
        self._lookups.ended(name)
        self._answers.put(name, answer, _now())
        asked = self._awaited.pop(name, None)
        if asked is not None:
            asked.answer.set_result(answer)


def _addresses(host: str, port: int, family: int, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags | socket.AI_NUMERICSERV)
    return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]


def _is_literal(host: str) -> bool:
    """Whether ``host`` needs no look-up, because it is an IP literal or not a valid name."""
    try:
        _addresses(host, 0, socket.AF_UNSPEC, socket.AI_NUMERICHOST)
    except UnicodeError:
        return True
    except socket.gaierror:
        return False
    return True


def _now() -> float:
    return asyncio.get_running_loop().time()
