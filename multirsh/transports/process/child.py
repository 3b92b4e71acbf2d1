"""Starts a local program in its own session, watches it without a thread, and reaps it on release.

The process id is also the id of its session and of its first process group.
All three stay reserved until the process is reaped, so it is not reaped when
it ends but when it will not be signalled any more: that way no signal can
reach an unrelated process with a reused id (waitid(2), WNOWAIT).

asyncio's own subprocesses take a thread each before Python 3.12, kill the
program alone when their start is cancelled, and reap at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

from multirsh import linux
from multirsh.transports.threads import daemon_thread


class Launch(NamedTuple):
    """The program to start, and its arguments.

    Attributes:
        argv: All arguments, beginning with the program's own name.
        executable: The program, if it is not ``argv[0]``.
    """

    argv: tuple[bytes, ...]
    executable: str | None = None


class Child:
    """A program that was started.

    Attributes:
        pid: Its process id, which is also its session's.
        environment: The environment that it was started with, as items ``NAME=value``.
        exited: Done when it has ended. The result is its exit status, the negative number of a signal, or
            ``None`` if other code of this process has reaped it. Wait for it by ``asyncio.wait``, which does
            not cancel it.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the program; this needs a running loop.

        Args:
            launch: The program and its arguments.
            stdin: A descriptor, or ``subprocess.DEVNULL``.
            stdout: A descriptor; ``None`` to inherit ours.
            stderr: A descriptor; ``None`` to inherit ours.
            environment: The whole environment; ``None`` to inherit ours.

        Raises:
            OSError: The program cannot be started.
        """
        self._popen = subprocess.Popen(  # noqa: S603 - it is what this is for, and no shell reads it
            launch.argv,
            executable=launch.executable,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=True,  # to be ended as a whole; and the terminal's Ctrl-C is ours alone
        )
        given = (
            os.environb
            if environment is None
            else {os.fsencode(k): os.fsencode(v) for k, v in environment.items()}
        )
        self.pid = self._popen.pid
        self.environment = frozenset(b"%b=%b" % pair for pair in given.items())
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int | None] = self._loop.create_future()
        self._pidfd: int | None = None
        self._is_let_go = False
        self._watch()

    @property
    def is_ours(self) -> bool:
        """Whether its id is certainly still its own: it has not been reaped, here or by other code."""
        if self.exited.done() and (self.exited.result() is None or not linux.CAN_LEAVE_UNREAPED):
            return False
        return not self._is_let_go

    def let_go(self) -> None:
        """Reap it, now or when it ends; its id is not used for signals any more. Idempotent."""
        if self._is_let_go:
            return
        self._is_let_go = True
        if self.exited.done():
            self._popen.wait()

    def _watch(self) -> None:
        self._pidfd = linux.open_process(self.pid) if linux.CAN_LEAVE_UNREAPED else None
        if self._pidfd is None:
            daemon_thread(self._wait, name="multirsh-child").add_done_callback(lambda _: self._ended())
        else:
            self._loop.add_reader(self._pidfd, self._ended)

    def _wait(self) -> None:
        if not linux.CAN_LEAVE_UNREAPED:
            self._popen.wait()  # reaps it: its number is not its own any more
            return
        with contextlib.suppress(ChildProcessError):
            linux.exit_status(self.pid, wait=True)

    def _ended(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        status: int | None = None
        if not linux.CAN_LEAVE_UNREAPED:
            status = self._popen.returncode
        else:
            with contextlib.suppress(ChildProcessError):
                status = linux.exit_status(self.pid, wait=False)
        self.exited.set_result(status)
        if self._is_let_go:
            self._popen.wait()
