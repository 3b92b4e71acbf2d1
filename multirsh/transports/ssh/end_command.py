r"""Ending the processes that a command left running: by a script in a second channel, or else by signals.

The command has no wrapper, so only the login shell interprets it. The
processes that it has started are found afterwards, by a script that the
remote's /bin/sh runs in another channel of the same connection. The script is
a file beside this module, ``end_script.sh``; the messages in that channel are::

    multirsh                                 the remote
    exec /bin/sh -c '...' ─────────────────▶ the login shell becomes /bin/sh
    ◀─────────────────────────────── KEY:ready\n
    the script ────────────────────────────▶ on standard input; a forced command would get none
    ◀─────────────────────────────── KEY:asks 1%;      if sudo prompts, and may
    the password ──────────────────────────▶ once, for each number
    ◀─────────────────────────────── KEY:left 0 away 0 blind 0\n

KEY is made anew each time. The requested line contains ``KEY:ready`` nowhere,
so a program that merely repeats the line, such as a restricted shell in its
refusal, is not taken for a shell; and the output of start-up files is ignored.
The line means the same to sh, csh, fish and similar shells: it has no quote
within the quotes, no backslash, no exclamation mark, no line feed. The tests
try it in those shells.

Pure: no loop and no socket. The script's text is read once.
"""

from __future__ import annotations

import asyncio
import functools
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Final

import asyncssh

from multirsh.model import Fate
from multirsh.transports.base import Stream
from multirsh.transports.passwords import Password
from multirsh.transports.ssh.asyncssh_internals import ClientConnection
from multirsh.transports.ssh.session import FIRST_BYTES, CommandSession


@dataclass(frozen=True, slots=True)
class ScriptReport:
    """The script's report.

    Attributes:
        left: The number of the command's processes that survived KILL.
        away: The number of processes that carry the connection's mark, but have left the command's sessions.
        is_blind: Whether the remote cannot determine which processes carry the mark.
    """

    left: int
    away: int
    is_blind: bool


def make_key() -> str:
    """Return a word that no output contains by chance: 64 random bits, in hexadecimal."""
    return secrets.token_hex(8)


def bootstrap(key: str, *, kill_after: float, may_ask: bool = False) -> str:
    """Return the command to request: whatever the login shell is, it becomes one that reads the script.

    Args:
        key: The result of ``make_key``.
        kill_after: Seconds from TERM to KILL.
        may_ask: Whether sudo may prompt for a password.
    """
    grace = math.ceil(max(kill_after, 0.0) * 100)
    return f"exec /bin/sh -c 'k={key};echo $k:ready;exec /bin/sh -s $k {grace}{' asks' if may_ask else ''}'"


@functools.cache
def script() -> bytes:
    """Return the script, to be sent once the remote is ready."""
    return resources.files(__package__).joinpath("end_script.sh").read_bytes()


def is_ready(heard: bytes, key: str) -> bool:
    """Whether the remote has announced that it reads the script.

    Args:
        heard: Its standard output so far.
        key: As given to ``bootstrap``.
    """
    return f"{key}:ready".encode() in heard


def read_report(heard: bytes, key: str) -> ScriptReport | None:
    """Find the script's report in the output; return ``None`` if it is not there yet.

    Args:
        heard: The remote's standard output so far.
        key: As given to ``bootstrap``.
    """
    found = re.search(rb"%b:left ([0-9]{1,9}) away ([0-9]{1,9}) blind ([01])\r?\n" % key.encode(), heard)
    if found is None:
        return None
    return ScriptReport(left=int(found[1]), away=int(found[2]), is_blind=found[3] == b"1")


def prompts(heard: bytes, key: str) -> list[int]:
    """Find sudo's prompts in the output: each call of sudo has a number, which a second prompt repeats.

    Args:
        heard: The remote's standard output so far.
        key: As given to ``bootstrap``.
    """
    return [int(number) for number in re.findall(rb"%b:asks ([0-9]{1,9})%%;" % key.encode(), heard)]


def judge(report: ScriptReport, *, channel_closed: bool) -> Fate:
    """Decide what has become of the command.

    Args:
        report: The script's report.
        channel_closed: Whether the remote has closed the command's channel: then no process holds its output.
    """
    if report.left or report.away:
        return Fate.ALIVE
    return Fate.DEAD if channel_closed and not report.is_blind else Fate.UNKNOWN


READY_S: Final = 5.0
"""Seconds until the second channel has a shell: a login shell may have much to read when it starts."""

LOOK_S: Final = 6.0
"""Seconds, beyond those from TERM to KILL, until the script has reported: it looks for 2 after KILL."""

