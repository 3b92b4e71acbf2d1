"""A network namespace of a test's own, in which loopback does not hide TIME_WAIT.

The namespace lives as long as a child process that stands in it, so nothing
is mounted and nothing is left behind: when the test process dies, however it
dies, the child reads end of file from its pipe and ends, and the namespace
with it.

Sources: network_namespaces(7), setns(2), nsenter(1), ss(8), and the kernel's
Documentation/networking/ip-sysctl.rst for ``tcp_tw_reuse``.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.servers.requirement import program, require_root
from tests.servers.stoppable import Stoppable
from tests.waiting import HANG_GUARD_S

CLONE_NEWNET: Final = 0x40000000
"""Kind of namespace, for setns(2); from <sched.h>."""

"""Seconds for the holder to end after its input did."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a socket as ss(8) shows it; port 0 stands for ``*``."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class SocketRow:
    """One TCP socket of a namespace.

    Attributes:
        state: As ss(8) prints it: ``ESTAB``, ``TIME-WAIT``, ``FIN-WAIT-1``, ``CLOSE-WAIT``, ``LISTEN``...
        local: This end.
        peer: The other end.
    """

    state: str
    local: Endpoint
    peer: Endpoint


def parse_endpoint(text: str) -> Endpoint:
    """Read ``127.0.0.1:22``, ``[::1]:22``, ``127.0.0.1%lo:22`` or ``*:*``."""
    address, _, port = text.rpartition(":")
    bare = address.removeprefix("[").removesuffix("]").partition("%")[0]
    return Endpoint(bare, 0 if port == "*" else int(port))


def parse_ss(text: str) -> tuple[SocketRow, ...]:
    """Read what ``ss -Htan`` printed: state, two queues, local end, peer's end."""
    rows = []
    for line in text.splitlines():
        state, _receive_queue, _send_queue, local, peer = line.split()[:5]
        rows.append(SocketRow(state, parse_endpoint(local), parse_endpoint(peer)))
    return tuple(rows)


