"""How hosts were reached, as a record says it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multirsh.errors import UsageError
from multirsh.journal.record import RecordedRoutes
from multirsh.model import HostKeyPolicy, HostRoute, RouteSettings, Settings, SourcePort

_names = st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True)
_ways = st.builds(
    RouteSettings,
    settings=st.builds(
        Settings,
        user=st.none() | _names,
        port=st.none() | st.integers(1, 65535),
        identity=st.none() | _names.map(lambda name: f"/home/{name}"),
        jump=st.none() | st.just("none") | _names,
        transport=st.sampled_from(["ssh", "rsh"]),
        source_port=st.none() | st.sampled_from(SourcePort),
    ),
    hops=st.lists(st.tuples(_names, _names), max_size=2).map(tuple),
    program=st.none() | st.just("0" * 64),
)
_routes = st.dictionaries(_names, st.builds(HostRoute, _names, _names, _ways), max_size=5)

WAY = RouteSettings(settings=Settings(user="deploy", port=22, jump="none", transport="ssh"))
ROUTE = HostRoute("web1.lan", "10.0.0.1", WAY)


@settings(max_examples=40, deadline=None)
@given(_routes, st.none() | _names)
def test_what_is_written_is_read_back(routes: dict[str, HostRoute], ssh_config: str | None) -> None:
    reached = RecordedRoutes(routes, ssh_config)
    assert RecordedRoutes.from_dict(json.loads(json.dumps(reached.to_dict()))) == reached


def test_a_way_stands_once_and_what_goes_without_saying_does_not_stand_there() -> None:
    routes = {f"web{number}": HostRoute(f"web{number}", f"10.0.0.{number}", WAY) for number in (1, 2)}
    assert RecordedRoutes(routes | {"db": HostRoute("db", "db", WAY)}).to_dict() == {
        "ways": [{"transport": "ssh", "user": "deploy", "port": 22, "jump": "none"}],
        "hosts": {"web1": [0, None, "10.0.0.1"], "web2": [0, None, "10.0.0.2"], "db": [0, None, None]},
    }


def test_a_host_is_made_as_it_was_reached() -> None:
    host = ROUTE.host("web1")
    assert (host.name, host.target, host.settings) == ("web1", "web1.lan", WAY.settings)
    assert HostRoute("web1", "10.0.0.1", WAY).host("web1").address is None


@pytest.mark.parametrize(
    "change",
    [
        {"ways": None},
        {"ways": [5]},
        {"ways": [{"port": 0}]},
        {"ways": [{"port": True}]},
        {"ways": [{"user": 5}]},
        {"ways": [{"user": ""}]},
        {"ways": [{"user": "a\0b"}]},
        {"ways": [{"source_port": "any"}]},
        {"ways": [{"hops": [["a"]]}]},
        {"hosts": ["web1"]},
        {"hosts": {"web1": 0}},
        {"hosts": {"web1": [1, None, None]}},
        {"hosts": {"web1": [-1, None, None]}},
        {"hosts": {"web1": [0, None, 5]}},
        {"ssh_config": 5},
    ],
)
def test_what_cannot_have_been_written_is_refused(change: dict[str, Any]) -> None:
    row = RecordedRoutes({"web1": ROUTE}).to_dict() | change
    with pytest.raises((ValueError, UsageError)):
        RecordedRoutes.from_dict(row)


def test_the_policy_for_host_keys_is_not_kept() -> None:
    way = replace(WAY, settings=replace(WAY.settings, host_keys=HostKeyPolicy.OFF))
    assert "off" not in json.dumps(RecordedRoutes({"web1": replace(ROUTE, way=way)}).to_dict())
