"""Connections whose command is a local program, which is started, fed, read and ended as a whole."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from typing import Any, Final

from multirsh.errors import HostError
from multirsh.linux import signal_name
from multirsh.model import ClosedBy, ErrorKind, Exited, Failure, Fate, Host, Outcome, Phase, Signalled, Status
from multirsh.transports.base import Destination, Sink, Stdin
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.messages import input_failure, one_line
from multirsh.transports.passwords import Password
from multirsh.transports.process.child import Child, Launch
from multirsh.transports.process.ending import Tree
from multirsh.transports.process.pipes import Inlet, Outlet

DESCRIPTORS: Final = 4
"""The descriptors of one host: a pipe for each of the three streams, and the program's pidfd."""


class ProcessConnection:
    """A ``Connection`` (``transports.base``) whose command is a program of this machine."""

    def __init__(
        self,
        host: Host,
        launch: Callable[[str], Launch],
        *,
        user: str | None,
        sees_all: bool,
        close_timeout: float,
    ) -> None:
        """Start nothing yet.

        Args:
            host: The host that the program stands for.
            launch: Makes the call of the program for a command.
            user: The user that the commands run as; ``None`` if unknown.
            sees_all: Whether the command consists of local processes only; if not, its fate after the end
                of the program is unknown.
            close_timeout: Seconds that a program may take to end after it was killed.
        """
        self._host = host
        self._launch = launch
        self._user = user
        self._sees_all = sees_all
        self._close_timeout = close_timeout
        self._phase = Phase.CONNECT
        self._opened_at: float | None = None
        self._running: _Running | None = None

    @property
    def phase(self) -> Phase:
        """How far the connection has come."""
        return self._phase

    @property
    def user(self) -> str | None:
        """The user that the command runs as."""
        return self._user

    @property
    def local_port(self) -> int | None:
        """``None``: there is no socket."""
        return None

    @property
    def connected_at(self) -> float | None:
        """When it was opened, in seconds on the loop's clock: nothing is connected before the command."""
        return self._opened_at

    @property
    def authenticated_at(self) -> float | None:
        """When it was opened, as there is no login."""
        return self._opened_at

    async def open(self, login_deadline: LoginDeadline) -> None:  # noqa: ARG002 - it takes no port
        """Record the time: only running the command shows whether the host can be reached."""
        self._opened_at = asyncio.get_running_loop().time()
        self._phase = Phase.SESSION

    async def run(
        self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False
    ) -> Outcome:
        """Start the program, and wait for its end and for the end of its output.

        As with ssh, output ends when no process holds it open any more, so a process that is left in the
        background must close it.

        Args:
            command: The command for the program.
            sink: Receives all output before this returns.
            stdin: The standard input; ``None`` for end of file at once.
            tty: Must be ``False``, as pseudo-terminals are not supported.

        Raises:
            HostError: The program cannot be started, the input cannot be read, or the exit status is lost.
        """
        if tty:
            raise ValueError("programs are given pipes")
        if self._opened_at is None:
            raise RuntimeError("the connection is not open")
        if self._running is not None:
            self._running.leave()
        self._phase = Phase.SESSION
        launch = self._launch(command)
        try:
            running = self._running = _Running(launch, sink, has_input=stdin is not None)
        except OSError as error:
            raise HostError(self._host.name, *_not_started(error, launch)) from error
        self._phase = Phase.RUN
        if stdin is None:
            await running.until_over()
        else:
            await self._feed_until_over(running, stdin)
        status = running.child.exited.result()
        if status is None:
            raise HostError(self._host.name, *_no_status())
        return Exited(status) if status >= 0 else Signalled(signal_name(-status))

    async def _feed_until_over(self, running: _Running, stdin: Stdin) -> None:
        """Write the input to the program until the program ends, whether or not it reads all of it.

        Raises:
            HostError: The input cannot be read; the program goes on, and may wait for more input.
        """
        failure: asyncio.Future[OSError] = asyncio.get_running_loop().create_future()

        async def feed() -> None:
            try:
                await running.feed(stdin)
            except OSError as error:
                failure.set_result(error)

        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed())
            ending = group.create_task(running.until_over())
            ends: list[asyncio.Future[Any]] = [ending, failure]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            feeding.cancel()
            ending.cancel()
        if failure.done():
            raise HostError(self._host.name, Status.LOCAL, input_failure(failure.result()))

    def kill_command(self) -> bool:
        """Kill the program's process group."""
        running = self._running
        if running is None or running.child.exited.done():
            return False
        try:
            os.killpg(running.child.pid, signal.SIGKILL)
        except OSError:
            return False
        return True

    async def end_command(self, *, kill_after: float, password: Password | None = None) -> Fate:  # noqa: ARG002 - see below
        """End the program after ``run`` was cancelled, with every process that it started.

        Processes that sudo runs as another user are ended by sudo itself, which passes TERM on (sudo(8)).
        This user cannot end those that are left then, and the result is that the command is alive.
        """
        running = self._running
        if running is None or running.is_over:
            return Fate.DEAD
        remains = await running.tree.end(kill_after)
        for outlet in running.outlets:
            outlet.drain()
        if remains.is_alive:
            return Fate.ALIVE
        is_all_seen = self._sees_all and not remains.is_unsure and running.has_no_writers
        return Fate.DEAD if is_all_seen else Fate.UNKNOWN

    def pause_output(self) -> None:
        """Stop reading the pipes, so that the program waits once they are full."""
        if self._running is not None:
            self._running.pause()

    def resume_output(self) -> None:
        """Read the pipes again."""
        if self._running is not None:
            self._running.resume()

    def close(self) -> None:
        """Kill a program that has not ended; leave alone what an ended one runs in the background."""
        if self._running is not None:
            self._running.leave()

    async def closed(self) -> ClosedBy | None:
        """Wait until the program has ended; ``None``, as there is no socket."""
        if self._running is not None:
            await asyncio.wait([self._running.child.exited], timeout=self._close_timeout)
        return None


