"""The ending, on stderr: how many, and who is not ok and why, under folded names.

::

    500 hosts: 495 ok, 3 failed, 1 timeout, 1 unreachable in 3.2 s
    failed (exit 3): web[01-02,07]
    timeout (auth): db1
      no answer within 10 s
    unreachable (connect refused): sw4
      connection refused by 10.0.0.4 port 22
    local ports: 64 at once, 498 closed by the remote, in TIME_WAIT 0

Hosts stand together if status and reason are the same. Their message is said
once; where it differs between them, the first host's, with its name.

It keeps the names of hosts that are not ok, and nothing of the others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from multirsh.events import Copied, Event, HostFinished, PortUse, RunFinished
from multirsh.inventory import fold
from multirsh.model import ClosedBy, ErrorKind, Fate, Phase, Status
from multirsh.output.batch import Write
from multirsh.output.escape import escape_text
from multirsh.output.formatting import TROUBLES, Style, duration, paint, plural, size, status_words
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
"""Kinds that tell the phase themselves, or for which it does not matter."""


@dataclass(slots=True)
class _Group:
    """Hosts that ended alike.

    Attributes:
        hosts: Their names.
        message: What the first of them said, or empty.
        is_shared: Whether all of them said the same.
    """

    hosts: list[str] = field(default_factory=list)
    message: str = ""
    is_shared: bool = True

    def add(self, finished: HostFinished) -> None:
        # What is said of a host by its own name is the same for all of them without it.
        message = "" if finished.error is None else finished.error.message.removeprefix(f"{finished.host}: ")
        if not self.hosts:
            self.message = message
        elif message != self.message:
            self.is_shared = False
        self.hosts.append(finished.host)


class Summary:
    """Collects the endings and words them when the run is over.

    Args:
        options: ``quiet`` leaves only the lists; ``stderr_color``.
    """

    def __init__(self, options: OutputOptions) -> None:
        self._quiet = options.quiet
        self._color = options.stderr_color
        self._groups: dict[tuple[Status, str], _Group] = {}
        self._copies: Counter[tuple[bool, str | None]] = Counter()
        self._bytes = 0

    def feed(self, event: Event) -> tuple[Write, ...]:
        """Take the next event; the last of a run gives the ending."""
        match event:
            case HostFinished():
                if event.status is not Status.OK:
                    self._groups.setdefault((event.status, reason_words(event)), _Group()).add(event)
                return ()
            case Copied():
                self._copied(event)
                return ()
            case RunFinished():
                return (Write("stderr", self._ending(event)),)
            case _:
                return ()

    def close(self) -> tuple[Write, ...]:
        """A run that broke off has lists, but nothing that could be counted."""
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
        """What was copied, of all hosts together."""
        if not self._copies:
            return []
        parts = [f"{self._copies[False, None]:,} copied", size(self._bytes)]
        unchanged = self._copies[False, "unchanged"]
        left_out = sum(count for (_, skipped), count in self._copies.items() if skipped) - unchanged
        failed = sum(count for (is_failed, _), count in self._copies.items() if is_failed)
        told = {"unchanged": unchanged, "left out": left_out, "failed": failed}
        parts += [f"{count:,} {words}" for words, count in told.items() if count]
        return [f"files: {', '.join(parts)}"]

    def _counts(self, finished: RunFinished) -> str:
        counts = finished.counts
        words = [
            paint(f"{counts[status]} {status_words(status)}", style, color=self._color)
            for status, style in ((Status.OK, Style.GOOD), *((trouble, Style.BAD) for trouble in TROUBLES))
            if counts.get(status)
        ]
        hosts = plural(sum(counts.values()), "host")
        return f"{hosts}: {', '.join(words) or 'none run'} in {duration(finished.seconds)}"

    def _lists(self) -> list[str]:
        groups = sorted(
            self._groups.items(),
            key=lambda item: (TROUBLES.index(item[0][0]), -len(item[1].hosts), item[0][1]),
        )
        self._groups = {}
        lines: list[str] = []
        for (status, reason), group in groups:
            words = status_words(status)
            label = paint(f"{words} ({reason})" if reason else words, Style.BAD, color=self._color)
            lines.append(f"{label}: {escape_text(fold(group.hosts))}")
            if group.message:
                message = group.message if group.is_shared else f"{group.hosts[0]}: {group.message}"
                lines.append(f"  {escape_text(message)}")
        return lines


def reason_words(finished: HostFinished) -> str:
    """What tells a host from others of its status, without saying the status's own word again."""
    if finished.signal is not None:
        return escape_text(finished.signal)
    if finished.exit_status is not None:
        return f"exit {finished.exit_status}"
    error = finished.error
    if error is None:
        return ""
    tells_phase = error.kind in _OWN_PHASE and error.phase is not Phase.SUDO
    words = [] if tells_phase else [error.phase.value]
    words += error.kind.value.split("_")
    reason = " ".join(word for word in words if word != finished.status.value)
    return reason if error.fate is None else f"{reason}, {_FATES[error.fate]}"


_FATES: Final = {
    Fate.DEAD: "its processes are dead",
    Fate.ALIVE: "some of its processes are alive",
    Fate.UNKNOWN: "whether its processes are dead is unknown",
}
"""What is said of a command that was given up on."""


def _ports(ports: PortUse) -> list[str]:
    """The last line: what the run did to this machine's local ports, or that it waited for some.

    Connections that are all kept for the next run have done nothing yet.
    """
    if not (any(ports.closed_by.values()) or ports.time_wait_left or ports.waited):
        return []
    closed = [
        f"{count} {words}"
        for who, words in _CLOSED.items()
        if (count := ports.closed_by.get(who, 0)) or who is ClosedBy.REMOTE
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
