"""What this machine has for a run: file descriptors, and entries for its neighbours' link-layer addresses.

EMFILE strikes whatever opens a file next: a connection, the resolver, the
reading of known_hosts. So the free descriptors are divided when a run is first
read, and a host that would be one too many waits. One account (``PROCESS``)
serves the runs of all fleets of the process. The limit itself is left as it
is: it belongs to the program that uses the library (``cli.process`` raises
its own).

A host that is reached without a gateway is a neighbour: the kernel asks for
its address by ARP (IPv4) or ND (IPv6) and keeps it in a table of fixed size,
one for the whole machine. When that is full of entries in use, packets are
dropped silently: connections take seconds longer, or time out. So a run warns
before that happens.

Local ports are leased elsewhere (``ports.allocator``), and hosts wait for
them, so the fanout need not be fitted to those.

Sources: getrlimit(2) (RLIMIT_NOFILE), proc(5) (``/proc/PID/fd``, ``/proc/net/route``), arp(7)
(``gc_thresh3``), net/ipv6/route.c (``rt6_info_route``), net/core/neighbour.c (``neigh_alloc``),
include/uapi/linux/route.h, netdevice(7).
"""

from __future__ import annotations

import ipaddress
import resource
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from multirsh.linux import PROC, interface_flags
from multirsh.transports.base import Destination
from multirsh.transports.resolver import LOOKUPS_AT_ONCE, Resolver
from multirsh.transports.tcp import Spare


class RunResources:
    """One run's part of the machine.

    Attributes:
        fanout: Hosts in flight at once: as many as are wanted, or as there are descriptors for.
        open_at_most: Hosts in flight, and those whose sockets drain, together.
        resolver: Looks up as many names at once as there are descriptors for.
        spare: Descriptors for second addresses of hosts.
    """

    def __init__(
        self,
        descriptors: Descriptors,
        *,
        hosts: int,
        fanout: int,
        per_host: int,
        warn: Callable[[str], None],
    ) -> None:
        """Claim a part, to be released at the end of the run.

        Args:
            descriptors: Those of the process.
            hosts: How many the run has.
            fanout: Hosts that are to be in flight at once.
            per_host: Descriptors that one of them may hold.
            warn: Takes a line for people for each thing there is too little of.
        """
        self._descriptors = descriptors
        self._hosts = hosts
        self._warn = warn
        self._share, self._shortage = descriptors.claim(hosts=max(1, hosts), fanout=fanout, per_host=per_host)
        self._is_released = False
        self._neighbours: Neighbours | None = None
        self.fanout = fanout if self._shortage is None else self._share.hosts
        self.open_at_most = self._share.hosts
        self.resolver = Resolver(at_once=self._share.lookups)
        self.spare = Spare(self._share.spare)

    def check(self, destinations: Iterable[Destination | None]) -> None:
        """Warn before anything begins.

        Args:
            destinations: Of the hosts; looked at only where there are many.
        """
        if self._shortage is not None:
            self._warn(self._shortage)
        self._neighbours = watch(self._hosts, self._warn)
        if self._neighbours is not None:
            for destination in destinations:
                if destination is not None:
                    self._neighbours.note(destination.address)

    def note(self, address: str) -> None:
        """The run is about to connect to ``address``: what hosts' names come to is only known then."""
        if self._neighbours is not None:
            self._neighbours.note(address)

    def release(self) -> None:
        """The run is over, or will not be. Idempotent."""
        if self._is_released:
            return
        self._is_released = True
        self._descriptors.give_back(self._share)


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
class DescriptorShare:
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


def share_of(free: int, *, hosts: int, fanout: int, per_host: int) -> DescriptorShare:
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
    return DescriptorShare(
        hosts=at_once, lookups=lookups, spare=spare, descriptors=beside + at_once * per_host
    )


def warning(share: DescriptorShare, use: DescriptorUse, *, wanted: int) -> str | None:
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

    def claim(self, *, hosts: int, fanout: int, per_host: int) -> tuple[DescriptorShare, str | None]:
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

    def give_back(self, share: DescriptorShare) -> None:
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


DEFAULT_ENTRIES: Final = 1024
"""``gc_thresh3`` where it was not changed (net/ipv4/arp.c, net/ipv6/ndisc.c); containers do not see it."""

SPARED: Final = 20
"""One entry in so many is left to the gateway and to other programs' peers."""

MOST_ROUTES: Final = 50_000
"""A machine with more is a router with the Internet's table, which takes longer to read than it is worth."""

_RTF_UP, _RTF_GATEWAY, _RTF_REJECT, _RTF_LOCAL = 0x1, 0x2, 0x200, 0x80000000
_IFF_LOOPBACK, _IFF_NOARP = 0x8, 0x80

_BITS: Final = {4: 32, 6: 128}
_SYSCTL: Final = {4: "net.ipv4.neigh.default.gc_thresh3", 6: "net.ipv6.neigh.default.gc_thresh3"}
_TABLES: Final = {
    4: PROC / "thread-self" / "net" / "route",
    6: PROC / "thread-self" / "net" / "ipv6_route",
}
"""Those of the calling thread's network namespace."""


class RouteRow(NamedTuple):
    """One route.

    Attributes:
        network: Where to; the address as a number.
        length: Bits of it that count.
        interface: By which.
        is_on_link: Whether hosts there are asked for themselves, and not a gateway in front of them.
        metric: Of two to the same network, the lower is taken.
    """

    network: int
    length: int
    interface: str
    is_on_link: bool
    metric: int


