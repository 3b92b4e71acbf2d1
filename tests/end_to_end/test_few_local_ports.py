"""More commands than local ports, to one destination, by the command line: nobody fails for want of a port.

Ten ports stand for the 28,232 that Linux gives; the full sizes are in ``tests/bench/bench_ports.py`` and
``bench_pool_full.py``.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.few_ports import KEEP_TIME_WAIT, FromFewPorts, OtherProgram
from tests.servers.hooked import Conduct, HookedServer, answers
from tests.servers.namespace import Namespace

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

FIRST, LAST = 40000, 40009
PORTS = LAST - FIRST + 1
HOSTS = 100


@pytest.fixture
def few() -> Iterator[Namespace]:
    """A namespace of 10 local ports."""
    with Namespace(local_ports=(FIRST, LAST), sysctls=KEEP_TIME_WAIT) as namespace:
        yield namespace


@pytest.fixture
def server(few: Namespace) -> Iterator[HookedServer]:
    """A server in it that runs every command at once, so that what is short is ports."""
    with HookedServer(Conduct(session=answers(b"ok\n")), namespace=few, address="0.0.0.0") as hooked:
        yield hooked


@pytest.mark.parametrize("fanout", [1, 64])
def test_ten_times_as_many_commands_as_ports(
    few: Namespace, server: HookedServer, tmp_path: Path, *, fanout: int
) -> None:
    told = FromFewPorts.on(server, HOSTS, few, tmp_path).run("-j", str(fanout), "true")
    assert few.client_side([server.port]) == ()
    assert told.endings == {("ok", None, "remote"): HOSTS}
    assert told.code == 0
    assert all(FIRST <= end["local_port"] <= LAST for end in told.finished)
    ports = told.run["ports"]
    assert ports["closed_by"] == {"remote": HOSTS, "local": 0, "reset": 0}
    assert ports["time_wait_left"] == 0
    assert ports["peak"] <= PORTS
    assert ("waited for one" in told.errors) == (fanout > PORTS)


def test_what_others_left_in_time_wait_is_left_alone(
    few: Namespace, server: HookedServer, tmp_path: Path
) -> None:
    with OtherProgram(few, server.port, PORTS - 4) as others:
        others.close_first()
    told = FromFewPorts.on(server, HOSTS, few, tmp_path).run("-j", "64", "true")
    assert told.endings == {("ok", None, "remote"): HOSTS}
    assert told.run["ports"]["peak"] <= 4
    assert told.run["ports"]["time_wait_left"] == 0, "theirs are not ours"
    assert len(few.client_side([server.port], state="TIME-WAIT")) == PORTS - 4


def test_a_pool_full_of_others_is_waited_for_and_the_wait_is_told(
    few: Namespace, server: HookedServer, tmp_path: Path
) -> None:
    runs = FromFewPorts.on(server, 10, few, tmp_path)
    with OtherProgram(few, server.port, PORTS) as others, runs.start("-t", "2", "true") as process:
        assert process.stderr is not None
        warning = process.stderr.readline()
        time.sleep(1.5)  # a second has passed by then, and with this -t, which does not count such waits
        others.reset()
        told = runs.end(process, said=warning)
    assert warning.startswith(f"no local port is free towards 127.1.0.1 port {server.port}".encode())
    assert told.endings == {("ok", None, "remote"): 10}
    assert told.code == 0
    assert "8 waited for one, up to" in told.errors.splitlines()[-1], "the logins that are begun at once"
    assert few.client_side([server.port]) == ()


def test_a_port_that_never_comes_fails_only_after_the_time_allowed(
    few: Namespace, server: HookedServer, tmp_path: Path
) -> None:
    runs = FromFewPorts.on(server, 10, few, tmp_path)
    with OtherProgram(few, server.port, PORTS):
        began = time.monotonic()
        told = runs.run("--port-wait", "1", "true")
        assert time.monotonic() - began > 1
    assert told.endings == {("local", "port", None): 10}
    assert told.code == 4
    assert {end["error"]["kind"] for end in told.finished} == {"ports"}
    assert all(end["seconds"]["total"] >= 1 for end in told.finished), "none before its time"
    assert told.run["ports"]["peak"] == 0


def test_two_runs_share_the_few_there_are(few: Namespace, server: HookedServer, tmp_path: Path) -> None:
    """Each is the other's other program, of which only the kernel knows."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    with (
        FromFewPorts.on(server, 100, few, one).start("-j", "64", "true") as first,
        FromFewPorts.on(server, 100, few, two).start("-j", "64", "true") as second,
    ):
        both = [FromFewPorts.end(process) for process in (first, second)]
    for told in both:
        assert told.endings == {("ok", None, "remote"): 100}
        assert told.run["ports"]["time_wait_left"] == 0
    assert few.client_side([server.port]) == ()


