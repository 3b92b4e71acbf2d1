"""What a later run makes of an earlier one: whom to run again, whom not, and whether it is the same run.

Two runs are of the same plan where they agree in the keys of ``PLANNED`` and
in their hosts. What must not be in a record, as the values of ``--env``, is not
compared.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from multirsh.events import JsonObject
from multirsh.inventory import fold
from multirsh.journal.entry import Outcome
from multirsh.model import Phase, Status


class Which(enum.StrEnum):
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


DONE: Final = frozenset({Which.OK, Which.FAILED})
"""Whose command has run to its own end: a resumed run leaves them alone."""

Standings: TypeAlias = Mapping[str, Which]
"""Of every host, by its name, in the run's order."""

_WORDS: Final = frozenset(which.value for which in Which)
_MAY_HAVE_RUN: Final = frozenset({Phase.SESSION, Phase.RUN})
_PLAINLY: Final = {
    Status.OK: Which.OK,
    Status.FAILED: Which.FAILED,
    Status.SIGNALLED: Which.FAILED,
    Status.LOST: Which.UNKNOWN,
    Status.UNREACHABLE: Which.UNREACHABLE,
    Status.AUTH: Which.UNREACHABLE,
    Status.HOSTKEY: Which.UNREACHABLE,
    Status.NOT_RUN: Which.NOTRUN,
}
_BEFORE_THE_COMMAND: Final = {
    Status.TIMEOUT: Which.UNREACHABLE,
    Status.LOCAL: Which.UNREACHABLE,
    Status.CANCELLED: Which.NOTRUN,
}


def which(outcome: Outcome) -> Which:
    """Where a host belongs."""
    if outcome.status is None:
        return Which.UNKNOWN if outcome.is_started else Which.NOTRUN
    if outcome.status in _PLAINLY:
        return _PLAINLY[outcome.status]
    return Which.UNKNOWN if outcome.phase in _MAY_HAVE_RUN else _BEFORE_THE_COMMAND[outcome.status]


def standings(plan: JsonObject, outcomes: Mapping[str, Outcome]) -> Standings:
    """Where the hosts of a run stand after it, and after all runs that it resumed.

    Args:
        plan: The run's.
        outcomes: Of the hosts that it was for.
    """
    before: Mapping[str, Sequence[str]] = plan.get("before") or {}
    found = dict.fromkeys(plan.get("hosts") or outcomes, Which.NOTRUN)
    for word, hosts in before.items():
        found |= dict.fromkeys(hosts, Which(word) if word in _WORDS else Which.UNKNOWN)
    for host, outcome in outcomes.items():
        now = which(outcome)
        has_begun = now in DONE or now is Which.UNKNOWN
        # A run that did not get as far as the command settles no doubt of one before it.
        if has_begun or found.get(host) is not Which.UNKNOWN:
            found[host] = now
    return found


def standing(found: Standings, *wanted: Which) -> list[str]:
    """The hosts that stand so, in order."""
    return [host for host, one in found.items() if one in wanted]


def resumed(plan: JsonObject, run: str, found: Standings) -> JsonObject:
    """The plan of a run that goes on with ``run``; it holds all that was before, if that record goes, too."""
    before = {one.value: standing(found, one) for one in Which if one in DONE or one is Which.UNKNOWN}
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
