"""What a later run makes of an earlier one: whom to run again, whom not, and whether it is the same run.

Two runs are of the same plan where they agree in the keys of ``PLANNED`` and
in their hosts. What must not be in a record, as the values of ``--env``, is not
compared.
"""

from __future__ import annotations

import enum
import fcntl
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from multirsh.errors import UsageError
from multirsh.events import JsonObject
from multirsh.inventory import fold
from multirsh.journal.record import RESUME_LOCK, HostOutcome
from multirsh.journal.state_folder import call_with_timeout, open_owned
from multirsh.model import Phase, Status
from multirsh.routes import Route


class ResumeLock:
    """Keeps others away as long as anybody holds on to it, and the process lives."""

    def __init__(self, descriptor: int) -> None:
        weakref.finalize(self, os.close, descriptor)


def lock_for_resuming(folder: Path, run: str) -> ResumeLock:
    """Be the one who goes on with a run.

    It is told by a lock (flock(2)) on a file beside the record, since a lock on that says that it is written.

    Raises:
        UsageError: Somebody else does already; or nothing can be written there, where a record of what is
            done now is needed, lest it is done once more.
    """
    try:
        descriptor = call_with_timeout(
            lambda: open_owned(folder / f".{run}{RESUME_LOCK}", os.O_RDWR | os.O_CREAT)
        )
        claimed = ResumeLock(descriptor)
        call_with_timeout(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except BlockingIOError:
        raise UsageError(
            f"somebody goes on with {run} now", hint="wait for its end, or end it; 'multirsh runs' lists it"
        ) from None
    except OSError as error:
        raise UsageError(
            f"what --resume does cannot be recorded in {folder}: {error.strerror}",
            hint="without a record it would be done once more the next time; --rerun can do without",
        ) from None
    return claimed


class Standing(enum.StrEnum):
    """How hosts ended, as far as it matters for what is done with them next; every host is in one."""

    FAILED = "failed"
    """The command ended, and not well: ``failed``, ``signalled``."""
    UNREACHABLE = "unreachable"
    """The command was not sent, since nobody got in: ``unreachable``, ``auth``, ``hostkey``, ``local``; a
    ``timeout`` before the command."""
    NOTRUN = "notrun"
    """It was not sent, since the run ended before that: ``not_run``, a ``cancelled`` before the command, and
    who was never started when the run broke."""
    UNKNOWN = "unknown"
    """It may have begun, and nobody knows how it ended, or it was ended: ``lost``; ``timeout``, ``cancelled``
    and ``local`` in the command; whoever was in flight when the run broke."""
    OK = "ok"
    """``ok``."""


DONE: Final = frozenset({Standing.OK, Standing.FAILED})
"""Whose command has run to its own end: a resumed run leaves them alone."""

Standings: TypeAlias = Mapping[str, Standing]
"""Of every host, by its name, in the run's order."""

_WORDS: Final = frozenset(which.value for which in Standing)
_MAY_HAVE_RUN: Final = frozenset({Phase.SESSION, Phase.RUN})
_PLAINLY: Final = {
    Status.OK: Standing.OK,
    Status.FAILED: Standing.FAILED,
    Status.SIGNALLED: Standing.FAILED,
    Status.LOST: Standing.UNKNOWN,
    Status.UNREACHABLE: Standing.UNREACHABLE,
    Status.AUTH: Standing.UNREACHABLE,
    Status.HOSTKEY: Standing.UNREACHABLE,
    Status.NOT_RUN: Standing.NOTRUN,
}
_BEFORE_THE_COMMAND: Final = {
    Status.TIMEOUT: Standing.UNREACHABLE,
    Status.LOCAL: Standing.UNREACHABLE,
    Status.CANCELLED: Standing.NOTRUN,
}


def standing_of(outcome: HostOutcome) -> Standing:
    """Where a host belongs."""
    if outcome.status is None:
        return Standing.UNKNOWN if outcome.is_started else Standing.NOTRUN
    if outcome.status in _PLAINLY:
        return _PLAINLY[outcome.status]
    return Standing.UNKNOWN if outcome.phase in _MAY_HAVE_RUN else _BEFORE_THE_COMMAND[outcome.status]


def standings(plan: JsonObject, outcomes: Mapping[str, HostOutcome]) -> Standings:
    """Where the hosts of a run stand after it, and after all runs that it resumed.

    Args:
        plan: The run's.
        outcomes: Of the hosts that it was for.
    """
    before: Mapping[str, Sequence[str]] = plan.get("before") or {}
    found = dict.fromkeys(plan.get("hosts") or outcomes, Standing.NOTRUN)
    for word, hosts in before.items():
        found |= dict.fromkeys(hosts, Standing(word) if word in _WORDS else Standing.UNKNOWN)
    for host, outcome in outcomes.items():
        now = standing_of(outcome)
        has_begun = now in DONE or now is Standing.UNKNOWN
        # A run that did not get as far as the command settles no doubt of one before it.
        if has_begun or found.get(host) is not Standing.UNKNOWN:
            found[host] = now
    return found


def hosts_standing(found: Standings, *wanted: Standing) -> list[str]:
    """The hosts that stand so, in order."""
    return [host for host, one in found.items() if one in wanted]


def resumed(plan: JsonObject, run: str, found: Standings) -> JsonObject:
    """The plan of a run that goes on with ``run``; it holds all that was before, if that record goes, too."""
    before = {
        one.value: hosts_standing(found, one) for one in Standing if one in DONE or one is Standing.UNKNOWN
    }
    return plan | {
        "resumes": run,
        "hosts": list(found),
        "before": {word: hosts for word, hosts in before.items() if hosts},
    }


@dataclass(frozen=True, slots=True)
class _Part:
    """Something that a plan settles.

    Attributes:
        key: In the plan.
        words: What people call it.
        is_shown: Whether its values say anything to them.
    """

    key: str
    words: str
    is_shown: bool = True


PLANNED: Final = (
    _Part("kind", "what is done"),
    _Part("command", "the command"),
    _Part("script", "the script's content", is_shown=False),
    _Part("stdin", "standard input"),
    _Part("sudo", "--sudo"),
    _Part("cwd", "--cwd"),
    _Part("env", "the variables of --env"),
    _Part("template", "--template"),
    _Part("tty", "--tty"),
    _Part("copy", "how files are copied"),
)


def differences(
    recorded: Mapping[str, Any], hosts: Iterable[str], now: Mapping[str, Any], hosts_now: Iterable[str]
) -> list[str]:
    """Say in what two plans differ, one line each; nothing where they do not.

    Args:
        recorded: The plan in the record.
        hosts: All that it was for.
        now: The plan that is to go on with it.
        hosts_now: All that this one is for.
    """
    found = [
        f"{part.words}: {_shown(recorded.get(part.key))} before, {_shown(now.get(part.key))} now"
        if part.is_shown
        else f"{part.words} has changed"
        for part in PLANNED
        if (recorded.get(part.key) or None) != (now.get(part.key) or None)
    ]
    old, new = set(hosts), set(hosts_now)
    if old - new:
        found.append(f"the selection is without {fold(old - new)}")
    if new - old:
        found.append(f"the selection has {fold(new - old)}, too")
    return found


def _shown(value: object) -> str:
    if value is None or value is False or value == []:
        return "none"
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return "given" if value is True else str(value)


_MOST_LINES: Final = 10
"""Of differences; they may be other ones for each of 10,000 hosts."""


def route_differences(before: Mapping[str, Route], now: Mapping[str, Route]) -> list[str]:
    """Say which hosts are reached otherwise than before, those with the same difference in one line.

    Args:
        before: As the record has it; of hosts that it does not know, nothing is said.
        now: As they are reached now.
    """
    changed: dict[tuple[str, ...], list[str]] = {}
    for name, route in now.items():
        if name in before and route != before[name]:
            changes = tuple(_changes(before[name], route))
            if changes:
                changed.setdefault(changes, []).append(name)
    lines = [f"{fold(hosts)}: {', '.join(changes)}" for changes, hosts in changed.items()]
    if len(lines) <= _MOST_LINES:
        return lines
    left = sum(len(hosts) for hosts in list(changed.values())[_MOST_LINES:])
    return [*lines[:_MOST_LINES], f"{left} more hosts are reached otherwise than recorded"]


def _changes(before: Route, now: Route) -> Iterator[str]:
    old, new = _facts(before), _facts(now)
    for what, value in old.items():
        if value != new[what]:
            yield f"{what} {value or 'none'} in the record, {new[what] or 'none'} now"
    if before.way.program != now.way.program:
        yield "the command that carries the connection is another one"


def _facts(route: Route) -> Mapping[str, object]:
    way = route.way
    jump, addresses = way.settings.jump, ", ".join(address for _, address in way.hops)
    return {
        "address": route.address,
        "port": way.settings.port,
        "user": way.settings.user,
        "transport": way.settings.transport,
        "jump": None if jump in {None, "none"} else f"{jump} ({addresses})",
        "identity": way.settings.identity,
    }