class Namespace(Stoppable):
    """A network namespace with loopback up and ``tcp_tw_reuse`` off, held by a child process.

    Every 127.x.y.z is a host in it. Use it as a context manager, or call ``close()``.

    Args:
        local_ports: First and last of ``ip_local_port_range``; ``None`` leaves the kernel's choice.
        sysctls: More settings by name, such as ``{"net.ipv4.tcp_timestamps": "0"}``.
    """

    def __init__(
        self, *, local_ports: tuple[int, int] | None = None, sysctls: Mapping[str, str] | None = None
    ) -> None:
        require_root()
        self._nsenter = str(program("nsenter", package="util-linux"))
        self._ss = str(program("ss", package="iproute2"))
        self._ip = str(program("ip", package="iproute2"))
        self._holder = subprocess.Popen(
            [program("unshare", package="util-linux"), "--net", "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self._await_holder()
            self.run([self._ip, "link", "set", "lo", "up"])
            # 2, the default, reuses on loopback at once, which would hide what the tests look for.
            self.set_sysctl("net.ipv4.tcp_tw_reuse", "0")
            if local_ports is not None:
                self.set_sysctl("net.ipv4.ip_local_port_range", "{} {}".format(*local_ports))
            for name, value in (sysctls or {}).items():
                self.set_sysctl(name, value)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Process id of the holder, for ``nsenter -t``."""
        return self._holder.pid

    def stop(self) -> None:
        """End the holder; the namespace goes when its last process has."""
        for pipe in (self._holder.stdin, self._holder.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._holder.wait(HANG_GUARD_S)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()

    def argv(self, argv: Sequence[str | Path]) -> list[str]:
        """Word a command so that it runs in the namespace; it keeps its process id (nsenter execs)."""
        return [self._nsenter, f"--net=/proc/{self.pid}/ns/net", "--", *map(str, argv)]

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = HANG_GUARD_S,
        check: bool = True,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the namespace to its end and capture what it printed.

        Args:
            argv: Program and arguments.
            stdin: What it reads; ``None`` is /dev/null.
            env: Its whole environment; ``None`` passes ours.
            timeout_s: Seconds before it is killed.
            check: Whether a non-zero status raises.

        Raises:
            subprocess.CalledProcessError: It ended with a non-zero status and ``check`` was true.
            subprocess.TimeoutExpired: It took longer than ``timeout_s``.
        """
        done = subprocess.run(
            self.argv(argv),
            stdin=subprocess.DEVNULL if stdin is None else None,
            input=stdin,
            capture_output=True,
            env=env,
            timeout=timeout_s,
            check=False,
        )
        if check:
            try:
                done.check_returncode()
            except subprocess.CalledProcessError as error:
                error.add_note(done.stderr.decode(errors="replace"))
                raise
        return done

    def popen(
        self,
        argv: Sequence[str | Path],
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] | None = subprocess.PIPE,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command in the namespace; its ``pid`` is the command's own."""
        return subprocess.Popen(self.argv(argv), stdin=stdin, stdout=stdout, stderr=stderr, env=env)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Stand the calling thread in the namespace, and bring it back.

        Sockets are born where their thread stands, and threads and children
        where their parent stood; sockets and event loops that exist already
        stay as they are.
        """
        with (
            Path("/proc/thread-self/ns/net").open("rb") as home,
            Path(f"/proc/{self.pid}/ns/net").open("rb") as there,
        ):
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def set_sysctl(self, name: str, value: str) -> None:
        """Write one ``net.*`` setting of this namespace, such as ``net.ipv4.tcp_tw_reuse``."""
        path = Path("/proc/sys", *name.split("."))
        try:
            with self.entered():
                path.write_text(value)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            # Containers show /proc/sys read-only. A child with its own view of the mounts may undo that for
            # itself: remounting is not propagated, so nobody else's /proc becomes writable.
            self.run(
                [
                    *(program("unshare", package="util-linux"), "--mount", "--propagation", "unchanged"),
                    *("sh", "-c", 'mount -o remount,rw,bind /proc/sys && printf %s "$2" > "$1"'),
                    *("sh", path, value),
                ]
            )

    def sysctl(self, name: str) -> str:
        """Read one ``net.*`` setting of this namespace."""
        with self.entered():
            return Path("/proc/sys", *name.split(".")).read_text().strip()

    def add_void(self, network: str = "10.9.0.0/24") -> None:
        """Route ``network`` to where packets vanish: its hosts answer neither SYN nor anything else.

        The far end of a pair of interfaces hears the packets, finds them addressed to nobody here, and drops
        them; without ARP, or ND, nobody notices that nobody is there. One void to a namespace.
        """
        first = next(ipaddress.ip_network(network).hosts())
        prefix = network.partition("/")[2]
        self.run([self._ip, "link", "add", "void0", "type", "veth", "peer", "name", "void1"])
        # Without duplicate address detection, which is IPv6's: it would take a second.
        detection = ["nodad"] if first.version == 6 else []
        self.run([self._ip, "address", "add", f"{first}/{prefix}", "dev", "void0", *detection])
        self.run([self._ip, "link", "set", "void0", "arp", "off", "up"])
        self.run([self._ip, "link", "set", "void1", "up"])

    def link(
        self,
        other: Namespace,
        *,
        here: str = "10.8.0.1",
        there: str = "10.8.0.2",
        network: str | None = None,
    ) -> None:
        """Join two namespaces by a pair of interfaces. One link to a namespace.

        Args:
            other: The one at the far end.
            here: Our address, IPv4.
            there: Its address, in the same /24.
            network: More addresses that are all the other's, such as ``10.9.0.0/16``; it is routed, so that
                no table of neighbours has to hold them.
        """
        self.run([self._ip, "link", "add", "link0", "type", "veth", "peer", "link1", "netns", str(other.pid)])
        for namespace, name, address in ((self, "link0", here), (other, "link1", there)):
            namespace.run([self._ip, "address", "add", f"{address}/24", "dev", name])
            namespace.run([self._ip, "link", "set", name, "up"])
        if network is not None:
            other.run([self._ip, "route", "add", "local", network, "dev", "lo"])
            self.run([self._ip, "route", "add", network, "via", there])

    def sockets(self, state: str | None = None) -> tuple[SocketRow, ...]:
        """List the namespace's TCP sockets, both ends of loopback connections included.

        Args:
            state: Only this state, as ``SocketRow.state`` has it; ``None`` for all, listeners too.
        """
        rows = parse_ss(self.run([self._ss, "-Htan"]).stdout.decode())
        return tuple(row for row in rows if state is None or row.state == state)

    def client_side(
        self, server_ports: Collection[int], *, state: str | None = None
    ) -> tuple[SocketRow, ...]:
        """List the ends whose peer is a server: on loopback both ends show, and only the client's counts."""
        return tuple(row for row in self.sockets(state) if row.peer.port in server_ports)

    def wait_client_side(self, server_ports: Collection[int], states: Sequence[str]) -> None:
        """Wait until the clients' ends are in exactly ``states``, in any order.

        For states that need an acknowledgement of the other end, which the kernel may delay by 40 ms; what
        must hold at once is asserted on ``client_side``.

        Raises:
            AssertionError: They were not in time; what they were in is in the message.
        """
        deadline = time.monotonic() + HANG_GUARD_S
        while True:
            rows = self.client_side(server_ports)
            if sorted(row.state for row in rows) == sorted(states):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{list(states)} not within {HANG_GUARD_S} s; there are: {rows}")
            time.sleep(0.005)

    def _await_holder(self) -> None:
        """Wait until the holder echoes a line: by then ``unshare`` has made the namespace."""
        stdin, stdout = self._holder.stdin, self._holder.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the holder was started without pipes")
        stdin.write(b"\n")
        stdin.flush()
        if stdout.readline() != b"\n":
            raise RuntimeError("unshare --net failed: no network namespace here")


def _setns(descriptor: int) -> None:
    """Move the calling thread into a network namespace; the os module has setns from Python 3.12 on."""
    if hasattr(os, "setns"):
        os.setns(descriptor, CLONE_NEWNET)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
