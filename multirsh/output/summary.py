"""The summary at the end of a run, on stderr: how many hosts ended how, and which did not end well and why.

::

    500 hosts: 495 ok, 3 failed, 1 timeout, 1 unreachable in 3.2 s
    failed (exit 3): web[01-02,07]
    timeout (auth): db1
      no answer within 10 s
    unreachable (connect refused): sw4
      connection refused by 10.0.0.4 port 22
    local ports: 64 at once, 498 closed by the remote, in TIME_WAIT 0

Hosts stand together if their status and reason are the same. Their message is shown once; if it differs
between them, it is that of the first host, with its name. Only the names of hosts that are not ok are kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from multirsh.events import Copied, Event, HostFinished, PortUse, RunFinished
from multirsh.inventory import fold
from multirsh.model import ClosedBy, ErrorKind, Failure, Fate, Phase, Status
from multirsh.output.batch import Write
from multirsh.output.escape import escape_text
from multirsh.output.formatting import TROUBLES, Style, duration, format_status, paint, plural, size
from multirsh.output.options import OutputOptions

_OWN_PHASE: Final = frozenset(
    {
        ErrorKind.NAME,
        ErrorKind.KEY_EXCHANGE,
        ErrorKind.HOSTKEY_UNKNOWN,
        ErrorKind.HOSTKEY_CHANGED,
        ErrorKind.HOSTKEY_REVOKED,
        ErrorKind.HOSTKEY_INVALID,
        ErrorKind.DENIED,
        ErrorKind.SESSION_REFUSED,
        ErrorKind.NO_EXIT_STATUS,
        ErrorKind.PORTS,
        ErrorKind.FILES,
        ErrorKind.MEMORY,
        ErrorKind.STOPPED,
        ErrorKind.COPY,
        ErrorKind.DISK,
    }
)
"""Kinds of errors that imply the phase, or for which it does not matter."""


@dataclass(slots=True)
class FailureGroup:
    """Hosts that did not end well, with the same status and reason.

    Attributes:
        status: The status.
        reason: What tells them from other hosts of that status; may be empty.
        hosts: Their names.
        message: The error message of the first, or empty.
        is_shared: Whether all of them have the same message.
    """

    status: Status
    reason: str
    hosts: list[str] = field(default_factory=list)
    message: str = ""
    is_shared: bool = True

    def add(self, host: str, error: Failure | None) -> None:
        """Add a host."""
        # A message that names its host is the same for all of them without that name.
        message = "" if error is None else error.message.removeprefix(f"{host}: ")
        if not self.hosts:
            self.message = message
        elif message != self.message:
            self.is_shared = False
        self.hosts.append(host)

    @property
    def shown_message(self) -> str:
        """The message, after the name of the first host if others have another one."""
        return self.message if self.is_shared or not self.message else f"{self.hosts[0]}: {self.message}"


class FailureGroups:
    """Groups hosts that did not end well by status and reason."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Status, str], FailureGroup] = {}

    def add(self, host: str, status: Status, reason: str, error: Failure | None) -> None:
        """Add a host to its group."""
        group = self._groups.get((status, reason))
        if group is None:
            group = self._groups[status, reason] = FailureGroup(status, reason)
        group.add(host, error)

    def in_order(self) -> list[FailureGroup]:
        """List the groups by status, those of most hosts first."""
        return sorted(
            self._groups.values(),
            key=lambda group: (TROUBLES.index(group.status), -len(group.hosts), group.reason),
        )


