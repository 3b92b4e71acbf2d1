"""The plan of a lab: the names of its hosts, its groups, and the addresses of its servers. Pure.

``sockets`` finds out what the machine supports and which ports are free;
``texts`` writes a plan as files.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from multirsh.ports.sockets import Endpoint

DEFAULT_PORT: Final = 7722
"""The default port: not registered with IANA, and below the usual ephemeral ranges."""

ONE_ADDRESS: Final = "127.0.0.1"
"""The only loopback address that every system has."""

HOSTS_PER_BLOCK: Final = 254
"""127.77.x.1 to 127.77.x.254: .0 and .255 look like network and broadcast addresses."""

MAX_HOSTS: Final = 256 * HOSTS_PER_BLOCK
"""The number of hosts that fit in 127.77.0.0/16."""

MAX_PORT: Final = 65535

BASTION_FROM: Final = 4
"""The smallest number of hosts with a bastion among them."""


class Addressing(enum.StrEnum):
    """Whether the hosts of a lab differ by address or by port."""

    ADDRESSES = "addresses"
    """Each host has an address in 127.77.0.0/16, and all have the same port, like a real fleet (Linux)."""
    PORTS = "ports"
    """Each host has a port on 127.0.0.1 (macOS, where no other loopback address is up)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterGroup:
    """A named group of hosts or of other groups.

    Attributes:
        hosts: A node-set expression, such as ``web[01-06]``; empty for a group of groups.
        groups: The names of its groups; empty for a group of hosts.
    """

    hosts: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """The names of a fleet, before it has addresses.

    Attributes:
        names: The host names, each once, in order.
        groups: The groups by name; together they contain every host.
    """

    names: tuple[str, ...]
    groups: Mapping[str, RosterGroup]


def plan_roster(count: int) -> Roster:
    """Name the hosts like those of a small company: web servers, databases, caches and a bastion.

    Ten hosts are ``web[01-06]``, ``db[1-2]``, ``cache1`` and ``bastion1``;
    other sizes keep these proportions. The bastion is not in ``prod``, since the
    other hosts may be reached through it.

    Args:
        count: The number of hosts, 1 to ``MAX_HOSTS``.

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
            width = max(width, 2)  # web servers are the hosts whose number usually grows
        first, last = f"{1:0{width}}", f"{size:0{width}}"
        names += [f"{role}{number:0{width}}" for number in range(1, size + 1)]
        groups[role] = RosterGroup(hosts=f"{role}{first}" if size == 1 else f"{role}[{first}-{last}]")
    groups["prod"] = RosterGroup(groups=tuple(role for role in groups if role != "bastion"))
    return Roster(names=tuple(names), groups=groups)


def choose_addressing(*, forced: Addressing | None, has_range: bool) -> Addressing:
    """Choose whether the hosts differ by address or by port.

    Args:
        forced: The choice of the user; ``None`` for none.
        has_range: Whether addresses of 127.77.0.0/16 can be bound on this machine.
    """
    if forced is not None:
        return forced
    return Addressing.ADDRESSES if has_range else Addressing.PORTS


def choose_ports(port: int | None) -> tuple[int, ...]:
    """Return the ports to try, in order. Only the default port is replaced by a free one if it is taken.

    Args:
        port: The port that the user has chosen, where 0 is any free port; ``None`` for the default.
    """
    return (DEFAULT_PORT, 0) if port is None else (port,)


def plan_endpoints(count: int, *, addressing: Addressing, port: int) -> tuple[Endpoint, ...]:
    """Return the address and port on which each host should listen.

    Args:
        count: The number of hosts, 1 to ``MAX_HOSTS``.
        addressing: Whether they differ by address or by port.
        port: The port of all hosts, or the first of ``count`` ports; 0 for any free ports.

    Returns:
        One endpoint per host, in order; they are distinct unless the port is 0.

    Raises:
        ValueError: A port would be larger than 65535.
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
    """The names and addresses of a fleet.

    Attributes:
        roster: The names and groups.
        endpoints: The address and port of each host, in the order of the names.
    """

    roster: Roster
    endpoints: tuple[Endpoint, ...]

    def pairs(self) -> Iterator[tuple[str, Endpoint]]:
        """Return each host's name with its address and port."""
        return zip(self.roster.names, self.endpoints, strict=True)
