"""SSH on the wire, in a namespace where TIME_WAIT shows: every way a host can end, and who closed first."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Limits, StartRate, Timeouts
from multirsh.engine.schedule import governor
from multirsh.events import Event, HostFinished, Output
from multirsh.model import ClosedBy, ErrorKind, Host, HostKeyPolicy, Phase, Settings, Status
from tests.conftest import StartHooked, StartScripted, StartServer
from tests.fleets import SshServer, addresses, fleet_of, hosts_on, known, run_all, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.hooked import (
    AtClose,
    Conduct,
    Link,
    Process,
    answers,
    closes_without_status,
    drops,
    exits_by_signal,
    goes_mute,
    never_ends,
    tears,
)
from tests.servers.keys import make_key
from tests.servers.namespace import Namespace
from tests.servers.relay import SlowRelay
from tests.servers.scripted import (
    BINARY,
    CLOSE_AT_ONCE,
    FIN_AFTER_BANNER_THEN_HOLDS,
    GREETS_AND_CLOSES,
    HTTP,
    JUNK,
    NEVER_READS,
    RESET_AFTER_BANNER,
    RESET_MID_HANDSHAKE,
    SILENT,
    THROTTLED,
    THROTTLED_AT_ONCE,
    RefusingPort,
    Script,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

HOST = "127.1.2.3"

RELAY = """
import os, socket, sys, threading

far = socket.create_connection((sys.argv[1], int(sys.argv[2])))

def back():
    while data := far.recv(65536):
        os.write(1, data)
    os._exit(0)

threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    far.sendall(data)
"""
"""A ProxyCommand: nc(1), for machines that have none."""


@dataclass(frozen=True)
class Ending:
    """One host's run, told."""

    finished: HostFinished
    events: list[Event]

    def output(self, stream: str) -> bytes:
        return b"".join(e.data for e in self.events if isinstance(e, Output) and e.stream == stream)


async def run_one(fleet: Fleet, command: str = "true") -> Ending:
    finished, _, events = await run_all(fleet, command)
    (only,) = finished.values()
    return Ending(only, events)


def fleet_on(
    server: SshServer, folder: Path, *overrides: str, name: str = HOST, **timeouts: float | None
) -> Fleet:
    """One host, which ``server`` is."""
    ssh = ssh_options(known(server, [name], folder), *overrides)
    return fleet_of(hosts_on(server, [name]), ssh, **timeouts)  # type: ignore[arg-type]  # seconds, by name


def nothing_left(namespace: Namespace, ports: Sequence[int]) -> None:
    """Our ends of the connections to ``ports`` are gone: not TIME_WAIT, not FIN_WAIT, not CLOSE_WAIT."""
    assert not namespace.client_side(ports)


