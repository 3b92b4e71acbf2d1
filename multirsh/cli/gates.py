"""Between two batches: the command of ``--gate``, and the question of ``--step``."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from multirsh.cli.options.run import HOSTS, Pauses, gate_command
from multirsh.cli.process import STDERR
from multirsh.cli.terminal import TERMINAL
from multirsh.engine.emitter import Record
from multirsh.engine.fleet import Fleet
from multirsh.engine.options import RetryPolicy, RunOptions
from multirsh.engine.results import HostResult
from multirsh.engine.run import Gate, Prompt, RunHooks
from multirsh.engine.schedule.rolling import Answer, GateOutcome
from multirsh.errors import UsageError
from multirsh.inventory import fold
from multirsh.output import Printer
from multirsh.output.escape import escape_text
from multirsh.transports.process.child import Child, Launch
from multirsh.transports.process.ending import KILL_S, Tree
from multirsh.transports.threads import in_daemon_thread

Say = Callable[[str], None]

LOOK_AGAIN_S: Final = 1.0
"""Seconds between checks of a terminal that belongs to another job."""

_ANSWERS: Final = {
    "y": Answer.YES,
    "yes": Answer.YES,
    "n": Answer.NO,
    "no": Answer.NO,
    "a": Answer.ALL,
    "all": Answer.ALL,
}


def hooks_for(
    pauses: Pauses, options: RunOptions, fleet: Fleet, printer: Printer, journal: Record
) -> RunHooks:
    """Return the functions that a run calls.

    Args:
        pauses: What happens between two batches.
        options: The options of the run.
        fleet: Runs a gate on the hosts.
        printer: Shows why a gate failed, and the question.
        journal: Keeps the events.

    Raises:
        UsageError: ``--step`` was given, and there is no terminal.
    """
    gate = None if pauses.gate is None else _gate(pauses.gate, options, fleet, printer.say)
    return RunHooks(gate=gate, prompt=_prompt(printer) if pauses.step else None, journal=journal)


def check_terminal() -> None:
    """Check that ``--step`` can ask at the terminal.

    Raises:
        UsageError: There is no terminal.
    """
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise UsageError(
            "--step asks at the terminal, and there is none", hint="use --gate or --batch-delay"
        ) from None


def _gate(gate: str, options: RunOptions, fleet: Fleet, say: Say) -> Gate:
    if gate.startswith(HOSTS):
        return _gate_on_hosts(fleet, gate_command(gate), options.retry, say)
    return _gate_here(gate_command(gate), options.timeouts.kill_after)


def _prompt(printer: Printer) -> Prompt:
    # Reading in the background would stop this process, and all that runs; so it fails, and is tried again.
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)

    async def ask(question: str) -> Answer:
        while True:
            printer.say(f"multirsh: {question} [y]es, [n]o, [a]ll: ")
            with printer.asking():
                words = await in_daemon_thread(_read_line, name="multirsh-step")
            answer = _ANSWERS.get(words.strip().lower())
            if not words:
                return Answer.NO  # the terminal is gone
            if answer is not None:
                return answer

    return ask


def _read_line() -> str:
    """Read a line from the terminal; empty at its end. Waits while the terminal belongs to another job."""
    with Path(TERMINAL).open(encoding="utf-8", errors="replace") as terminal:
        while True:
            if os.tcgetpgrp(terminal.fileno()) == os.getpgrp():
                try:
                    return terminal.readline()
                except OSError as error:
                    if error.errno != errno.EIO:  # this job was moved to the background meanwhile
                        raise
            time.sleep(LOOK_AGAIN_S)


def _gate_here(command: str, kill_after: float) -> Gate:
    """Return a gate that runs a command in the local shell, with its output on stderr."""

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
    """Return a gate that runs a command on the hosts of the batch, each of which must exit with 0."""

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
    """Return why a gate failed on a host: what kept the command from exiting, or else its last line."""
    if result.error is not None:
        return result.error.message
    lines = (result.stderr or result.stdout).decode("utf-8", "replace").splitlines()
    if lines:
        return lines[-1]
    if result.signal is not None:
        return f"signal {result.signal}"
    return str(result.status) if result.exit_status is None else f"exit status {result.exit_status}"
