"""Whom a later run takes from an earlier one, and when it is not the same run."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.engine.fleet import Fleet
from multirsh.engine.limits import Limits
from multirsh.journal import Journal, Outcome, Recorder
from multirsh.journal.resuming import (
    DONE,
    Which,
    differences,
    resumed,
    standing,
    standings,
    which,
)
from multirsh.model import Host, Phase, Status, TransportName
from multirsh.model import Outcome as Told
from multirsh.testing import FakeTransport
from multirsh.testing.fakes import WELL, FakeConnection
from multirsh.transports.base import Sink, Stdin

NEVER = Outcome()
STARTED = Outcome(is_started=True)
OUTCOMES = st.builds(
    Outcome,
    st.none() | st.sampled_from(Status),
    st.none() | st.sampled_from(Phase),
    is_started=st.booleans(),
)


@pytest.mark.parametrize(
    ("outcome", "where"),
    [
        (Outcome(Status.OK), Which.OK),
        (Outcome(Status.FAILED), Which.FAILED),
        (Outcome(Status.SIGNALLED), Which.FAILED),
        (Outcome(Status.LOST, Phase.RUN), Which.UNKNOWN),
        (Outcome(Status.TIMEOUT, Phase.RUN), Which.UNKNOWN),
        (Outcome(Status.TIMEOUT, Phase.CONNECT), Which.UNREACHABLE),
        (Outcome(Status.CANCELLED, Phase.RUN), Which.UNKNOWN),
        (Outcome(Status.CANCELLED, Phase.AUTH), Which.NOTRUN),
        (Outcome(Status.LOCAL, Phase.PORT), Which.UNREACHABLE),
        (Outcome(Status.LOCAL, Phase.RUN), Which.UNKNOWN),
        (Outcome(Status.AUTH, Phase.SUDO), Which.UNREACHABLE),
        (Outcome(Status.NOT_RUN), Which.NOTRUN),
        (NEVER, Which.NOTRUN),
        (STARTED, Which.UNKNOWN),
    ],
)
def test_where_a_host_belongs(outcome: Outcome, where: Which) -> None:
    assert which(outcome) is where


@given(OUTCOMES)
def test_every_ending_belongs_somewhere(outcome: Outcome) -> None:
    assert which(outcome) in Which


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), OUTCOMES), max_size=4))
def test_a_chain_of_resumed_runs_forgets_nobody_and_settles_no_doubt_by_silence(
    runs: list[dict[str, Outcome]],
) -> None:
    first = dict.fromkeys("abcdef", NEVER)
    plan: dict[str, Any] = {"command": "true"}
    found = standings(plan, first)
    has_begun: set[str] = set()
    for number, outcomes in enumerate(runs):
        left = {host: one for host, one in outcomes.items() if found[host] not in DONE}
        has_begun |= {host for host, one in left.items() if which(one) in DONE or which(one) is Which.UNKNOWN}
        plan = resumed({"command": "true"}, f"r{number}", found)
        found = standings(plan, left)
        assert list(found) == list("abcdef")
        assert set(standing(found, *DONE, Which.UNKNOWN)) == has_begun
        again = standings(resumed(plan, "next", found), {})
        assert {host: one for host, one in again.items() if one is not Which.NOTRUN} == {
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

    async def run(self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False) -> Told:
        self.noted[self.host.name] = self.record.stat().st_size
        sink.write("stdout", b"ran\n")
        return await super().run(command, sink, stdin, tty=tty)


@pytest.mark.usefixtures("no_leaks")
async def test_no_record_that_breaks_off_anywhere_forgets_a_host_whose_command_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multirsh.journal.record_file.os.fdatasync", lambda _: time.sleep(0.002))
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
        assert sent <= set(standing(found, *DONE, Which.UNKNOWN)), cut
        assert len(standing(found, Which.UNKNOWN)) <= 8
