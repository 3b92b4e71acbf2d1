"""What two streams of bytes come to, however they are cut and interleaved."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.model import ErrorKind, Exited, Phase, Status
from multirsh.transports.base import Stream
from multirsh.transports.rsh.conversation import Conversation, Stage
from multirsh.transports.rsh.wrapper import LONGEST_PRELUDE
from tests.transports.rsh.test_rcmd import cut

KEY = b"0123456789abcdef"
RESET = ConnectionResetError(errno.ECONNRESET, "reset")


def ready() -> Conversation:
    talk = Conversation(KEY, is_merged=False)
    talk.receive("stdout", b"\0" + KEY + b"[")
    talk.receive("stderr", KEY + b"[")
    assert talk.stage is Stage.READY
    return talk


def running() -> Conversation:
    talk = ready()
    talk.order()
    return talk


def reason(talk: Conversation) -> tuple[Status, ErrorKind, Phase]:
    assert talk.stage is Stage.OVER
    assert talk.reason is not None
    status, failure = talk.reason
    assert failure.message.isprintable()
    return status, failure.kind, failure.phase


@given(
    st.binary(max_size=30),
    st.binary(max_size=30),
    st.integers(0, 255),
    st.lists(st.integers(0, 100), max_size=5),
    st.lists(st.integers(0, 100), max_size=5),
    st.randoms(use_true_random=False),
)
def test_neither_pieces_nor_their_order_between_the_streams_matter(
    out: bytes, err: bytes, status: int, out_places: list[int], err_places: list[int], chance: object
) -> None:
    talk = running()
    ending = b"%b]%d;" % (KEY, status)
    pieces: dict[Stream, list[bytes]] = {
        "stdout": cut(out + ending, out_places),
        "stderr": cut(err + ending, err_places),
    }
    found: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
    while left := [stream for stream in pieces if pieces[stream]]:
        stream = chance.choice(left)  # type: ignore[attr-defined]  # a random.Random
        found[stream] += talk.receive(stream, pieces[stream].pop(0))
    assert found == {"stdout": out, "stderr": err}
    assert (talk.stage, talk.outcome, talk.reason) == (Stage.OVER, Exited(status), None)


def test_merged_streams_begin_and_end_as_one() -> None:
    talk = Conversation(KEY, is_merged=True)
    talk.receive("stdout", b"\0from .cshrc\n" + KEY + b"[")
    stages = [talk.stage]
    talk.receive("stdout", KEY + b"[")
    stages.append(talk.stage)
    assert stages == [Stage.ACCEPTED, Stage.READY]
    talk.order()
    assert talk.receive("stdout", b"hi" + KEY + b"]7;" + KEY + b"]7;") == b"hi"
    assert talk.outcome == Exited(7)


def test_one_ending_is_not_enough() -> None:
    """The other stream may still bring output of the command."""
    talk = running()
    talk.receive("stdout", KEY + b"]0;")
    assert talk.stage is Stage.RUNNING
    assert talk.receive("stderr", b"late") == b"late"
    talk.receive("stderr", KEY + b"]0;")
    assert talk.outcome == Exited(0)


def test_the_end_of_a_stream_that_has_its_marker_breaks_nothing() -> None:
    talk = running()
    talk.receive("stdout", KEY + b"]0;")
    talk.end("stdout", None)
    assert (talk.stage, talk.is_broken) == (Stage.RUNNING, False)
    talk.receive("stderr", KEY + b"]0;")
    talk.end("stderr", RESET)
    assert talk.outcome == Exited(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\1Permission denied.\n", (Status.AUTH, ErrorKind.DENIED, Phase.AUTH)),
        (b"\1Login incorrect.\n", (Status.AUTH, ErrorKind.DENIED, Phase.AUTH)),
        (b"\0Authentication failure\n", (Status.AUTH, ErrorKind.DENIED, Phase.AUTH)),
        (b"\1Can't fork; try again.\n", (Status.UNREACHABLE, ErrorKind.SESSION_REFUSED, Phase.AUTH)),
        (b"\1", (Status.UNREACHABLE, ErrorKind.SESSION_REFUSED, Phase.AUTH)),
        (b"\0This account is not available.\n", (Status.UNREACHABLE, ErrorKind.SESSION_REFUSED, Phase.AUTH)),
        (b"\0", (Status.UNREACHABLE, ErrorKind.CLOSED, Phase.AUTH)),
        (b"", (Status.UNREACHABLE, ErrorKind.CLOSED, Phase.AUTH)),
        (b"SSH-2.0-OpenSSH\x1b]0;\r\n", (Status.UNREACHABLE, ErrorKind.PROTOCOL, Phase.AUTH)),
        (b"\1" + b"\x1b[2J" * 2_500_000, (Status.UNREACHABLE, ErrorKind.SESSION_REFUSED, Phase.AUTH)),
    ],
)
def test_no_login(text: bytes, expected: tuple[Status, ErrorKind, Phase]) -> None:
    talk = Conversation(KEY, is_merged=False)
    talk.receive("stdout", text)
    talk.end("stdout", None)
    talk.end("stderr", None)
    assert reason(talk) == expected
    assert talk.reason is not None
    assert len(talk.reason[1].message) < 600


def test_what_the_server_writes_to_stderr_is_a_reason_too() -> None:
    """The login shell could not be started: rshd(8), DIAGNOSTICS."""
    talk = Conversation(KEY, is_merged=False)
    talk.receive("stderr", b"/bin/none: no such file\n")
    talk.receive("stdout", b"\0")
    talk.end("stdout", None)
    assert talk.is_broken
    talk.end("stderr", None)
    assert talk.reason is not None
    assert "/bin/none: no such file" in talk.reason[1].message


def test_start_up_files_that_never_stop_to_write() -> None:
    talk = Conversation(KEY, is_merged=False)
    talk.receive("stdout", b"\0" + b"x" * (LONGEST_PRELUDE + 1))
    assert reason(talk) == (Status.UNREACHABLE, ErrorKind.PROTOCOL, Phase.AUTH)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, ErrorKind.NO_EXIT_STATUS),
        (RESET, ErrorKind.RESET),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), ErrorKind.KEEPALIVE),
    ],
)
def test_no_status_is_lost(error: OSError | None, kind: ErrorKind) -> None:
    talk = running()
    assert talk.receive("stdout", b"so far" + KEY[:5]) == b"so far"
    assert talk.end("stdout", error) == KEY[:5]
    assert talk.is_broken
    assert talk.receive("stderr", b"last words") == b"last words"
    talk.end("stderr", None)
    assert reason(talk) == (Status.LOST, kind, Phase.RUN)


def test_the_other_stream_is_given_up_on() -> None:
    talk = running()
    talk.end("stdout", None)
    talk.give_up()
    assert reason(talk) == (Status.LOST, ErrorKind.NO_EXIT_STATUS, Phase.RUN)


def test_an_end_before_the_command_was_sent_is_no_loss() -> None:
    talk = ready()
    talk.end("stdout", None)
    talk.end("stderr", None)
    assert reason(talk) == (Status.UNREACHABLE, ErrorKind.CLOSED, Phase.SESSION)


def test_an_ending_that_nobody_asked_for() -> None:
    talk = ready()
    talk.receive("stdout", KEY + b"]0;")
    talk.receive("stderr", KEY + b"]0;")
    assert reason(talk) == (Status.UNREACHABLE, ErrorKind.PROTOCOL, Phase.SESSION)


def test_there_is_one_command() -> None:
    talk = running()
    with pytest.raises(RuntimeError, match="does not wait for a command"):
        talk.order()


def test_what_comes_when_it_is_over_is_dropped() -> None:
    talk = running()
    talk.receive("stdout", KEY + b"]0;")
    talk.receive("stderr", KEY + b"]0;")
    assert talk.receive("stdout", b"late") == b""
    assert talk.end("stdout", None) == b""
