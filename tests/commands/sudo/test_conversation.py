"""What sudo is answered, what the user sees, and when the user's input begins."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.commands.sudo.conversation import TRANSITIONS, SudoConversation, SudoEvent, SudoState
from multirsh.commands.sudo.wrapping import new_marks
from multirsh.engine.spool import Given
from multirsh.errors import IllegalTransition
from multirsh.transports.base import Stream
from multirsh.transports.passwords import Password
from tests.waiting import HANG_GUARD_S

SECRET = "s3cret"
MARKS = new_marks()


class Seen:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.pieces: list[tuple[Stream, bytes]] = []

    def write(self, stream: Stream, data: bytes) -> None:
        self.pieces.append((stream, data))

    def of(self, stream: Stream) -> bytes:
        return b"".join(data for name, data in self.pieces if name == stream)


def conversation(seen: Seen, *, knows: bool = True, **settings: bool) -> SudoConversation:
    """One with 'input' for the command."""
    return SudoConversation(
        seen,
        Given(b"input"),
        MARKS,
        answer=lambda: Password(SECRET) if knows else None,
        **settings,  # type: ignore[arg-type]  # what the test says
    )


async def all_input(talk: SudoConversation) -> bytes:
    data = b""
    async with asyncio.timeout(HANG_GUARD_S):
        while more := await talk.read(len(data)):
            data += more
    return data


async def waits(talk: SudoConversation, offset: int) -> bool:
    """Whether no input may be sent yet."""
    reading = asyncio.ensure_future(talk.read(offset))  # noqa: TID251 - it is looked at while it waits
    await asyncio.sleep(0)
    waiting = not reading.done()
    reading.cancel()
    return waiting


def every_cut(data: bytes) -> list[list[bytes]]:
    """``data`` in one piece, in two in every way, and byte by byte."""
    cuts = [[data]] + [[data[:place], data[place:]] for place in range(1, len(data))]
    return [*cuts, [data[place : place + 1] for place in range(len(data))]]


async def test_asked_answered_begun() -> None:
    seen, line = Seen(), len(SECRET) + 1
    talk = conversation(seen)
    assert await waits(talk, 0)
    talk.write("stderr", b"We trust you\n" + MARKS.prompt)
    assert await talk.read(0) == b"s3cret\n"
    assert await waits(talk, line)
    talk.write("stderr", MARKS.ready + b"err")
    assert await talk.read(line) == b"input"
    assert await talk.read(line + 5) == b""
    talk.write("stdout", b"out")
    assert (seen.of("stderr"), seen.of("stdout")) == (b"We trust you\nerr", b"out")
    assert talk.has_begun


async def test_nobody_asks() -> None:
    seen = Seen()
    talk = conversation(seen)
    talk.write("stderr", MARKS.ready)
    assert await all_input(talk) == b"input"
    assert seen.pieces == []


async def test_cuts_do_not_matter() -> None:
    for chunks in every_cut(b"1" + MARKS.prompt + b"2" + MARKS.ready + b"3" + MARKS.prompt):
        seen = Seen()
        talk = conversation(seen)
        for chunk in chunks:
            talk.write("stderr", chunk)
        # Once the command runs, whatever it writes is its own.
        assert seen.of("stderr") == b"123" + MARKS.prompt
        # It has not waited for the answer, and the command does not get it.
        assert await all_input(talk) == b"input"


@pytest.mark.parametrize("tty", [False, True])
async def test_a_second_prompt_is_not_answered(*, tty: bool) -> None:
    seen, stream = Seen(), "stdout" if tty else "stderr"
    talk = conversation(seen, tty=tty)
    assert stream in {"stdout", "stderr"}
    talk.write("stdout" if tty else "stderr", MARKS.prompt + b"Sorry, try again.\n" + MARKS.prompt)
    assert await all_input(talk) == b"s3cret\n"
    talk.write("stdout" if tty else "stderr", b"\nsudo: 1 incorrect password attempt\n")
    talk.end()
    assert talk.state is SudoState.REFUSED
    assert seen.pieces == [(stream, b"Sorry, try again.\n")]
    assert talk.last_line == "sudo: 1 incorrect password attempt"


async def test_what_is_not_known_is_not_answered() -> None:
    talk = conversation(Seen(), knows=False)
    talk.write("stderr", MARKS.prompt)
    assert await all_input(talk) == b""
    assert talk.state is SudoState.WITHHELD


@pytest.mark.parametrize(
    "text",
    [b"Password: ", b"[sudo] password for me: ", MARKS.prompt[:-1], MARKS.prompt.upper()],
    ids=["plain", "sudo's own", "cut short", "in capitals"],  # the marks are others in each process
)
async def test_no_other_prompt_is_answered(text: bytes) -> None:
    talk = conversation(Seen())
    talk.write("stderr", text)
    assert await waits(talk, 0)
    assert talk.state is SudoState.QUIET


async def test_a_host_that_repeats_what_it_reads_does_not_show_the_password() -> None:
    for chunks in every_cut(b"you said s3cret, that is s3crets3cret"):
        seen = Seen()
        talk = conversation(seen)
        talk.write("stderr", MARKS.prompt)
        for chunk in chunks:
            talk.write("stderr", chunk)
            talk.write("stdout", chunk)
        talk.end()
        for stream in ("stdout", "stderr"):
            assert seen.of(stream) == b"you said ***, that is ******"
        assert SECRET not in talk.last_line


async def test_on_a_terminal_the_line_end_of_the_answer_is_not_shown() -> None:
    seen = Seen()
    talk = conversation(seen, tty=True)
    talk.write("stdout", MARKS.prompt)
    talk.write("stdout", b"\r\n" + MARKS.ready + b"\nout")
    assert seen.of("stdout") == b"\nout"


def test_the_table_is_whole() -> None:
    for stage in SudoState:
        assert ((stage, SudoEvent.READY) in TRANSITIONS) is (stage is not SudoState.BEGUN)
    with pytest.raises(IllegalTransition):
        conversation(Seen())._step(SudoEvent.ANSWER)


@given(
    st.lists(st.sampled_from([MARKS.prompt, MARKS.ready, b"text", b"multirsh-", SECRET.encode()])), st.data()
)
def test_whatever_comes_in_whatever_pieces(parts: list[bytes], data: st.DataObject) -> None:
    cut, at_once, rest = Seen(), Seen(), b"".join(parts)
    talk, same = conversation(cut), conversation(at_once)
    same.write("stderr", rest)
    same.end()
    while rest:
        count = data.draw(st.integers(1, len(rest)))
        talk.write("stderr", rest[:count])
        rest = rest[count:]
    talk.end()
    assert (talk.state, talk.tail, cut.of("stderr")) == (same.state, same.tail, at_once.of("stderr"))
    _, begun, after = b"".join(parts).partition(MARKS.ready)
    assert talk.has_begun is bool(begun)
    # The mark comes on both streams, which may be one.
    assert cut.of("stderr").endswith(after.replace(MARKS.ready, b"", 1))
    assert MARKS.prompt not in talk.tail


@pytest.mark.parametrize("stars", [b"", b"******\b \b\b \b\x1b[0K\r"], ids=["0.2.5", "0.2.15 on a terminal"])
async def test_nothing_of_sudo_rs_is_shown(stars: bytes) -> None:
    for chunks in every_cut(
        b"hello\n[sudo: "
        + MARKS.prompt
        + b"] Password: "
        + stars
        + b"\n"
        + MARKS.ready
        + MARKS.ready
        + b"out"
    ):
        seen = Seen()
        talk = conversation(seen, tty=bool(stars))
        for chunk in chunks:
            talk.write("stdout", chunk)
        assert (seen.of("stdout"), talk.state) == (b"hello\nout", SudoState.BEGUN)


async def test_a_second_prompt_without_a_complaint_is_no_refusal() -> None:
    talk = conversation(Seen())
    talk.write("stderr", MARKS.prompt)
    assert await talk.read(0) == b"s3cret\n"
    talk.write("stderr", MARKS.prompt)
    assert talk.state is SudoState.EXTRA_QUESTION


async def test_what_waits_for_an_answer_is_killed_before_its_input_ends() -> None:
    kills = 0

    def kill() -> bool:
        nonlocal kills
        kills += 1
        return False

    talk = SudoConversation(Seen(), None, MARKS, kill=kill)
    talk.write("stderr", MARKS.prompt)
    assert (await talk.read(0), kills, talk.state) == (b"", 1, SudoState.WITHHELD)