def parse_route(text: Iterable[str]) -> list[RouteRow]:
    """Parse the lines of /proc/net/route, IPv4's main table; what is no route is passed over.

    Addresses are the bytes in network order, printed as a number of this machine's order.
    """
    rows = []
    for line in text:
        try:
            interface, destination, gateway, flags, _, _, metric, mask = line.split()[:8]
            network, bits = (socket.ntohl(int(word, 16)) for word in (destination, mask))
            is_up, is_direct = _kind(int(flags, 16), int(gateway, 16))
            if is_up:
                rows.append(RouteRow(network, bits.bit_count(), interface, is_direct, int(metric)))
        except (ValueError, OverflowError):
            continue  # the heading, too
    return rows


def parse_ipv6_route(text: Iterable[str]) -> list[RouteRow]:
    """Parse the lines of /proc/net/ipv6_route, all tables together; what is no route is passed over."""
    rows = []
    for line in text:
        try:
            destination, length, _, _, gateway, metric, _, _, flags, interface = line.split()
            is_up, is_direct = _kind(int(flags, 16), int(gateway, 16))
            if is_up:
                network = int(destination, 16)
                rows.append(RouteRow(network, int(length, 16), interface, is_direct, int(metric, 16)))
        except ValueError:
            continue
    return rows


def _kind(flags: int, gateway: int) -> tuple[bool, bool]:
    """Whether a route is in use, and whether it is one to neighbours."""
    is_direct = not (gateway or flags & (_RTF_GATEWAY | _RTF_REJECT | _RTF_LOCAL))
    return bool(flags & _RTF_UP), is_direct


class Routes:
    """The routes of one family, to tell which addresses are neighbours."""

    def __init__(self, rows: Iterable[RouteRow], *, bits: int, has_neighbours: Callable[[str], bool]) -> None:
        """Index them.

        Args:
            rows: In any order.
            bits: Of an address: 32 or 128.
            has_neighbours: Whether an interface asks for link-layer addresses; asked once for each.
        """
        self._bits = bits
        asks: dict[str, bool] = {}
        found: dict[int, dict[int, bool]] = {}
        for row in sorted(rows, key=lambda row: row.metric, reverse=True):  # the best is written last
            if row.is_on_link and row.interface not in asks:
                asks[row.interface] = has_neighbours(row.interface)
            is_neighbours = row.is_on_link and asks[row.interface]
            found.setdefault(row.length, {})[self._shortened(row.network, row.length)] = is_neighbours
        self._by_length = sorted(found.items(), reverse=True)

    def is_neighbour(self, address: int) -> bool:
        """Whether the most exact route to ``address`` leads to itself, by a link that must be asked."""
        for length, networks in self._by_length:
            answer = networks.get(self._shortened(address, length))
            if answer is not None:
                return answer
        return False

    def _shortened(self, address: int, length: int) -> int:
        return address >> (self._bits - length)


@dataclass(frozen=True, slots=True)
class NeighbourTable:
    """One family's neighbours.

    Attributes:
        entries: How many the kernel keeps (gc_thresh3).
        routes: Who is one.
    """

    entries: int
    routes: Routes


class Neighbours:
    """Counts the neighbours among the addresses that a run connects to, until there are too many."""

    def __init__(self, tables: Mapping[int, NeighbourTable], warn: Callable[[str], None]) -> None:
        """Begin with none.

        Args:
            tables: By version of IP, 4 or 6.
            warn: Takes one line for people, once for each version.
        """
        self._tables = dict(tables)
        self._warn = warn
        self._seen: dict[int, set[int]] = {version: set() for version in tables}

    def note(self, address: str) -> None:
        """A run is about to connect to ``address``; names are passed over."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return
        table = self._tables.get(ip.version)
        number = int(ip)
        if table is None or not table.routes.is_neighbour(number):
            return
        seen = self._seen[ip.version]
        seen.add(number)
        if len(seen) > _enough(table.entries):
            del self._tables[ip.version], self._seen[ip.version]
            self._warn(_words(ip.version, table.entries))


def _enough(entries: int) -> int:
    """So many hosts may be neighbours."""
    return entries - entries // SPARED


def _words(version: int, entries: int) -> str:
    return (
        f"more than {_enough(entries)} hosts are on this machine's own networks, but its kernel keeps the"
        f" link-layer addresses of {entries}: beyond that, connections take seconds longer, or time out;"
        f" make room, as root: sysctl {_SYSCTL[version]}={max(16 * entries, 16384)}"
    )


def watch(destinations: int, warn: Callable[[str], None]) -> Neighbours | None:
    """Read this network namespace's routes and limits.

    Args:
        destinations: How many hosts there are; where they fit in any case, nothing is read.
        warn: As for ``Neighbours``.

    Returns:
        Who counts; ``None`` if there is no need to.
    """
    tables: dict[int, NeighbourTable] = {}
    parsers = {4: parse_route, 6: parse_ipv6_route}
    for version, bits in _BITS.items():
        entries = _entries(version)
        if destinations <= _enough(entries):
            continue
        try:
            with _TABLES[version].open(encoding="ascii") as file:
                rows = parsers[version](islice(file, MOST_ROUTES + 1))
        except OSError:
            continue
        if len(rows) < MOST_ROUTES:
            tables[version] = NeighbourTable(entries, Routes(rows, bits=bits, has_neighbours=_asks))
    return Neighbours(tables, warn) if tables else None


def _entries(version: int) -> int:
    try:
        return int(PROC.joinpath("sys", *_SYSCTL[version].split(".")).read_text("ascii"))
    except (OSError, ValueError):
        return DEFAULT_ENTRIES


def _asks(interface: str) -> bool:
    """Whether an interface needs its peers' link-layer addresses: not loopback, tunnels and the like."""
    flags = interface_flags(interface)
    return flags is not None and not flags & (_IFF_LOOPBACK | _IFF_NOARP)
