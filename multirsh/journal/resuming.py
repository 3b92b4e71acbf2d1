"""Resuming and rerunning an earlier run: on which hosts to run again, and whether the plan is the same.

Two runs have the same plan if they agree in the keys of ``PLANNED`` and in
their hosts. Values that must not be in a record, such as those of ``--env``,
are not compared.
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
from multirsh.model import HostRoute, Phase, Status


class ResumeLock:
    """Held while a run is being resumed; released when it is collected, or the process ends."""

    def __init__(self, descriptor: int) -> None:
        weakref.finalize(self, os.close, descriptor)


def lock_for_resuming(folder: Path, run: str) -> ResumeLock:
    """Lock a run, so that no other process resumes it at the same time and runs its commands twice.

    The lock (flock(2)) is on a file beside the record, since a lock on the record means that it is written.

    Raises:
        UsageError: Another process is resuming the run, or the folder is not writable: without a record of
            what is done now, a later ``--resume`` would do it again.
    """
    try:
        descriptor = call_with_timeout(
            lambda: open_owned(folder / f".{run}{RESUME_LOCK}", os.O_RDWR | os.O_CREAT)
        )
        lock = ResumeLock(descriptor)
        call_with_timeout(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except BlockingIOError:
        raise UsageError(
            f"another process is resuming {run} now",
            hint="wait until it ends, or end it; 'multirsh runs' lists it",
        ) from None
    except OSError as error:
        raise UsageError(
            f"--resume cannot be recorded in {folder}: {error.strerror}",
            hint="without a record, the next --resume would do the same again; --rerun needs none",
        ) from None
    return lock


class Standing(enum.StrEnum):
    """What --rerun and --resume need to know of a host; each host has one."""

    FAILED = "failed"
    """The command ended with an error: ``failed``, ``signalled``."""
    UNREACHABLE = "unreachable"
    """The command was not sent, since no login succeeded: ``unreachable``, ``auth``, ``hostkey``; ``timeout``
    and ``local`` before the command."""
    NOTRUN = "notrun"
    """The command was not sent, since the run ended first: ``not_run``; ``cancelled`` before the command; no
    attempt when the run broke."""
    UNKNOWN = "unknown"
    """The command may have run, and its end is not known, or it was ended: ``lost``; ``timeout``,
    ``cancelled`` and ``local`` during the command; in flight when the run broke."""
    OK = "ok"
    """The command succeeded: ``ok``."""


DONE: Final = frozenset({Standing.OK, Standing.FAILED})
"""The command has run to its end: ``--resume`` does not run it again."""

Standings: TypeAlias = Mapping[str, Standing]
"""The standing of every host by its name, in the run's order."""

_WORDS: Final = frozenset(which.value for which in Standing)
_MAY_HAVE_RUN: Final = frozenset({Phase.SESSION, Phase.RUN})
_BY_STATUS: Final = {
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
    """Return the standing of a host that ended so."""
    if outcome.status is None:
        return Standing.UNKNOWN if outcome.is_started else Standing.NOTRUN
    if outcome.status in _BY_STATUS:
        return _BY_STATUS[outcome.status]
    return Standing.UNKNOWN if outcome.phase in _MAY_HAVE_RUN else _BEFORE_THE_COMMAND[outcome.status]


def standings(plan: JsonObject, outcomes: Mapping[str, HostOutcome]) -> Standings:
    """Return the standings of a run's hosts after it and all runs that it has resumed.

    Args:
        plan: The plan of the run.
        outcomes: How its hosts ended.
    """
    before: Mapping[str, Sequence[str]] = plan.get("before") or {}
    found = dict.fromkeys(plan.get("hosts") or outcomes, Standing.NOTRUN)
    for word, hosts in before.items():
        found |= dict.fromkeys(hosts, Standing(word) if word in _WORDS else Standing.UNKNOWN)
    for host, outcome in outcomes.items():
        now = standing_of(outcome)
        has_begun = now in DONE or now is Standing.UNKNOWN
        # A run that did not get as far as the command does not settle how an earlier one ended.
        if has_begun or found.get(host) is not Standing.UNKNOWN:
            found[host] = now
    return found


def hosts_standing(found: Standings, *wanted: Standing) -> list[str]:
    """Return the hosts that have one of the wanted standings, in order."""
    return [host for host, one in found.items() if one in wanted]


def resumed(plan: JsonObject, run: str, found: Standings) -> JsonObject:
    """Return the plan of a run that resumes ``run``, with all that is needed if that record is deleted."""
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
    """A part of a plan that two runs are compared by.

    Attributes:
        key: Its key in the plan.
        words: Its name in messages.
        is_shown: Whether messages show its values.
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
    """Describe the differences between two plans, a line each.

    Args:
        recorded: The plan in the record.
        hosts: All its hosts.
        now: The plan of the run that is to resume it.
        hosts_now: All hosts of this run.
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
"""Lines of differences at most: each of 10,000 hosts may have its own."""


def route_differences(before: Mapping[str, HostRoute], now: Mapping[str, HostRoute]) -> list[str]:
    """Describe the changed routes to hosts; hosts with the same changes share a line.

    Args:
        before: The recorded routes. Hosts without one are left out.
        now: The routes now.
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
    return [*lines[:_MOST_LINES], f"{left} more hosts have other routes than recorded"]


def _changes(before: HostRoute, now: HostRoute) -> Iterator[str]:
    old, new = _facts(before), _facts(now)
    for what, value in old.items():
        if value != new[what]:
            yield f"{what} {value or 'none'} in the record, {new[what] or 'none'} now"
    if before.way.program != now.way.program:
        yield "the command that carries the connection has changed"


def _facts(route: HostRoute) -> Mapping[str, object]:
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