class _Running:
    """A program that was started, and its pipes.

    Attributes:
        child: The program.
        tree: The program and the processes that it starts.
        outlets: The pipes of its standard output and standard error.
    """

    def __init__(self, launch: Launch, sink: Sink, *, has_input: bool) -> None:
        """Start the program.

        Raises:
            OSError: The program cannot be started; no descriptor is left open.
        """
        with ExitStack() as theirs, ExitStack() as ours:
            # Our own ends are closed only on an error.
            ends = [_pipe(theirs, ours, is_input=False) for _ in range(2)]
            stdin = _pipe(theirs, ours, is_input=True) if has_input else None
            self.child = Child(
                launch,
                stdin=subprocess.DEVNULL if stdin is None else stdin[1],
                stdout=ends[0][1],
                stderr=ends[1][1],
            )
            ours.pop_all()
        self.outlets = (
            Outlet(ends[0][0], lambda data: sink.write("stdout", data)),
            Outlet(ends[1][0], lambda data: sink.write("stderr", data)),
        )
        self._inlet = None if stdin is None else Inlet(stdin[0])
        self.tree = Tree(self.child, pipes=frozenset(outlet.name for outlet in self.outlets))
        self._is_left = False

    @property
    def is_over(self) -> bool:
        """Whether the program has ended and all its output was read."""
        return self.child.exited.done() and self.has_no_writers

    @property
    def has_no_writers(self) -> bool:
        """Whether no process can write output any more."""
        return all(outlet.ended.done() for outlet in self.outlets)

    async def until_over(self) -> None:
        """Wait until ``is_over`` is true; may be cancelled and called again."""
        await asyncio.wait([self.child.exited])
        for outlet in self.outlets:
            await asyncio.wait([outlet.ended])

    async def feed(self, stdin: Stdin) -> None:
        """Write all of the input to the program, then end of file.

        Raises:
            OSError: The input cannot be read.
        """
        if self._inlet is not None:
            await self._inlet.feed(stdin)

    def pause(self) -> None:
        """Stop reading output."""
        for outlet in self.outlets:
            outlet.pause()

    def resume(self) -> None:
        """Read output again."""
        for outlet in self.outlets:
            outlet.resume()

    def leave(self) -> None:
        """Close the pipes and release the program; kill it first if it is not over. Idempotent."""
        if self._is_left:
            return
        self._is_left = True
        if not self.is_over:
            self.tree.kill()
        if self._inlet is not None:
            self._inlet.close()
        for outlet in self.outlets:
            outlet.close()
        self.child.let_go()


