"""How many hosts a run may have connections to, so that this process never lacks a file descriptor.

EMFILE strikes whoever comes next: a connection, the resolver, the reading of
known_hosts. So the descriptors there are get parted when a run is first read,
and who would be one too many waits. There is one account for the process
(``PROCESS``), which the runs of all its fleets share. The limit itself is not
touched: it belongs to the program that uses the library (``cli.process``
raises its own).

Sources: getrlimit(2) (RLIMIT_NOFILE), proc(5) (``/proc/PID/fd``).
"""

from __future__ import annotations

import resource
import threading
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

SPARE_PER_HOST: Final = 4
"""Sockets beside its first that one host may use while several of its addresses are tried at once."""

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


def share_of(free: int, *, hosts: int, fanout: int, per_host: int) -> Share:
    """Part what is free.

    Args:
        free: Descriptors that are neither open nor promised to another run.
        hosts: All that the run has, 1 or more.
        fanout: Of them, those that are to be in flight at once, at the most.
        per_host: What one of them may hold.

    Returns:
        Enough for the fanout where there is; beyond that, for the run's other hosts, whose sockets may drain
        meanwhile, half of what is left. In all no more than the run's hosts can use, so that other runs find
        something, too.
    """
    wanted = min(fanout, hosts)
    lookups = max(1, min(LOOKUPS_AT_ONCE, hosts, free // (SHARE_OF_LOOKUPS * PER_LOOKUP)))
    spare = max(1, min(SPARE_PER_HOST * hosts, free // SHARE_OF_SPARE))
    beside = BESIDE + PER_LOOKUP * lookups + spare
    most = (free - beside) // per_host
    at_once = max(1, min(most, max(wanted, min(hosts, most // 2))))
    return Share(hosts=at_once, lookups=lookups, spare=spare, descriptors=beside + at_once * per_host)


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
    """An account of a process's descriptors, parted among runs. It may be used from several threads."""

    def __init__(self, look: Callable[[], DescriptorUse] = look) -> None:
        """Promise nothing yet.

        Args:
            look: Tells what there is.
        """
        self._look = look
        self._lock = threading.Lock()
        self._promised = 0
        self._outside = 0

    def claim(self, *, hosts: int, fanout: int, per_host: int) -> tuple[Share, str | None]:
        """Take a run's part, to be given back at its end.

        Args:
            hosts: As of ``share_of``, as are the others.
            fanout: Hosts that are to be in flight at once, at the most.
            per_host: What one of them may hold.

        Returns:
            The part, and a line for people if it is for fewer hosts than are wanted.
        """
        with self._lock:
            use, free = self._free()
            share = share_of(free, hosts=hosts, fanout=fanout, per_host=per_host)
            self._promised += share.descriptors
        return share, warning(share, use, wanted=min(fanout, hosts))

    def set_aside(self, wanted: int, *, per_host: int) -> int:
        """Promise descriptors to connections that are kept open, half of what is free at the most.

        Args:
            wanted: Connections to be kept at once.
            per_host: What one of them may hold.

        Returns:
            How many may be kept; 0 or more. To be taken back by ``take_back``.
        """
        with self._lock:
            _, free = self._free()
            kept = max(0, min(wanted, free // 2 // per_host))
            self._promised += kept * per_host
        return kept

    def take_back(self, kept: int, *, per_host: int) -> None:
        """No connection is kept open any more of those that ``set_aside`` has promised for."""
        with self._lock:
            self._promised -= kept * per_host

    def give_back(self, share: Share) -> None:
        """The run has nothing open any more."""
        with self._lock:
            self._promised -= share.descriptors

    def _free(self) -> tuple[DescriptorUse, int]:
        """What the process has open, and how many descriptors are neither open nor promised."""
        use = self._look()
        # What is open beyond the promises is not ours; of what was promised, some is open already.
        self._outside = max(use.in_use - self._promised, self._outside if self._promised else use.in_use)
        return use, use.limit - self._outside - self._promised


PROCESS: Final = Descriptors()
"""This process's account, which all its fleets share."""
