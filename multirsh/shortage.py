"""What is done when this process gets no more memory or no thread (``ulimit -v``, ``ulimit -u``).

Memory that cannot be had fails the host that it was for, as ``local``, and
nothing else. But to say so takes some memory, too. So a program may keep a
reserve, which the first shortage sets free.
"""

from __future__ import annotations

import contextlib
import errno
import resource
from collections.abc import Callable
from typing import Final, TypeVarTuple

from multirsh import linux
from multirsh.model import ErrorKind, Failure, Phase

Arguments = TypeVarTuple("Arguments")

RESERVE_BYTES: Final = 8 * 1024 * 1024

NO_MEMORY: Final = "no memory is left for this process (ulimit -v)"
NO_THREAD: Final = "no thread is left for this process (ulimit -u, ulimit -v)"

_reserve: list[bytearray] = []


class NoThreadError(OSError):
    """No thread can be started.

    Attributes:
        strerror: The message for people.
    """

    strerror: str

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, NO_THREAD)


def keep_reserve() -> None:
    """Set memory aside for the first shortage; as much as there is, where that is less.

    It is not touched, so that it takes room among the addresses and none in the machine's memory.
    """
    with contextlib.suppress(MemoryError):
        _reserve.append(bytearray(RESERVE_BYTES))


def relieve() -> None:
    """Memory was short: set the reserve free. Idempotent."""
    _reserve.clear()


def with_reserve(action: Callable[[*Arguments], None], *arguments: *Arguments) -> None:
    """Call ``action``; if there is no memory for it, set the reserve free and call it once more."""
    try:
        action(*arguments)
    except MemoryError:
        relieve()
        action(*arguments)


def no_memory(phase: Phase) -> Failure:
    """Return the failure of a host that ran out of memory."""
    return Failure(ErrorKind.MEMORY, phase, NO_MEMORY)


def is_limited() -> bool:
    """Whether this process may use only so many addresses (getrlimit(2), RLIMIT_AS)."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def part_of_room(wanted: int, part: int, *, least: int = 0) -> int:
    """Fit a bound on memory to what there is.

    Args:
        wanted: Bytes, where there is room.
        part: One part in so many of the room may be used where there is little.
        least: Bytes below which nothing would work.
    """
    room = room_bytes()
    return wanted if room is None else min(wanted, max(least, room // part))


def check_room(count: int) -> None:
    """Check that ``count`` more bytes can be had, as far as is known.

    Raises:
        MemoryError: They cannot.
    """
    room = room_bytes()
    if room is not None and room < count:
        raise MemoryError


def room_bytes() -> int | None:
    """How many more bytes of addresses this process may use; ``None`` if there is no limit, or none tells."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    used = linux.address_bytes()
    return None if used is None else max(0, limit - used)
