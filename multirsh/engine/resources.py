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
    """What one run may use of this machine.

    Attributes:
        fanout: The largest number of hosts in flight at once: what was requested, or fewer if descriptors
            are scarce.
        open_at_most: The largest number of hosts that are in flight or whose sockets drain.
        resolver: Looks up as many names at once as there are descriptors for.
        spare: The descriptors for further addresses of hosts that are tried at the same time.
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
        """Claim a share of the descriptors, to be released at the end of the run.

        Args:
            descriptors: The account of the process.
            hosts: The number of the run's hosts.
            fanout: The requested number of hosts in flight at once.
            per_host: The descriptors that one host in flight may hold.
            warn: Called with a line for people for each resource that is scarce.
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
        """Warn of what is scarce, before anything begins.

        Args:
            destinations: Where the hosts will be connected to; read only if there are many hosts.
        """
        if self._shortage is not None:
            self._warn(self._shortage)
        self._neighbours = watch(self._hosts, self._warn)
        if self._neighbours is not None:
            for destination in destinations:
                if destination is not None:
                    self._neighbours.note(destination.address)

    def note(self, address: str) -> None:
        """Count an address that the run is about to connect to, which a name may only now have led to."""
        if self._neighbours is not None:
            self._neighbours.note(address)

    def release(self) -> None:
        """Give the share back: the run is over, or will not take place. Idempotent."""
        if self._is_released:
            return
        self._is_released = True
        self._descriptors.give_back(self._share)


BESIDE: Final = 12
"""Descriptors that a run opens now and then besides those of its hosts: the kernel's table of sockets,
known_hosts and its lock, the pipes of a program that is being started, modules."""

PER_LOOKUP: Final = 2
"""Descriptors that getaddrinfo(3) holds at once: a socket, and a file of nsswitch.conf(5)."""

SHARE_OF_LOOKUPS: Final = 8
SHARE_OF_SPARE: Final = 16
"""One in so many of the free descriptors is for look-ups, and one in so many for further addresses of hosts
that are tried at the same time (``happy_eyeballs``)."""

SPARE_PER_HOST: Final = 4
"""Sockets beside its first that one host may use while several of its addresses are tried at once."""

UNLIMITED: Final = 1 << 20
"""The limit where there is none: the default of fs.nr_open, the kernel's own bound for a process."""

UNKNOWN_USE: Final = 32
"""The number of open descriptors to assume where it cannot be read."""


@dataclass(frozen=True, slots=True)
class DescriptorUse:
    """How many descriptors this process has open, and may have open.

    Attributes:
        limit: The largest number of open descriptors.
        in_use: The number of descriptors that are open.
    """

    limit: int
    in_use: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorShare:
    """A run's share of the descriptors.

    Attributes:
        hosts: The number of hosts that may have a socket open at once, even if it only drains; 1 or more.
        lookups: The number of names that may be looked up at once; 1 or more.
        spare: The number of sockets for hosts of which several addresses are tried at once; 1 or more.
        descriptors: The sum of the descriptors for all of these.
    """

    hosts: int
    lookups: int
    spare: int
    descriptors: int


