"""How many hosts a run may have connections to, so that this process never lacks a file descriptor.

EMFILE strikes whoever comes next: a connection, the resolver, the reading of
known_hosts. So the descriptors there are get parted before a run begins, and
who would be one too many waits. The limit itself is not touched: it belongs
to the program that uses the library (``cli.machine`` raises its own).

Sources: getrlimit(2) (RLIMIT_NOFILE), proc(5) (``/proc/PID/fd``).
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from multirsh.linux import PROC
from multirsh.transports.resolver import LOOKUPS_AT_ONCE

BESIDE: Final = 12
"""What a run opens beside its hosts, now and then: the kernel's table of sockets, known_hosts and its lock,
the pipes of a program that is just being started, modules."""

PER_LOOKUP: Final = 2
"""What getaddrinfo(3) holds at once: a socket, and a file of nsswitch.conf(5)'s."""

SHARE_OF_LOOKUPS: Final = 8
SHARE_OF_SPARE: Final = 16
"""The parts, one in so many, that look-ups and second addresses of hosts (``happy_eyeballs``) may have."""

UNLIMITED: Final = 1 << 20
"""What stands for no limit: the kernel's own bound for a process, fs.nr_open, by default."""

UNKNOWN_USE: Final = 32
"""Descriptors taken to be open where nobody tells."""


@dataclass(frozen=True, slots=True)
class DescriptorUse:
    """What this process may have open, and has.

    Attributes:
        limit: Descriptors at the most.
        in_use: Of them, those that are open.
    """

    limit: int
    in_use: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A run's part of the descriptors.

    Attributes:
        hosts: Hosts with something open at once, those whose sockets only drain included; 1 or more.
        lookups: Names looked up at once; 1 or more.
        spare: Sockets for hosts of which several addresses are tried at once; 1 or more.
        descriptors: What all that comes to.
    """

    hosts: int
    lookups: int
    spare: int
    descriptors: int


def share_of(free: int, *, wanted: int, per_host: int) -> Share:
    """Part what is free.

    Args:
        free: Descriptors that are neither open nor promised to another run.
        wanted: Hosts that are to be in flight at once.
        per_host: What one of them may hold.

    Returns:
        Enough for ``wanted`` hosts where there is; beyond that, for those whose sockets only drain, half of
        what is left, so that another run finds something, too.
    """
    lookups = max(1, min(LOOKUPS_AT_ONCE, free // (SHARE_OF_LOOKUPS * PER_LOOKUP)))
    spare = max(1, free // SHARE_OF_SPARE)
    beside = BESIDE + PER_LOOKUP * lookups + spare
    most = (free - beside) // per_host
    hosts = max(1, min(most, max(wanted, most // 2)))
    return Share(hosts=hosts, lookups=lookups, spare=spare, descriptors=beside + hosts * per_host)


def warning(share: Share, use: DescriptorUse, *, wanted: int) -> str | None:
    """What to tell people of a fanout that there are no descriptors for; ``None`` if there are."""
    if wanted <= share.hosts:
        return None
    return (
        f"a fanout of {share.hosts} and not {wanted}: this process may have {use.limit} files open, and"
        f" has {use.in_use}; raise that limit ('ulimit -n', LimitNOFILE= in a systemd unit), or say"
        f" '-j {share.hosts}'"
    )


def look() -> DescriptorUse:
    """Look at this process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DescriptorUse(UNLIMITED if limit == resource.RLIM_INFINITY else limit, _in_use())


def _in_use() -> int:
    for folder in (PROC / "self" / "fd", Path("/dev/fd")):
        try:
            return sum(1 for _ in folder.iterdir()) - 1  # the one that lists them is in the list
        except OSError:
            continue
    return UNKNOWN_USE


class Descriptors:
    """The descriptors of this process, parted among the runs of a fleet."""

    def __init__(self, look: Callable[[], DescriptorUse] = look) -> None:
        """Promise nothing yet.

        Args:
            look: Tells what there is.
        """
        self._look = look
        self._promised = 0
        self._outside = 0

    def claim(self, wanted: int, *, per_host: int) -> tuple[Share, str | None]:
        """Take a run's part, to be given back at its end.

        Args:
            wanted: Hosts that are to be in flight at once.
            per_host: What one of them may hold.

        Returns:
            The part, and a line for people if it is less than wanted.
        """
        use = self._look()
        # What is open beyond the promises is not ours; of what was promised, some is open already.
        self._outside = max(use.in_use - self._promised, self._outside if self._promised else use.in_use)
        share = share_of(use.limit - self._outside - self._promised, wanted=wanted, per_host=per_host)
        self._promised += share.descriptors
        return share, warning(share, use, wanted=wanted)

    def set_aside(self, wanted: int, *, per_host: int) -> int:
        """Promise descriptors for good to connections that are kept open, half of what is free at the most.

        Args:
            wanted: Connections to be kept at once.
            per_host: What one of them may hold.

        Returns:
            How many may be kept; 0 or more.
        """
        use = self._look()
        kept = max(0, min(wanted, (use.limit - use.in_use) // 2 // per_host))
        self._outside = use.in_use
        self._promised += kept * per_host
        return kept

    def give_back(self, share: Share) -> None:
        """The run has nothing open any more."""
        self._promised -= share.descriptors
