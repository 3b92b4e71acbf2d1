"""rsh servers that misbehave: one result each, in time, and both sockets freed."""

from __future__ import annotations

import asyncio
import signal

import pytest

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Timeouts
from multirsh.model import ClosedBy, ErrorKind, Exited, Phase, Status
from multirsh.transports.base import Stream
from multirsh.transports.options import RshStderr
from tests.conftest import StartScripted, StartScriptedRshd
from tests.servers.namespace import Namespace
from tests.servers.scripted import (
    BINARY,
    CLOSE_AT_ONCE,
    HTTP,
    RESET_AT_ONCE,
    SILENT,
    Close,
    ReadSome,
    RefusingPort,
    Script,
    Send,
)
from tests.servers.scripted_rshd import BACK_PORTS, BEGIN, Act, Back, Flood, Step, Write, ends
from tests.transports.rsh.rsh_fleets import (
    MERGED,
    SEPARATE,
    Collected,
    Ending,
    Talk,
    nothing_left,
    open_rsh,
    rsh_host,
    run_one,
)
from tests.waiting import HANG_GUARD_S

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

GOOD: tuple[Step, ...] = (*BEGIN, Act.READ_ORDER, ends(0, "stdout"), ends(0, "stderr"))

LONG_NO: Script = (ReadSome(20), Send(b"\1" + b"\x1b]0;no\x07" * 1_250_000 + b"\n"), Close())
"""10 MB of refusal, full of control characters."""


def freed(namespace: Namespace, ending: Ending, port: int) -> None:
    """Nothing of ours is left; a server that resets, or is reset, keeps nothing either."""
    assert not namespace.client_side([port])
    assert ending.run.ports.time_wait_left == 0
    assert not namespace.client_side(BACK_PORTS)


class PausesAtOnce(Collected):
    """A sink that is full after each write."""

    def __init__(self, talk: Talk) -> None:
        super().__init__()
        self._talk = talk
        self.wrote = asyncio.Event()

    def write(self, stream: Stream, data: bytes) -> None:
        self.wrote.set()
        self._talk.connection.pause_output()


class TestMainConnection:
    """What goes wrong before anything is asked of the second one, or without it."""

    @pytest.mark.parametrize(
        ("script", "stderr", "expected", "words"),
        [
            (LONG_NO, MERGED, (Status.UNREACHABLE, ErrorKind.SESSION_REFUSED, Phase.AUTH), "refused: ?]0;no"),
            (HTTP, MERGED, (Status.UNREACHABLE, ErrorKind.PROTOCOL, Phase.AUTH), "not an rsh server"),
            (HTTP, SEPARATE, (Status.UNREACHABLE, ErrorKind.PROTOCOL, Phase.AUTH), "HTTP/1.1 400"),
            (BINARY, MERGED, (Status.TIMEOUT, ErrorKind.TIMEOUT, Phase.AUTH), "not logged in"),
            (SILENT, MERGED, (Status.TIMEOUT, ErrorKind.TIMEOUT, Phase.AUTH), "not logged in"),
            (
                CLOSE_AT_ONCE,
                SEPARATE,
                (Status.UNREACHABLE, ErrorKind.PROTOCOL, Phase.HANDSHAKE),
                "did not connect back",
            ),
        ],
    )
    async def test_no_login(
        self,
        script: Script,
        stderr: RshStderr,
        expected: tuple[Status, ErrorKind, Phase],
        words: str,
        scripted: StartScripted,
        in_namespace: Namespace,
    ) -> None:
        server = scripted(script)
        ending = await run_one(port=server.port, stderr=stderr, connect_s=0.5, close_s=0.3)
        assert ending.why == expected
        assert words in ending.message
        assert ending.message.isprintable()
        assert len(ending.message) < 700
        freed(in_namespace, ending, server.port)

    @pytest.mark.parametrize("stderr", [SEPARATE, MERGED])
    async def test_a_reset_at_once(
        self, stderr: RshStderr, scripted: StartScripted, in_namespace: Namespace
    ) -> None:
        server = scripted(RESET_AT_ONCE)
        ending = await run_one(port=server.port, stderr=stderr)
        assert ending.finished.status is Status.UNREACHABLE
        freed(in_namespace, ending, server.port)

    async def test_a_port_that_refuses(self, refusing_port: RefusingPort, in_namespace: Namespace) -> None:
        ending = await run_one(port=refusing_port.port)
        assert ending.why == (Status.UNREACHABLE, ErrorKind.REFUSED, Phase.CONNECT)

    async def test_a_refusal_while_the_second_connection_is_awaited_is_the_reason(
        self, scripted: StartScripted, in_namespace: Namespace
    ) -> None:
        server = scripted((ReadSome(2), Send(b"\1Can't get stderr port.\n"), Close()))
        ending = await run_one(port=server.port)
        assert ending.message == "the remote refused: Can't get stderr port."
        freed(in_namespace, ending, server.port)


