"""``--rerun`` and ``--resume``: a run that takes its hosts, and possibly its command, from a prior run."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from multirsh.cli import options
from multirsh.errors import UsageError
from multirsh.events import JsonObject
from multirsh.inventory import fold
from multirsh.inventory.draft import NO_GROUPS
from multirsh.inventory.inventory import Candidates, Inventory, Selectors, select_listed
from multirsh.journal import Journal, RunState, RunSummary
from multirsh.journal.record import RecordedRoutes
from multirsh.journal.resuming import (
    DONE,
    ResumeLock,
    Standing,
    Standings,
    differences,
    hosts_standing,
    lock_for_resuming,
    resumed,
    route_differences,
    standings,
)
from multirsh.model import Host, HostRoute, Status

SETTLES_WITHIN_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorRun:
    """A prior run, as its record shows it.

    Attributes:
        entry: Its entry in the journal.
        plan: What it did on each host.
        found: The standing of each of its hosts.
        which: The standing of the hosts to run on again; ``None`` to resume the run.
        reached: How its hosts were reached; empty for an older record, and for a run of the library.
        may_differ: Whether hosts may be reached in another way, because of a hosts file or an option.
        lock: Prevents other processes from resuming the run while this exists.
    """

    entry: RunSummary
    plan: JsonObject
    found: Standings
    which: Standing | None
    reached: RecordedRoutes = field(default_factory=RecordedRoutes)
    may_differ: bool = False
    lock: ResumeLock | None = field(default=None, compare=False)

    @classmethod
    def find(cls, wanted: options.JournalOptions, *, may_differ: bool = False) -> Self | None:
        """Find the run; ``None`` if neither option is given.

        Args:
            wanted: The options.
            may_differ: Whether hosts may be reached in another way than recorded.

        Raises:
            UsageError: There is no such run, or it cannot be repeated or resumed.
        """
        if wanted.rerun is None and wanted.resume is None:
            return None
        if wanted.rerun is not None and wanted.resume is not None:
            raise UsageError("--rerun and --resume exclude each other", hint="use one of them")
        if wanted.resume is not None and wanted.no_journal:
            raise UsageError(
                "--resume and --no-journal exclude each other: a command could then run twice",
                hint="use one of them",
            )
        journal = Journal()
        entry = _settled(journal, journal.find(wanted.resume or (wanted.rerun.run if wanted.rerun else "")))
        if entry.state is RunState.RUNNING:
            raise UsageError(
                f"the run {entry.run} is still running", hint="wait until it has ended, or end it"
            )
        lock = None
        if wanted.resume is not None:
            lock = lock_for_resuming(journal.folder, entry.run)
            _check_last_of_its_line(journal, entry)
        plan, outcomes = journal.plan(entry), journal.outcomes(entry)
        if wanted.rerun is not None:
            plan = {key: value for key, value in plan.items() if key not in {"before", "hosts", "resumes"}}
        return cls(
            entry=entry,
            plan=plan,
            found=standings(plan, outcomes),
            which=None if wanted.rerun is None else Standing(wanted.rerun.which),
            reached=_reached(plan, entry),
            may_differ=may_differ,
            lock=lock,
        )

    # What to run.

    def command(self) -> str:
        """Return the command of the run.

        Raises:
            UsageError: The run was a copy or a script.
        """
        if self.plan.get("kind") != "run":
            raise UsageError(
                f"the run {self.entry.run} did not run a command: {self.entry.command}",
                hint="repeat all of its words",
            )
        return self.entry.command

    def completed(self, context: options.CommandOptions) -> options.CommandOptions:
        """Return the options of the command, completed by those of the run."""
        return replace(
            context,
            directory=self.plan.get("cwd") if context.directory is None else context.directory,
            is_template=context.is_template or self.plan.get("template", False),
        )

    @property
    def has_tty(self) -> bool:
        """Whether the command had a terminal."""
        return bool(self.plan.get("tty"))

    @property
    def sudo(self) -> str | None:
        """The value of ``--sudo`` or ``--become``; ``None`` if neither was given."""
        return self.plan.get("sudo")

    # Its hosts.

    def all_routes(self, now: Mapping[str, HostRoute]) -> Mapping[str, HostRoute]:
        """Return how hosts are reached, for the record of the new run.

        Args:
            now: How the hosts of the new run are reached. If it resumes this one, the others are recorded as
                well.
        """
        return now if self.which is not None else {**self.reached.routes, **now}

    def hosts(self, files: Sequence[str], selection: options.HostSelection) -> Sequence[Host]:
        """Candidate hosts: with files, the selection from them; without, the recorded hosts, as recorded.

        Raises:
            InventoryError: A file or an expression, with its place.
            UsageError: No host is chosen, or the record does not say how its hosts were reached.
        """
        if not files:
            return self._recorded(selection)
        inventory = options.read_inventory(files)
        is_narrowed = bool(selection.exclude) or selection.pick is not None
        if selection.is_empty and not is_narrowed and self.which is None:
            return _listed(inventory, self.found)
        return selection.hosts(inventory)

    def _recorded(self, selection: options.HostSelection) -> Sequence[Host]:
        routes = self.reached.routes
        unknown = [name for name in self.found if name not in routes]
        if unknown:
            raise UsageError(
                f"the record of {self.entry.run} does not say how these hosts were reached: {fold(unknown)}",
                hint="give a hosts file with -f to use its settings instead",
            )
        hosts = {name: routes[name].host(name) for name in self.found}
        chosen = self._chosen(hosts, selection, pick=None)
        if self.which is not None:
            chosen = [host for host in chosen if self.found[host.name] is self.which]
            if not chosen:
                some = "host" if selection.is_empty else "selected host"
                raise UsageError(f"no {some} of {self.entry.run} was {self.which}", hint=self._way_out())
        if selection.pick is None:
            return chosen
        left = replace(selection, nodes=(), exclude=(), groups=())
        return self._chosen({host.name: host for host in chosen}, left, pick=selection.pick)

    def _chosen(
        self, hosts: Mapping[str, Host], selection: options.HostSelection, *, pick: int | None
    ) -> Sequence[Host]:
        wish = Selectors(
            nodes=selection.nodes,
            exclude=selection.exclude,
            groups=selection.groups,
            all_hosts=selection.everything,
            pick=pick,
        )
        known = Candidates(
            hosts,
            NO_GROUPS,
            f"the run {self.entry.run}",
            is_listed=True,
            unlisted_hint="for hosts that are not in it, start a new run, or give a hosts file with -f",
        )
        return select_listed(wish, known)

    def compared(self, routes: Mapping[str, HostRoute]) -> Sequence[str]:
        """Return lines for people about hosts that are reached in another way than in the prior run.

        Args:
            routes: How the hosts are reached now.

        Raises:
            UsageError: There are such hosts, and no hosts file or option explains the difference.
        """
        found = route_differences(self.reached.routes, routes)
        if found and not self.may_differ:
            raise UsageError(
                f"hosts of {self.entry.run} would not be reached as recorded: {'; '.join(found)}",
                hint="repeat the options of that run, or give a hosts file with -f",
            )
        return found

    def remaining(self, chosen: Sequence[Host], plan: Mapping[str, Any], *, repeats: bool) -> Sequence[Host]:
        """Return the selected hosts that remain to be run on; none if the run is complete.

        Args:
            chosen: The hosts selected by ``hosts``.
            plan: What the new run does on each host.
            repeats: Whether the command may be repeated where it may have begun.

        Raises:
            UsageError: No host is to run again; the runs differ; or it is unknown whether the command ran.
        """
        if self.which is not None:
            hosts = [host for host in chosen if self.found.get(host.name) is self.which]
            if not hosts:
                raise UsageError(
                    f"no selected host was {self.which} in {self.entry.run}", hint=self._way_out()
                )
            return hosts
        self.check(plan, [host.name for host in chosen])
        doubt = hosts_standing(self.found, Standing.UNKNOWN)
        if doubt and not repeats:
            raise UsageError(
                f"in {self.entry.run} the command may have begun on {_hosts(doubt)}, with an unknown result:"
                f" {fold(doubt)}",
                hint="check them; --retry-command runs the command there again, '--rerun notrun' skips them",
            )
        return [host for host in chosen if self.found[host.name] not in DONE]

    def check(self, plan: Mapping[str, Any], names: Collection[str] | None = None) -> None:
        """Check that the new run does the same.

        Args:
            plan: What the new run does on each host.
            names: All its hosts; ``None`` if they may differ.

        Raises:
            UsageError: The runs differ; the error says in what.
        """
        known = list(self.found)
        found = differences(self.plan, known, plan, known if names is None else names)
        if found:
            raise UsageError(
                f"this differs from the run {self.entry.run}: {'; '.join(found)}",
                hint="repeat it unchanged, or start a new run",
            )

    def continued(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Return the plan of the new run, with a reference to this one."""
        if self.which is not None:
            return plan | {"reruns": self.entry.run}
        return resumed(plan, self.entry.run, self.found)

    @property
    def earlier(self) -> Mapping[Status, int]:
        """Hosts of each status that count for the exit code of a run that resumes this one."""
        if self.which is not None:
            return {}
        return {
            Status.OK: len(hosts_standing(self.found, Standing.OK)),
            Status.FAILED: len(hosts_standing(self.found, Standing.FAILED)),
        }

    def announcement(self, left: Sequence[Host]) -> str:
        """Return a line for people that is printed before the new run begins."""
        if self.which is not None:
            return f"multirsh: {_hosts(left)} of {self.entry.run}: {self.which}"
        if not left:
            return f"multirsh: nothing remains of {self.entry.run}: {self._counted()}"
        return f"multirsh: resuming {self.entry.run}: {self._counted()}; now {_hosts(left)}"

    def _way_out(self) -> str:
        """Return a hint for a run without hosts of the wanted standing, which may itself be a rerun."""
        first = self.plan.get("reruns")
        counted = self._counted()
        if first is None or self.which is None:
            return counted
        return f"{counted}; its hosts came from {first}: use '--rerun {self.which} {first}'"

    def _counted(self) -> str:
        counts = {which: len(hosts_standing(self.found, which)) for which in Standing}
        return ", ".join(f"{which} {count}" for which, count in counts.items() if count)