class Summary:
    """Collects the endings, and writes the summary when the run is over.

    Args:
        options: ``quiet`` leaves only the lists of hosts; ``stderr_color``.
    """

    def __init__(self, options: OutputOptions) -> None:
        self._quiet = options.quiet
        self._color = options.stderr_color
        self._failures = FailureGroups()
        self._copies: Counter[tuple[bool, str | None]] = Counter()
        self._bytes = 0

    def feed(self, event: Event) -> tuple[Write, ...]:
        """Take the next event; the last of a run gives the summary."""
        match event:
            case HostFinished():
                if event.status is not Status.OK:
                    self._failures.add(event.host, event.status, format_reason(event), event.error)
                return ()
            case Copied():
                self._copied(event)
                return ()
            case RunFinished():
                return (Write("stderr", self._ending(event)),)
            case _:
                return ()

    def close(self) -> tuple[Write, ...]:
        """Give the lists of hosts after a run that broke off: it has no counts."""
        return (Write("stderr", _as_lines(self._lists())),)

    def _ending(self, finished: RunFinished) -> bytes:
        lists = self._lists()
        if self._quiet:
            return _as_lines(lists)
        return _as_lines([self._counts(finished), *lists, *self._files(), *_ports(finished.ports)])

    def _copied(self, event: Copied) -> None:
        self._copies[event.error is not None, event.skipped] += 1
        self._bytes += event.size

    def _files(self) -> list[str]:
        """Sum up the copies of all hosts."""
        if not self._copies:
            return []
        parts = [f"{self._copies[False, None]:,} copied", size(self._bytes)]
        unchanged = self._copies[False, "unchanged"]
        left_out = sum(count for (_, skipped), count in self._copies.items() if skipped) - unchanged
        failed = sum(count for (is_failed, _), count in self._copies.items() if is_failed)
        others = {"unchanged": unchanged, "left out": left_out, "failed": failed}
        parts += [f"{count:,} {words}" for words, count in others.items() if count]
        return [f"files: {', '.join(parts)}"]

    def _counts(self, finished: RunFinished) -> str:
        counts = finished.counts
        words = [
            paint(f"{counts[status]} {format_status(status)}", style, color=self._color)
            for status, style in ((Status.OK, Style.GOOD), *((trouble, Style.BAD) for trouble in TROUBLES))
            if counts.get(status)
        ]
        hosts = plural(sum(counts.values()), "host")
        return f"{hosts}: {', '.join(words) or 'none run'} in {duration(finished.seconds)}"

    def _lists(self) -> list[str]:
        groups = self._failures.in_order()
        self._failures = FailureGroups()
        lines: list[str] = []
        for group in groups:
            words = format_status(group.status)
            label = paint(
                f"{words} ({group.reason})" if group.reason else words, Style.BAD, color=self._color
            )
            lines.append(f"{label}: {escape_text(fold(group.hosts))}")
            if group.message:
                lines.append(f"  {escape_text(group.shown_message)}")
        return lines


def format_reason(finished: HostFinished) -> str:
    """Say what tells a host from others of its status, without repeating the word of the status."""
    if finished.signal is not None:
        return escape_text(finished.signal)
    if finished.exit_status is not None:
        return f"exit {finished.exit_status}"
    error = finished.error
    if error is None:
        return ""
    implies_phase = error.kind in _OWN_PHASE and error.phase is not Phase.SUDO
    words = [] if implies_phase else [error.phase.value]
    words += error.kind.value.split("_")
    reason = " ".join(word for word in words if word != finished.status.value)
    return reason if error.fate is None else f"{reason}, {_FATES[error.fate]}"


_FATES: Final = {
    Fate.DEAD: "its processes are dead",
    Fate.ALIVE: "some of its processes are alive",
    Fate.UNKNOWN: "whether its processes are dead is unknown",
}
"""What became of a command that was given up on."""


def _ports(ports: PortUse) -> list[str]:
    """Word the last line: how the run used this machine's local ports, and whether it waited for some.

    Connections that are all kept for the next run have not used any yet.
    """
    if not (any(ports.closed_by.values()) or ports.time_wait_left or ports.waited):
        return []
    closed = [
        f"{count} {words}"
        for end, words in _CLOSED.items()
        if (count := ports.closed_by.get(end, 0)) or end is ClosedBy.REMOTE
    ]
    left = "not known here" if ports.time_wait_left is None else str(ports.time_wait_left)
    parts = [f"{ports.peak} at once", *closed, f"in TIME_WAIT {left}"]
    if ports.waited:
        parts.append(f"{ports.waited} waited for one, up to {duration(ports.longest_wait)}")
    return [f"local ports: {', '.join(parts)}"]


_CLOSED: Final = {
    ClosedBy.REMOTE: "closed by the remote",
    ClosedBy.RESET: "by a reset",
    ClosedBy.LOCAL: "by this end first",
}


def _as_lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