def test_a_budget_leaves_the_rest_to_others(few: Namespace, server: HookedServer, tmp_path: Path) -> None:
    told = FromFewPorts.on(server, 100, few, tmp_path).run("-j", "64", "--ports", "25%", "true")
    assert told.endings == {("ok", None, "remote"): 100}
    assert told.run["ports"]["peak"] <= PORTS // 4
    assert {end["local_port"] for end in told.finished} <= set(range(LAST - PORTS // 4 + 1, LAST + 1))


@pytest.mark.parametrize("options", [(), ("--ports", "25%", "--bind", "::1")])
def test_ipv6_has_the_same_few(few: Namespace, tmp_path: Path, options: tuple[str, ...]) -> None:
    conduct = Conduct(session=answers(b"ok\n"))
    with HookedServer(conduct, namespace=few, address="::1", port=2200) as server:
        told = FromFewPorts.on(server, 100, few, tmp_path, address="::1").run("-j", "64", *options, "true")
        assert few.client_side([2200]) == ()
    assert told.endings == {("ok", None, "remote"): 100}
    assert told.run["ports"]["peak"] <= (PORTS // 4 if options else PORTS)
    assert told.run["ports"]["time_wait_left"] == 0
    first = LAST - PORTS // 4 + 1 if options else FIRST
    assert {end["local_port"] for end in told.finished} <= set(range(first, LAST + 1))


def test_another_source_address_has_ports_of_its_own(
    few: Namespace, server: HookedServer, tmp_path: Path
) -> None:
    runs = FromFewPorts.on(server, 100, few, tmp_path)
    with OtherProgram(few, server.port, PORTS) as others:
        assert few.client_side([server.port])[0].local.address == "127.0.0.1"
        told = runs.run("-j", "64", "--bind", "127.0.0.9", "true")
        others.reset()
    assert told.endings == {("ok", None, "remote"): 100}
    assert told.run["ports"]["peak"] <= PORTS
    assert few.client_side([server.port]) == ()


@pytest.mark.parametrize("reuse", ["1", "2"])
def test_time_wait_that_the_kernel_reuses_is_not_waited_for(
    few: Namespace, server: HookedServer, tmp_path: Path, *, reuse: str
) -> None:
    """As Linux does by default on loopback (2), and anywhere if told so (1): after a second."""
    with OtherProgram(few, server.port, PORTS) as others:
        others.close_first()
    few.set_sysctl("net.ipv4.tcp_tw_reuse", reuse)
    told = FromFewPorts.on(server, HOSTS, few, tmp_path).run("-j", "64", "--port-wait", "30", "true")
    assert told.endings == {("ok", None, "remote"): HOSTS}
    assert max(end["seconds"]["total"] for end in told.finished) < 30
    assert told.run["ports"]["time_wait_left"] == 0


def test_who_waits_for_a_port_can_be_stopped(few: Namespace, server: HookedServer, tmp_path: Path) -> None:
    runs = FromFewPorts.on(server, 10, few, tmp_path)
    with OtherProgram(few, server.port, PORTS), runs.start("-j", "5", "true") as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        told = runs.end(process, said=said)
    assert told.endings == {("cancelled", "port", None): 5, ("not_run", None, None): 5}
    assert told.code == 143


@pytest.mark.bench
def test_a_pool_full_of_others_time_wait_is_outlasted(
    few: Namespace, server: HookedServer, tmp_path: Path
) -> None:
    """Really: the kernel's 60 seconds."""
    with OtherProgram(few, server.port, PORTS) as others:
        others.close_first()
    told = FromFewPorts.on(server, HOSTS, few, tmp_path).run("-j", "64", "true")
    assert told.endings == {("ok", None, "remote"): HOSTS}
    assert few.client_side([server.port]) == ()
    assert max(end["seconds"]["total"] for end in told.finished) > 55
    assert "waiting for the first, in about" in told.errors
    assert "waited for one, up to" in told.errors
