"""rsh on the wire, against the real in.rshd, in a namespace where TIME_WAIT shows."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from multirsh.events import Output
from multirsh.exit_code import ExitCode
from multirsh.model import ClosedBy, ErrorKind, Exited, Phase, Status
from multirsh.transports.options import RshStderr
from multirsh.transports.rsh.transport import WARNING
from tests.program import Program
from tests.servers.namespace import Namespace
from tests.servers.rshd import PORT, STRANGER, RshServer
from tests.transports.rsh.rsh_fleets import (
    HERE,
    MERGED,
    SEPARATE,
    nothing_left,
    open_rsh,
    remote_closed,
    rsh_host,
    run_one,
    run_rsh,
)

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

BOTH_WAYS = pytest.mark.parametrize("stderr", [SEPARATE, MERGED])

SOCKETS = {SEPARATE: 2, MERGED: 1}


class TestInRshd:
    """Debian's rsh-redone-server."""

    @BOTH_WAYS
    @pytest.mark.parametrize(
        ("command", "status", "exit_status"),
        [
            ("true", Status.OK, 0),
            ("exit 5", Status.FAILED, 5),
            ("exit 255", Status.FAILED, 255),
            ("kill -TERM $$", Status.FAILED, 143),
        ],
    )
    async def test_a_command_that_ended_leaves_nothing(
        self,
        command: str,
        status: Status,
        exit_status: int,
        stderr: RshStderr,
        rshd: RshServer,
        in_module_namespace: Namespace,
    ) -> None:
        ending = await run_one(command, stderr=stderr)
        finished = ending.finished
        assert (finished.status, finished.exit_status, finished.signal) == (status, exit_status, None)
        assert (finished.error, finished.attempts) == (None, 1)
        assert finished.local_port in range(512, 1024)
        seconds = finished.seconds
        assert None not in (seconds.connect, seconds.auth, seconds.run, seconds.close)
        assert (finished.stdout_bytes, finished.stderr_bytes) == (0, 0)
        remote_closed(ending, sockets=SOCKETS[stderr])
        nothing_left(in_module_namespace, ending)

    async def test_a_server_with_several_addresses_connects_back_from_another(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        """On loopback every server connects from 127.0.0.1, whichever address it was reached at."""
        hosts = [rsh_host("127.0.0.2"), rsh_host("127.0.0.3")]
        finished, run, events, _ = await run_rsh("echo out; echo err >&2", hosts=hosts, fanout=1)
        assert {ending.status for ending in finished.values()} == {Status.OK}
        for host in hosts:
            came = [(e.stream, e.data) for e in events if isinstance(e, Output) and e.host == host.name]
            assert sorted(came) == [("stderr", b"err\n"), ("stdout", b"out\n")]
        assert run.ports.closed_by == {ClosedBy.REMOTE: 4}

    async def test_output_is_bytes_exactly_and_the_streams_are_told_apart(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        ending = await run_one(r"printf '\377\000\033[2J no newline'; printf 'caf\351\n' >&2")
        assert ending.output("stdout") == b"\xff\0\x1b[2J no newline"
        assert ending.output("stderr") == b"caf\xe9\n"
        remote_closed(ending, sockets=2)
        nothing_left(in_module_namespace, ending)

    async def test_merged_stderr_comes_in_its_place_in_stdout(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        ending = await run_one("echo one; echo two >&2; echo three", stderr=MERGED)
        assert (ending.output("stdout"), ending.output("stderr")) == (b"one\ntwo\nthree\n", b"")

    async def test_a_command_goes_as_the_bytes_that_were_typed(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        typed = b"printf %s gr\xfcn gr\xc3\xbcn"
        ending = await run_one(typed.decode("utf-8", "surrogateescape"))
        assert ending.output("stdout") == b"gr\xfcngr\xc3\xbcn"

    async def test_a_command_of_more_than_in_rshd_has_room_for(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        """rsh-redone has 1,024 bytes for it; the script reads it from the connection instead."""
        text = "x" * 100_000
        ending = await run_one(f"printf %s {text}")
        assert ending.output("stdout") == text.encode()
        remote_closed(ending, sockets=2)

    async def test_standard_input_is_at_its_end_at_once(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        assert (await run_one("cat; echo ended")).output("stdout") == b"ended\n"

    async def test_much_output_on_both_streams_at_once(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        ending = await run_one("head -c 3000000 /dev/zero | tr '\\0' o & head -c 2000000 /dev/zero >&2; wait")
        assert ending.output("stdout") == b"o" * 3_000_000
        assert ending.output("stderr") == bytes(2_000_000)
        remote_closed(ending, sockets=2)
        nothing_left(in_module_namespace, ending)

    @BOTH_WAYS
    async def test_who_may_not_log_in_is_auth(
        self, stderr: RshStderr, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        """rsh-redone says yes first; what it writes then is not the command's output."""
        for user in (STRANGER, "nobodythere"):
            ending = await run_one("id", user=user, stderr=stderr)
            assert ending.why == (Status.AUTH, ErrorKind.DENIED, Phase.AUTH)
            assert ending.message == "Authentication failure"
            assert ending.output("stdout") == b""
            remote_closed(ending, sockets=SOCKETS[stderr])
            nothing_left(in_module_namespace, ending)

    async def test_no_status_is_lost_and_what_came_is_kept(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        ending = await run_one("echo so far; echo this too >&2; kill -9 $PPID")
        assert ending.why == (Status.LOST, ErrorKind.NO_EXIT_STATUS, Phase.RUN)
        assert (ending.output("stdout"), ending.output("stderr")) == (b"so far\n", b"this too\n")
        remote_closed(ending, sockets=2)
        nothing_left(in_module_namespace, ending)

    @BOTH_WAYS
    async def test_a_child_left_behind_delays_the_socket_and_not_the_result(
        self, stderr: RshStderr, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        ending = await run_one("sleep 60 & echo started", stderr=stderr, close_s=4)
        assert (ending.finished.status, ending.output("stdout")) == (Status.OK, b"started\n")
        assert ending.finished.seconds.total < 4
        assert ending.finished.closed_by is ClosedBy.RESET
        nothing_left(in_module_namespace, ending)

    async def test_a_child_that_writes_on_is_not_heard(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        ending = await run_one("(sleep 0.3; echo late; echo late >&2) & echo done")
        assert (ending.output("stdout"), ending.output("stderr")) == (b"done\n", b"")
        remote_closed(ending, sockets=2)

    async def test_a_command_that_takes_too_long_is_given_up_and_leaves_nothing(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        """rsh-redone takes no signals: the connection is reset."""
        ending = await run_one("echo begun; sleep 60", command_s=0.3, close_s=0.3)
        assert ending.why == (Status.TIMEOUT, ErrorKind.TIMEOUT, Phase.RUN)
        assert ending.output("stdout") == b"begun\n"
        assert ending.finished.closed_by is ClosedBy.RESET
        nothing_left(in_module_namespace, ending)

    async def test_the_users_start_up_files_say_nothing_twice(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        """csh reads .cshrc for in.rshd's line, and again for the command: as with ssh, it is heard once."""
        cshrc = rshd.home("tcsh") / ".cshrc"
        cshrc.write_text("echo hello from cshrc\n")
        ending = await run_one("echo $shell:t", user="tcsh")
        assert ending.output("stdout") == b"hello from cshrc\ntcsh\n"

    async def test_many_at_once(self, rshd: RshServer, in_module_namespace: Namespace) -> None:
        """They share a few listeners, and each gets its own streams."""
        hosts = [replace(rsh_host(), name=f"h{number}", address=HERE) for number in range(100)]
        finished, run, events, _ = await run_rsh("echo $$; echo $$ >&2; exit $(($$ % 7))", hosts=hosts)
        assert run.ports.closed_by == {ClosedBy.REMOTE: 200}
        written = {(event.host, event.stream): event.data for event in events if isinstance(event, Output)}
        for name, ended in finished.items():
            assert written[name, "stdout"] == written[name, "stderr"]
            assert ended.exit_status == int(written[name, "stdout"]) % 7
        nothing_left(in_module_namespace, run)


class TestInput:
    """Standard input whose size is known; the engine has no way to give it yet."""

    @BOTH_WAYS
    async def test_a_megabyte_there_and_back(
        self, stderr: RshStderr, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        text = os.urandom(1_000_003)
        async with open_rsh(stderr=stderr) as talk:
            assert await talk.run("cat", text) == Exited(0)
            assert talk.sink.stdout == text
        assert talk.tally.statistics().closed_by == {ClosedBy.REMOTE: SOCKETS[stderr]}
        assert not in_module_namespace.client_side([PORT])

    async def test_input_that_nobody_reads_delays_no_result_and_the_remote_closes_first(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        async with open_rsh() as talk:
            assert await talk.run("echo done; exit 4", bytes(20_000_000)) == Exited(4)
            assert talk.sink.stdout == b"done\n"
        assert talk.tally.statistics().closed_by == {ClosedBy.REMOTE: 2}
        assert not in_module_namespace.client_side([PORT])

    async def test_input_that_is_read_in_part(self, rshd: RshServer, in_module_namespace: Namespace) -> None:
        async with open_rsh() as talk:
            assert await talk.run("head -c 3", b"abc" + bytes(5_000_000)) == Exited(0)
            assert talk.sink.stdout == b"abc"
        assert talk.tally.statistics().closed_by == {ClosedBy.REMOTE: 2}

    async def test_a_connection_that_is_not_used_is_closed_by_the_remote_too(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        async with open_rsh() as talk:
            pass
        assert talk.tally.statistics().closed_by == {ClosedBy.REMOTE: 2}
        assert not in_module_namespace.client_side([PORT])

    async def test_the_kernel_looks_after_both_connections(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        """A remote that is gone without a word is found out."""
        async with open_rsh() as talk:
            for transport in talk.connection._transports():
                sock = transport.get_extra_info("socket")
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15

    async def test_a_connection_runs_one_command(
        self, rshd: RshServer, in_module_namespace: Namespace
    ) -> None:
        async with open_rsh() as talk:
            await talk.run("true")
            with pytest.raises(RuntimeError, match="does not wait for a command"):
                await talk.run("true")


class TestCommandLine:
    def test_a_hosts_file_json_and_one_warning(
        self, rshd: RshServer, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        hosts = tmp_path / "hosts.yaml"
        hosts.write_text(
            "defaults: {user: guest, transport: rsh}\n"
            f"hosts: [{{a: {{address: {HERE}}}}}, {{b: {{address: {HERE}}}}}]\n"
        )
        ended = Program(tmp_path)("-f", hosts, "--json", "echo hi; exit 3")
        events = [json.loads(line) for line in ended.out.splitlines()]
        kinds = Counter(event["event"] for event in events)
        assert kinds["host_finished"] == kinds["stdout"] == 2
        assert {event["exit_status"] for event in events if event["event"] == "host_finished"} == {3}
        assert events[-1]["ports"]["closed_by"] == {"remote": 4, "local": 0, "reset": 0}
        assert ended.err.count(WARNING) == 1
        assert ended.code == ExitCode.COMMAND

    def test_merged(self, rshd: RshServer, in_module_namespace: Namespace, tmp_path: Path) -> None:
        program = Program(tmp_path)
        ended = program("-R", "rsh", "--rsh-stderr", "merged", "-w", HERE, "-l", "guest", "echo hi >&2")
        assert (ended.code, ended.out) == (0, f"{HERE}: hi\n")
