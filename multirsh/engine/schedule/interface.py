"""What goes into the machine of a run and what comes out: events and commands, as values."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeAlias

from multirsh.engine.schedule.admission import Start
from multirsh.engine.schedule.rolling import Answer, GateOutcome
from multirsh.model import Failure, Host, Status

# Events, in the order in which they may come.


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True)
class HopPassed:
    """A jump host has let ``host`` through."""

    host: Host


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The login on ``host`` is done."""

    host: Host


@dataclass(frozen=True, slots=True)
class BarrierReached:
    """``host`` is ready for the command, and waits for its release."""

    host: Host


@dataclass(frozen=True, slots=True)
class BarrierLeft:
    """``host``, which waited at the barrier, starts its command."""

    host: Host


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class SocketClosed:
    """The socket of an attempt that has ended is closed.

    Attributes:
        host: The host.
        attempt: The number of the attempt, from 1: the next one may be under way.
    """

    host: Host
    attempt: int


@dataclass(frozen=True, slots=True)
class GateEnded:
    """The gate has decided."""

    outcome: GateOutcome


@dataclass(frozen=True, slots=True)
class Answered:
    """The user has answered."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class InterludeFailed:
    """The gate or the question failed by itself, or was cancelled; ``reason`` is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """The time that ``next_at`` returned has come."""


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """No further host is to be started."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The hosts in flight are to be stopped, too."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Look up the names of hosts that are started soon."""

    hosts: tuple[Host, ...]


@dataclass(frozen=True, slots=True)
class ReportResult:
    """The last attempt at ``host`` is the host's result: report it."""

    host: Host


@dataclass(frozen=True, slots=True)
class FinishHost:
    """``host`` has its result, and its socket is closed: report that nothing more comes of it."""

    host: Host


@dataclass(frozen=True, slots=True)
class ReportNotRun:
    """``host`` was never started, and will not be: report that as its result and its end."""

    host: Host


@dataclass(frozen=True, slots=True)
class ReleaseBarrier:
    """Let all hosts that wait at the barrier start the command."""


@dataclass(frozen=True, slots=True)
class RunGate:
    """Run the gate after a batch.

    Attributes:
        batch: The number of the batch, from 1.
        hosts: The names of its hosts.
    """

    batch: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskUser:
    """Ask the user whether the run goes on."""

    question: str


@dataclass(frozen=True, slots=True)
class CancelInterlude:
    """Cancel the gate or the question. It may clean up; a second cancellation tells it to hurry."""


@dataclass(frozen=True, slots=True)
class StopAttempts:
    """End every attempt that goes on, and its remote command, with this status and failure.

    Attributes:
        status: The status of the hosts.
        failure: Why; its phase is each host's own.
    """

    status: Status
    failure: Failure


@dataclass(frozen=True, slots=True)
class AbandonAttempts:
    """Wait no longer for remote commands to end, nor for remotes to close."""


@dataclass(frozen=True, slots=True)
class ShowMessage:
    """Show ``text`` to people."""

    text: str


@dataclass(frozen=True, slots=True)
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
