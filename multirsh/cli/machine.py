"""What the program asks of the machine before a run: many descriptors; few addresses where there are few."""

from __future__ import annotations

import contextlib
import resource
import sys
import threading
from typing import Final

from multirsh import linux
from multirsh.shortage import is_limited, keep_reserve, part_of_room, relieve

ENOUGH: Final = 1 << 20
"""More than any run needs. Where containers have a limit of 2^30, programs that we start (ProxyCommand) may
still try to close each number up to it, and inherit the limit."""


def raise_descriptor_limit() -> None:
    """Raise the soft RLIMIT_NOFILE to the hard one (getrlimit(2)); it is never lowered.

    The shells' usual 1,024 is for programs that use select(2), which cannot go beyond; asyncio's epoll can.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS has a bound of its own below an unlimited hard limit: then what there is must do.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


STACK_BYTES: Final = 1024 * 1024
"""A thread's, where addresses are few; they are 8 MiB as a rule (pthread_attr_setstacksize(3))."""

OUTPUT_PART: Final = 8
"""Output may take one part in so many of the addresses that are left."""


def spare_addresses() -> None:
    """Where this process may use only so many addresses (``ulimit -v``), let each thread take few of them."""
    if not is_limited():
        return
    threading.stack_size(STACK_BYTES)
    linux.use_one_arena()
    keep_reserve()


def quiet_shortage() -> None:
    """Have Python print no traceback where memory runs out in a thread, or while an object is thrown away."""
    unraisable, in_thread = sys.unraisablehook, threading.excepthook

    def on_unraisable(what: sys.UnraisableHookArgs) -> None:
        relieve() if issubclass(what.exc_type, MemoryError) else unraisable(what)

    def on_thread(what: threading.ExceptHookArgs) -> None:
        relieve() if issubclass(what.exc_type, MemoryError) else in_thread(what)

    sys.unraisablehook, threading.excepthook = on_unraisable, on_thread


def fitted(output_bytes: int) -> int:
    """How much output may be held in memory: ``output_bytes``, or less where addresses are few."""
    return part_of_room(output_bytes, OUTPUT_PART)