CLOSE_S: Final = 1.0
"""Seconds until the remote closes the command's channel after the last process that held it has ended."""

HEARD_BYTES: Final = 64 * 1024
"""How many bytes of the second channel's output are kept: a shell's start-up prints less than that."""


async def end_command(
    link: ClientConnection,
    session: CommandSession,
    *,
    kill_after: float,
    password: Password | None = None,
) -> Fate:
    """End the processes that the command of ``session`` has started; bounded in time, and raises nothing.

    Args:
        link: The connection.
        session: The command's channel in it.
        kill_after: Seconds from TERM to KILL.
        password: The answer to sudo's prompts; ``None`` if it may not prompt.
    """
    was_open = not session.ended.done()  # otherwise it was closed for another reason
    try:
        report = await _ask(link, kill_after, password)
        if report is not None:
            with session.unpaused():
                closed = was_open and await _closed(session, CLOSE_S)
            return judge(report, channel_closed=closed)
        await _signal(session, kill_after)
    except (asyncssh.Error, OSError):
        pass  # the connection is dead, or unresponsive
    return Fate.UNKNOWN


async def _ask(link: ClientConnection, kill_after: float, password: Password | None) -> ScriptReport | None:
    """Run the script in a second channel.

    Returns:
        The script's report; ``None`` if the remote runs no script, or the script can do nothing.

    Raises:
        TimeoutError: The remote does not open a channel, or the script did not finish in time.
    """
    key, ear = make_key(), OutputCapture()
    session = CommandSession(ear, link.when_read)
    ready_by = asyncio.get_running_loop().time() + READY_S
    try:
        async with asyncio.timeout_at(ready_by):
            channel, _ = await link.create_session(
                lambda: session,
                bootstrap(key, kill_after=kill_after, may_ask=password is not None),
                env={},
                send_env=[],
                encoding=None,
                window=FIRST_BYTES,
                request_pty=False,
            )
    except asyncssh.ChannelOpenError:
        return None
    try:
        try:
            async with asyncio.timeout_at(ready_by):
                if not await ear.hears(lambda heard: is_ready(heard, key), session):
                    return None
        except TimeoutError:
            return None
        channel.write(script())
        async with asyncio.timeout(kill_after + LOOK_S):
            await _answer_sudo(channel, session, ear, key, password)
            channel.write_eof()
            await ear.hears(lambda heard: read_report(heard, key) is not None, session)
        return read_report(ear.heard, key)
    finally:
        # End its input, so that a forced command that waits for input ends.
        channel.close()


async def _answer_sudo(
    channel: asyncssh.SSHClientChannel[bytes],
    session: CommandSession,
    ear: OutputCapture,
    key: str,
    password: Password | None,
) -> None:
    """Answer each call of sudo once, until the script has reported or sudo prompts a second time."""
    answered = 0

    def is_next(heard: bytes) -> bool:
        has_asked = len(prompts(heard, key)) > answered
        return has_asked or read_report(heard, key) is not None

    while password is not None:
        await ear.hears(is_next, session)
        asked = prompts(ear.heard, key)
        if len(asked) == answered or len(set(asked)) < len(asked):
            return
        for _ in asked[answered:]:
            channel.write(password.reveal().encode() + b"\n")
        answered = len(asked)


async def _signal(session: CommandSession, kill_after: float) -> None:
    """Request the signals from the server (RFC 4254, section 6.9); it does not report their effect."""
    for name, seconds in (("TERM", kill_after), ("KILL", CLOSE_S)):
        session.signal(name)
        if await _closed(session, seconds):
            return


async def _closed(session: CommandSession, seconds: float) -> bool:
    """Wait up to ``seconds`` for the remote to close the command's channel; return whether it has."""
    await asyncio.wait([session.ended], timeout=seconds)
    return session.ended.done()


class OutputCapture:
    """A ``Sink`` that keeps the beginning of standard output and forgets the rest.

    Attributes:
        heard: The output that was kept.
    """

    def __init__(self) -> None:
        self.heard = b""
        self._more = asyncio.Event()

    def write(self, stream: Stream, data: bytes) -> None:
        """Keep standard output, up to the limit."""
        if stream == "stdout":
            self.heard += data[: HEARD_BYTES - len(self.heard)]
        self._more.set()

    async def hears(self, what: Callable[[bytes], bool], session: CommandSession) -> bool:
        """Wait until ``what`` holds for the output; return whether it did before ``session`` ended."""
        session.ended.add_done_callback(lambda _: self._more.set())
        while not what(self.heard) and not session.ended.done():
            self._more.clear()
            await self._more.wait()
        return what(self.heard)
