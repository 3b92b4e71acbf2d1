"""What a lab fleet looks like: its hosts' names, its groups, and where each host listens.

Pure: nothing here binds, asks the machine, or knows SSH. ``sockets`` says
what the machine can do and which ports it really gave; ``texts`` writes a
plan down for the programs that read one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from multirsh.ports.sockets import Endpoint

DEFAULT_PORT: Final = 7722
"""Where a lab listens unless told otherwise: unregistered with IANA, and below the usual ephemeral ranges."""

ONE_ADDRESS: Final = "127.0.0.1"
"""The only loopback address of systems that give 127.0.0.0/8 no other."""

HOSTS_PER_BLOCK: Final = 254
"""127.77.x.1 to 127.77.x.254: the two ends are left out, for they look like network and broadcast."""

MAX_HOSTS: Final = 256 * HOSTS_PER_BLOCK
"""How many hosts 127.77.0.0/16 has room for."""

MAX_PORT: Final = 65535

BASTION_FROM: Final = 4
"""Hosts from which one of them is a bastion: with fewer, it would take too large a part."""


class Addressing(enum.StrEnum):
    """How the hosts of a lab are told apart."""

    ADDRESSES = "addresses"
    """An address of 127.77.0.0/16 for each, all on one port: as a real fleet looks (Linux)."""
    PORTS = "ports"
    """A port for each, all on 127.0.0.1 (macOS, where no other loopback address is up)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterGroup:
    """A named group of hosts: of hosts themselves, or of other groups.

    Attributes:
        hosts: A node-set expression, such as ``web[01-06]``; empty for a group of groups.
        groups: Names of the groups that it is made of.
    """

    hosts: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """A fleet before it has addresses.

    Attributes:
        names: Host names, each once, in the fleet's order.
        groups: Groups by name; together they name every host.
    """

    names: tuple[str, ...]
    groups: Mapping[str, RosterGroup]


def plan_roster(count: int) -> Roster:
    """Name the hosts of a small company: mostly web servers, some databases, a cache, a bastion.

    Ten hosts are ``web[01-06]``, ``db[1-2]``, ``cache1`` and ``bastion1``;
    other sizes keep these proportions. The bastion stays outside ``prod``, as
    the one that the others may be reached through.

    Args:
        count: Hosts, 1 to ``MAX_HOSTS``.

    Returns:
        ``count`` names, and the groups that are not empty.

    Raises:
        ValueError: ``count`` is out of range.
    """
    if not 1 <= count <= MAX_HOSTS:
        raise ValueError(f"a lab has 1 to {MAX_HOSTS} hosts, not {count}")
    bastions = int(count >= BASTION_FROM)
    inner = count - bastions
    databases = inner * 2 // 9
    caches = inner // 9
    sizes = {"web": inner - databases - caches, "db": databases, "cache": caches, "bastion": bastions}
    names: list[str] = []
    groups: dict[str, RosterGroup] = {}
    for role, size in sizes.items():
        if not size:
            continue
        width = len(str(size))
        if role == "web":
            width = max(width, 2)  # a fleet that can grow is padded from the start
        first, last = f"{1:0{width}}", f"{size:0{width}}"
        names += [f"{role}{number:0{width}}" for number in range(1, size + 1)]
        groups[role] = RosterGroup(hosts=f"{role}{first}" if size == 1 else f"{role}[{first}-{last}]")
    groups["prod"] = RosterGroup(groups=tuple(role for role in groups if role != "bastion"))
    return Roster(names=tuple(names), groups=groups)


def choose_addressing(*, forced: Addressing | None, has_range: bool) -> Addressing:
    """Decide how the hosts are told apart.

    Args:
        forced: What was asked for; it is not second-guessed.
        has_range: Whether the machine lets 127.77.0.0/16 be bound.
    """
    if forced is not None:
        return forced
    return Addressing.ADDRESSES if has_range else Addressing.PORTS


def choose_ports(asked: int | None) -> tuple[int, ...]:
    """Order the first ports to try: the default may be taken and is then let go, what was asked for may not.

    Args:
        asked: 0-65535, where 0 is any free one; ``None`` where nobody asked.
    """
    return (DEFAULT_PORT, 0) if asked is None else (asked,)


def plan_endpoints(count: int, *, addressing: Addressing, port: int) -> tuple[Endpoint, ...]:
    """Say where each host wishes to listen.

    Args:
        count: Hosts, 1 to ``MAX_HOSTS``.
        addressing: How they are told apart.
        port: Everybody's port, or the first of ``count`` where ports tell them apart; 0 for any free ones.

    Returns:
        One wish a host, in order; no two alike unless the port is 0.

    Raises:
        ValueError: The ports would run past 65535.
    """
    if addressing is Addressing.ADDRESSES:
        return tuple(Endpoint(_address_of(index), port) for index in range(count))
    if port == 0:
        return (Endpoint(ONE_ADDRESS, 0),) * count
    if port + count - 1 > MAX_PORT:
        raise ValueError(f"{count} hosts from port {port} on would need ports past {MAX_PORT}")
    return tuple(Endpoint(ONE_ADDRESS, port + index) for index in range(count))


def _address_of(index: int) -> str:
    block, place = divmod(index, HOSTS_PER_BLOCK)
    return f"127.77.{block}.{place + 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPlan:
    """A fleet with its addresses.

    Attributes:
        roster: Names and groups.
        endpoints: Where each host listens, in the order of the names.
    """

    roster: Roster
    endpoints: tuple[Endpoint, ...]

    def pairs(self) -> Iterator[tuple[str, Endpoint]]:
        """Each host's name with its place."""
        return zip(self.roster.names, self.endpoints, strict=True)
