"""``--rerun`` and ``--resume``: a run that takes its hosts, and maybe its command, from one before."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from multirsh.cli import options
from multirsh.errors import UsageError
from multirsh.events import JsonObject
from multirsh.inventory import fold
from multirsh.inventory.inventory import Inventory
from multirsh.journal import Entry, Journal, State
from multirsh.journal.claim import Claim, claim
from multirsh.journal.resuming import DONE, Standings, Which, differences, resumed, standing, standings
from multirsh.model import Host, Status

SETTLES_WITHIN_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The run before.

    Attributes:
        entry: Which it is.
        plan: What it was to do.
        found: Where all its hosts stand.
        which: Whom to run again; ``None`` to go on with it.
        claimed: Keeps others from going on with it, as long as this is there.
    """

    entry: Entry
    plan: JsonObject
    found: Standings
    which: Which | None
    claimed: Claim | None = field(default=None, compare=False)

    @classmethod
    def look(cls, asked: options.Keeping) -> Self | None:
        """Look for the run; ``None`` if none is asked for.

        Raises:
            UsageError: There is none such, or it cannot be gone on with.
        """
        if asked.rerun is None and asked.resume is None:
            return None
        if asked.rerun is not None and asked.resume is not None:
            raise UsageError("--rerun runs again, and --resume goes on", hint="use one of them")
        if asked.resume is not None and asked.no_journal:
            raise UsageError(
                "--resume needs a record of what it does, lest it is done once more",
                hint="leave --no-journal out",
            )
        journal = Journal()
        entry = _settled(journal, journal.find(asked.resume or (asked.rerun.run if asked.rerun else "")))
        if entry.state is State.RUNNING:
            raise UsageError(f"the run {entry.run} goes on", hint="wait for its end, or end it")
        claimed = None
        if asked.resume is not None:
            claimed = claim(journal.folder, entry.run)
            _check_last_of_its_line(journal, entry)
        plan, outcomes = journal.plan(entry), journal.outcomes(entry)
        if asked.rerun is not None:
            plan = {key: value for key, value in plan.items() if key not in {"before", "hosts", "resumes"}}
        return cls(
            entry=entry,
            plan=plan,
            found=standings(plan, outcomes),
            which=None if asked.rerun is None else Which(asked.rerun.which),
            claimed=claimed,
        )

    # What to run.

    def command(self) -> str:
        """Its command, where none is given.

        Raises:
            UsageError: It was no command.
        """
        if self.plan.get("kind") != "run":
            raise UsageError(
                f"the run {self.entry.run} was no command: {self.entry.command}",
                hint="give all its words again",
            )
        return self.entry.command

    def around(self, context: options.Context) -> options.Context:
        """The context of its command, where that is not given."""
        return replace(
            context,
            directory=self.plan.get("cwd") if context.directory is None else context.directory,
            is_template=context.is_template or self.plan.get("template", False),
        )

    @property
    def has_tty(self) -> bool:
        """Whether its command had a terminal."""
        return bool(self.plan.get("tty"))

    @property
    def sudo(self) -> str | None:
        """As whom its command ran, if not as who logged in."""
        return self.plan.get("sudo")

    # On whom.

    def hosts(self, files: Sequence[str], choice: options.Choice) -> Sequence[Host]:
        """Whom is chosen from: as ever, or by their recorded names where nobody is named.

        Raises:
            InventoryError: A file or an expression, with its place.
            UsageError: Nobody is chosen.
        """
        inventory = options.read_inventory(files)
        is_narrowed = bool(choice.exclude) or choice.pick is not None
        if not choice.is_empty or (files and (is_narrowed or self.which is not None)):
            return choice.hosts(inventory)
        if files:
            return _listed(inventory, self.found)
        names = list(self.found) if self.which is None else standing(self.found, self.which)
        if not names:
            raise UsageError(f"no host of {self.entry.run} was {self.which}", hint=self._counted())
        return replace(choice, nodes=tuple(names)).hosts(inventory)

    def left(self, chosen: Sequence[Host], plan: Mapping[str, Any], *, repeats: bool) -> Sequence[Host]:
        """Whom of the chosen hosts to run on; nobody, if there is nothing left to go on with.

        Args:
            chosen: By ``hosts``.
            plan: Of the new run.
            repeats: Whether the command may be repeated where it may have begun.

        Raises:
            UsageError: Nobody is to run again; the runs differ; hosts are in doubt.
        """
        if self.which is not None:
            hosts = [host for host in chosen if self.found.get(host.name) is self.which]
            if not hosts:
                raise UsageError(
                    f"no selected host was {self.which} in {self.entry.run}", hint=self._counted()
                )
            return hosts
        self.check(plan, [host.name for host in chosen])
        doubt = standing(self.found, Which.UNKNOWN)
        if doubt and not repeats:
            raise UsageError(
                f"in {self.entry.run} the command may have begun on {_hosts(doubt)}, and nobody knows how it"
                f" ended: {fold(doubt)}",
                hint="look there; --retry-command runs it there again, '--rerun notrun' leaves them alone",
            )
        return [host for host in chosen if self.found[host.name] not in DONE]

    def check(self, plan: Mapping[str, Any], names: Collection[str] | None = None) -> None:
        """See to it that the new run is to do the same.

        Args:
            plan: Of the new run.
            names: Its hosts, done or not; ``None`` if they may be others.

        Raises:
            UsageError: It is not, and in what.
        """
        known = list(self.found)
        found = differences(self.plan, known, plan, known if names is None else names)
        if found:
            raise UsageError(
                f"this is not the run {self.entry.run}: {'; '.join(found)}",
                hint="give the same again, or begin a run of its own",
            )

    def continued(self, plan: dict[str, Any]) -> dict[str, Any]:
        """The plan of the new run, with where it comes from."""
        if self.which is not None:
            return plan | {"reruns": self.entry.run}
        return resumed(plan, self.entry.run, self.found)

    @property
    def earlier(self) -> Mapping[Status, int]:
        """Of a run that goes on, what counts for the exit code beside its own hosts."""
        if self.which is not None:
            return {}
        return {
            Status.OK: len(standing(self.found, Which.OK)),
            Status.FAILED: len(standing(self.found, Which.FAILED)),
        }

    def words(self, left: Sequence[Host]) -> str:
        """What people are told before it begins."""
        if self.which is not None:
            return f"multirsh: {_hosts(left)} of {self.entry.run}: {self.which}"
        if not left:
            return f"multirsh: nothing of {self.entry.run} is left to do: {self._counted()}"
        return f"multirsh: goes on with {self.entry.run}: {self._counted()}; now {_hosts(left)}"

    def _counted(self) -> str:
        counts = {which: len(standing(self.found, which)) for which in Which}
        return ", ".join(f"{which} {count}" for which, count in counts.items() if count)


def _settled(journal: Journal, entry: Entry) -> Entry:
    """The same; of a writer that was just killed, a child may hold the lock for a moment, until exec(3)."""
    until = time.monotonic() + SETTLES_WITHIN_S
    while entry.state is State.RUNNING and time.monotonic() < until:
        time.sleep(0.02)
        entry = journal.find(entry.run)
    return entry


def _check_last_of_its_line(journal: Journal, entry: Entry) -> None:
    """See to it that nobody has gone on with the run yet: what was done since then is not in its record.

    Raises:
        UsageError: Somebody has.
    """
    later = next((one.run for one in journal.runs() if one.resumes == entry.run), None)
    if later is not None:
        raise UsageError(
            f"{later} has gone on with {entry.run}, and its record knows what was done since",
            hint=f"--resume {later} goes on from there; --rerun chooses from either",
        )


def _listed(inventory: Inventory, names: Collection[str]) -> Sequence[Host]:
    """Those of the names that the files know."""
    return [inventory.by_name[name] for name in names if name in inventory.by_name]


def _hosts(some: Collection[object]) -> str:
    return f"{len(some)} host{'' if len(some) == 1 else 's'}"