class TestStderrConnection:
    """Row 48: absent, from a wrong port, from another address."""

    async def test_a_good_one(self, scripted_rshd: StartScriptedRshd, in_namespace: Namespace) -> None:
        """The others fail for what they do, then, and not for how they are made."""
        server = scripted_rshd(*GOOD, Act.CLOSE)
        ending = await run_one(port=server.port)
        assert (ending.finished.status, ending.finished.closed_by) == (Status.OK, ClosedBy.REMOTE)
        nothing_left(in_namespace, ending, port=server.port)

    async def test_absent(self, scripted_rshd: StartScriptedRshd, in_namespace: Namespace) -> None:
        server = scripted_rshd(back=Back.NONE)
        ending = await run_one(port=server.port, connect_s=4, close_s=0.3)
        assert ending.why == (Status.TIMEOUT, ErrorKind.TIMEOUT, Phase.HANDSHAKE)
        assert "did not connect back for stderr in time" in ending.message
        assert ending.finished.seconds.total < HANG_GUARD_S
        freed(in_namespace, ending, server.port)

    async def test_from_a_wrong_port(self, scripted_rshd: StartScriptedRshd, in_namespace: Namespace) -> None:
        server = scripted_rshd(*GOOD, Act.CLOSE, back=Back.WRONG_PORT)
        ending = await run_one(port=server.port, close_s=0.3)
        assert ending.why == (Status.UNREACHABLE, ErrorKind.PROTOCOL, Phase.HANDSHAKE)
        assert "not a reserved port" in ending.message
        await asyncio.to_thread(server.wait_for, lambda talks: talks[0].back_ended == "reset")
        freed(in_namespace, ending, server.port)

    async def test_one_from_another_address_is_taken(
        self, scripted_rshd: StartScriptedRshd, in_namespace: Namespace
    ) -> None:
        """The port is the host's own, as no other host is on its way."""
        server = scripted_rshd(*GOOD, Act.CLOSE, back=Back.OTHER_ADDRESS)
        ending = await run_one(port=server.port)
        assert (ending.finished.status, ending.finished.closed_by) == (Status.OK, ClosedBy.REMOTE)

    async def test_nothing_is_sent_to_one_from_another_address_that_does_not_know_the_key(
        self, scripted_rshd: StartScriptedRshd, in_namespace: Namespace
    ) -> None:
        steps = (Write(b"\0KEY["), Write(b"0123456789[", "stderr"), Act.READ_ORDER, Act.CLOSE)
        server = scripted_rshd(*steps, back=Back.OTHER_ADDRESS)
        ending = await run_one(port=server.port, connect_s=4, close_s=0.3)
        assert ending.why == (Status.TIMEOUT, ErrorKind.TIMEOUT, Phase.AUTH)
        assert not any(server.talks[0].order)  # the goodbye is an empty command
        freed(in_namespace, ending, server.port)

    async def test_a_second_one_is_reset_and_does_no_harm(
        self, scripted_rshd: StartScriptedRshd, in_namespace: Namespace
    ) -> None:
        server = scripted_rshd(*GOOD, Act.CLOSE, back=Back.TWICE)
        ending = await run_one(port=server.port)
        assert ending.finished.status is Status.OK


