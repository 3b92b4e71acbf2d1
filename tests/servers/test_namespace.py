"""The namespace is apart, hides no TIME_WAIT, and tests stand in it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.servers.namespace import Endpoint, Namespace, SocketRow, parse_ss
from tests.servers.processes import wait_until_gone
from tests.servers.requirement import require_root
from tests.waiting import HANG_GUARD_S

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

PROJECT = Path(__file__).parents[2]

SS_OUTPUT = """\
LISTEN     0      128          0.0.0.0:2200       0.0.0.0:*
ESTAB      0      0          127.0.0.1:40000    127.0.0.9:2200  users:(("ssh",pid=1,fd=3))
TIME-WAIT  0      0              [::1]:40001        [::1]:22
LISTEN     0      5      127.0.0.1%lo:53                *:*
"""


def network_of_this_thread() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def listener() -> socket.socket:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def test_ss_rows_are_read() -> None:
    assert parse_ss(SS_OUTPUT) == (
        SocketRow("LISTEN", Endpoint("0.0.0.0", 2200), Endpoint("0.0.0.0", 0)),
        SocketRow("ESTAB", Endpoint("127.0.0.1", 40000), Endpoint("127.0.0.9", 2200)),
        SocketRow("TIME-WAIT", Endpoint("::1", 40001), Endpoint("::1", 22)),
        SocketRow("LISTEN", Endpoint("127.0.0.1", 53), Endpoint("*", 0)),
    )


def test_settings_are_the_namespaces_own() -> None:
    outside = Path("/proc/sys/net/ipv4/tcp_tw_reuse").read_text().strip()
    ports = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    with Namespace(local_ports=(3000, 3009), sysctls={"net.ipv4.tcp_fin_timeout": "7"}) as namespace:
        assert namespace.sysctl("net.ipv4.tcp_tw_reuse") == "0"
        assert namespace.sysctl("net.ipv4.ip_local_port_range").split() == ["3000", "3009"]
        assert namespace.sysctl("net.ipv4.tcp_fin_timeout") == "7"
        seen = namespace.run(["cat", "/proc/sys/net/ipv4/tcp_tw_reuse"]).stdout
        assert seen == b"0\n"
    assert Path("/proc/sys/net/ipv4/tcp_tw_reuse").read_text().strip() == outside
    assert Path("/proc/sys/net/ipv4/ip_local_port_range").read_text() == ports


def test_settings_are_written_where_proc_is_read_only() -> None:
    """As in a container: a process that sees /proc/sys read-only still makes a namespace."""
    require_root()
    script = (
        # /proc is a mount even where the root is none, as in a chroot; private: nobody else sees this.
        "mount --make-rprivate /proc && mount --bind /proc/sys /proc/sys"
        " && mount -o remount,ro,bind /proc/sys"
        ' && ! (echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse) 2>/dev/null && exec "$0" -c "$1"'
    )
    python = (
        "from tests.servers.namespace import Namespace\n"
        "with Namespace() as n: print(n.sysctl('net.ipv4.tcp_tw_reuse'))"
    )
    private = ["unshare", "--mount", "--propagation", "unchanged"]
    done = subprocess.run(
        [*private, "sh", "-c", script, sys.executable, python], check=False, capture_output=True, cwd=PROJECT
    )
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_loopback_is_up_and_apart(namespace: Namespace) -> None:
    with namespace.entered(), listener() as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S).close()
        assert [row.local.port for row in namespace.sockets("LISTEN")] == [port]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S)


def test_only_the_calling_thread_moves_and_it_comes_back(namespace: Namespace) -> None:
    home = network_of_this_thread()
    seen: list[str] = []
    asked, answered = threading.Event(), threading.Event()

    def look() -> None:
        asked.wait(5)
        seen.append(network_of_this_thread())
        answered.set()

    before = threading.Thread(target=look)
    before.start()
    with contextlib.suppress(KeyError), namespace.entered():
        inside = network_of_this_thread()
        asked.set()
        answered.wait(5)
        born_inside = threading.Thread(target=look)
        born_inside.start()
        born_inside.join()
        raise KeyError
    before.join()
    assert network_of_this_thread() == home
    assert seen == [home, inside]
    assert inside != home


async def test_an_async_test_stands_in_it(in_namespace: Namespace) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 2300):
        # A name, so that the loop's resolver thread is asked too.
        reader, writer = await asyncio.open_connection("localhost", 2300, family=socket.AF_INET)
        assert await reader.read() == b""
        assert in_namespace.client_side([2300]) != ()
        writer.close()
        await writer.wait_closed()
        assert await asyncio.to_thread(network_of_this_thread) == network_of_this_thread()
        child = await asyncio.create_subprocess_exec(
            "readlink", "/proc/self/ns/net", stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await child.communicate()
        assert printed.decode().strip() == network_of_this_thread()


@pytest.mark.parametrize("client_first", [True, False])
def test_the_end_that_closes_first_is_in_time_wait(in_namespace: Namespace, *, client_first: bool) -> None:
    with listener() as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        first, second = (client, accepted) if client_first else (accepted, client)
        first.close()
        assert second.recv(1) == b""
        second.close()
    waiting = in_namespace.sockets("TIME-WAIT")
    assert len(waiting) == 1
    assert len(in_namespace.client_side([port], state="TIME-WAIT")) == int(client_first)
    assert in_namespace.client_side([port]) == (waiting if client_first else ())


def test_the_void_answers_nothing(in_namespace: Namespace) -> None:
    in_namespace.add_void("10.9.0.0/24")
    with socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.connect(("10.9.0.77", 22))
        assert [row.state for row in in_namespace.client_side([22])] == ["SYN-SENT"]


def test_linked_namespaces_reach_each_other(in_namespace: Namespace) -> None:
    with Namespace() as other:
        in_namespace.link(other, here="10.8.0.1", there="10.8.0.2", network="10.9.0.0/16")
        with other.entered():
            server = socket.create_server(("0.0.0.0", 2300))
        with server:
            for address in ("10.8.0.2", "10.9.0.1", "10.9.200.3"):
                with socket.create_connection((address, 2300), timeout=HANG_GUARD_S):
                    accepted, peer = server.accept()
                    with accepted:
                        assert peer[0] == "10.8.0.1"
                        assert accepted.getsockname()[0] == address
                        (row,) = in_namespace.client_side([2300])
                        assert (row.local.address, row.peer.address) == ("10.8.0.1", address)
        assert not other.client_side([2300]), "each has its own end only"


def test_commands_report_what_they_printed(namespace: Namespace) -> None:
    assert namespace.run(["cat"], stdin=b"in").stdout == b"in"
    assert namespace.run(["sh", "-c", "exit 3"], check=False).returncode == 3
    with pytest.raises(subprocess.CalledProcessError) as caught:
        namespace.run(["sh", "-c", "echo why >&2; exit 3"])
    assert caught.value.__notes__ == ["why\n"]
    with namespace.popen(["sh", "-c", "echo $$; cat"]) as child:
        assert child.stdout is not None
        assert int(child.stdout.readline()) == child.pid


def test_the_holder_ends_with_its_owner() -> None:
    """However the owner ends: here it is killed and has no time to tidy."""
    require_root()
    script = (
        "import os, signal\n"
        "from tests.servers.namespace import Namespace\n"
        "print(Namespace().pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, cwd=PROJECT)
    assert done.returncode == -9
    assert not wait_until_gone({int(done.stdout)})