def share_of(free: int, *, hosts: int, fanout: int, per_host: int) -> DescriptorShare:
    """Return a run's share of the free descriptors.

    Args:
        free: The descriptors that are neither open nor promised to another run.
        hosts: The number of the run's hosts, 1 or more.
        fanout: The requested number of hosts in flight at once.
        per_host: The descriptors that one host in flight may hold.

    Returns:
        Enough for the fanout if there are so many, and half of the rest for other hosts of the run, whose
        sockets may drain meanwhile. It is never more than the run's hosts can use, so that other runs find
        some, too.
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
    """Return the warning that the descriptors allow only a smaller fanout; ``None`` if they are enough."""
    if wanted <= share.hosts:
        return None
    return (
        f"a fanout of {share.hosts} and not {wanted}: this process may have {use.limit} files open, and"
        f" has {use.in_use}; raise that limit ('ulimit -n', LimitNOFILE= in a systemd unit), or say"
        f" '-j {share.hosts}'"
    )


def look() -> DescriptorUse:
    """Read the limit and the use of descriptors of this process."""
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
    """An account of a process's descriptors, divided among runs. It may be used from several threads."""

    def __init__(self, look: Callable[[], DescriptorUse] = look) -> None:
        """Open an account in which nothing is promised yet.

        Args:
            look: Returns the limit and the present use.
        """
        self._look = look
        self._lock = threading.Lock()
        self._promised = 0
        self._outside = 0

    def claim(self, *, hosts: int, fanout: int, per_host: int) -> tuple[DescriptorShare, str | None]:
        """Take a run's share, to be given back at the end of the run.

        Args:
            hosts: The number of the run's hosts, 1 or more.
            fanout: The requested number of hosts in flight at once.
            per_host: The descriptors that one host in flight may hold.

        Returns:
            The share, and a warning if it is for fewer hosts than were requested.
        """
        with self._lock:
            use, free = self._free()
            share = share_of(free, hosts=hosts, fanout=fanout, per_host=per_host)
            self._promised += share.descriptors
        return share, warning(share, use, wanted=min(fanout, hosts))

    def set_aside(self, wanted: int, *, per_host: int) -> int:
        """Promise descriptors to connections that are kept open: at most half of those that are free.

        Args:
            wanted: The number of connections to keep at once.
            per_host: The descriptors that one of them may hold.

        Returns:
            How many may be kept, 0 or more. ``take_back`` ends the promise.
        """
        with self._lock:
            _, free = self._free()
            kept = max(0, min(wanted, free // 2 // per_host))
            self._promised += kept * per_host
        return kept

    def take_back(self, kept: int, *, per_host: int) -> None:
        """End the promise of ``set_aside``: none of its connections is open any more."""
        with self._lock:
            self._promised -= kept * per_host

    def give_back(self, share: DescriptorShare) -> None:
        """Give back the share of a run that has nothing open any more."""
        with self._lock:
            self._promised -= share.descriptors

    def _free(self) -> tuple[DescriptorUse, int]:
        """Return the use of descriptors, and how many are neither open nor promised."""
        use = self._look()
        # What is open beyond the promises is not ours; of what was promised, some is open already.
        self._outside = max(use.in_use - self._promised, self._outside if self._promised else use.in_use)
        return use, use.limit - self._outside - self._promised


PROCESS: Final = Descriptors()
"""This process's account, which all its fleets share."""


DEFAULT_ENTRIES: Final = 1024
"""The default of ``gc_thresh3`` (net/ipv4/arp.c, net/ipv6/ndisc.c); containers cannot read it."""

SPARED: Final = 20
"""One entry in so many is left for the gateway and for peers of other programs."""

MOST_ROUTES: Final = 50_000
"""The largest number of routes that are read. A machine with more is an Internet router, whose table takes
longer to read than the warning is worth."""

_RTF_UP, _RTF_GATEWAY, _RTF_REJECT, _RTF_LOCAL = 0x1, 0x2, 0x200, 0x80000000
_IFF_LOOPBACK, _IFF_NOARP = 0x8, 0x80

_BITS: Final = {4: 32, 6: 128}
_SYSCTL: Final = {4: "net.ipv4.neigh.default.gc_thresh3", 6: "net.ipv6.neigh.default.gc_thresh3"}
_TABLES: Final = {
    4: PROC / "thread-self" / "net" / "route",
    6: PROC / "thread-self" / "net" / "ipv6_route",
}
"""The routes of the calling thread's network namespace."""


class RouteRow(NamedTuple):
    """One route.

    Attributes:
        network: The address of the network, as a number.
        length: The length of its prefix, in bits.
        interface: The name of the interface.
        is_on_link: Whether hosts of the network are reached without a gateway.
        metric: Of two routes to the same network, the one with the lower metric is used.
    """

    network: int
    length: int
    interface: str
    is_on_link: bool
    metric: int


def parse_route(text: Iterable[str]) -> list[RouteRow]:
    """Parse the lines of /proc/net/route, IPv4's main table; lines that are not routes are skipped.

    Addresses are bytes in network order, printed as a number in this machine's byte order.
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
    """Parse the lines of /proc/net/ipv6_route, all tables; lines that are not routes are skipped."""
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
    """Return whether a route is in use, and whether it leads to neighbours."""
    is_direct = not (gateway or flags & (_RTF_GATEWAY | _RTF_REJECT | _RTF_LOCAL))
    return bool(flags & _RTF_UP), is_direct


class Routes:
    """The routes of one address family, which say which addresses are neighbours."""

    def __init__(self, rows: Iterable[RouteRow], *, bits: int, has_neighbours: Callable[[str], bool]) -> None:
        """Index the routes.

        Args:
            rows: The routes, in any order.
            bits: The length of an address: 32 or 128.
            has_neighbours: Returns whether an interface needs link-layer addresses; called once for each.
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
        """Return whether the route with the longest prefix leads to ``address`` without a gateway."""
        for length, networks in self._by_length:
            answer = networks.get(self._shortened(address, length))
            if answer is not None:
                return answer
        return False

    def _shortened(self, address: int, length: int) -> int:
        return address >> (self._bits - length)


@dataclass(frozen=True, slots=True)
class NeighbourTable:
    """The kernel's neighbour table of one address family.

    Attributes:
        entries: The number of entries that the kernel keeps (gc_thresh3).
        routes: The routes that say which addresses are neighbours.
    """

    entries: int
    routes: Routes


class Neighbours:
    """Counts the neighbours among the addresses that a run connects to, until there are too many."""

    def __init__(self, tables: Mapping[int, NeighbourTable], warn: Callable[[str], None]) -> None:
        """Begin with no neighbours.

        Args:
            tables: The tables by version of IP, 4 or 6.
            warn: Called with a line for people, at most once for each version.
        """
        self._tables = dict(tables)
        self._warn = warn
        self._seen: dict[int, set[int]] = {version: set() for version in tables}

    def note(self, address: str) -> None:
        """Count an address that the run is about to connect to; names are ignored."""
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
    """Return how many hosts may be neighbours."""
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
        destinations: The number of hosts; if they fit in any case, nothing is read.
        warn: Called with a line for people, at most once for each version of IP.

    Returns:
        What counts the neighbours; ``None`` if there is no need to count.
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
    """Return whether an interface needs its peers' link-layer addresses; loopback and tunnels do not."""
    flags = interface_flags(interface)
    return flags is not None and not flags & (_IFF_LOOPBACK | _IFF_NOARP)
