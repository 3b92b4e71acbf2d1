"""What the program asks of the machine before a run: as many descriptors as it may have."""

from __future__ import annotations

import contextlib
import resource
from typing import Final

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