class TestSshd:
    """Against OpenSSH, where everything goes well, or the host refuses."""

    @pytest.mark.parametrize(
        ("command", "status", "exit_status", "signal"),
        [
            ("true", Status.OK, 0, None),
            ("exit 3", Status.FAILED, 3, None),
            ("exit 255", Status.FAILED, 255, None),
            ("kill -TERM $$", Status.SIGNALLED, None, "TERM"),
        ],
    )
    async def test_a_command_that_ended_leaves_nothing(
        self,
        command: str,
        status: Status,
        exit_status: int | None,
        signal: str | None,
        sshd: Daemon,
        in_module_namespace: Namespace,
        tmp_path: Path,
    ) -> None:
        ending = await run_one(fleet_on(sshd, tmp_path), command)
        finished = ending.finished
        assert (finished.status, finished.exit_status, finished.signal) == (status, exit_status, signal)
        assert (finished.closed_by, finished.error, finished.attempts) == (ClosedBy.REMOTE, None, 1)
        assert finished.local_port is not None
        seconds = finished.seconds
        assert None not in (seconds.connect, seconds.auth, seconds.run, seconds.close)
        nothing_left(in_module_namespace, [sshd.port])

    async def test_standard_input_is_at_its_end_at_once(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        ending = await run_one(fleet_on(sshd, tmp_path), "cat; echo ended")
        assert ending.output("stdout") == b"ended\n"

    async def test_output_is_bytes_exactly_and_the_streams_are_told_apart(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        command = r"printf '\377\000\033[2J no newline'; printf 'caf\351\n' >&2"
        ending = await run_one(fleet_on(sshd, tmp_path), command)
        assert ending.output("stdout") == b"\xff\0\x1b[2J no newline"
        assert ending.output("stderr") == b"caf\xe9\n"
        assert (ending.finished.stdout_bytes, ending.finished.stderr_bytes) == (17, 5)

    async def test_a_command_goes_as_the_bytes_that_were_typed(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        """In a shell of another encoding, or with a file name of one, argv is no text."""
        typed = b"printf %s gr\xfcn gr\xc3\xbcn"
        ending = await run_one(fleet_on(sshd, tmp_path), typed.decode("utf-8", "surrogateescape"))
        assert ending.output("stdout") == b"gr\xfcngr\xc3\xbcn"

    async def test_a_rekey_in_the_midst_loses_nothing(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        ending = await run_one(fleet_on(sshd, tmp_path, "RekeyLimit=1M"), "seq 1000000")
        assert ending.output("stdout") == b"".join(b"%d\n" % number for number in range(1, 1000001))

    @pytest.mark.bench
    async def test_a_hundred_rekeys_lose_nothing(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        """100 MB."""
        ending = await run_one(fleet_on(sshd, tmp_path, "RekeyLimit=1M"), "seq 13000000")
        whole = b"".join(b"%d\n" % number for number in range(1, 13000001))
        assert len(whole) > 100_000_000
        assert ending.output("stdout") == whole

    async def test_a_wrong_key_is_auth_and_the_remote_closes(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        stranger = str(make_key(tmp_path / "stranger"))
        ssh = ssh_options(known(sshd, [HOST], tmp_path), "PreferredAuthentications=publickey")
        ending = await run_one(fleet_of(hosts_on(sshd, [HOST], identity=stranger), ssh))
        assert ending.finished.status is Status.AUTH
        assert ending.finished.error is not None
        assert (ending.finished.error.kind, ending.finished.error.phase) == (ErrorKind.DENIED, Phase.AUTH)
        assert ending.finished.closed_by is ClosedBy.REMOTE, "asyncssh alone says no goodbye here"
        nothing_left(in_module_namespace, [sshd.port])

    async def test_an_unknown_key_is_refused_and_the_remote_closes(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        sessions = sshd.log.count("Accepted publickey")
        ending = await run_one(fleet_of(hosts_on(sshd, [HOST]), ssh_options(tmp_path / "none")))
        assert ending.finished.status is Status.HOSTKEY
        assert ending.finished.error is not None
        assert ending.finished.error.kind is ErrorKind.HOSTKEY_UNKNOWN
        assert "accept-new" in ending.finished.error.message
        assert ending.finished.closed_by is ClosedBy.REMOTE
        assert sshd.log.count("Accepted publickey") == sessions
        nothing_left(in_module_namespace, [sshd.port])

    @pytest.mark.parametrize("policy", [HostKeyPolicy.STRICT, HostKeyPolicy.ACCEPT_NEW])
    async def test_a_changed_key_is_fatal(
        self, policy: HostKeyPolicy, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
        file = tmp_path / "known_hosts"
        file.write_text(f"# first\n[{HOST}]:{sshd.port} {other[0]} {other[1]}\n")
        ending = await run_one(fleet_of(hosts_on(sshd, [HOST]), ssh_options(file, host_keys=policy)))
        assert ending.finished.status is Status.HOSTKEY
        assert ending.finished.error is not None
        assert ending.finished.error.kind is ErrorKind.HOSTKEY_CHANGED
        assert f"{file}:2" in ending.finished.error.message
        assert ending.finished.closed_by is ClosedBy.REMOTE
        nothing_left(in_module_namespace, [sshd.port])

    async def test_a_revoked_key_is_refused_even_where_nothing_is_checked(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        file = tmp_path / "known_hosts"
        file.write_text(f"@revoked * {sshd.host_key}\n")
        ssh = ssh_options(file, host_keys=HostKeyPolicy.OFF)
        ending = await run_one(fleet_of(hosts_on(sshd, [HOST]), ssh))
        assert ending.finished.error is not None
        assert ending.finished.error.kind is ErrorKind.HOSTKEY_REVOKED

    async def test_a_new_key_is_written_down_once_for_many_at_once(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        file, names = tmp_path / "known_hosts", addresses(40)
        ssh = ssh_options(file, host_keys=HostKeyPolicy.ACCEPT_NEW)
        finished, _, _ = await run_all(fleet_of(hosts_on(sshd, names), ssh), "true")
        assert {ending.status for ending in finished.values()} == {Status.OK}
        lines = file.read_text().splitlines()
        assert sorted(line.split()[0] for line in lines) == sorted(f"[{name}]:{sshd.port}" for name in names)
        assert {line.split(maxsplit=1)[1] for line in lines} == {sshd.host_key}
        strict = ssh_options(file)
        finished, _, _ = await run_all(fleet_of(hosts_on(sshd, names), strict), "true")
        assert {ending.status for ending in finished.values()} == {Status.OK}

    async def test_a_command_past_its_time_is_timeout_in_run_and_the_remote_closes(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        ending = await run_one(fleet_on(sshd, tmp_path, command_s=0.3), "echo begun; exec sleep 60")
        assert ending.finished.status is Status.TIMEOUT
        assert ending.finished.error is not None
        assert ending.finished.error.phase is Phase.RUN
        assert ending.finished.closed_by is ClosedBy.REMOTE
        assert ending.output("stdout") == b"begun\n", "what came before the end is kept"
        nothing_left(in_module_namespace, [sshd.port])

    async def test_a_rekey_does_not_look_like_a_login(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        fleet = fleet_on(sshd, tmp_path, "RekeyLimit=1M", command_s=2.5)
        ending = await run_one(fleet, "seq 300000; exec sleep 60")
        assert ending.finished.stdout_bytes > 1024 * 1024, "so there was one"
        assert ending.finished.status is Status.TIMEOUT
        assert ending.finished.error is not None
        assert ending.finished.error.phase is Phase.RUN

    async def test_a_login_that_is_allowed_no_session_is_told_so(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here(options={"MaxSessions": "0"})
        ending = await run_one(fleet_on(server, tmp_path))
        assert ending.finished.status is Status.UNREACHABLE
        assert ending.finished.error is not None
        assert ending.finished.error.kind is ErrorKind.SESSION_REFUSED
        assert ending.finished.closed_by is ClosedBy.REMOTE

    async def test_one_wrong_password_is_one_attempt(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here(options={"PasswordAuthentication": "yes"})
        secret = tmp_path / "password"
        secret.write_text("wrong\n")
        secret.chmod(0o600)
        ssh = ssh_options(known(server, [HOST], tmp_path), "PubkeyAuthentication=no")
        host = Host(HOST, settings=Settings(user=server.user, port=server.port))
        ending = await run_one(fleet_of([host], ssh, password=secret))
        assert ending.finished.status is Status.AUTH
        assert ending.finished.closed_by is ClosedBy.REMOTE
        assert server.log.count("Failed password") == 1
        secret.write_text(f"{server.password}\n")
        ending = await run_one(fleet_of([host], ssh, password=secret))
        assert ending.finished.status is Status.OK
        nothing_left(in_namespace, [server.port])


async def test_dropbear_closes_first_too(
    dropbear: Daemon, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    ending = await run_one(fleet_on(dropbear, tmp_path), "cat; echo $0; exit 7")
    assert (ending.finished.status, ending.finished.exit_status) == (Status.FAILED, 7)
    assert ending.finished.closed_by is ClosedBy.REMOTE
    stranger = str(make_key(tmp_path / "stranger"))
    ssh = ssh_options(known(dropbear, [HOST], tmp_path))
    ending = await run_one(fleet_of(hosts_on(dropbear, [HOST], identity=stranger), ssh))
    assert ending.finished.status is Status.AUTH
    assert ending.finished.closed_by is ClosedBy.REMOTE
    nothing_left(in_module_namespace, [dropbear.port])


class TestBeforeTheLogin:
    """Against servers that do what no server should, before anybody is logged in."""

    @pytest.mark.parametrize(
        ("script", "status", "kinds", "phase", "closed_by"),
        [
            pytest.param(
                SILENT, Status.TIMEOUT, {ErrorKind.TIMEOUT}, Phase.HANDSHAKE, {ClosedBy.RESET}, id="silent"
            ),
            pytest.param(
                NEVER_READS, Status.TIMEOUT, {ErrorKind.TIMEOUT}, Phase.HANDSHAKE, {ClosedBy.RESET}, id="deaf"
            ),
            pytest.param(
                CLOSE_AT_ONCE,
                Status.UNREACHABLE,
                {ErrorKind.CLOSED, ErrorKind.RESET},
                Phase.HANDSHAKE,
                {ClosedBy.REMOTE, ClosedBy.RESET},  # our banner may meet their closed socket
                id="close at once",
            ),
            pytest.param(
                THROTTLED,
                Status.UNREACHABLE,
                {ErrorKind.BUSY},
                Phase.HANDSHAKE,
                {ClosedBy.REMOTE},
                id="throttled",
            ),
            pytest.param(
                THROTTLED_AT_ONCE,
                Status.UNREACHABLE,
                {ErrorKind.BUSY, ErrorKind.RESET},
                Phase.HANDSHAKE,
                {ClosedBy.REMOTE, ClosedBy.RESET},
                id="throttled at once",
            ),
            pytest.param(
                HTTP, Status.UNREACHABLE, {ErrorKind.PROTOCOL}, Phase.HANDSHAKE, {ClosedBy.REMOTE}, id="http"
            ),
            pytest.param(
                GREETS_AND_CLOSES,
                Status.UNREACHABLE,
                {ErrorKind.CLOSED, ErrorKind.RESET},
                Phase.HANDSHAKE,
                {ClosedBy.REMOTE, ClosedBy.RESET},
                id="greets and closes",
            ),
            pytest.param(
                RESET_AFTER_BANNER,
                Status.UNREACHABLE,
                {ErrorKind.RESET},
                Phase.HANDSHAKE,
                {ClosedBy.RESET},
                id="reset after banner",
            ),
            pytest.param(
                RESET_MID_HANDSHAKE,
                Status.UNREACHABLE,
                {ErrorKind.RESET},
                Phase.HANDSHAKE,
                {ClosedBy.RESET},
                id="reset mid handshake",
            ),
            pytest.param(
                FIN_AFTER_BANNER_THEN_HOLDS,
                Status.UNREACHABLE,
                {ErrorKind.CLOSED},
                Phase.HANDSHAKE,
                {ClosedBy.REMOTE},
                id="fin before our goodbye",
            ),
        ],
    )
    async def test_each_is_told_apart_and_leaves_nothing(
        self,
        script: Script,
        status: Status,
        kinds: set[ErrorKind],
        phase: Phase,
        closed_by: set[ClosedBy],
        scripted: StartScripted,
        in_namespace: Namespace,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(governor, "FIRST_PAUSE", 0.01)  # who is busy is asked again as often, and sooner
        server = scripted(script)
        host = Host("victim", address="127.0.0.1", settings=Settings(user="root", port=server.port))
        fleet = fleet_of([host], ssh_options(tmp_path / "none"), connect_s=0.4, close_s=0.3)
        ending = await run_one(fleet)
        assert ending.finished.status is status
        assert ending.finished.error is not None
        assert ending.finished.error.kind in kinds
        assert ending.finished.error.phase is phase
        assert ending.finished.closed_by in closed_by
        nothing_left(in_namespace, [server.port])

    @pytest.mark.parametrize("script", [JUNK, BINARY], ids=["junk", "binary"])
    async def test_junk_is_bounded_and_leaves_nothing(
        self, script: Script, scripted: StartScripted, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = scripted(script)
        host = Host("victim", address="127.0.0.1", settings=Settings(user="root", port=server.port))
        fleet = fleet_of([host], ssh_options(tmp_path / "none"), connect_s=0.4, close_s=0.3)
        ending = await run_one(fleet)
        assert ending.finished.status in {Status.UNREACHABLE, Status.TIMEOUT}
        nothing_left(in_namespace, [server.port])

    async def test_refused_has_no_connection_and_so_nobody_closed_it(
        self, refusing_port: RefusingPort, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        host = Host("victim", address="127.0.0.1", settings=Settings(port=refusing_port.port))
        ending = await run_one(fleet_of([host], ssh_options(tmp_path / "none")))
        assert ending.finished.status is Status.UNREACHABLE
        assert ending.finished.error is not None
        assert (ending.finished.error.kind, ending.finished.error.phase) == (ErrorKind.REFUSED, Phase.CONNECT)
        assert (ending.finished.closed_by, ending.finished.local_port) == (None, None)

    async def test_a_black_hole_is_timeout_in_connect(self, in_namespace: Namespace, tmp_path: Path) -> None:
        in_namespace.add_void("10.9.0.0/24")
        host = Host("victim", address="10.9.0.7")
        ending = await run_one(fleet_of([host], ssh_options(tmp_path / "none"), connect_s=0.3))
        assert ending.finished.status is Status.TIMEOUT
        assert ending.finished.error is not None
        assert ending.finished.error.phase is Phase.CONNECT
        assert not in_namespace.client_side([22])

    async def test_connect_timeout_of_ssh_config_is_kept(
        self, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        in_namespace.add_void("10.9.0.0/24")
        host = Host("victim", address="10.9.0.7")
        ending = await run_one(fleet_of([host], ssh_options(tmp_path / "none", "ConnectTimeout=1")))
        assert ending.finished.status is Status.TIMEOUT
        assert ending.finished.error is not None
        assert "ConnectTimeout" in ending.finished.error.message

    async def test_no_route_is_unreachable(self, in_namespace: Namespace, tmp_path: Path) -> None:
        ending = await run_one(
            fleet_of([Host("victim", address="192.0.2.1")], ssh_options(tmp_path / "none"))
        )
        assert ending.finished.status is Status.UNREACHABLE
        assert ending.finished.error is not None
        assert ending.finished.error.kind is ErrorKind.NO_ROUTE

    async def test_a_name_that_is_none_is_unreachable_in_resolve(
        self, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        ending = await run_one(fleet_of([Host("no-such-host.invalid")], ssh_options(tmp_path / "none")))
        assert ending.finished.status is Status.UNREACHABLE
        assert ending.finished.error is not None
        assert (ending.finished.error.kind, ending.finished.error.phase) == (ErrorKind.NAME, Phase.RESOLVE)

    async def test_a_login_that_gets_no_answer_is_timeout_in_auth(
        self, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        """This server reads nothing while it thinks, so it cannot hear the goodbye either."""
        server = hooked(Conduct(replies_to_auth=False))
        ending = await run_one(fleet_on(server, tmp_path, name="127.0.0.1", connect_s=0.5, close_s=0.3))
        assert ending.finished.status is Status.TIMEOUT
        assert ending.finished.error is not None
        assert ending.finished.error.phase is Phase.AUTH
        assert ending.finished.closed_by is ClosedBy.RESET
        nothing_left(in_namespace, [server.port])

    @pytest.mark.parametrize("delay_s", [0.15, 0.3, 0.6])
    async def test_a_timeout_on_a_slow_way_to_sshd_still_lets_the_remote_close(
        self, delay_s: float, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        """The goodbye reaches sshd wherever the login has come to: banner, key exchange or authentication."""
        with SlowRelay(sshd.port, delay_s=delay_s, namespace=in_module_namespace) as relay:
            host = Host("slow", address="127.0.0.1", settings=Settings(user=sshd.user, port=relay.port))
            ssh = ssh_options(tmp_path / "none", host_keys=HostKeyPolicy.OFF)
            ending = await run_one(fleet_of([host], ssh, connect_s=1.0))
            assert ending.finished.status is Status.TIMEOUT
            assert ending.finished.closed_by is ClosedBy.REMOTE
            nothing_left(in_module_namespace, [relay.port])


class TestWhileTheCommandRuns:
    """Against a server that accepts the command and then fails it."""

    @pytest.mark.parametrize(
        ("conduct", "status", "kind"),
        [
            pytest.param(
                Conduct(session=closes_without_status(b"partial")),
                Status.LOST,
                ErrorKind.NO_EXIT_STATUS,
                id="no status",
            ),
            pytest.param(Conduct(session=drops(b"partial")), Status.LOST, None, id="drop"),
            pytest.param(
                Conduct(session=drops(b"partial", reset=True)), Status.LOST, ErrorKind.RESET, id="reset"
            ),
            pytest.param(
                Conduct(session=exits_by_signal("KILL", stdout=b"partial")),
                Status.SIGNALLED,
                None,
                id="signal",
            ),
            pytest.param(Conduct(session=answers(b"partial")), Status.OK, None, id="well"),
        ],
    )
    async def test_what_came_is_kept_and_the_rest_is_never_ok(
        self,
        conduct: Conduct,
        status: Status,
        kind: ErrorKind | None,
        hooked: StartHooked,
        in_namespace: Namespace,
        tmp_path: Path,
    ) -> None:
        server = hooked(conduct)
        ending = await run_one(fleet_on(server, tmp_path, name="127.0.0.1"))
        assert ending.finished.status is status
        assert ending.output("stdout") == b"partial"
        if kind is not None:
            assert ending.finished.error is not None
            assert ending.finished.error.kind is kind
        nothing_left(in_namespace, [server.port])

    async def test_a_remote_that_stops_to_answer_is_lost_within_the_keepalive_budget(
        self, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = hooked(Conduct(session=goes_mute(b"partial")))
        fleet = fleet_on(
            server,
            tmp_path,
            "ServerAliveInterval=1",
            "ServerAliveCountMax=1",
            name="127.0.0.1",
            close_s=0.3,
        )
        ending = await run_one(fleet)
        assert ending.finished.status is Status.LOST
        assert ending.finished.error is not None
        assert ending.finished.error.kind is ErrorKind.KEEPALIVE
        assert ending.output("stdout") == b"partial"
        nothing_left(in_namespace, [server.port])

    async def test_an_exec_that_gets_no_answer_ends_with_the_commands_time(
        self, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = hooked(Conduct(replies_to_exec=False))
        ending = await run_one(fleet_on(server, tmp_path, name="127.0.0.1", command_s=0.3))
        assert ending.finished.status is Status.TIMEOUT
        assert ending.finished.error is not None
        assert ending.finished.error.phase is Phase.SESSION

    async def test_torn_characters_come_whole(
        self, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        text = "grüße, 世界 🌍\n"
        server = hooked(Conduct(session=tears(text, pieces=len(text.encode()))))
        ending = await run_one(fleet_on(server, tmp_path, name="127.0.0.1"))
        assert ending.output("stdout") == text.encode()


class TestClosing:
    """The peer that will not close, and what the run does meanwhile."""

    async def test_a_peer_that_ignores_the_goodbye_is_reset_counted_and_leaves_nothing(
        self, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = hooked(Conduct(session=answers(b"done"), at_close=AtClose.IGNORES))
        fleet = fleet_on(server, tmp_path, name="127.0.0.1", close_s=0.3)
        finished, run, _ = await run_all(fleet, "true")
        (ending,) = finished.values()
        assert (ending.status, ending.closed_by) == (Status.OK, ClosedBy.RESET)
        assert ending.seconds.close is not None
        assert ending.seconds.close >= 0.3
        assert run.ports.closed_by == {ClosedBy.RESET: 1}
        assert run.ports.time_wait_left == 0
        nothing_left(in_namespace, [server.port])

    async def test_the_result_and_the_place_in_the_fanout_do_not_wait_for_the_socket(
        self, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = hooked(Conduct(session=answers(b"done"), at_close=AtClose.IGNORES), address="0.0.0.0")
        names = addresses(3)
        fleet = fleet_of(
            hosts_on(server, names), ssh_options(known(server, names, tmp_path)), fanout=1, close_s=1.0
        )
        async with fleet:
            seen: list[tuple[str, ClosedBy | None]] = []
            async for result in fleet.run("true"):
                seen.append((result.host.name, result.closed_by))
                assert result.stdout == b"done"
                assert not result.closing.done() if result.closing else False
            assert seen == [(name, None) for name in names]
            assert await result.closed() is ClosedBy.RESET
        nothing_left(in_namespace, [server.port])

    async def test_a_peer_that_resets_at_our_goodbye_is_told_as_reset(
        self, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = hooked(Conduct(session=answers(b"done"), at_close=AtClose.RESETS))
        ending = await run_one(fleet_on(server, tmp_path, name="127.0.0.1"))
        assert (ending.finished.status, ending.finished.closed_by) == (Status.OK, ClosedBy.RESET)


class TestJumpHosts:
    """One shared connection a bastion, closed by it, after those behind it."""

    async def test_many_hosts_behind_one_bastion_use_one_connection_and_one_port(
        self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        names = addresses(20)
        jump = f"{sshd.user}@127.9.9.9:{sshd.port}"
        ssh = ssh_options(known(sshd, [*names, "127.9.9.9"], tmp_path), f"IdentityFile={sshd.client_key}")
        fleet = fleet_of(hosts_on(sshd, names, jump=jump), ssh)
        finished, run, _ = await run_all(fleet, "echo through")
        assert {ending.status for ending in finished.values()} == {Status.OK}
        assert {(ending.closed_by, ending.local_port) for ending in finished.values()} == {(None, None)}
        assert run.ports.peak == 1
        assert run.ports.closed_by == {ClosedBy.REMOTE: 1}
        left = [
            row for row in in_module_namespace.client_side([sshd.port]) if row.peer.address == "127.9.9.9"
        ]
        assert not left

    async def test_a_chain_of_two(self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path) -> None:
        jump = ",".join(f"{sshd.user}@127.9.9.{last}:{sshd.port}" for last in (1, 2))
        names = [HOST, "127.9.9.1", "127.9.9.2"]
        ssh = ssh_options(known(sshd, names, tmp_path), f"IdentityFile={sshd.client_key}")
        finished, run, _ = await run_all(fleet_of(hosts_on(sshd, [HOST], jump=jump), ssh), "exit 4")
        assert finished[HOST].exit_status == 4
        assert run.ports.closed_by == {ClosedBy.REMOTE: 1}

    async def test_a_bastion_that_refuses_is_each_hosts_own_failure(
        self, refusing_port: RefusingPort, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        names = addresses(5)
        settings = Settings(jump=f"127.0.0.1:{refusing_port.port}")
        fleet = fleet_of([Host(name, settings=settings) for name in names], ssh_options(tmp_path / "none"))
        finished, _, _ = await run_all(fleet, "true")
        assert len(finished) == 5
        for ending in finished.values():
            assert ending.status is Status.UNREACHABLE
            assert ending.error is not None
            assert ending.error.kind is ErrorKind.JUMP
            assert "jump host 127.0.0.1" in ending.error.message

    async def test_a_silent_bastion_costs_one_timeout_and_not_one_for_each_host(
        self, scripted: StartScripted, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = scripted(SILENT)
        settings = Settings(jump=f"127.0.0.1:{server.port}")
        hosts = [Host(name, settings=settings) for name in addresses(20)]
        fleet = fleet_of(hosts, ssh_options(tmp_path / "none"), fanout=2, connect_s=0.3, close_s=0.3)
        finished, run, _ = await run_all(fleet, "true")
        assert len(server.conversations) == 1
        first, _as_long, *others = (finished[host.name] for host in hosts)
        assert first.status is Status.TIMEOUT
        for ending in others:
            assert ending.status is Status.UNREACHABLE
            assert ending.error is not None
            assert ending.error.kind is ErrorKind.JUMP
            assert "jump host 127.0.0.1" in ending.error.message
        assert run.ports.closed_by == {ClosedBy.RESET: 1}
        nothing_left(in_namespace, [server.port])

    async def test_who_waits_for_a_bastion_that_drops_us_fails_with_it_and_is_no_further_drop(
        self, scripted: StartScripted, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        """Without the governor, which would let them come again; whoever comes later tries anew."""
        server = scripted(THROTTLED)
        settings = Settings(jump=f"127.0.0.1:{server.port}")
        hosts = [Host(name, settings=settings) for name in addresses(20)]
        fleet = Fleet(
            hosts,
            limits=Limits(fanout=10, start_rate=StartRate(1e6)),
            timeouts=Timeouts(close=0.3),
            ssh=ssh_options(tmp_path / "none"),
        )
        finished, _, _ = await run_all(fleet, "true")
        for ending in finished.values():
            assert ending.error is not None
            assert (ending.status, ending.error.kind) == (Status.UNREACHABLE, ErrorKind.JUMP)
            assert ending.error.of_jump is not None
            assert ending.error.of_jump.kind is ErrorKind.BUSY
        assert len(server.conversations) <= 3, "ten wait for the first, and those who come then for the next"

    async def test_a_host_that_the_bastion_cannot_reach(
        self, sshd: Daemon, refusing_port: RefusingPort, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        jump = f"{sshd.user}@127.9.9.9:{sshd.port}"
        ssh = ssh_options(known(sshd, ["127.9.9.9"], tmp_path), f"IdentityFile={sshd.client_key}")
        host = Host("victim", address="127.0.0.1", settings=Settings(port=refusing_port.port, jump=jump))
        finished, run, _ = await run_all(fleet_of([host], ssh), "true")
        assert finished["victim"].status is Status.UNREACHABLE
        assert finished["victim"].error is not None
        assert finished["victim"].error.kind is ErrorKind.JUMP
        assert run.ports.closed_by == {ClosedBy.REMOTE: 1}


async def test_silent_jump_hosts_cost_one_close_timeout_together(
    sshd: Daemon, hooked: StartHooked, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    """Bastions that carry connections and then do not hear the goodbye."""
    bastion = hooked(Conduct(at_close=AtClose.IGNORES), address="0.0.0.0")
    names = addresses(4)
    file = known(bastion, names, tmp_path)
    ssh = ssh_options(file, f"IdentityFile={bastion.client_key}", "ConnectTimeout=60")
    hosts = [
        Host(f"behind-{name}", settings=Settings(user="root", jump=f"root@{name}:{bastion.port}"))
        for name in names
    ]
    _, run, _ = await run_all(fleet_of(hosts, ssh, close_s=5.0), "true")
    assert run.ports.closed_by == {ClosedBy.RESET: 4}
    assert run.seconds < 4 * 5.0, "one after another they would have taken four times the close timeout"


async def test_a_proxy_command_carries_the_connection_and_ends(
    sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    ending = await run_one(
        fleet_on(sshd, tmp_path, f"ProxyCommand={sys.executable} {relay} %h %p"), "echo proxied"
    )
    assert ending.output("stdout") == b"proxied\n"
    assert (ending.finished.status, ending.finished.closed_by) == (Status.OK, None)


async def test_a_caller_that_stops_to_read_holds_the_remote_back(
    sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    """A flood waits in the remote, bounded here by the stream's mark and the channel's window."""
    async with fleet_on(sshd, tmp_path) as fleet:
        run = fleet.run("yes | head -c 100000000")
        total = 0
        batches = run.event_batches()
        async for batch in batches:
            total += sum(len(event.data) for event in batch if isinstance(event, Output))
            if total > 1_000_000:
                break
        before = run.waiting_bytes
        for _ in range(50):
            await asyncio.sleep(0.02)
            if run.waiting_bytes == before and before > 0:
                break
            before = run.waiting_bytes
        assert run.waiting_bytes < 10 * 1024 * 1024
        async for batch in batches:
            total += sum(len(event.data) for event in batch if isinstance(event, Output))
        assert total == 100_000_000


async def test_cancelling_closes_in_order(
    hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
) -> None:
    begun: list[object] = []

    async def endless(process: Process, link: Link) -> None:
        begun.append(process)
        await never_ends(process, link)

    server = hooked(Conduct(session=endless), address="0.0.0.0")
    names = addresses(8)
    async with fleet_of(
        hosts_on(server, names), ssh_options(known(server, names, tmp_path)), fanout=4
    ) as fleet:
        run = fleet.run("sleep 60")
        gathering = asyncio.get_running_loop().create_task(run.gather())
        await asyncio.to_thread(wait_until, lambda: len(begun) == 4, what="four commands")
        gathering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathering
        nothing_left(in_namespace, [server.port])
        assert run.statistics().closed_by == {ClosedBy.REMOTE: 4}
