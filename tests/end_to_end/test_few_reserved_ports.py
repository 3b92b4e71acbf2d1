"""More commands by rsh than there are reserved ports, and more connections at once, by the command line.

The servers are in a namespace of their own, so that their TIME_WAIT and their back-connections' ports are
theirs, as with real hosts. The full sizes are in ``tests/bench/bench_rsh.py``.
"""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.few_ports import FromFewPorts, every_reserved_port, light_rshd
from tests.servers.namespace import Namespace
from tests.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

RESERVED = range(512, 1024)
HOSTS = 60
HELD_EACH = 5


@pytest.fixture
def there(namespace: Namespace) -> Iterator[Namespace]:
    """Where the servers are: every 10.9.x.y, seen from ``namespace``."""
    with Namespace() as other:
        namespace.link(other, network="10.9.0.0/16")
        yield other


@pytest.mark.parametrize("stderr", ["separate", "merged"])
def test_more_commands_than_reserved_ports(
    namespace: Namespace, there: Namespace, tmp_path: Path, *, stderr: str
) -> None:
    names = "".join(f"  - h{number:03}: {{address: 10.9.0.1}}\n" for number in range(600))
    runs = FromFewPorts(namespace, tmp_path, f"hosts:\n{names}", ["-R", "rsh", "--rsh-stderr", stderr])
    with light_rshd(there):
        told = runs.run("-j", "64", "true")
        assert namespace.sockets() == (), "no TIME_WAIT, no listener, nothing"
    assert told.endings == {("ok", None, "remote"): 600}
    assert told.code == 0
    assert all(end["local_port"] in RESERVED for end in told.finished)
    connections = 600 if stderr == "merged" else 1200
    assert told.run["ports"]["closed_by"] == {"remote": connections, "local": 0, "reset": 0}
    assert told.run["ports"]["time_wait_left"] == 0


def test_reserved_ports_that_others_have_are_waited_for_and_it_is_one_wait(
    namespace: Namespace, there: Namespace, tmp_path: Path
) -> None:
    """Who knows nothing of their end but the kernel's refusal tries again and again, and says so once."""
    names = "".join(f"  - h{number}: {{address: 10.9.0.{number + 1}}}\n" for number in range(10))
    runs = FromFewPorts(namespace, tmp_path, f"hosts:\n{names}", ["-R", "rsh", "--rsh-stderr", "merged"])
    with (
        light_rshd(there),
        every_reserved_port(namespace) as theirs,
        runs.start("-t", "2", "true") as process,
    ):
        assert process.stderr is not None
        said = process.stderr.readline() + process.stderr.readline()
        time.sleep(1.5)  # a second has passed by then, and with this -t, which does not count such waits
        theirs.close()
        told = runs.end(process, said=said)
    assert b"no reserved port is free towards 10.9.0." in said
    assert told.endings == {("ok", None, "remote"): 10}
    last = told.errors.splitlines()[-1]
    waited = re.search(r" (\d+) waited for one, up to (\d+\.\d) s", last)
    assert waited is not None, last
    assert int(waited[1]) == 10
    assert float(waited[2]) > 2
    assert namespace.sockets() == ()


def test_five_reserved_ports_hold_three_hundred_connections(
    namespace: Namespace, there: Namespace, tmp_path: Path
) -> None:
    """A port is unique to a destination: five of them are enough for five connections to each of 60 hosts."""
    names = "".join(
        f"  - h{host:02}-{number}: {{address: 10.9.0.{host + 1}}}\n"
        for host in range(HOSTS)
        for number in range(HELD_EACH)
    )
    arguments = ["-R", "rsh", "--rsh-stderr", "merged", "--ports", str(HELD_EACH), "-j", "1000"]
    runs = FromFewPorts(namespace, tmp_path, f"hosts:\n{names}", arguments)
    with light_rshd(there) as server, runs.start("hold") as process:
        wait_until(lambda: len(namespace.sockets("ESTAB")) == HOSTS * HELD_EACH, what="all are connected")
        rows = namespace.sockets()
        server.send_signal(signal.SIGUSR1)
        told = runs.end(process)
        assert namespace.sockets() == ()
    assert Counter(row.state for row in rows) == {"ESTAB": HOSTS * HELD_EACH}
    assert {row.local.port for row in rows} == set(range(1023, 1023 - HELD_EACH, -1))
    assert set(Counter(row.peer.address for row in rows).values()) == {HELD_EACH}
    assert told.endings == {("ok", None, "remote"): HOSTS * HELD_EACH}
    assert told.run["ports"]["peak"] == HOSTS * HELD_EACH
    assert "waited" not in told.errors
