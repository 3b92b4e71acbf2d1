"""Names to addresses, without stalling the loop: the shell around ``lookups``, with threads in it."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from multirsh.shortage import NO_MEMORY, NO_THREAD, NoThreadError
from multirsh.transports.lookups import Answer, Answers, Found, Lookups, Name, NotFound
from multirsh.transports.threads import daemon_thread

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

    def look_ahead(self, host: str, family: int = socket.AF_UNSPEC) -> None:
        """Begin to look ``host`` up if it is a name: it will be asked for soon."""
        name = Name(host, family)
        if self._answers.get(name, _now()) is None and not _is_literal(host):
            self._lookups.look_ahead(name)
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