def _reached(plan: JsonObject, entry: RunSummary) -> RecordedRoutes:
    """Return how the hosts of a run were reached; empty for an older record, which does not say.

    Raises:
        UsageError: The record is damaged.
    """
    row = plan.get("reached")
    try:
        return RecordedRoutes() if row is None else RecordedRoutes.from_dict(row)
    except (ValueError, UsageError) as error:
        raise UsageError(
            f"the record of {entry.run} is damaged: how its hosts were reached cannot be read: {error}",
            hint="it cannot be repeated or resumed",
        ) from None


def _settled(journal: Journal, entry: RunSummary) -> RunSummary:
    """Wait for a run that was just killed: a child may hold its lock for a moment, until exec(3)."""
    until = time.monotonic() + SETTLES_WITHIN_S
    while entry.state is RunState.RUNNING and time.monotonic() < until:
        time.sleep(0.02)
        entry = journal.find(entry.run)
    return entry


def _check_last_of_its_line(journal: Journal, entry: RunSummary) -> None:
    """Check that the run has not been resumed yet: its record does not show what was done since then.

    Raises:
        UsageError: It has been resumed.
    """
    later = next((one.run for one in journal.runs() if one.resumes == entry.run), None)
    if later is not None:
        raise UsageError(
            f"{entry.run} was already resumed by {later}, whose record shows what was done since",
            hint=f"use --resume {later}; --rerun accepts either run",
        )


def _listed(inventory: Inventory, names: Collection[str]) -> Sequence[Host]:
    """Return the hosts of these names, without those that are not in the files."""
    return [inventory.by_name[name] for name in names if name in inventory.by_name]


def _hosts(some: Collection[object]) -> str:
    return f"{len(some)} host{'' if len(some) == 1 else 's'}"
