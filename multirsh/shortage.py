"""Shortage of memory or threads in this process (``ulimit -v``, ``ulimit -u``).

A lack of memory fails only the host that needed it, as ``local``. Reporting
that takes some memory, too, so a program can keep a reserve, which the first
shortage releases.
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
        strerror: The message for the user.
    """

    strerror: str

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, NO_THREAD)


def keep_reserve() -> None:
    """Reserve memory for the first shortage, if there is enough.

    It is never written to, so it takes address space and none of the machine's memory.
    """
    with contextlib.suppress(MemoryError):
        _reserve.append(bytearray(RESERVE_BYTES))


def relieve() -> None:
    """Release the reserve, since memory is short. Idempotent."""
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
    """Whether the address space of this process is limited (getrlimit(2), RLIMIT_AS)."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def part_of_room(wanted: int, part: int, *, least: int = 0) -> int:
    """Reduce an amount of memory to a share of what is left.

    Args:
        wanted: The amount if enough is left, in bytes.
        part: The divisor of the share: at most 1/``part`` of what is left is used.
        least: The least amount that is useful, in bytes; it is returned even if less is left.
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
    """Return how many bytes of address space are left; ``None`` if there is no limit, or it is unknown."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    used = linux.address_bytes()
    return None if used is None else max(0, limit - used)
