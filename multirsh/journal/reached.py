"""How a run's hosts were reached, as its record says it, and in what two runs differ.

In the plan, the ways stand once each, and each host names its own::

    "reached": {
      "ways": [{"transport": "ssh", "user": "deploy", "port": 22, "jump": "none"}],
      "hosts": {"web1": [0, null, "10.0.0.1"]}
    }

A host's list is the place of its way, what ssh_config was asked about (null for
the name), and what was connected to (null for that). A record is input: it may
be damaged, or written by somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from multirsh.events import JsonObject
from multirsh.inventory import fold
from multirsh.model import Settings, SourcePort
from multirsh.routes import Route, Way

_MOST_PORT: Final = 65535
_MOST_LINES: Final = 10
"""Of differences; they may be other ones for each of 10,000 hosts."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How hosts were reached.

    Attributes:
        routes: By the hosts' names.
        ssh_config: The file that was read in place of the usual ones (``-F``), absolute, or ``none``;
            ``None`` for the usual ones.
    """

    routes: Mapping[str, Route] = field(default_factory=dict)
    ssh_config: str | None = None

    def to_dict(self) -> JsonObject:
        """As it stands in the plan."""
        places: dict[Way, int] = {}
        hosts = {
            name: [
                places.setdefault(route.way, len(places)),
                None if route.target == name else route.target,
                None if route.address == route.target else route.address,
            ]
            for name, route in self.routes.items()
        }
        ways = [_way_row(way) for way in places]
        return _said({"ssh_config": self.ssh_config}) | {"ways": ways, "hosts": hosts}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Reached:
        """Make it of that.

        Raises:
            ValueError: It cannot be what was written.
            UsageError: A name or a setting is none that a host may have.
        """
        try:
            ways = [_way_of(way) for way in row["ways"]]
            routes = {name: _route_of(name, said, ways) for name, said in row["hosts"].items()}
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(repr(error)) from None
        for name, route in routes.items():
            route.host(name)  # it is made here to be checked
        return cls(routes, _text(row.get("ssh_config")))


def _said(row: JsonObject) -> JsonObject:
    return {key: value for key, value in row.items() if value}


def _way_row(way: Way) -> JsonObject:
    settings = way.settings
    return _said(
        {
            "transport": settings.transport,
            "user": settings.user,
            "port": settings.port,
            "identity": settings.identity,
            "jump": settings.jump,
            "source_port": settings.source_port,
            "hops": list(way.hops),
            "program": way.program,
        }
    )


def _way_of(row: Mapping[str, Any]) -> Way:
    port, source_port = row.get("port"), row.get("source_port")
    if port is not None and not (type(port) is int and 0 < port <= _MOST_PORT):
        raise ValueError(f"{port!r} is not a port")
    return Way(
        settings=Settings(
            user=_text(row.get("user")),
            port=port,
            identity=_text(row.get("identity")),
            jump=_text(row.get("jump")),
            transport=_text(row.get("transport")),
            source_port=None if source_port is None else SourcePort(source_port),
        ),
        hops=tuple((_some_text(name), _some_text(address)) for name, address in row.get("hops", ())),
        program=_text(row.get("program")),
    )


def _route_of(name: str, said: list[Any], ways: list[Way]) -> Route:
    place, target, address = said
    if type(place) is not int or place < 0:
        raise ValueError(f"{place!r} is no way's place")
    asked = _text(target) or name
    return Route(asked, _text(address) or asked, ways[place])


def _text(value: object) -> str | None:
    return None if value is None else _some_text(value)


def _some_text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{value!r} is no text")
    return value


def reached_otherwise(before: Mapping[str, Route], now: Mapping[str, Route]) -> list[str]:
    """Say which hosts are reached otherwise than before, those with the same difference in one line.

    Args:
        before: As the record has it; of hosts that it does not know, nothing is said.
        now: As they are reached now.
    """
    changed: dict[tuple[str, ...], list[str]] = {}
    for name, route in now.items():
        if name in before and route != before[name]:
            changes = tuple(_changes(before[name], route))
            if changes:
                changed.setdefault(changes, []).append(name)
    lines = [f"{fold(hosts)}: {', '.join(changes)}" for changes, hosts in changed.items()]
    if len(lines) <= _MOST_LINES:
        return lines
    left = sum(len(hosts) for hosts in list(changed.values())[_MOST_LINES:])
    return [*lines[:_MOST_LINES], f"{left} more hosts are reached otherwise than recorded"]


def _changes(before: Route, now: Route) -> Iterator[str]:
    old, new = _facts(before), _facts(now)
    for what, value in old.items():
        if value != new[what]:
            yield f"{what} {value or 'none'} in the record, {new[what] or 'none'} now"
    if before.way.program != now.way.program:
        yield "the command that carries the connection is another one"


def _facts(route: Route) -> Mapping[str, object]:
    way = route.way
    jump, addresses = way.settings.jump, ", ".join(address for _, address in way.hops)
    return {
        "address": route.address,
        "port": way.settings.port,
        "user": way.settings.user,
        "transport": way.settings.transport,
        "jump": None if jump in {None, "none"} else f"{jump} ({addresses})",
        "identity": way.settings.identity,
    }