def _pipe(theirs: ExitStack, ours: ExitStack, *, is_input: bool) -> tuple[int, int]:
    """Make a pipe; return our end of it and the program's."""
    reading, writing = os.pipe()  # only the program that is given an end inherits it (PEP 446)
    mine, others = (writing, reading) if is_input else (reading, writing)
    ours.callback(os.close, mine)
    theirs.callback(os.close, others)
    return mine, others


class ProcessConnector:
    """A ``Connector`` (``transports.base``)."""

    def __init__(
        self,
        launch: Callable[[Host, str], Launch],
        *,
        user_of: Callable[[Host], str | None],
        sees_all: bool,
        close_timeout: float,
    ) -> None:
        """Begin a run.

        Args:
            launch: Makes the call of the program for a host and a command.
            user_of: Returns the user that a host's commands run as, where that is known.
            sees_all: As for ``ProcessConnection``.
            close_timeout: Seconds that a program may take to end after it was killed.
        """
        self._launch = launch
        self._user_of = user_of
        self._sees_all = sees_all
        self._close_timeout = close_timeout

    def destination(self, host: Host) -> Destination | None:  # noqa: ARG002 - of the protocol
        """Return ``None``: if anything connects, it is the program."""
        return None

    def hop(self, host: Host) -> Hashable | None:  # noqa: ARG002 - of the protocol
        """Return ``None``: logins are not counted."""
        return None

    def connection(self, host: Host) -> ProcessConnection:
        """Return a connection whose program is not yet started."""
        return ProcessConnection(
            host,
            lambda command: self._launch(host, command),
            user=self._user_of(host),
            sees_all=self._sees_all,
            close_timeout=self._close_timeout,
        )

    async def release(self) -> None:
        """Do nothing: the hosts share nothing."""


_LOCAL_SHORTAGES: Final = {
    errno.EMFILE: ErrorKind.FILES,
    errno.ENFILE: ErrorKind.FILES,
    errno.ENOMEM: ErrorKind.MEMORY,
    errno.EAGAIN: ErrorKind.MEMORY,  # as many processes as the user, or the machine, may have: fork(2)
}
"""Errors that mean a shortage on this machine, whichever program is started."""


def _not_started(error: OSError, launch: Launch) -> tuple[Status, Failure]:
    """Return the failure for a program that could not be started, so that nothing has run."""
    what = error.strerror or str(error)
    if error.errno in _LOCAL_SHORTAGES:
        message = f"no program can be started here: {what}"
        return Status.LOCAL, Failure(_LOCAL_SHORTAGES[error.errno], Phase.SESSION, message)
    program = launch.executable or os.fsdecode(launch.argv[0])
    message = one_line(f"{program} cannot be started: {what}")
    return Status.UNREACHABLE, Failure(ErrorKind.PROGRAM, Phase.SESSION, message)


def _no_status() -> tuple[Status, Failure]:
    """Return the failure for a program that has ended but was reaped elsewhere."""
    message = "its exit status is lost: another part of this process has taken it, or SIGCHLD is ignored"
    return Status.LOST, Failure(ErrorKind.NO_EXIT_STATUS, Phase.RUN, message)
