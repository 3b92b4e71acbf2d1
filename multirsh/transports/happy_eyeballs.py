"""Several addresses of one host: which is tried when, and the first that connects wins.

::

    2001:db8::1   SYN ......................... reset by us, once another has won
    192.0.2.1       250 ms   SYN  SYN-ACK       wins
    2001:db8::2              (never tried)

``Race`` decides, ``first_to_connect`` carries out. What a connection is, and
how one is thrown away, they do not know.

Source: RFC 8305, sections 4 (order), 5 (attempts) and 8 (figures).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, zip_longest
from typing import Final, Generic, TypeVar

from multirsh.transports.dial_error import DialError
from multirsh.transports.resolver import Address

ATTEMPT_DELAY_SECONDS: Final = 0.25
"""From one attempt to the next, while none has failed (RFC 8305, section 8: Connection Attempt Delay)."""

Connected = TypeVar("Connected")
"""What an attempt gives."""


class NoneConnected(Exception):  # noqa: N818 - what it means the dialler says
    """No address could be connected to.

    Attributes:
        failures: Each address that was tried, in order, with why not.
    """

    def __init__(self, failures: Sequence[tuple[Address, OSError | DialError]]) -> None:
        super().__init__("no address could be connected to")
        self.failures = tuple(failures)


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Put the families by turns, the first address's first; within a family the order stays.

    The order that comes in is getaddrinfo(3)'s (RFC 6724), in which all addresses of a family that does not
    work may stand before the first that does. An address that stands there twice is left out once.

    Source: RFC 8305, section 4, with a First Address Family Count of 1.
    """
    distinct = list(dict.fromkeys(addresses))
    first = [address for address in distinct if address.family is distinct[0].family]
    other = [address for address in distinct if address.family is not distinct[0].family]
    return [address for address in chain.from_iterable(zip_longest(first, other)) if address is not None]


class Spare:
    """Sockets beside one for each host, for those that try several addresses at once.

    Args:
        sockets: How many; ``None`` for any number.
    """

    def __init__(self, sockets: int | None = None) -> None:
        self._left = sockets

    def take(self) -> bool:
        """Take one, if there is one."""
        if self._left is None:
            return True
        if not self._left:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Give back what was taken."""
        if self._left is not None:
            self._left += 1


class Race:
    """Which address is tried when; pure.

    The next begins as soon as the newest has failed, or when it has had its time.
    """

    def __init__(self, count: int, *, delay: float) -> None:
        """Begin with none tried.

        Args:
            count: How many addresses there are.
            delay: Seconds that an attempt has before the next begins beside it; infinite for one after
                another.
        """
        self._count = count
        self._delay = delay
        self._begun = 0
        self._under_way: set[int] = set()
        self._next_at = float("-inf")

    @property
    def is_idle(self) -> bool:
        """Whether no attempt is under way."""
        return not self._under_way

    @property
    def next_at(self) -> float | None:
        """When the next may begin, on the clock of ``begin``; ``None`` if there is no other."""
        return None if self._begun == self._count else self._next_at

    def begin(self, now: float) -> int:
        """The next attempt begins.

        Returns:
            Which of the addresses it is for.
        """
        number = self._begun
        self._begun += 1
        self._under_way.add(number)
        self._next_at = now + self._delay
        return number

    def postpone(self, now: float) -> None:
        """The next could not begin although it was time."""
        self._next_at = now + self._delay

    def failed(self, number: int) -> None:
        """An attempt has failed."""
        self._under_way.remove(number)
        if number == self._begun - 1 or not self._under_way:
            self._next_at = float("-inf")


async def first_to_connect(
    addresses: Sequence[Address],
    connect: Callable[[Address], Awaitable[Connected]],
    *,
    discard: Callable[[Connected], None],
    spare: Spare,
    delay: float = ATTEMPT_DELAY_SECONDS,
) -> Connected:
    """Connect to the first of ``addresses`` that lets us.

    Args:
        addresses: In the order to try them; one or more.
        connect: Tries one; raises OSError or DialError, and leaves nothing behind when it is cancelled.
        discard: Throws away a connection that is not wanted; called at once, and must not fail.
        spare: Sockets for attempts beside a host's first; where there is none, the next address waits for a
            failure.
        delay: As for ``Race``.

    Returns:
        The winner's; every other attempt has ended, and what it had was thrown away.

    Raises:
        NoneConnected: All have failed.
    """
    if len(addresses) > 1:
        return await _Runner(addresses, connect, discard, spare, Race(len(addresses), delay=delay)).run()
    (address,) = addresses
    try:
        return await connect(address)
    except (OSError, DialError) as error:
        raise NoneConnected([(address, error)]) from None


class _Runner(Generic[Connected]):
    """The shell around a ``Race``."""

    def __init__(
        self,
        addresses: Sequence[Address],
        connect: Callable[[Address], Awaitable[Connected]],
        discard: Callable[[Connected], None],
        spare: Spare,
        race: Race,
    ) -> None:
        self._addresses = addresses
        self._connect = connect
        self._discard = discard
        self._spare = spare
        self._race = race
        self._tasks: list[asyncio.Task[None]] = []
        self._won: list[Connected] = []
        self._failures: dict[int, OSError | DialError] = {}
        self._news = asyncio.Event()

    async def run(self) -> Connected:
        """Run the race.

        Raises:
            NoneConnected: All have failed.
        """
        try:
            async with asyncio.TaskGroup() as group:
                await self._begin_all(group)
        except BaseException:
            for connected in self._won:
                self._discard(connected)
            raise
        if not self._won:
            raise NoneConnected(
                [(self._addresses[number], error) for number, error in sorted(self._failures.items())]
            )
        return self._won[0]

    async def _begin_all(self, group: asyncio.TaskGroup) -> None:
        """Begin one attempt after another, until one has won or all have begun."""
        loop = asyncio.get_running_loop()
        while not self._won and (at := self._race.next_at) is not None:
            if at > loop.time():
                await self._news_until(at)
            elif self._race.is_idle:
                self._begin(group, has_spare=False)
            elif self._spare.take():
                self._begin(group, has_spare=True)
            else:
                self._race.postpone(loop.time())

    def _begin(self, group: asyncio.TaskGroup, *, has_spare: bool) -> None:
        number = self._race.begin(asyncio.get_running_loop().time())
        task = group.create_task(self._attempt(number))
        self._tasks.append(task)
        if has_spare:
            # Not in the attempt: one that is cancelled before its first step would not give it back.
            task.add_done_callback(lambda _: self._spare.give_back())

    async def _news_until(self, when: float) -> None:
        self._news.clear()
        try:
            async with asyncio.timeout_at(None if when == float("inf") else when):
                await self._news.wait()
        except TimeoutError:
            return

    async def _attempt(self, number: int) -> None:
        try:
            connected = await self._connect(self._addresses[number])
        except (OSError, DialError) as error:
            self._failures[number] = error
            self._race.failed(number)
        else:
            if self._won:
                self._discard(connected)
                return
            self._won.append(connected)
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
        self._news.set()
