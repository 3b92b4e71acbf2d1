"""What goes into the machine of a run and what comes out: events and commands, as values."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, dataclass_transform

from multirsh.engine.schedule.admission import Start
from multirsh.engine.schedule.rolling import Answer, GateOutcome
from multirsh.model import Failure, Host, Status

_Value = TypeVar("_Value")


@dataclass_transform(frozen_default=True)
def _value(cls: type[_Value]) -> type[_Value]:
    """Make ``cls`` a dataclass that is frozen for the type checker.

    Seven of them are made for each host, and at run time a frozen one takes five times as long to make.
    """
    return dataclass(slots=True)(cls)


# Events, in the order in which they may come.


@_value
class RunBegun:
    """The run begins, with these resources.

    Attributes:
        fanout: The largest number of hosts in flight at once.
        open_at_most: The largest number of hosts in flight and of sockets that drain, together; ``None`` for
            no limit.
        is_connected: Whether all hosts have an open connection, so that the start rate limits nothing.
        hop_of: As of ``Admission``.
    """

    fanout: int
    open_at_most: int | None = None
    is_connected: bool = False
    hop_of: Callable[[Host], Hashable | None] = lambda _host: None


@_value
class HopPassed:
    """A jump host has let ``host`` through."""

    host: Host


@_value
class LoggedIn:
    """The login on ``host`` is done."""

    host: Host


@_value
class BarrierReached:
    """``host`` is ready for the command, and waits for its release."""

    host: Host


@_value
class BarrierLeft:
    """``host``, which waited at the barrier, starts its command."""

    host: Host


@_value
class AttemptEnded:
    """An attempt has its ending; its socket may drain.

    Attributes:
        host: The host.
        status: Its status.
        failure: Why the command has no ending of its own; ``None`` if it has.
        is_stale: Whether the connection was an idle one that had died before the command was sent.
    """

    host: Host
    status: Status
    failure: Failure | None = None
    is_stale: bool = False


@_value
class SocketClosed:
    """The socket of an attempt that has ended is closed.

    Attributes:
        host: The host.
        attempt: The number of the attempt, from 1: the next one may be under way.
    """

    host: Host
    attempt: int


@_value
class GateEnded:
    """The gate has decided."""

    outcome: GateOutcome


@_value
class Answered:
    """The user has answered."""

    answer: Answer


@_value
class InterludeFailed:
    """The gate or the question failed by itself, or was cancelled; ``reason`` is for people."""

    reason: str


@_value
class Tick:
    """The time that ``next_at`` returned has come."""


@_value
class DrainRequested:
    """No further host is to be started."""


@_value
class StopRequested:
    """The hosts in flight are to be stopped, too."""


@_value
class AbandonRequested:
    """Nothing is to be waited for."""


MachineEvent: TypeAlias = (
    RunBegun
    | HopPassed
    | LoggedIn
    | BarrierReached
    | BarrierLeft
    | AttemptEnded
    | SocketClosed
    | GateEnded
    | Answered
    | InterludeFailed
    | Tick
    | DrainRequested
    | StopRequested
    | AbandonRequested
)


# Commands; ``Start``, of ``engine.schedule.admission``, is one, too.


@_value
class Prefetch:
    """Look up the names of hosts that are started soon."""

    hosts: tuple[Host, ...]


@_value
class ReportResult:
    """The last attempt at ``host`` is the host's result: report it."""

    host: Host


@_value
class FinishHost:
    """``host`` has its result, and its socket is closed: report that nothing more comes of it."""

    host: Host


@_value
class ReportNotRun:
    """``host`` was never started, and will not be: report that as its result and its end."""

    host: Host


@_value
class ReleaseBarrier:
    """Let all hosts that wait at the barrier start the command."""


@_value
class RunGate:
    """Run the gate after a batch.

    Attributes:
        batch: The number of the batch, from 1.
        hosts: The names of its hosts.
    """

    batch: int
    hosts: tuple[str, ...]


@_value
class AskUser:
    """Ask the user whether the run goes on."""

    question: str


@_value
class CancelInterlude:
    """Cancel the gate or the question. It may clean up; a second cancellation tells it to hurry."""


@_value
class StopAttempts:
    """End every attempt that goes on, and its remote command, with this status and failure.

    Attributes:
        status: The status of the hosts.
        failure: Why; its phase is each host's own.
    """

    status: Status
    failure: Failure


@_value
class AbandonAttempts:
    """Wait no longer for remote commands to end, nor for remotes to close."""


@_value
class ShowMessage:
    """Show ``text`` to people."""

    text: str


@_value
class NoteInternalError:
    """Something of multirsh or of its caller failed: the exit code is to show that."""


MachineCommand: TypeAlias = (
    Start
    | Prefetch
    | ReportResult
    | FinishHost
    | ReportNotRun
    | ReleaseBarrier
    | RunGate
    | AskUser
    | CancelInterlude
    | StopAttempts
    | AbandonAttempts
    | ShowMessage
    | NoteInternalError
)
