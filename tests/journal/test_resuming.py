"""Whom a later run takes from an earlier one, and when it is not the same run."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Limits
from multirsh.journal import HostOutcome, Journal, Recorder
from multirsh.journal.resuming import (
    DONE,
    Standing,
    differences,
    hosts_standing,
    resumed,
    route_differences,
    standing_of,
    standings,
)
from multirsh.model import Host, HostRoute, Phase, RouteSettings, Settings, Status, TransportName
from multirsh.model import Outcome as RemoteOutcome
from multirsh.testing import FakeTransport
from multirsh.testing.fakes import WELL, FakeConnection
from multirsh.transports.base import Sink, Stdin

NEVER = HostOutcome()
STARTED = HostOutcome(is_started=True)
OUTCOMES = st.builds(
    HostOutcome,
    st.none() | st.sampled_from(Status),
    st.none() | st.sampled_from(Phase),
    is_started=st.booleans(),
)


@pytest.mark.parametrize(
    ("outcome", "where"),
    [
        (HostOutcome(Status.OK), Standing.OK),
        (HostOutcome(Status.FAILED), Standing.FAILED),
        (HostOutcome(Status.SIGNALLED), Standing.FAILED),
        (HostOutcome(Status.LOST, Phase.RUN), Standing.UNKNOWN),
        (HostOutcome(Status.TIMEOUT, Phase.RUN), Standing.UNKNOWN),
        (HostOutcome(Status.TIMEOUT, Phase.CONNECT), Standing.UNREACHABLE),
        (HostOutcome(Status.CANCELLED, Phase.RUN), Standing.UNKNOWN),
        (HostOutcome(Status.CANCELLED, Phase.AUTH), Standing.NOTRUN),
        (HostOutcome(Status.LOCAL, Phase.PORT), Standing.UNREACHABLE),
        (HostOutcome(Status.LOCAL, Phase.RUN), Standing.UNKNOWN),
        (HostOutcome(Status.AUTH, Phase.SUDO), Standing.UNREACHABLE),
        (HostOutcome(Status.NOT_RUN), Standing.NOTRUN),
        (NEVER, Standing.NOTRUN),
        (STARTED, Standing.UNKNOWN),
    ],
)
def test_where_a_host_belongs(outcome: HostOutcome, where: Standing) -> None:
    assert standing_of(outcome) is where


@given(OUTCOMES)
def test_every_ending_belongs_somewhere(outcome: HostOutcome) -> None:
    assert standing_of(outcome) in Standing


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), OUTCOMES), max_size=4))
def test_a_chain_of_resumed_runs_forgets_nobody_and_settles_no_doubt_by_silence(
    runs: list[dict[str, HostOutcome]],
) -> None:
    first = dict.fromkeys("abcdef", NEVER)
    plan: dict[str, Any] = {"command": "true"}
    found = standings(plan, first)
    has_begun: set[str] = set()
    for number, outcomes in enumerate(runs):
        left = {host: one for host, one in outcomes.items() if found[host] not in DONE}
        has_begun |= {
            host
            for host, one in left.items()
            if standing_of(one) in DONE or standing_of(one) is Standing.UNKNOWN
        }
        plan = resumed({"command": "true"}, f"r{number}", found)
        found = standings(plan, left)
        assert list(found) == list("abcdef")
        assert set(hosts_standing(found, *DONE, Standing.UNKNOWN)) == has_begun
        again = standings(resumed(plan, "next", found), {})
        assert {host: one for host, one in again.items() if one is not Standing.NOTRUN} == {
            host: found[host] for host in again if host in has_begun
        }


PLAN = {"kind": "run", "command": "uptime", "sudo": "root", "env": ["A"], "script": "12"}


@pytest.mark.parametrize(
    ("change", "hosts", "words"),
    [
        ({}, "ab", []),
        ({}, "ba", []),
        ({"cwd": None, "env": ["A"]}, "ab", []),
        ({"command": "uptime -p"}, "ab", ["the command: uptime before, uptime -p now"]),
        ({"sudo": None}, "ab", ["--sudo: root before, none now"]),
        ({"env": ["A", "B"]}, "ab", ["the variables of --env: A before, A, B now"]),
        ({"script": "13"}, "ab", ["the script's content has changed"]),
        ({"template": True}, "ab", ["--template: none before, given now"]),
        (
            {"copy": ["recursive", "links skip"]},
            "ab",
            ["how files are copied: none before, recursive, links skip now"],
        ),
        ({"tty": True}, "a", ["--tty: none before, given now", "the selection is without b"]),
        ({}, "abc", ["the selection has c, too"]),
    ],
)
def test_what_differs_is_said(change: dict[str, Any], hosts: str, words: list[str]) -> None:
    assert differences(PLAN, "ab", PLAN | change, hosts) == words


class _Noting(FakeConnection):
    """Notes how much of the record there was when its command was sent."""

    record: Path
    noted: dict[str, int]

    async def run(
        self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False
    ) -> RemoteOutcome:
        self.noted[self.host.name] = self.record.stat().st_size
        sink.write("stdout", b"ran\n")
        return await super().run(command, sink, stdin, tty=tty)


@pytest.mark.usefixtures("no_leaks")
async def test_no_record_that_breaks_off_anywhere_forgets_a_host_whose_command_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multirsh.journal.recorder.os.fdatasync", lambda _: time.sleep(0.002))
    journal, broken = Journal(tmp_path / "runs"), Journal(tmp_path / "broken")
    broken.folder.mkdir()
    names = [f"h{number:02}" for number in range(40)]
    noted: dict[str, int] = {}

    class Transport(FakeTransport):
        def connection(self, host: Host) -> FakeConnection:
            connection = _Noting(host, WELL)
            connection.record, connection.noted = journal.folder / f"{run.id}.ndjson", noted
            return connection

    fleet = Fleet(
        [Host(name) for name in names], limits=Limits(fanout=4), transports={TransportName.SSH: Transport()}
    )
    async with fleet:
        run = fleet.run("true", journal=Recorder(journal))
        await run.gather()
    assert set(noted) == set(names)
    data = (journal.folder / f"{run.id}.ndjson").read_bytes()
    begins = data.index(b"\n", data.index(b"\n") + 1) + 1
    rng = random.Random(43)
    for cut in [begins, len(data), *(rng.randint(begins, len(data)) for _ in range(200))]:
        (broken.folder / f"{run.id}.ndjson").write_bytes(data[:cut])
        entry = broken._look(run.id)
        found = standings({}, broken.outcomes(entry))
        assert list(found) == names
        sent = {host for host, size in noted.items() if size <= cut}
        assert sent <= set(hosts_standing(found, *DONE, Standing.UNKNOWN)), cut
        assert len(hosts_standing(found, Standing.UNKNOWN)) <= 8


WAY = RouteSettings(settings=Settings(user="deploy", port=22, jump="none", transport="ssh"))
ROUTE = HostRoute("web1.lan", "10.0.0.1", WAY)


def test_what_is_reached_otherwise_is_said_once_for_equal_differences() -> None:
    before = {f"web{number}": HostRoute(f"web{number}", f"10.0.0.{number}", WAY) for number in range(1, 5)}
    way = replace(WAY, settings=replace(WAY.settings, user="root", jump="gw"), hops=(("gw", "10.0.0.9"),))
    now = {name: replace(route, way=way) for name, route in before.items()} | {
        "web4": HostRoute("web4.lan", "10.0.0.4", WAY),  # by another name, and the same place
        "web5": ROUTE,
    }
    assert route_differences(before, now) == [
        "web[1-3]: user deploy in the record, root now, jump none in the record, gw (10.0.0.9) now"
    ]
    other = replace(WAY, program="1" * 64)
    assert route_differences({"db": ROUTE}, {"db": replace(ROUTE, way=other)}) == [
        "db: the command that carries the connection has changed"
    ]


def test_many_differences_are_counted() -> None:
    before = {f"web{number}": HostRoute(f"web{number}", f"10.0.0.{number}", WAY) for number in range(15)}
    now = {name: replace(route, address=f"{route.address}9") for name, route in before.items()}
    lines = route_differences(before, now)
    assert len(lines) == 11
    assert lines[-1] == "5 more hosts have other routes than recorded"