class TestRunning:
    """What goes wrong after the command was sent is lost: it may have run."""

    @pytest.mark.parametrize(
        ("steps", "kind"),
        [
            ((Write(b"so far"), Act.CLOSE), ErrorKind.NO_EXIT_STATUS),
            ((Write(b"so far"), Write(b"KEY]"), Act.CLOSE), ErrorKind.NO_EXIT_STATUS),
            ((Write(b"so far"), ends(0, "stdout"), Act.CLOSE), ErrorKind.NO_EXIT_STATUS),
            ((Write(b"so far"), ends(0, "stderr"), Act.CLOSE), ErrorKind.NO_EXIT_STATUS),
        ],
    )
    async def test_no_status(
        self,
        steps: tuple[Step, ...],
        kind: ErrorKind,
        scripted_rshd: StartScriptedRshd,
        in_namespace: Namespace,
    ) -> None:
        server = scripted_rshd(*BEGIN, Act.READ_ORDER, *steps)
        ending = await run_one(port=server.port)
        assert ending.why == (Status.LOST, kind, Phase.RUN)
        assert ending.output("stdout").startswith(b"so far")
        assert ending.finished.closed_by is ClosedBy.REMOTE
        nothing_left(in_namespace, ending, port=server.port)

    async def test_a_reset_in_the_midst(
        self, scripted_rshd: StartScriptedRshd, in_namespace: Namespace
    ) -> None:
        server = scripted_rshd(*BEGIN, Act.READ_ORDER, Write(b"so far"), Act.RESET)
        ending = await run_one(port=server.port)
        assert ending.why == (Status.LOST, ErrorKind.RESET, Phase.RUN)
        assert ending.finished.closed_by is ClosedBy.RESET
        freed(in_namespace, ending, server.port)

    async def test_one_connection_dies_and_the_other_is_held(
        self, scripted_rshd: StartScriptedRshd, in_namespace: Namespace
    ) -> None:
        server = scripted_rshd(*BEGIN, Act.READ_ORDER, Act.CLOSE_STDERR, Act.HOLD)
        ending = await run_one(port=server.port, close_s=0.2)
        assert ending.why == (Status.LOST, ErrorKind.NO_EXIT_STATUS, Phase.RUN)
        assert ending.finished.seconds.total < HANG_GUARD_S
        freed(in_namespace, ending, server.port)

    async def test_a_signal_goes_over_the_second_connection_and_the_remote_closes_first(
        self, scripted_rshd: StartScriptedRshd, in_namespace: Namespace
    ) -> None:
        server = scripted_rshd(*BEGIN, Act.READ_ORDER, Act.AWAIT_SIGNAL, Act.CLOSE)
        ending = await run_one("sleep 60", port=server.port, command_s=0.3)
        assert (ending.finished.status, ending.finished.closed_by) == (Status.TIMEOUT, ClosedBy.REMOTE)
        assert server.talks[0].signal == bytes([signal.SIGTERM])
        nothing_left(in_namespace, ending, port=server.port)

    async def test_both_markers_are_a_result_even_if_the_sockets_stay(
        self, scripted_rshd: StartScriptedRshd, in_namespace: Namespace
    ) -> None:
        server = scripted_rshd(*GOOD, Act.HOLD)
        ending = await run_one(port=server.port, close_s=4)
        assert (ending.finished.status, ending.finished.closed_by) == (Status.OK, ClosedBy.RESET)
        assert ending.finished.seconds.total < 4
        freed(in_namespace, ending, server.port)

    @pytest.mark.parametrize("stderr", [SEPARATE, MERGED])
    async def test_a_remote_that_never_reads_its_input_cannot_hang_us(
        self, stderr: RshStderr, scripted_rshd: StartScriptedRshd, in_namespace: Namespace
    ) -> None:
        server = scripted_rshd(*GOOD, Act.HOLD, receive_buffer=4096)
        async with open_rsh(port=server.port, stderr=stderr, close_s=0.3) as talk:
            assert await talk.run("true", bytes(10_000_000)) == Exited(0)
        assert set(talk.tally.statistics().closed_by) == {ClosedBy.RESET}
        assert not in_namespace.client_side([server.port])

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    async def test_a_flood_is_held_back_on_either_connection(
        self, stream: Stream, scripted_rshd: StartScriptedRshd, in_namespace: Namespace
    ) -> None:
        server = scripted_rshd(*BEGIN, Act.READ_ORDER, Flood(stream))
        async with open_rsh(port=server.port, close_s=0.2) as talk:
            talk.sink = sink = PausesAtOnce(talk)
            async with asyncio.TaskGroup() as group:
                running = group.create_task(talk.run("yes"))
                await sink.wrote.wait()
                sink.wrote.clear()
                await asyncio.sleep(0.2)  # time in which nothing may come
                assert not sink.wrote.is_set()
                talk.connection.resume_output()
                await sink.wrote.wait()
                running.cancel()


class TestStopping:
    @pytest.mark.parametrize("step", range(4))
    async def test_given_up_at_each_step_nothing_is_left(
        self, step: int, scripted_rshd: StartScriptedRshd, in_namespace: Namespace
    ) -> None:
        steps: tuple[tuple[Step, ...], Back] = (
            ((), Back.NONE),
            ((Act.READ_ON,), Back.GOOD),
            ((*BEGIN, Act.READ_ON), Back.GOOD),
            ((*BEGIN, Act.READ_ORDER, Act.HOLD), Back.GOOD),
        )[step]
        server = scripted_rshd(*steps[0], back=steps[1])
        fleet = Fleet(
            [rsh_host(port=server.port)],
            timeouts=Timeouts(connect=60, kill_after=0.2, close=0.2),
            warn=lambda _line: None,
        )
        async with fleet:
            run = fleet.run("true")
            async with asyncio.timeout(HANG_GUARD_S), asyncio.TaskGroup() as group:
                gathering = group.create_task(run.gather())
                await asyncio.sleep(0.2)
                run.stop()
                results = await gathering
        (result,) = results.values()
        assert result.status is Status.CANCELLED
        assert not in_namespace.client_side([server.port])
        assert not run.statistics().held
