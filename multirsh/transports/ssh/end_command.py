"""Ending what a command left running, by a second channel of its connection; else by signals, unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import asyncssh

from multirsh.model import Fate
from multirsh.transports.base import Stream
from multirsh.transports.passwords import Password
from multirsh.transports.ssh import end_script
from multirsh.transports.ssh.polite import PoliteConnection
from multirsh.transports.ssh.session import CommandSession
from multirsh.transports.ssh.window import FIRST_BYTES

READY_S: Final = 5.0
"""Seconds until the second channel has a shell: a login shell may have much to read when it starts."""

LOOK_S: Final = 6.0
"""Seconds, beyond those from TERM to KILL, until the script has answered: it looks for 2 after KILL."""

CLOSE_S: Final = 1.0
"""Seconds until the remote closes the command's channel, after the last process that held it ended."""

HEARD_BYTES: Final = 64 * 1024
"""What is kept of the second channel's output: more than that is no shell's start-up."""


async def end_command(
    link: PoliteConnection,
    session: CommandSession,
    *,
    kill_after: float,
    password: Password | None = None,
) -> Fate:
    """End what the command of ``session`` has started; bounded in time, and nothing is raised.

    Args:
        link: The connection.
        session: The command's channel in it.
        kill_after: Seconds from TERM to KILL.
        password: What sudo is answered; ``None`` where it may not ask.
    """
    was_open = not session.ended.done()  # else it was closed for another reason than the command's end
    try:
        answer = await _ask(link, kill_after, password)
        if answer is not None:
            with session.unpaused():
                closed = was_open and await _closed(session, CLOSE_S)
            return end_script.judge(answer, channel_closed=closed)
        await _signal(session, kill_after)
    except (asyncssh.Error, OSError):
        pass  # the connection is dead, or as good as that
    return Fate.UNKNOWN


async def _ask(
    link: PoliteConnection, kill_after: float, password: Password | None
) -> end_script.Answer | None:
    """Let the script do it.

    Returns:
        ``None`` where the remote runs no script, or the script can do nothing.

    Raises:
        TimeoutError: The remote does not even open a channel, or the script did not come to its end.
    """
    key, ear = end_script.make_key(), OutputCapture()
    session = CommandSession(ear, link.when_read)
    ready_by = asyncio.get_running_loop().time() + READY_S
    try:
        async with asyncio.timeout_at(ready_by):
            channel, _ = await link.create_session(
                lambda: session,
                end_script.bootstrap(key, kill_after=kill_after, may_ask=password is not None),
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
                if not await ear.hears(lambda heard: end_script.is_ready(heard, key), session):
                    return None
        except TimeoutError:
            return None
        channel.write(end_script.script())
        async with asyncio.timeout(kill_after + LOOK_S):
            await _answer_sudo(channel, session, ear, key, password)
            channel.write_eof()
            await ear.hears(lambda heard: end_script.read_answer(heard, key) is not None, session)
        return end_script.read_answer(ear.heard, key)
    finally:
        # Its input is at its end then, so that a command of another's that waits for some ends.
        channel.close()


async def _answer_sudo(
    channel: asyncssh.SSHClientChannel[bytes],
    session: CommandSession,
    ear: OutputCapture,
    key: str,
    password: Password | None,
) -> None:
    """Answer each call of sudo once, until the script has answered us, or sudo asks a second time."""
    answered = 0

    def is_next(heard: bytes) -> bool:
        has_asked = len(end_script.prompts(heard, key)) > answered
        return has_asked or end_script.read_answer(heard, key) is not None

    while password is not None:
        await ear.hears(is_next, session)
        asked = end_script.prompts(ear.heard, key)
        if len(asked) == answered or len(set(asked)) < len(asked):
            return
        for _ in asked[answered:]:
            channel.write(password.reveal().encode() + b"\n")
        answered = len(asked)


async def _signal(session: CommandSession, kill_after: float) -> None:
    """Ask the server for the signals (RFC 4254, section 6.9); what comes of it, nobody says."""
    for name, seconds in (("TERM", kill_after), ("KILL", CLOSE_S)):
        session.signal(name)
        if await _closed(session, seconds):
            return


async def _closed(session: CommandSession, seconds: float) -> bool:
    """Wait until the remote has closed the command's channel; whether it has, within ``seconds``."""
    await asyncio.wait([session.ended], timeout=seconds)
    return session.ended.done()


class OutputCapture:
    """A ``Sink`` that keeps the beginning of standard output and forgets the rest.

    Attributes:
        heard: What it has kept.
    """

    def __init__(self) -> None:
        self.heard = b""
        self._more = asyncio.Event()

    def write(self, stream: Stream, data: bytes) -> None:
        """Listen."""
        if stream == "stdout":
            self.heard += data[: HEARD_BYTES - len(self.heard)]
        self._more.set()

    async def hears(self, what: Callable[[bytes], bool], session: CommandSession) -> bool:
        """Wait for ``what``; whether it came before the end of ``session``."""
        session.ended.add_done_callback(lambda _: self._more.set())
        while not what(self.heard) and not session.ended.done():
            self._more.clear()
            await self._more.wait()
        return what(self.heard)
