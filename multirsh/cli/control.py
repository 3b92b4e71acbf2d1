"""What the command line says of a run's course: retries, batches, gates, questions, when to stop."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from multirsh.cli.descriptors import STDERR
from multirsh.cli.terminal import TERMINAL
from multirsh.engine.fleet import Fleet
from multirsh.engine.plan import Ask, Gate
from multirsh.engine.results import HostResult
from multirsh.engine.retry import NO_RETRIES, RetryPolicy
from multirsh.engine.rolling import Answer, GateOutcome, RollingPlan
from multirsh.errors import UsageError
from multirsh.inventory import fold
from multirsh.output import Printer
from multirsh.output.escape import escape_text
from multirsh.transports.process.child import Child, Launch
from multirsh.transports.process.ending import KILL_S, Tree
from multirsh.transports.threads import in_daemon_thread

Say = Callable[[str], None]

LOCAL: Final = "local:"
HOSTS: Final = "hosts:"

LOOK_AGAIN_S: Final = 1.0
"""Seconds until a terminal that belongs to another job is looked at again."""

_ANSWERS: Final = {"y": Answer.YES, "yes": Answer.YES, "n": Answer.NO, "no": Answer.NO}
_ANSWERS_TOO: Final = {"a": Answer.ALL, "all": Answer.ALL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A run's course.

    Attributes:
        retry: How often a host is tried again.
        rolling: In which batches, and when to stop.
        gate: A command that must end with 0 after each batch: on this machine, or after ``hosts:`` on the
            batch's hosts.
        asks: Whether a person is asked after each batch.
        fail_fast: Whether the first failure stops the run.
        barrier: Whether the command is released at once.
    """

    retry: RetryPolicy = NO_RETRIES
    rolling: RollingPlan = field(default_factory=RollingPlan)
    gate: str | None = None
    asks: bool = False
    fail_fast: bool = False
    barrier: bool = False

    def __post_init__(self) -> None:
        if self.asks:
            try:
                os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY))
            except OSError:
                raise UsageError(
                    "--step asks at the terminal, and there is none", hint="use --gate or --batch-delay"
                ) from None

    def gate_of(self, fleet: Fleet, say: Say, *, kill_after: float) -> Gate | None:
        """What decides after each batch; ``None`` for nothing.

        Args:
            fleet: For a gate on its hosts.
            say: Takes lines for people.
            kill_after: Seconds from TERM to KILL, for a gate that is cut short.
        """
        if self.gate is None:
            return None
        if self.gate.startswith(HOSTS):
            return _gate_on_hosts(fleet, command_of(self.gate), self.retry, say)
        return _gate_here(command_of(self.gate), kill_after)

    def ask_by(self, printer: Printer) -> Ask | None:
        """How a person is asked after each batch; ``None`` for not at all."""
        if not self.asks:
            return None

        # In the background, reading would stop us, and all that runs; so it fails, and is tried again.
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)

        async def ask(question: str) -> Answer:
            while True:
                printer.say(f"multirsh: {question} [y]es, [n]o, [a]ll: ")
                with printer.asking():
                    words = await in_daemon_thread(_read_line, name="multirsh-step")
                answer = (_ANSWERS | _ANSWERS_TOO).get(words.strip().lower())
                if not words:
                    return Answer.NO  # the terminal is gone
                if answer is not None:
                    return answer

        return ask


def command_of(gate: str) -> str:
    """What ``--gate`` runs, without the word that says where; empty where nothing is left."""
    for place in (HOSTS, LOCAL):
        if gate.startswith(place):
            return gate.removeprefix(place).strip()
    return gate.strip()


def _read_line() -> str:
    """A line that was typed; empty at the end. While the terminal is another job's, it waits."""
    with Path(TERMINAL).open(encoding="utf-8", errors="replace") as terminal:
        while True:
            if os.tcgetpgrp(terminal.fileno()) == os.getpgrp():
                try:
                    return terminal.readline()
                except OSError as error:
                    if error.errno != errno.EIO:  # we were sent to the background meanwhile
                        raise
            time.sleep(LOOK_AGAIN_S)


def _gate_here(command: str, kill_after: float) -> Gate:
    """A command of this machine's shell; what it prints goes to stderr."""

    async def gate(batch: int, hosts: Sequence[str]) -> GateOutcome:
        child = Child(
            Launch((b"/bin/sh", b"-c", os.fsencode(command))),
            stdout=STDERR,
            environment={**os.environ, "MULTIRSH_BATCH": str(batch), "MULTIRSH_HOSTS": fold(hosts)},
        )
        try:
            await asyncio.wait([child.exited])
        except asyncio.CancelledError:
            try:
                await Tree(child).end(kill_after)
            finally:
                await asyncio.wait([child.exited], timeout=KILL_S)
            raise
        finally:
            child.let_go()
        status = child.exited.result()
        if status == 0:
            return GateOutcome(passed=True)
        if status is None:
            return GateOutcome(passed=False, reason="its exit status is lost")
        reason = f"exit status {status}" if status > 0 else f"signal {-status}"
        return GateOutcome(passed=False, reason=reason)

    return gate


def _gate_on_hosts(fleet: Fleet, command: str, retry: RetryPolicy, say: Say) -> Gate:
    """A command on the batch's hosts; each must end with 0."""

    async def gate(_batch: int, hosts: Sequence[str]) -> GateOutcome:
        wanted = set(hosts)
        batch = [host for host in fleet.hosts if host.name in wanted]
        results = await fleet.run(command, hosts=batch, retry=retry).gather()
        failed = [name for name, result in results.items() if not result.is_ok]
        for name in failed:
            say(escape_text(f"gate: {name}: {_why(results[name])}"))
        return GateOutcome(passed=not failed, reason=f"not ok on {fold(failed)}" if failed else "")

    return gate


def _why(result: HostResult) -> str:
    """Why a gate did not pass on a host: what kept it from ending, or else its last line."""
    if result.error is not None:
        return result.error.message
    lines = (result.stderr or result.stdout).decode("utf-8", "replace").splitlines()
    if lines:
        return lines[-1]
    if result.signal is not None:
        return f"signal {result.signal}"
    return str(result.status) if result.exit_status is None else f"exit status {result.exit_status}"
