"""Names to addresses, without stalling the loop: the shell around ``lookups``, with threads in it."""

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

    def prefetch(self, name: Name) -> None:
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


LOOKUPS_AT_ONCE: Final = 128
"""Threads in getaddrinfo(3) at the most; each may block for as long as the resolver's own timeout."""


SLOW_S: Final = 1.0
"""Seconds from which on a look-up is worth a word."""


@dataclass(frozen=True, slots=True)
class Address:
    """One place to connect to, as getaddrinfo(3) gives it.

    Attributes:
        family: ``AF_INET`` or ``AF_INET6``.
        sockaddr: What ``connect`` takes.
    """

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]


class NameNotFound(Exception):  # noqa: N818 - what it means the dialler says
    """A name has no address.

    Attributes:
        reason: The system's words.
        is_ours: Whether this machine could not look it up, whatever the name.
    """

    def __init__(self, reason: str, *, is_ours: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_ours = is_ours


@dataclass(frozen=True, slots=True)
class _Asked:
    """A name that is waited for.

    Attributes:
        answer: What it will come to.
        since: When it was asked for first.
    """

    answer: asyncio.Future[Answer]
    since: float


LookUp: TypeAlias = Callable[[Name], Answer]
"""Blocks for as long as it takes; called in a thread."""


def look_up(name: Name) -> Answer:
    """Ask the system: getaddrinfo(3)."""
    try:
        found = _addresses(name.host, 0, name.family, 0)
    except UnicodeError:
        return NotFound("not a valid name")
    except OSError as error:  # gaierror is one
        return NotFound(error.strerror or str(error))
    return Found(tuple((address.family, address.sockaddr) for address in found))


class Resolver:
    """Looks names up, each in a thread of its own and once for all who ask; some before their turn.

    Who waits for a name may be cancelled at any time; the look-up goes on for
    the others. Nothing of it has to be closed: its threads are daemons.
    """

    def __init__(self, *, at_once: int = LOOKUPS_AT_ONCE, look_up: LookUp = look_up) -> None:
        """Begin with nothing known.

        Args:
            at_once: Look-ups at once; a descriptor or two each.
            look_up: How a name is looked up.
        """
        self._look_up = look_up
        self._lookups = Lookups(at_once=at_once)
        self._answers = Answers()
        self._awaited: dict[Name, _Asked] = {}
        self._timer: asyncio.TimerHandle | None = None

    def prefetch(self, host: str, family: int = socket.AF_UNSPEC) -> None:
        """Begin to look ``host`` up if it is a name: it will be asked for soon."""
        name = Name(host, family)
        if self._answers.get(name, _now()) is None and not _is_literal(host):
            self._lookups.prefetch(name)
            self._begin()

    def known(self, host: str, family: int = socket.AF_UNSPEC) -> list[str]:
        """The addresses of a name whose answer is still believed; nothing is looked up."""
        answer = self._answers.get(Name(host, family), _now())
        return (
            [] if answer is None or isinstance(answer, NotFound) else [one[0] for _, one in answer.addresses]
        )

    def slow(self, now: float) -> int:
        """How many names are waited for that were asked for ``SLOW_S`` ago or earlier."""
        # In the order of asking, so those are the first.
        return sum(
            1 for _ in itertools.takewhile(lambda asked: asked.since <= now - SLOW_S, self._awaited.values())
        )

    async def resolve(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Address]:
        """Turn a name or an IP literal into addresses, in the order to try them.

        Raises:
            NameNotFound: There are none.
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
            asked = self._awaited.setdefault(name, _Asked(loop.create_future(), loop.time()))
            self._begin()
            return await asyncio.shield(asked.answer)
        finally:
            if self._lookups.leave(name):
                del self._awaited[name]

    def _begin(self) -> None:
        """Begin what may begin now, and see to it that what may begin later does."""
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
    """Whether getaddrinfo(3) would not have to look ``host`` up; what is no name at all is taken for one."""
    try:
        _addresses(host, 0, socket.AF_UNSPEC, socket.AI_NUMERICHOST)
    except UnicodeError:
        return True
    except socket.gaierror:
        return False
    return True


def _now() -> float:
    return asyncio.get_running_loop().time()
