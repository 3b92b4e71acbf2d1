"""Whether the kernel can keep the link-layer addresses of all the hosts that are on our own networks.

A host that no gateway is in front of is a neighbour: the kernel asks for its
address by ARP (IPv4) or ND (IPv6) and keeps it in a table of a fixed size,
the whole machine's. When that is full of what is in use, packets are dropped
in silence: connections take seconds longer, or time out. So we warn, before.

``Routes`` and ``Neighbours`` are pure, and so are the parsers; ``watch``
reads the files, and only where there are hosts enough to matter.

Sources: arp(7) (``gc_thresh3``), proc(5) (``/proc/net/route``), net/ipv6/route.c (``rt6_info_route``),
net/core/neighbour.c (``neigh_alloc``), include/uapi/linux/route.h, netdevice(7).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from multirsh.linux import PROC, interface_flags

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
class Table:
    """One family's neighbours.

    Attributes:
        entries: How many the kernel keeps (gc_thresh3).
        routes: Who is one.
    """

    entries: int
    routes: Routes


class Neighbours:
    """Counts the neighbours among the addresses that a run connects to, until there are too many."""

    def __init__(self, tables: Mapping[int, Table], warn: Callable[[str], None]) -> None:
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
    tables: dict[int, Table] = {}
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
            tables[version] = Table(entries, Routes(rows, bits=bits, has_neighbours=_asks))
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
